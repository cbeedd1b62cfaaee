"""What each figure shows, what degenerate input it survives, and which input it refuses."""

import numpy as np
import pytest
from PIL import Image

from pearl import plots
from pearl.plots.posterior import principal_components
from pearl.plots.style import PALETTE, lone
from tests.support.pictures import REFERENCES, count_colour, goals_on_half_circle, pixels, walk


class TestLearningCurve:
    def test_a_single_evaluation_without_any_spread_is_drawn(self, tmp_path):
        path = plots.learning_curve(tmp_path / "a.png", [5000], [0.1], [0.1], [0.1], label="PEARL", wall_s=[42.0])

        assert count_colour(pixels(path), PALETTE[0]) > 20

    def test_a_missing_score_leaves_a_gap(self, tmp_path):
        steps, score = np.arange(9.0), np.ones(9)
        whole = plots.learning_curve(tmp_path / "a.png", steps, score, score, score, label="PEARL")
        score[3:6] = np.nan
        gap = plots.learning_curve(tmp_path / "b.png", steps, score, score, score, label="PEARL")

        assert count_colour(pixels(gap), PALETTE[0]) < 0.8 * count_colour(pixels(whole), PALETTE[0])

    def test_scores_that_are_all_missing_are_no_error(self, tmp_path):
        missing = np.full(3, np.nan)

        assert plots.learning_curve(tmp_path / "a.png", [0, 1, 2], missing, missing, missing, label="PEARL").is_file()

    def test_a_value_between_two_gaps_gets_a_dot(self):
        assert lone(np.array([1.0, np.nan, 2.0, np.nan, 3.0, 4.0])) == [0, 2]

    def test_scores_of_another_length_are_an_error(self, tmp_path):
        with pytest.raises(ValueError, match=r"score must have shape \(3,\).*found \(2,\)"):
            plots.learning_curve(tmp_path / "a.png", [0, 1, 2], [0, 1], [0, 1], [0, 1], label="PEARL")

    def test_no_evaluation_is_an_error(self, tmp_path):
        with pytest.raises(ValueError, match=r"env_steps must have shape \(evaluation,\).*found \(0,\)"):
            plots.learning_curve(tmp_path / "a.png", [], [], [], [], label="PEARL")

    def test_steps_that_decrease_are_an_error(self, tmp_path):
        with pytest.raises(ValueError, match="env_steps must be finite and never decrease"):
            plots.learning_curve(tmp_path / "a.png", [1, 0], [0, 1], [0, 1], [0, 1], label="PEARL")

    def test_swapped_ends_of_the_interval_are_an_error(self, tmp_path):
        with pytest.raises(ValueError, match="score_low must not exceed score_high"):
            plots.learning_curve(tmp_path / "a.png", [0, 1], [1, 1], [2, 2], [0, 0], label="PEARL")

    def test_a_reference_that_is_not_finite_is_an_error(self, tmp_path):
        with pytest.raises(ValueError, match="reference 'goal known' must be a finite number"):
            plots.learning_curve(
                tmp_path / "a.png", [0], [1], [1], [1], label="PEARL", reference_lines={"goal known": float("nan")}
            )


class TestLearningCurves:
    def test_a_run_without_any_score_does_not_change_the_mean(self, tmp_path):
        steps = np.arange(5.0)
        alone = plots.learning_curves(tmp_path / "a.png", [("PEARL", steps, steps)])
        with_failed = plots.learning_curves(
            tmp_path / "b.png", [("PEARL", steps, steps), ("PEARL", steps, np.full(5, np.nan))]
        )

        below_header = slice(120, None)
        assert (pixels(alone)[below_header] == pixels(with_failed)[below_header]).all()
        assert (pixels(alone) != pixels(with_failed)).any()

    def test_runs_of_one_label_without_a_shared_range_are_an_error(self, tmp_path):
        with pytest.raises(ValueError, match="'PEARL' share no range"):
            plots.learning_curves(tmp_path / "a.png", [("PEARL", [0, 1], [0, 1]), ("PEARL", [5, 6], [0, 1])])

    def test_no_run_is_an_error(self, tmp_path):
        with pytest.raises(ValueError, match="runs is empty"):
            plots.learning_curves(tmp_path / "a.png", [])


