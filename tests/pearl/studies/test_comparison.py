"""The statistics, the tables and the picture of a comparison, from runs as the results hold them."""

import dataclasses

import numpy as np
import pytest

from pearl.config.run import PEARLConfig
from pearl.studies.comparison import STUDY, by_name, normalised, row
from pearl.studies.comparison_table import draw, overview_table, table
from pearl.studies.results import PLAIN, FamilyResults, RunRecord, Setting, store_run
from tests.support.pictures import pixels


def run_of(returns, *, tasks="abcd", oracle=None, steps=(0, 2000), gradient_steps=0, wall_s=90.0):
    """A run whose returns (task, episode) are given."""
    curve = {"env_steps": np.array(steps, float)}
    curve |= {f"test/return_ep{number + 1}": np.zeros(len(steps)) for number in range(len(returns[0]))}
    measured = {
        "test_tasks": list(tasks),
        "references": {
            "random": [-200.0] * len(returns),
            "oracle": None if oracle is None else [oracle] * len(returns),
        },
        "returns": returns,
        "trial_returns": returns,
        "gradient_steps_at_test": gradient_steps,
        "wall_s": wall_s,
    }
    return RunRecord(commit="0" * 40, config={}, curve=curve, measured=measured)


BASE = [[-150.0, -60.0]] * 4
AHEAD = [[-150.0, -40.0]] * 4


def test_the_table_has_returns_with_few_digits_and_the_probability_of_the_same_tasks():
    found = {
        "pearl": {0: run_of(BASE), 1: run_of(BASE, tasks="efgh")},
        "rl2": {0: run_of(AHEAD, steps=(0, 1_200_000), wall_s=60.0), 5: run_of(BASE, wall_s=120.0)},
    }
    header, _, pearl, rl2 = table(found).splitlines()
    assert header.startswith(
        "| algorithm (seeds) | environment steps | first episode | last episode | worst 5 % | better than pearl |"
    )
    assert pearl == "| pearl (2) | 2 000 | −150 (−150 to −150) | −60 (−60 to −60) | – | – | 0 | 1.5 |"
    assert rl2 == "| rl2 (2) | 601 000 | −150 (−150 to −150) | −50 (−60 to −40) | – | 1.00 (1.00 to 1.00) | 0 | 1.5 |"


def test_the_table_has_scores_where_a_policy_knows_the_task():
    found = {"pearl": {0: run_of(BASE, oracle=0.0)}, "maml": {0: run_of(BASE, oracle=0.0, gradient_steps=3)}}
    assert table(found).splitlines()[3] == (
        "| maml (1) | 2 000 | 0.250 (0.250 to 0.250) | 0.700 (0.700 to 0.700) | – | 0.50 (0.50 to 0.50) | 3 | 1.5 |"
    )


def of_twenty(worst, oracle=None, tasks=range(20)):
    return run_of([[-150.0, -20.0]] * 19 + [[-150.0, worst]], tasks=tasks, oracle=oracle)


def column(found, name):
    header, _, *lines = ([cell.strip() for cell in line.split("|")] for line in table(found).splitlines())
    return [line[header.index(name)] for line in lines]


def test_the_worst_tasks_are_those_of_all_runs_together():
    runs = {0: of_twenty(-90.0), 1: of_twenty(-70.0), 2: of_twenty(-20.0)}
    assert row(runs, runs).worst == pytest.approx((-90 - 70 - 20) / 3)
    assert column({"pearl": runs}, "worst 5 %") == ["−60"]
    assert column({"pearl": {0: of_twenty(-90.0, oracle=0.0)}}, "worst 5 %") == ["0.550"]


def test_where_a_run_has_fewer_than_twenty_different_tasks_the_worst_are_not_told():
    few = [*range(19), 0]
    runs = {0: of_twenty(-90.0), 1: of_twenty(-70.0, tasks=few)}
    assert row(runs, runs).worst is None
    assert column({"pearl": runs, "rl2": {0: of_twenty(-90.0)}}, "worst 5 %") == ["–", "−90"]


def test_the_table_of_all_families_has_the_worst_tasks_beside_the_last_episode(tmp_path):
    for name, run in {"pearl": of_twenty(-90.0), "rl2": of_twenty(-95.0, tasks=[0] * 20)}.items():
        store_run(tmp_path / "reach", Setting(STUDY, PLAIN, name), PEARLConfig(), 0, run)
    assert overview_table(tmp_path, "pearl").splitlines()[2:] == [
        "| pearl | −20.0 (−20.0 to −20.0), worst −90.0 |",
        "| rl2 | −20.0 (−20.0 to −20.0), worst – |",
    ]


def test_a_tasks_score_lies_between_its_own_references():
    run = run_of(BASE, oracle=0.0)
    references = {"random": [-200.0, -100.0, -160.0, -60.0], "oracle": [0.0, -50.0, -10.0, 40.0]}
    run = dataclasses.replace(run, measured={**run.measured, "references": references})
    assert normalised(run, BASE)[:, -1].tolist() == pytest.approx([0.7, 0.8, 2 / 3, 0.0])


def test_algorithms_that_share_no_tasks_are_not_compared():
    found = {"pearl": {0: run_of(BASE)}, "rl2": {0: run_of(AHEAD, tasks="efgh")}, "maml": {1: run_of(AHEAD)}}
    assert [line.split(" | ")[5] for line in table(found).splitlines()[2:]] == ["–", "–", "–"]


def test_the_baseline_comes_first_and_then_the_best_in_the_last_episode():
    last = {"rl2": -50.0, "pearl": -60.0, "maml": -70.0, "b": -40.0, "a": -40.0}
    runs = {Setting(STUDY, PLAIN, name): {0: run_of([[-150.0, value]] * 4)} for name, value in last.items()}
    assert list(by_name(FamilyResults(runs=runs), "pearl")) == ["pearl", "a", "b", "rl2", "maml"]


def test_runs_with_a_budget_of_their_own_bear_it_in_their_name_and_other_studies_are_left_out():
    runs = {
        Setting(STUDY, PLAIN, "pearl"): {0: run_of(BASE)},
        Setting(STUDY, "500-steps", "rl2"): {0: run_of(BASE)},
        Setting("reproduction", PLAIN, "maml"): {0: run_of(BASE)},
    }
    assert list(by_name(FamilyResults(runs=runs), "pearl")) == ["pearl", "rl2-500-steps"]


@pytest.mark.parametrize("oracle", [None, 0.0])
def test_algorithms_of_other_budgets_and_lengths_of_trial_are_drawn(tmp_path, oracle):
    longer = run_of([[-150.0, -90.0, -40.0]] * 4, oracle=oracle, steps=(0, 1000, 40_000))
    found = {"pearl": {0: run_of(BASE, oracle=oracle)}, "of-old": {0: longer, 1: run_of(AHEAD, oracle=oracle)}}
    assert pixels(draw(tmp_path / "a.png", "family", found, 1)).shape[1] == 1200
