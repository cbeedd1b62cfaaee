"""Published results are of held-out tasks, say how they came about, and are the figures of the pages."""

import re

import numpy as np
import pytest
from pages import with_table

from pearl.config.reading import from_mapping
from pearl.config.run import PEARLConfig
from pearl.studies import comparison, comparison_table, reproduction, variants
from pearl.studies.results import CURVES, RUNS, read_results
from pearl.tasks import Task, make
from tests.support.processes import ROOT

RESULTS = ROOT / "results"
UNSEEN = RESULTS / "unseen"
FAMILIES = {path.name: read_results(path) for path in sorted(RESULTS.iterdir()) if path.is_dir() and path != UNSEEN}
PUBLISHED = {
    f"{family}, {setting}, seed {seed}": (family, record)
    for family, results in FAMILIES.items()
    for setting, runs in reproduction.by_setting(results).items()
    for seed, record in runs.items()
}
COMPARED = [family for family, results in FAMILIES.items() if results.of_study(comparison.STUDY)]
STUDIED = [family for family, results in FAMILIES.items() if results.of_study("what-helps")]


def page(name):
    return (ROOT / "docs" / f"{name}.md").read_text()


def test_a_familys_folder_holds_a_handful_of_files():
    for family in FAMILIES:
        names = {path.name for path in (RESULTS / family).rglob("*")}
        assert {CURVES, RUNS, reproduction.PICTURE} <= names
        assert len(names) <= 12
        further = {"drift.json", "unfamiliarity.json", "coverage.json"}
        assert {name for name in names if not name.endswith(".png")} - further == {CURVES, RUNS}


@pytest.mark.parametrize("run", PUBLISHED)
def test_no_test_task_reached_training(run):
    family, record = PUBLISHED[run]
    train, test = ([Task(params) for params in record.measured[f"{part}_tasks"]] for part in ("train", "test"))
    config = from_mapping(PEARLConfig, record.config)
    assert len(train) == config.training.n_train_tasks
    assert len(test) == config.evaluation.n_test_tasks
    if make(family).same_tasks:
        assert set(train) == set(test)
        assert record.measured["test"]["same_tasks"]
    else:
        assert not set(train) & set(test)


@pytest.mark.parametrize("run", PUBLISHED)
def test_no_number_of_a_held_out_task_occurs_in_training(run):
    family, record = PUBLISHED[run]
    if make(family).same_tasks:
        pytest.skip("this family's test tasks are its training tasks")
    train, test = ([drawn_numbers(task) for task in record.measured[f"{part}_tasks"]] for part in ("train", "test"))
    # What all tasks share is no draw: the object's height on Meta-World's table.
    shared = set.intersection(*train, *test)
    assert all(task - shared for task in test)
    assert not (set.union(*train) & set.union(*test)) - shared


def drawn_numbers(task):
    """The numbers of a task that were drawn from a continuum; a sign of 1 or -1 is in half of them all."""
    numbers = [part for value in task.values() for part in (value if isinstance(value, list) else [value])]
    return {number for number in numbers if isinstance(number, float)}


@pytest.mark.parametrize("run", PUBLISHED)
def test_a_result_names_its_settings_and_its_commit_and_ends_as_its_curve_does(run):
    _, record = PUBLISHED[run]
    assert len(record.commit.removesuffix("-dirty")) == 40
    assert record.measured["env_steps"] >= from_mapping(PEARLConfig, record.config).training.total_steps
    assert record.measured["env_steps"] == record.curve["env_steps"][-1]
    returns = record.measured["test"]["return_per_episode"]
    assert [record.curve[f"test/return_ep{n}"][-1] for n in range(1, len(returns) + 1)] == returns


def test_every_run_names_its_commit_and_none_was_lost():
    runs = [run for results in FAMILIES.values() for by_seed in results.runs.values() for run in by_seed.values()]
    assert len(runs) >= 395
    assert all(len(run.commit.removesuffix("-dirty")) == 40 for run in runs)