class TestVariantCurves:
    def test_every_variant_has_a_panel_and_the_plain_setting_is_in_each(self, tmp_path):
        seeds = [([0, 1, 2], [0.0, 0.5, 1.0]), ([0, 1, 2], [0.0, 0.7, 0.8])]
        names = {"plain": seeds, "one": seeds}
        one, four = (
            pixels(
                plots.variant_curves(
                    tmp_path / f"{n}.png",
                    names | {f"other {k}": seeds for k in range(n - 1)},
                    plain="plain",
                    title="a",
                    value_name="score",
                )
            )
            for n in (1, 4)
        )

        assert four.shape[0] > 1.5 * one.shape[0]
        assert count_colour(four, PALETTE[0]) > 3 * count_colour(one, PALETTE[0])

    def test_seeds_that_were_evaluated_at_other_steps_are_drawn(self, tmp_path):
        curves = {"plain": [([0, 2], [0.0, 1.0])], "b": [([0, 1, 3], [0.0, 0.5, 1.0]), ([0, 2], [0.0, 1.0])]}
        path = plots.variant_curves(tmp_path / "a.png", curves, plain="plain", title="a", value_name="score")

        assert pixels(path).shape[1] == 1200

    @pytest.mark.parametrize("curves", [{}, {"plain": []}, {"other": [([0, 1], [0, 1])]}])
    def test_nothing_to_compare_is_an_error(self, curves, tmp_path):
        with pytest.raises(ValueError, match="must hold 'plain' and at least one variant"):
            plots.variant_curves(tmp_path / "a.png", curves, plain="plain", title="a", value_name="score")


class TestReturnByEpisode:
    @pytest.mark.parametrize("shape", [(1, 1), (1, 4), (4, 1)])
    @pytest.mark.parametrize("value", [3.0, np.nan])
    def test_one_task_or_one_episode_of_constant_or_missing_return_is_drawn(self, shape, value, tmp_path):
        path = plots.return_by_episode(tmp_path / "a.png", np.full(shape, value), exploration_episodes=1)

        assert pixels(path).shape[1] == 1200

    def test_only_the_exploration_episodes_are_shaded(self, tmp_path):
        returns = np.zeros((3, 4))
        shaded = [
            count_colour(
                pixels(plots.return_by_episode(tmp_path / f"{n}.png", returns, exploration_episodes=n)), "#f2f2f2"
            )
            for n in (0, 1, 2)
        ]

        assert shaded[0] < 0.1 * shaded[1]
        assert shaded[2] == pytest.approx(2 * shaded[1], rel=0.1)

    def test_more_exploration_episodes_than_the_trial_has_are_an_error(self, tmp_path):
        with pytest.raises(ValueError, match=r"must lie in 0\.\.4; found 5"):
            plots.return_by_episode(tmp_path / "a.png", np.zeros((3, 4)), exploration_episodes=5)

    def test_returns_of_one_dimension_are_an_error(self, tmp_path):
        with pytest.raises(ValueError, match=r"returns must have shape \(task, episode\).*found \(4,\)"):
            plots.return_by_episode(tmp_path / "a.png", np.zeros(4), exploration_episodes=1)


class TestSpecialistCurves:
    @pytest.mark.parametrize("shape", [(1, 1), (1, 3), (4, 1)])
    @pytest.mark.parametrize("value", [3.0, np.nan])
    def test_one_task_or_one_evaluation_of_constant_or_missing_return_is_drawn(self, shape, value, tmp_path):
        path = plots.specialist_curves(
            tmp_path / "a.png", range(shape[1]), np.full(shape, value), adapted=3.0, adapted_steps=0, title="a"
        )

        assert pixels(path).shape[1] == 1200

    def test_an_adapted_agent_that_is_reached_is_marked_where_it_is(self, tmp_path):
        drawn = [
            count_colour(
                pixels(
                    plots.specialist_curves(
                        tmp_path / "a.png",
                        [0, 10, 20],
                        [[0.0, 0.5, 1.0]],
                        adapted=0.5,
                        adapted_steps=5,
                        title="a",
                        steps_to_adapted=reached,
                    )
                )[120:],
                PALETTE[0],
            )
            for reached in (None, 10)
        ]

        assert drawn[1] > drawn[0] + 100

    def test_another_number_of_evaluations_is_an_error(self, tmp_path):
        with pytest.raises(ValueError, match=r"returns must have shape \(task, 2\).*found \(1, 3\)"):
            plots.specialist_curves(tmp_path / "a.png", [0, 1], [[0, 1, 2]], adapted=0, adapted_steps=0, title="a")


