"""Comparisons: several algorithms on a family, with the same tasks and protocol."""

import json
import shutil

import compare
import numpy as np
import pytest

from pearl.algorithms import ALGORITHMS
from pearl.config.reading import ConfigError, from_mapping
from pearl.config.run import PEARLConfig, RL2Config
from pearl.evaluation import protocol as evaluation
from pearl.model.meta_learner import MetaLearner
from pearl.runs.run import Run, RunError, write_json
from pearl.studies import runner
from pearl.studies.comparison import by_name, last_episode
from pearl.studies.comparison_table import table
from pearl.studies.results import RUNS, RunRecord, read_results, settings_of, store_run
from tests.support.pictures import pixels
from tests.support.runs.run_records import assert_same_runs

AGENTS = ("pearl", "rl2", "maml")
COLLECTION = {"total_steps": 120, "n_train_tasks": 2, "episodes_per_trial": 3}
PROTOCOL = {"interval": 120, "n_test_tasks": 2, "exploration_episodes": 2, "episodes": 3}


def small(kind, family):
    """Settings for a moment's training in the place of a preset."""
    collection = COLLECTION | ({"meta_batch": 2} if issubclass(kind, PEARLConfig) else {})
    return from_mapping(kind, {"training": collection, "evaluation": PROTOCOL})


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(compare, "preset", small)


@pytest.fixture
def untrained(monkeypatch):
    monkeypatch.setattr(runner, "train", lambda *arguments, **settings: pytest.fail("trained"))


