"""Every figure is written whole, shows its data, and leaves matplotlib as it was."""

import ast
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from pearl import plots
from pearl.evaluation import statistics
from pearl.plots.comparison import Compared, Estimate, looks
from tests.support.pictures import REFERENCES, goals_on_half_circle, pixels, walk


def draw_learning_curve(path: Path, rng: np.random.Generator) -> Path:
    steps = np.linspace(0, 1e6, 21)
    score = 1 - np.exp(-steps / 3e5) + 0.03 * rng.normal(size=21)
    return plots.learning_curve(
        path,
        steps,
        score,
        score - 0.1,
        score + 0.1,
        label="PEARL, cheetah-vel",
        reference_lines={"random policy": 0.0, "goal known": 1.0},
        wall_s=steps / 100,
    )


def draw_learning_curves(path: Path, rng: np.random.Generator) -> Path:
    runs = []
    for label, final in (("PEARL", 0.9), ("RL²", 0.6)):
        for _seed in range(3):
            steps = np.sort(rng.uniform(0, 1e6, 15))
            runs.append((label, steps, final * (1 - np.exp(-steps / 3e5)) + 0.02 * rng.normal(size=15)))
    return plots.learning_curves(path, runs, title="cheetah-vel: two algorithms")


def draw_variant_curves(path: Path, rng: np.random.Generator) -> Path:
    steps = np.linspace(0, 1e5, 11)
    curves = {
        name: [(steps, 1 - np.exp(-steps / 3e4) + 0.05 * rng.normal(size=11)) for _ in range(3)]
        for name in ("plain", "layer-norm", "reconstruction", "whole-contexts", "learned-temperature")
    }
    return plots.variant_curves(path, curves, plain="plain", title="point-robot", value_name="normalised score")


def draw_comparison(path: Path, rng: np.random.Generator) -> Path:
    thresholds = np.linspace(0, 1, 21)

    def algorithm(final: float, steps: np.ndarray, improvement: Estimate | None) -> Compared:
        episodes, profile = final * np.array([0.2, 0.8, 1, 1, 1]), 1 / (1 + np.exp(12 * (thresholds - final)))
        return Compared(
            Estimate(episodes, episodes - 0.1, episodes + 0.1),
            [(steps, final * (1 - np.exp(-steps / 3e4)) + 0.03 * rng.normal(size=len(steps))) for _ in range(3)],
            Estimate(profile, profile - 0.05, profile + 0.05),
            improvement,
        )

    algorithms = {
        "pearl": algorithm(0.9, np.linspace(0, 1e5, 11), None),
        "rl2": algorithm(0.7, np.linspace(0, 1e6, 11), Estimate(0.2, 0.1, 0.35)),
        "maml": algorithm(0.4, np.linspace(0, 1e6, 11), Estimate(0.05, 0.0, 0.1)),
    }
    return plots.comparison(
        path,
        algorithms,
        baseline="pearl",
        looks=looks(list(algorithms)),
        thresholds=thresholds,
        title="point-robot: 3 algorithms, 3 seeds",
        value_name="normalised score",
        exploration_episodes=2,
        references={"random policy": 0.0, "task known": 1.0},
    )


def draw_return_by_episode(path: Path, rng: np.random.Generator) -> Path:
    returns = np.array([-190, -160, -60, -50, -48]) + 20 * rng.normal(size=(12, 5))
    return plots.return_by_episode(path, returns, exploration_episodes=2, references=REFERENCES)


def draw_specialist_curves(path: Path, rng: np.random.Generator) -> Path:
    steps = np.arange(0, 8_001, 500)
    returns = -1_300 * np.exp(-steps / 1_500) * rng.uniform(0.7, 1.3, (10, 1)) - 150
    return plots.specialist_curves(
        path,
        steps,
        returns,
        adapted=-180,
        adapted_steps=400,
        steps_to_adapted=5_500,
        title="varying-pendulum: SAC from scratch, compared with an adapted agent",
        name="SAC",
        references=REFERENCES,
    )


def draw_trajectories(path: Path, rng: np.random.Generator) -> Path:
    goals = goals_on_half_circle(6)
    positions = [[walk(rng, goal if episode else goals[0]) for episode in range(3)] for goal in goals]
    titles = [f"task {index}" for index in range(6)]
    return plots.trajectories(path, positions, goals, goal_radius=0.2, half_circle=True, titles=titles)