class TestTrajectories:
    def test_many_exploration_episodes_of_one_task_are_drawn(self, tmp_path):
        rng = np.random.default_rng(0)
        goal = goals_on_half_circle(3)[1:2]
        positions = [[walk(rng, target) for target in goals_on_half_circle(12)]]
        path = plots.trajectories(
            tmp_path / "a.png", positions, goal, goal_radius=0.2, half_circle=True, titles=["exploration"]
        )

        assert pixels(path).shape[1] == 1200

    def test_an_agent_that_does_not_move_is_drawn(self, tmp_path):
        still = [[np.zeros((5, 2))]]
        path = plots.trajectories(
            tmp_path / "a.png", still, [[0.0, 0.0]], goal_radius=None, half_circle=False, titles=["still"]
        )

        assert pixels(path).shape[1] == 1200

    def test_positions_of_another_shape_are_an_error_that_names_task_and_episode(self, tmp_path):
        positions = [[np.zeros((5, 2))], [np.zeros((5, 2)), np.zeros((5, 3))]]
        with pytest.raises(ValueError, match=r"positions\[1\]\[1\] must have shape \(step \+ 1, 2\).*found \(5, 3\)"):
            plots.trajectories(
                tmp_path / "a.png", positions, np.ones((2, 2)), goal_radius=None, half_circle=False, titles=["a", "b"]
            )

    def test_a_title_too_few_is_an_error(self, tmp_path):
        with pytest.raises(ValueError, match="one entry per task; found 1, 1 and 0"):
            plots.trajectories(
                tmp_path / "a.png", [[np.zeros((5, 2))]], [[1, 0]], goal_radius=None, half_circle=False, titles=[]
            )


class TestPosteriorMeans:
    @pytest.mark.parametrize("shape", [(1, 5), (6, 1), (1, 1), (2, 2)])
    def test_one_task_or_one_dimension_of_constant_means_is_drawn(self, shape, tmp_path):
        path = plots.posterior_means(
            tmp_path / "a.png", np.ones(shape), task_values=np.ones(shape[0]), task_value_name="velocity (m/s)"
        )

        assert pixels(path).shape[1] == 1200

    def test_colours_follow_the_true_task(self, tmp_path):
        means = np.random.default_rng(0).normal(size=(6, 3))
        rising, falling = (
            plots.posterior_means(tmp_path / f"{name}.png", means, task_values=values, task_value_name="velocity")
            for name, values in (("rising", np.arange(6)), ("falling", np.arange(6)[::-1]))
        )

        assert (pixels(rising) != pixels(falling)).any()

    def test_a_line_in_five_dimensions_has_one_component_with_all_the_variance(self):
        direction = np.array([1.0, -2.0, 0.5, 0.0, 3.0])
        positions = np.array([-1.0, 0.0, 2.0, 5.0])
        coordinates, explained = principal_components(positions[:, None] * direction)

        np.testing.assert_allclose(explained, [1.0, 0.0], atol=1e-12)
        expected = (positions - positions.mean()) * np.linalg.norm(direction)
        np.testing.assert_allclose(coordinates[:, 0], expected)

    def test_means_that_are_not_finite_are_an_error(self, tmp_path):
        with pytest.raises(ValueError, match="means must be finite"):
            plots.posterior_means(tmp_path / "a.png", [[np.nan, 1.0]], task_values=[1.0], task_value_name="velocity")

    def test_a_task_value_too_few_is_an_error(self, tmp_path):
        with pytest.raises(ValueError, match=r"task_values must have shape \(4,\).*found \(3,\)"):
            plots.posterior_means(tmp_path / "a.png", np.eye(4), task_values=[1, 2, 3], task_value_name="velocity")

    def test_a_name_too_few_is_an_error(self, tmp_path):
        with pytest.raises(ValueError, match="name each of the 2 task values"):
            plots.posterior_means(tmp_path / "a.png", np.eye(4), task_values=np.ones((4, 2)), task_value_name=["x"])