@pytest.mark.parametrize("family", COMPARED)
def test_the_comparisons_page_has_the_figures_of_the_results(family):
    found = comparison.by_name(FAMILIES[family], PEARLConfig.algorithm)
    shown = comparison_table.section(found, f"../results/{family}/{comparison_table.PICTURE}")
    assert with_table(page("comparison"), family, shown) == page("comparison")
    assert (RESULTS / family / comparison_table.PICTURE).is_file()


def test_the_table_of_all_families_comes_from_the_results():
    table = comparison_table.overview_table(RESULTS, PEARLConfig.algorithm)
    assert with_table(page("comparison"), "overview", table) == page("comparison")


@pytest.mark.parametrize("family", STUDIED)
def test_the_page_of_what_helps_has_the_figures_of_the_results(family):
    table = variants.table(variants.by_variant(FAMILIES[family], "what-helps"))
    assert with_table(page("what-helps"), family, table) == page("what-helps")
    assert f"../results/{family}/what-helps.png" in page("what-helps")
    assert (RESULTS / family / "what-helps.png").is_file()


def test_pages_name_the_families_that_were_compared_and_studied():
    assert COMPARED == ["cheetah-vel", "point-robot", "sparse-point-robot", "varying-cartpole"]
    assert STUDIED == ["cheetah-vel", "point-robot", "sparse-point-robot", "varying-cartpole", "varying-pendulum"]


TABLES = {
    "point robot": "point-robot",
    "sparse point robot": "sparse-point-robot",
    "varying CartPole": "varying-cartpole",
    "varying Pendulum": "varying-pendulum",
    "cheetah-vel": "cheetah-vel",
    "cheetah-dir": "cheetah-dir",
    "ant-forward-backward": "ant-forward-backward",
    "walker-rand-params": "walker-rand-params",
    "image point robot": "image-point-robot",
    "ML1 reach": "ml1-reach-v3",
}
"""Families by the names that the pages' tables give them"""
NUMBER = re.compile(r"[−+]?\d{1,3}(?: \d{3})+|[−+]?\d+(?:\.\d+)?")


def numbers(cell):
    """The numbers of a cell, each with the number of its decimals."""
    texts = [text.replace(" ", "").replace("−", "-") for text in NUMBER.findall(cell)]
    return [(float(text), len(text.partition(".")[2])) for text in texts]


def assert_shown(cell, expected):
    """Assert that the first numbers of a cell are these values, rounded as they are shown."""
    shown = numbers(cell)
    assert len(shown) >= len(expected) > 0, cell
    for (number, decimals), value in zip(shown, expected, strict=False):
        assert number == pytest.approx(value, abs=0.5001 * 10**-decimals), (cell, expected)


def rows_of(text, title):
    """The rows of the Markdown table whose header begins with ``title``, each as its cells."""
    lines = text[text.index(title) :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "---" not in line]


def columns_of_the_results_page():
    """Family and the cells of its column by the row's name, for every table of families on the page."""
    blocks = [block for block in page("results").split("\n\n") if block.startswith("| |")]
    for block in blocks:
        header, *rows = rows_of(block, "| |")
        for number, title in enumerate(header[1:], start=1):
            yield TABLES[title.partition(" (")[0]], {row[0].replace("**", ""): row[number] for row in rows}


COLUMNS = dict(columns_of_the_results_page())


@pytest.mark.parametrize("family", TABLES.values())
def test_the_results_page_has_the_figures_of_the_results(family):
    cells = COLUMNS[family]
    runs = reproduction.by_setting(FAMILIES[family])["plain"]
    found = reproduction.summary(family, runs)
    probes = found["probes_mean"]
    episodes = found["return_per_episode_mean"]
    if found["score_mean"] is not None and "score" in cells:
        assert_shown(cells["score"], [found["score_mean"], *found["score"]])
    else:
        shown = cells["return"].replace(" of 500", "")
        assert_shown(shown, [np.mean(found["last_return"]), *found["last_return"]])
    assert_shown(cells["return, episode 1 to last"], episodes)
    for row, name in (
        ("with z set to zero", "zero_z"),
        ("with another task's z", "other_tasks_z"),
        ("context: one episode of a random policy", "random_context"),
    ):
        assert_shown(cells[row], [probes[name]])
    steps, least, *most = [value for value, _ in numbers(cells["training"])][:3]
    assert steps == pytest.approx(np.mean(found["env_steps"]), abs=1000)
    unit = 1 if cells["training"].endswith(" s") else 60
    assert least == pytest.approx(min(found["wall_s"]) / unit, abs=0.6)
    assert (most or [least])[0] == pytest.approx(max(found["wall_s"]) / unit, abs=0.6)