def draw_posterior_means(path: Path, rng: np.random.Generator) -> Path:
    goals = goals_on_half_circle(20)
    means = goals @ rng.normal(size=(2, 5)) + 0.05 * rng.normal(size=(20, 5))
    return plots.posterior_means(path, means, task_values=goals, task_value_name=("goal x", "goal y"))


def draw_posterior_spread(path: Path, rng: np.random.Generator) -> Path:
    seen = np.array([0, 1, 5, 20, 100, 400])
    stddev = 1 / np.sqrt(1 + seen[:, None] * rng.uniform(0.05, 0.4, size=(10, 1, 5)))
    return plots.posterior_spread(path, seen, stddev, error=stddev.mean(-1), error_name="distance to the goal")


def draw_adaptation_story(path: Path, rng: np.random.Generator) -> Path:
    goal = goals_on_half_circle(5)[1]
    return plots.adaptation_story(
        path,
        10 * rng.random(3),
        rng.normal(size=(4, 5)),
        0.3 * np.ones((4, 5)),
        title="sparse-point-robot: adapting to a goal",
        positions=[walk(rng, goal) for _ in range(3)],
        goal=goal,
        goal_radius=0.2,
        half_circle=True,
        references={"goal known": 15.0},
    )


FIGURES: list[Callable[[Path, np.random.Generator], Path]] = [
    draw_learning_curve,
    draw_learning_curves,
    draw_variant_curves,
    draw_comparison,
    draw_return_by_episode,
    draw_specialist_curves,
    draw_trajectories,
    draw_posterior_means,
    draw_posterior_spread,
    draw_adaptation_story,
]


@pytest.mark.parametrize("draw", FIGURES)
def test_a_figure_is_1200_pixels_wide_and_shows_its_data_and_nothing_else_changes(draw, tmp_path):
    before = matplotlib.rcParams.copy()
    first = draw(tmp_path / "first.png", np.random.default_rng(0))
    second = draw(tmp_path / "second.png", np.random.default_rng(1))

    assert first == tmp_path / "first.png"
    height, width, _ = pixels(first).shape
    assert width == 1200
    assert 400 <= height <= 1300
    assert pixels(first).shape != pixels(second).shape or (pixels(first) != pixels(second)).any()
    assert matplotlib.rcParams.copy() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.png", "second.png"]


def test_the_callers_rc_params_do_not_reach_a_figure(tmp_path):
    plain = draw_learning_curve(tmp_path / "plain.png", np.random.default_rng(0))
    with matplotlib.rc_context({"axes.facecolor": "black", "lines.linewidth": 9, "savefig.dpi": 20}):
        styled = draw_learning_curve(tmp_path / "styled.png", np.random.default_rng(0))

    assert (pixels(plain) == pixels(styled)).all()


def test_the_same_returns_give_the_same_file(tmp_path):
    first = draw_return_by_episode(tmp_path / "first.png", np.random.default_rng(0))
    second = draw_return_by_episode(tmp_path / "second.png", np.random.default_rng(0))

    assert first.read_bytes() == second.read_bytes()


def test_a_figure_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "figure.png"
    path.write_bytes(b"the old figure")

    def fail_halfway(self, stream, **_):
        stream.write(b"half a fig")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail_halfway)
    with pytest.raises(OSError, match="disk full"):
        draw_return_by_episode(path, np.random.default_rng(0))

    assert path.read_bytes() == b"the old figure"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_made(tmp_path):
    assert draw_posterior_spread(tmp_path / "new" / "folder" / "figure.png", np.random.default_rng(0)).is_file()


def test_another_suffix_than_png_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"must end in '\.png'"):
        draw_learning_curve(tmp_path / "figure.pdf", np.random.default_rng(0))


def test_no_module_of_plots_imports_pyplot_torch_or_the_rest_of_the_library():
    imported = set()
    for module in [*Path(plots.__file__).parent.glob("*.py"), Path(statistics.__file__)]:
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module)

    assert "matplotlib.figure" in imported
    assert "matplotlib.pyplot" not in imported
    roots = {name if name.startswith("pearl") else name.split(".")[0] for name in imported}
    assert not roots & {"torch", "agents", "encoders", "stable_baselines3"}
    assert {root for root in roots if root.startswith("pearl") and not root.startswith("pearl.plots")} == {
        "pearl.evaluation.statistics",
        "pearl.files.access",
    }