class TestPosteriorSpread:
    @pytest.mark.parametrize("value", [0.0, 1.0, np.nan])
    def test_one_task_seen_once_is_drawn(self, value, tmp_path):
        path = plots.posterior_spread(tmp_path / "a.png", [0], [[value]], error=[[value]])

        assert pixels(path).shape[1] == 1200

    def test_a_mean_over_dimensions_is_drawn(self, tmp_path):
        per_dimension = np.random.default_rng(0).uniform(0.1, 1, size=(3, 4, 5))
        full = plots.posterior_spread(tmp_path / "a.png", [0, 1, 2, 3], per_dimension)
        averaged = plots.posterior_spread(tmp_path / "b.png", [0, 1, 2, 3], per_dimension.mean(-1))

        below_header = slice(110, None)
        assert (pixels(full)[below_header] == pixels(averaged)[below_header]).all()

    def test_another_number_of_points_is_an_error(self, tmp_path):
        with pytest.raises(ValueError, match=r"stddev must have shape \(task, 3\).*found \(2, 4\)"):
            plots.posterior_spread(tmp_path / "a.png", [0, 1, 2], np.ones((2, 4)))


class TestAdaptationStory:
    def test_a_task_outside_the_plane_needs_no_positions(self, tmp_path):
        path = plots.adaptation_story(
            tmp_path / "a.png",
            [-180, -60],
            np.zeros((3, 5)),
            np.ones((3, 5)),
            title="cheetah-vel",
            references=REFERENCES,
        )

        assert pixels(path).shape[1] == 1200

    def test_one_episode_of_constant_belief_in_one_dimension_is_drawn(self, tmp_path):
        path = plots.adaptation_story(
            tmp_path / "a.png",
            [np.nan],
            np.zeros((2, 1)),
            np.zeros((2, 1)),
            title="still",
            positions=[np.zeros((1, 2))],
            goal=[0, 0],
            half_circle=True,
        )

        assert pixels(path).shape[1] == 1200

    def test_means_without_the_prior_are_an_error(self, tmp_path):
        with pytest.raises(ValueError, match=r"means must have shape \(4, latent\).*found \(3, 5\)"):
            plots.adaptation_story(tmp_path / "a.png", [1, 2, 3], np.zeros((3, 5)), np.ones((3, 5)), title="a")

    def test_positions_without_a_goal_are_an_error(self, tmp_path):
        with pytest.raises(ValueError, match="positions and goal belong together"):
            plots.adaptation_story(
                tmp_path / "a.png", [1], np.zeros((2, 5)), np.ones((2, 5)), title="a", positions=[np.zeros((3, 2))]
            )


class TestAnimation:
    def test_a_gif_holds_every_frame_at_about_the_given_rate(self, tmp_path):
        frames = [np.full((40, 60, 3), (index * 60, 30, 200), dtype=np.uint8) for index in range(4)]
        path = plots.animation(tmp_path / "film.gif", frames, fps=10)

        with Image.open(path) as film:
            assert film.format == "GIF"
            assert film.n_frames == 4
            assert film.size == (60, 40)
            assert film.info["duration"] == 100
            assert film.info["loop"] == 0
            for index in range(4):
                film.seek(index)
                shown = np.asarray(film.convert("RGB"))[20, 30].astype(int)
                assert np.abs(shown - [index * 60, 30, 200]).max() <= 16

    @pytest.mark.parametrize(
        ("frames", "message"),
        [
            ([], "frames is empty"),
            ([np.zeros((4, 4, 3))], r"frames\[0\] is float64"),
            ([np.zeros((4, 4), np.uint8)], r"frames\[0\] is uint8 of shape \(4, 4\)"),
            (
                [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5, 3), np.uint8)],
                r"frames\[1\] is uint8 of shape \(4, 5, 3\)",
            ),
        ],
    )
    def test_frames_that_are_no_images_of_one_shape_are_an_error(self, frames, message, tmp_path):
        with pytest.raises(ValueError, match=message):
            plots.animation(tmp_path / "film.gif", frames)

    @pytest.mark.parametrize("fps", [0, 51])
    def test_a_rate_that_no_viewer_plays_is_an_error(self, fps, tmp_path):
        with pytest.raises(ValueError, match="fps must lie in"):
            plots.animation(tmp_path / "film.gif", [np.zeros((4, 4, 3), np.uint8)], fps=fps)
