"""The picture of several algorithms: what it shows, how algorithms keep their looks, and which input it refuses."""

import numpy as np
import pytest

from pearl import plots
from pearl.plots.comparison import COLOURS, Compared, Estimate, Look, looks
from tests.support.pictures import count_colour, pixels

THRESHOLDS = [0.0, 0.5, 1.0]


def algorithm(level=0.5, *, steps=(0, 100), improvement=None):
    episodes = np.full(3, level)
    share = np.array([1.0, level, 0.0])
    return Compared(
        Estimate(episodes, episodes, episodes),
        [(steps, np.linspace(0, level, len(steps)))],
        Estimate(share, share, share),
        improvement,
    )


def draw(path, algorithms, **changes):
    given = {
        "baseline": "a",
        "looks": looks(["a", "b", "c"]),
        "thresholds": THRESHOLDS,
        "title": "two",
        "value_name": "score",
        "exploration_episodes": 1,
    }
    return plots.comparison(path, algorithms, **given | changes)


def test_every_algorithm_is_drawn_in_its_own_colour(tmp_path):
    image = pixels(
        draw(tmp_path / "a.png", {"a": algorithm(), "c": algorithm(0.8, improvement=Estimate(0.7, 0.6, 0.8))})
    )
    drawn = [count_colour(image, colour) > 500 for colour in COLOURS[:3]]
    assert drawn == [True, False, True]


def test_algorithms_that_join_change_no_look_and_have_others():
    many = [f"algorithm {number}" for number in range(40)]
    assert looks(many[:3]) == {name: look for name, look in looks(many).items() if name in many[:3]}
    assert len(set(looks(many).values())) == 40
    assert looks(many)["algorithm 0"] == Look(COLOURS[0], "solid")


def test_an_algorithm_alone_is_compared_with_nothing(tmp_path):
    assert pixels(draw(tmp_path / "a.png", {"a": algorithm()})).shape[1] == 1200


@pytest.mark.parametrize("steps", [(0, 100), (0, 10, 100_000), (0,)])
def test_budgets_of_any_length_are_drawn(tmp_path, steps):
    assert pixels(draw(tmp_path / "a.png", {"a": algorithm(), "b": algorithm(steps=steps)})).shape[1] == 1200


def test_values_that_are_not_finite_leave_gaps(tmp_path):
    assert draw(
        tmp_path / "a.png", {"a": algorithm(np.nan), "b": algorithm(improvement=Estimate(0.5, 0.5, 0.5))}
    ).is_file()


@pytest.mark.parametrize(
    ("algorithms", "changes", "message"),
    [
        ({"b": algorithm()}, {}, "the baseline; a is missing"),
        ({"a": algorithm(), "d": algorithm()}, {}, "d is missing"),
        ({"a": algorithm()}, {"thresholds": [0.0, 1.0]}, r"a profile must have shape \(2,\)"),
        ({"a": algorithm()}, {"thresholds": [0.0, 1.0, 0.5]}, "thresholds must be finite and never decrease"),
        ({"a": algorithm(steps=(100, 0))}, {}, "a env_steps must be finite and never decrease"),
        ({"a": algorithm()}, {"references": {"oracle": np.inf}}, "'oracle' must be a finite number"),
    ],
)
def test_what_cannot_be_drawn_is_an_error(tmp_path, algorithms, changes, message):
    with pytest.raises(ValueError, match=message):
        draw(tmp_path / "a.png", algorithms, **changes)
    assert not list(tmp_path.iterdir())