def compare_all(folder, **pages):
    """Compare all agents on the point robot in the folder, and fill in a page."""
    settings = {"seeds": (0, 1), "trial_episodes": 5, "out": folder, "runs": folder / "runs"}
    compare.main("point-robot", algorithms=AGENTS, **settings, **pages)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """The results of a comparison on the point robot with two seeds, and the page that it filled in."""
    folder = tmp_path_factory.mktemp("compared")
    page = folder / "page.md"
    page.write_text("a\n<!-- point-robot -->\nnot run yet\n<!-- / -->\nb\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "preset", small)
        patch.setattr(evaluation, "REFERENCE_EPISODES", 2)
        compare_all(folder, page=page)
    return folder


def runs_of(folder, name):
    """The runs of an algorithm in the folder's results of the point robot."""
    return by_name(read_results(folder / "point-robot"), "pearl")[name]


def without(folder, algorithm):
    """Remove an algorithm's runs from a family's results, as the error about other settings says."""
    document = json.loads((folder / RUNS).read_text())
    document["runs"] = [run for run in document["runs"] if run["algorithm"] != algorithm]
    (folder / RUNS).write_text(json.dumps(document))


def give_a_budget_of_its_own(folder, algorithm):
    """Store an algorithm's runs once more, as runs with a budget of their own."""
    results = read_results(folder)
    ((setting, runs),) = ((setting, runs) for setting, runs in results.runs.items() if setting.algorithm == algorithm)
    for seed, record in runs.items():
        store_run(folder, setting._replace(name="120-steps"), small(ALGORITHMS[algorithm].config, ""), seed, record)


def untimed(measured):
    assert measured["wall_s"] >= 0
    return {name: value for name, value in measured.items() if name != "wall_s"}


def test_every_run_has_its_curve_its_last_evaluation_and_a_longer_trial(compared):
    for name in AGENTS:
        runs = runs_of(compared, name)
        assert list(runs) == [0, 1]
        for run in runs.values():
            assert from_mapping(ALGORITHMS[name].config, run.config) == small(ALGORITHMS[name].config, "")
            assert run.curve["env_steps"][0] == 0
            assert run.curve["env_steps"][-1] >= 120
            assert {len(values) for values in run.curve.values()} == {len(run.curve["env_steps"])}
            returns, trial = np.array(run.measured["returns"]), np.array(run.measured["trial_returns"])
            assert returns.shape == (2, 3)
            assert trial.shape == (2, 5)
            ends = [run.curve[f"test/return_ep{episode}"][-1] for episode in (1, 2, 3)]
            np.testing.assert_allclose(returns.mean(0), ends, atol=2e-4)
            random, oracle = (np.array(run.measured["references"][end]) for end in ("random", "oracle"))
            assert random.shape == oracle.shape == (2,)
            assert (random < oracle).all()
            score = (returns[:, -1].mean() - random.mean()) / (oracle.mean() - random.mean())
            assert score == pytest.approx(run.curve["test/score"][-1], abs=2e-4)
            assert run.measured["wall_s"] >= run.curve["wall_s"][-1] - 0.1
            assert len(run.commit.removesuffix("-dirty")) == 40
        assert runs[0].measured["returns"] != runs[1].measured["returns"]


def test_a_longer_trial_begins_as_the_protocols(compared):
    for run in runs_of(compared, "pearl").values():
        trial = np.array(run.measured["trial_returns"])
        np.testing.assert_allclose(trial[:, :3], run.measured["returns"], atol=1e-3)


def test_all_algorithms_meet_the_same_test_tasks_and_each_seed_its_own(compared):
    tasks = [[run.measured["test_tasks"] for run in runs_of(compared, name).values()] for name in AGENTS]
    assert tasks[0] == tasks[1] == tasks[2]
    assert tasks[0][0] != tasks[0][1]


def test_only_what_adapts_by_gradient_takes_gradient_steps_at_test_time(compared):
    steps = {name: runs_of(compared, name)[0].measured["gradient_steps_at_test"] for name in AGENTS}
    assert steps == {"pearl": 0, "rl2": 0, "maml": 1}


def test_the_page_has_the_table_of_the_results_and_the_picture(compared):
    found = by_name(read_results(compared / "point-robot"), "pearl")
    assert next(iter(found)) == "pearl"
    assert set(found) == set(AGENTS)
    picture = "point-robot/comparison.png"
    text = f"a\n<!-- point-robot -->\n\n![What they reach]({picture})\n\n{table(found)}\n\n<!-- / -->\nb\n"
    assert (compared / "page.md").read_text() == text
    assert pixels(compared / picture).shape[1] == 1200


def test_an_overview_has_every_familys_last_episodes_from_the_best_mean_rank_down(compared, tmp_path, untrained):
    shutil.copytree(compared / "point-robot", tmp_path / "point-robot")
    shutil.copytree(compared / "point-robot", tmp_path / "without-the-baseline")
    without(tmp_path / "without-the-baseline", "pearl")
    shutil.copytree(compared / "point-robot", tmp_path / "with-fewer")
    without(tmp_path / "with-fewer", "maml")
    give_a_budget_of_its_own(tmp_path / "with-fewer", "rl2")
    page = tmp_path / "overview.md"
    page.write_text("<!-- overview -->\n<!-- / -->\n")
    compare_all(tmp_path, overview=page)
    header, _, *lines = [line.strip("| ").split(" | ") for line in page.read_text().splitlines() if "|" in line]
    assert header == ["algorithm", "point-robot, score after 0 steps", "with-fewer, score after 0 steps"]
    cells = {name: rest for name, *rest in lines}
    assert set(cells) == set(AGENTS)
    assert cells["maml"][1] == "–"
    assert cells["pearl"][0] == cells["pearl"][1]
    last = {name: last_episode(runs_of(compared, name)) for name in AGENTS}
    places = {
        family: sorted(set(AGENTS) - gone, key=lambda name: -last[name])
        for family, gone in (("all", set()), ("fewer", {"maml"}))
    }
    ranks = {name: np.mean([found.index(name) for found in places.values() if name in found]) for name in AGENTS}
    assert list(cells) == sorted(AGENTS, key=lambda name: (ranks[name], name))


def test_runs_of_another_budget_stand_beside_the_comparisons_and_are_drawn_with_them(compared, tmp_path, capsys):
    shutil.copytree(compared / "point-robot", tmp_path / "point-robot")
    own = runs_of(tmp_path, "rl2")
    compare.main(
        "point-robot",
        algorithms=("rl2",),
        seeds=(0,),
        total_steps=240,
        apart=True,
        out=tmp_path,
        runs=tmp_path / "runs",
    )
    longer = runs_of(tmp_path, "rl2-240-steps")[0]
    assert longer.config["training"]["total_steps"] == 240
    assert longer.curve["env_steps"][-1] >= 240
    assert_same_runs(runs_of(tmp_path, "rl2"), own)
    assert capsys.readouterr().out.count("better than") == 0
    compare.main("point-robot", algorithms=AGENTS, seeds=(0, 1), out=tmp_path)
    assert "| rl2-240-steps (1) |" in capsys.readouterr().out


def test_a_budget_of_its_own_has_to_be_given(tmp_path, untrained):
    with pytest.raises(ConfigError, match=r"--apart needs a budget: give --total-steps\."):
        compare.main("point-robot", algorithms=("rl2",), apart=True, out=tmp_path)


def test_runs_that_are_there_are_drawn_and_not_run_again(compared, tmp_path, untrained, capsys):
    shutil.copytree(compared / "point-robot", tmp_path / "point-robot")
    (tmp_path / "point-robot" / "comparison.png").unlink()
    compare.main("point-robot", algorithms=("rl2",), seeds=(1,), out=tmp_path)
    assert (tmp_path / "point-robot" / "comparison.png").is_file()
    printed = capsys.readouterr().out
    assert "better than rl2" in printed
    assert all(f"| {name} (2) |" in printed for name in AGENTS)


def test_a_run_is_kept_as_soon_as_it_is_through(tmp_path, monkeypatch):
    def interrupted(family, config, seed, *, folder, commit, trial_episodes):
        if seed == 3:
            raise KeyboardInterrupt
        record = RunRecord(
            commit=commit,
            config=settings_of(config),
            curve={"env_steps": np.array([0.0])},
            measured={"returns": [[float(seed)]], "references": {"random": [0.0], "oracle": None}},
        )
        return record, False

    monkeypatch.setattr(runner, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compare.main("point-robot", algorithms=("rl2",), seeds=(10, 2, 3), out=tmp_path)
    runs = runs_of(tmp_path, "rl2")
    assert list(runs) == [2, 10]
    assert runs[2].measured["returns"] == [[2.0]]


def test_a_run_that_is_through_takes_the_place_of_a_new_one(compared, tmp_path, untrained, monkeypatch):
    monkeypatch.setattr(evaluation, "REFERENCE_EPISODES", 2)
    config = small(RL2Config, "point-robot")
    for seed in (1, 0):
        model = MetaLearner("point-robot", config, seed=seed)
        Run(model, tmp_path / f"run{seed}", wandb="disabled").train()
    compare.main(
        "point-robot", algorithms=("rl2",), trained=[tmp_path / "run1"], seeds=(1,), trial_episodes=5, out=tmp_path
    )
    (run,) = runs_of(tmp_path, "rl2").values()
    expected = runs_of(compared, "rl2")[1]
    assert expected.commit != run.commit == "unknown"
    assert run.config == expected.config
    assert untimed(run.measured) == untimed(expected.measured)
    for name in ("env_steps", "gradient_steps", "test/return_ep1", "test/return_ep3", "test/score"):
        np.testing.assert_array_equal(run.curve[name], expected.curve[name])
    result = json.loads((tmp_path / "run0" / "result.json").read_text())
    write_json(tmp_path / "run0" / "result.json", result | {"commit": "abc"})
    compare.main("point-robot", algorithms=("rl2",), trained=[tmp_path / "run0"], seeds=(0, 1), out=tmp_path)
    assert [run.commit for run in runs_of(tmp_path, "rl2").values()] == ["abc", "unknown"]


def test_what_cannot_take_a_runs_place_is_named(tmp_path, untrained):
    run = Run(MetaLearner("point-robot", small(RL2Config, ""), seed=0), tmp_path / "run", wandb="disabled")
    run.save()
    settings = {"trained": [run.folder], "seeds": (), "out": tmp_path}
    with pytest.raises(RunError, match=r"is not finished. Continue it with train.py --resume"):
        compare.main("point-robot", algorithms=("rl2",), **settings)
    run.train()
    for family, agent in (("point-robot", "pearl"), ("varying-pendulum", "rl2")):
        with pytest.raises(ConfigError, match="a run of rl2 on point-robot, which is not compared here"):
            compare.main(family, algorithms=(agent,), **settings)
    with pytest.raises(ConfigError, match=r"other settings .*training.total_steps: 600, now 120"):
        compare.main("point-robot", algorithms=("rl2",), total_steps=600, **settings)


@pytest.mark.parametrize("total_steps", [None, 600])
def test_runs_with_other_settings_are_not_mixed_with_new_ones(compared, tmp_path, untrained, total_steps, monkeypatch):
    shutil.copytree(compared / "point-robot", tmp_path / "point-robot")
    if total_steps is None:
        monkeypatch.setitem(PROTOCOL, "n_test_tasks", 3)
    with pytest.raises(ConfigError, match=r"runs\.json holds runs with other settings \(comparison, plain, rl2\)"):
        compare.main("point-robot", algorithms=("rl2",), seeds=(0, 1), total_steps=total_steps, out=tmp_path)


def test_an_equal_budget_is_laid_over_every_preset():
    for name in ALGORITHMS:
        assert compare.config_of(name, "point-robot", 123).training.total_steps == 123
        assert compare.config_of(name, "point-robot", None) == small(ALGORITHMS[name].config, "")


def test_an_unknown_algorithm_none_and_a_baseline_without_runs_are_errors(tmp_path, untrained):
    with pytest.raises(ConfigError, match="There is no algorithm 'rl3'"):
        compare.main("point-robot", algorithms=("pearl", "rl3"), out=tmp_path)
    with pytest.raises(ConfigError, match="Name at least one algorithm"):
        compare.main("point-robot", algorithms=(), out=tmp_path)
    with pytest.raises(ConfigError, match="holds no runs of the baseline pearl"):
        compare.main("point-robot", algorithms=("pearl",), seeds=(), out=tmp_path)