def test_the_results_page_has_the_figures_of_other_budgets_and_of_blind_policies():
    cheetah = reproduction.by_setting(FAMILIES["cheetah-vel"])
    planned = COLUMNS["cheetah-vel"]["planned for fewer steps, one thread"]
    expected: list[float] = []
    for setting, steps in (("48000-steps", 48_000), ("50000-steps", 52_000)):
        last = reproduction.summary("cheetah-vel", cheetah[setting])["last_return"]
        expected += [np.mean(last), *last, steps]
    assert_shown(planned, expected)
    for family, setting in (("ant-forward-backward", "360000-steps"), ("walker-rand-params", "700000-steps")):
        found = reproduction.summary(family, reproduction.by_setting(FAMILIES[family])[setting])
        return_, steps, minutes = (value for value, _ in numbers(COLUMNS[family]["longer, seed 0 alone"]))
        assert return_ == round(found["last_return"][0])
        assert steps == pytest.approx(found["env_steps"][0], abs=500)
        assert minutes == pytest.approx(found["wall_s"][0] / 60, abs=0.6)
    blind = reproduction.summary("image", reproduction.by_setting(FAMILIES["image-point-robot"])["blind"])
    last = blind["last_return"]
    shown = COLUMNS["image-point-robot"]["trained without z"]
    assert_shown(shown, [np.mean(last), *last, blind["score_mean"]])
    successes = reproduction.summary("reach", reproduction.by_setting(FAMILIES["ml1-reach-v3"])["plain"])
    shares = [100 * share for share in successes["success_per_episode_mean"]]
    assert_shown(COLUMNS["ml1-reach-v3"]["success, episode 1 to last"], shares)


def test_the_results_page_has_the_figures_of_specialists():
    specialists = FAMILIES["varying-pendulum"].specialists
    (row,) = (name for name in COLUMNS["varying-pendulum"] if name.startswith("a specialist per task"))
    assert_shown(
        COLUMNS["varying-pendulum"][row],
        [specialists["specialist_mean"], specialists["adapted_mean_per_episode"][-1], specialists["trials_per_task"]],
    )
    text = page("results")
    for family, shown in (("point-robot", "needs 2 500 steps"), ("cheetah-vel", "105 000 steps to equal")):
        assert numbers(shown)[0][0] == FAMILIES[family].specialists["steps_to_adapted"]
        assert shown in text


def test_the_readmes_table_has_the_figures_of_the_results():
    _, *rows = rows_of((ROOT / "README.md").read_text(), "| family | first → last episode")
    assert [row[0] for row in rows] == [
        "point robot",
        "sparse point robot",
        "varying CartPole",
        "cheetah-vel",
        "ML1 reach",
    ]
    for name, episodes, steps, training, _ in rows:
        family = TABLES[name]
        found = reproduction.summary(family, reproduction.by_setting(FAMILIES[family])["plain"])
        first, *_, last = found["return_per_episode_mean"]
        ends = [first, last, *([] if found["score_mean"] is None else [found["score_mean"]])]
        if found["success_per_episode_mean"] is not None:
            ends.append(100 * found["success_per_episode_mean"][-1])
        assert_shown(episodes.replace(" of 500", ""), ends)
        assert numbers(steps)[0][0] == pytest.approx(np.mean(found["env_steps"]), abs=500)
        minutes = [value for value, _ in numbers(training)]
        assert minutes[0] == pytest.approx(min(found["wall_s"]) / 60, abs=0.6)
        assert minutes[-1] == pytest.approx(max(found["wall_s"]) / 60, abs=0.6)
