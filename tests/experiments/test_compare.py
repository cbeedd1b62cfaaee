"""Comparisons: several algorithms on a family, with the same tasks and protocol."""

import json
import shutil

import compare
import numpy as np
import pytest
from pages import with_table

from pearl.algorithms import ALGORITHMS
from pearl.config.reading import ConfigError, from_mapping
from pearl.config.run import PEARLConfig, RL2Config
from pearl.evaluation import protocol as evaluation
from pearl.model.meta_learner import MetaLearner
from pearl.runs.run import Run, RunError, write_json
from pearl.studies.comparison import last_episode, normalised
from tests.support.pictures import pixels
from tests.support.processes import ROOT

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
    monkeypatch.setattr(compare, "train", lambda *arguments, **settings: pytest.fail("trained"))


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """The results of a comparison on the point robot with two seeds, and the page that it filled in."""
    folder = tmp_path_factory.mktemp("compared")
    page = folder / "page.md"
    page.write_text("a\n<!-- point-robot -->\nnot run yet\n<!-- / -->\nb\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "preset", small)
        patch.setattr(evaluation, "REFERENCE_EPISODES", 2)
        compare.main("point-robot", algorithms=AGENTS, seeds=(0, 1), trial_episodes=5, out=folder, page=page)
    return folder


def written(folder, name):
    return json.loads((folder / "point-robot" / f"{name}.json").read_text())


def test_every_run_has_its_curve_its_last_evaluation_and_a_longer_trial(compared):
    for name in AGENTS:
        data = written(compared, name)
        assert data["algorithm"] == name
        assert from_mapping(ALGORITHMS[name].config, data["config"]) == small(ALGORITHMS[name].config, "")
        assert list(data["runs"]) == ["0", "1"]
        for run in data["runs"].values():
            curve = run["curve"]
            assert curve["env_steps"][0] == 0
            assert curve["env_steps"][-1] >= 120
            assert {len(values) for values in curve.values()} == {len(curve["env_steps"])}
            assert set(curve) == {"env_steps", "gradient_steps", "wall_s", "return_per_episode", "score"}
            returns, trial = np.array(run["returns"]), np.array(run["trial_returns"])
            assert returns.shape == (2, 3)
            assert trial.shape == (2, 5)
            np.testing.assert_allclose(returns.mean(0), curve["return_per_episode"][-1], atol=2e-4)
            random, oracle = (np.array(run["references"][end]) for end in ("random", "oracle"))
            assert random.shape == oracle.shape == (2,)
            assert (random < oracle).all()
            score = (returns[:, -1].mean() - random.mean()) / (oracle.mean() - random.mean())
            assert score == pytest.approx(curve["score"][-1], abs=2e-4)
            assert run["wall_s"] >= curve["wall_s"][-1]
            assert len(run["commit"].removesuffix("-dirty")) == 40
        assert data["runs"]["0"]["returns"] != data["runs"]["1"]["returns"]


def test_a_longer_trial_begins_as_the_protocols(compared):
    for run in written(compared, "pearl")["runs"].values():
        np.testing.assert_allclose(np.array(run["trial_returns"])[:, :3], run["returns"], atol=1e-3)


def test_all_algorithms_meet_the_same_test_tasks_and_each_seed_its_own(compared):
    tasks = [[run["test_tasks"] for run in written(compared, name)["runs"].values()] for name in AGENTS]
    assert tasks[0] == tasks[1] == tasks[2]
    assert tasks[0][0] != tasks[0][1]


def test_only_what_adapts_by_gradient_takes_gradient_steps_at_test_time(compared):
    steps = {name: written(compared, name)["runs"]["0"]["gradient_steps_at_test"] for name in AGENTS}
    assert steps == {"pearl": 0, "rl2": 0, "maml": 1}


def test_the_page_has_the_table_of_the_results_and_the_picture(compared):
    found = compare.all_runs(compared / "point-robot", "pearl")
    assert next(iter(found)) == "pearl"
    assert set(found) == set(AGENTS)
    picture = "point-robot/comparison.png"
    text = f"a\n<!-- point-robot -->\n\n![What they reach]({picture})\n\n{compare.table(found)}\n\n<!-- / -->\nb\n"
    assert (compared / "page.md").read_text() == text
    assert pixels(compared / picture).shape[1] == 1200


def test_an_overview_has_every_familys_last_episodes_from_the_best_mean_rank_down(compared, tmp_path, untrained):
    shutil.copytree(compared / "point-robot", tmp_path / "point-robot")
    shutil.copytree(compared / "point-robot", tmp_path / "without-the-baseline")
    (tmp_path / "without-the-baseline" / "pearl.json").unlink()
    shutil.copytree(compared / "point-robot", tmp_path / "with-fewer")
    (tmp_path / "with-fewer" / "maml.json").unlink()
    shutil.copy(tmp_path / "with-fewer" / "rl2.json", tmp_path / "with-fewer" / "rl2-120-steps.json")
    page = tmp_path / "overview.md"
    page.write_text("<!-- overview -->\n<!-- / -->\n")
    compare.main("point-robot", algorithms=AGENTS, seeds=(0, 1), trial_episodes=5, out=tmp_path, overview=page)
    header, _, *lines = [line.strip("| ").split(" | ") for line in page.read_text().splitlines() if "|" in line]
    assert header == ["algorithm", "point-robot, score after 0 steps", "with-fewer, score after 0 steps"]
    cells = {name: rest for name, *rest in lines}
    assert set(cells) == set(AGENTS)
    assert cells["maml"][1] == "–"
    assert cells["pearl"][0] == cells["pearl"][1]
    last = {name: last_episode(compare.read_runs(compared / "point-robot" / f"{name}.json")) for name in AGENTS}
    places = {
        family: sorted(set(AGENTS) - gone, key=lambda name: -last[name])
        for family, gone in (("all", set()), ("fewer", {"maml"}))
    }
    ranks = {name: np.mean([found.index(name) for found in places.values() if name in found]) for name in AGENTS}
    assert list(cells) == sorted(AGENTS, key=lambda name: (ranks[name], name))


def test_runs_of_another_budget_stand_beside_the_comparisons_and_are_drawn_with_them(compared, tmp_path, capsys):
    shutil.copytree(compared / "point-robot", tmp_path / "point-robot")
    own = written(tmp_path, "rl2")
    compare.main("point-robot", algorithms=("rl2",), seeds=(0,), total_steps=240, apart=True, out=tmp_path)
    longer = written(tmp_path, "rl2-240-steps")
    assert longer["config"]["training"]["total_steps"] == 240
    assert longer["runs"]["0"]["curve"]["env_steps"][-1] >= 240
    assert written(tmp_path, "rl2") == own
    assert capsys.readouterr().out.count("better than") == 0
    compare.main("point-robot", algorithms=AGENTS, seeds=(0, 1), out=tmp_path)
    assert "| rl2-240-steps (1) |" in capsys.readouterr().out


def test_a_budget_of_its_own_has_to_be_given(tmp_path, untrained):
    with pytest.raises(ConfigError, match=r"--apart is for a budget of its own. Give it by --total-steps\."):
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
    def interrupted(family, config, seed, *, trial_episodes):
        if seed == 3:
            raise KeyboardInterrupt
        return {"seed": seed}

    monkeypatch.setattr(compare, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compare.main("point-robot", algorithms=("rl2",), seeds=(10, 2, 3), out=tmp_path)
    runs = written(tmp_path, "rl2")["runs"]
    assert list(runs) == ["2", "10"]
    assert runs["2"]["seed"] == 2


def test_a_run_that_is_through_takes_the_place_of_a_new_one(compared, tmp_path, untrained, monkeypatch):
    monkeypatch.setattr(evaluation, "REFERENCE_EPISODES", 2)
    config = small(RL2Config, "point-robot")
    for seed in (1, 0):
        model = MetaLearner("point-robot", config, seed=seed)
        Run(model, tmp_path / f"run{seed}", wandb="disabled").train()
    compare.main(
        "point-robot", algorithms=("rl2",), trained=[tmp_path / "run1"], seeds=(1,), trial_episodes=5, out=tmp_path
    )
    (run,) = written(tmp_path, "rl2")["runs"].values()
    expected = written(compared, "rl2")["runs"]["1"]
    for timed in (run, expected):
        timed["curve"].pop("wall_s")
        assert timed.pop("wall_s") > 0
    assert expected.pop("commit") != run.pop("commit") == "unknown"
    assert run == expected
    result = json.loads((tmp_path / "run0" / "result.json").read_text())
    write_json(tmp_path / "run0" / "result.json", result | {"commit": "abc"})
    compare.main("point-robot", algorithms=("rl2",), trained=[tmp_path / "run0"], seeds=(0, 1), out=tmp_path)
    assert [run["commit"] for run in written(tmp_path, "rl2")["runs"].values()] == ["abc", "unknown"]


def test_what_cannot_take_a_runs_place_is_named(tmp_path, untrained):
    run = Run(MetaLearner("point-robot", small(RL2Config, ""), seed=0), tmp_path / "run", wandb="disabled")
    run.save()
    settings = {"trained": [run.folder], "seeds": (), "out": tmp_path}
    with pytest.raises(RunError, match=r"is not through. Continue it with train.py --resume"):
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
    with pytest.raises(ConfigError, match=r"rl2\.json holds runs with other settings"):
        compare.main("point-robot", algorithms=("rl2",), seeds=(0, 1), total_steps=total_steps, out=tmp_path)


def test_settings_that_no_longer_read_are_other_settings(tmp_path):
    path = tmp_path / "rl2.json"
    path.write_text(json.dumps({"config": {"agent": {"gone": 1}}, "runs": {}}))
    with pytest.raises(ConfigError, match="holds runs with other settings"):
        compare.read_runs(path, small(RL2Config, ""))


def test_an_equal_budget_is_laid_over_every_preset():
    for name in ALGORITHMS:
        assert compare.config_of(name, "point-robot", 123).training.total_steps == 123
        assert compare.config_of(name, "point-robot", None) == small(ALGORITHMS[name].config, "")


def test_an_unknown_algorithm_none_and_a_baseline_without_runs_are_errors(tmp_path, untrained):
    with pytest.raises(ConfigError, match="There is no algorithm 'rl3'"):
        compare.main("point-robot", algorithms=("pearl", "rl3"), out=tmp_path)
    with pytest.raises(ConfigError, match="Name at least one algorithm"):
        compare.main("point-robot", algorithms=(), out=tmp_path)
    with pytest.raises(ConfigError, match="holds no runs of pearl"):
        compare.main("point-robot", algorithms=("pearl",), seeds=(), out=tmp_path)


def run_of(returns, *, tasks="abcd", oracle=None, steps=(0, 2000), gradient_steps=0, wall_s=90.0):
    """A run of four tasks, whose returns (task, episode) are given."""
    return {
        "curve": {"env_steps": list(steps), "return_per_episode": [[0.0] * len(returns[0])] * len(steps)},
        "test_tasks": list(tasks),
        "references": {"random": [-200.0] * 4, "oracle": None if oracle is None else [oracle] * 4},
        "returns": returns,
        "trial_returns": returns,
        "gradient_steps_at_test": gradient_steps,
        "wall_s": wall_s,
    }


BASE = [[-150.0, -60.0]] * 4
AHEAD = [[-150.0, -40.0]] * 4


def test_the_table_has_returns_with_few_digits_and_the_probability_of_the_same_tasks():
    found = {
        "pearl": {"0": run_of(BASE), "1": run_of(BASE, tasks="efgh")},
        "rl2": {"0": run_of(AHEAD, steps=(0, 1_200_000), wall_s=60.0), "5": run_of(BASE, wall_s=120.0)},
    }
    header, _, pearl, rl2 = compare.table(found).splitlines()
    assert header.startswith(
        "| algorithm (seeds) | environment steps | first episode | last episode | better than pearl |"
    )
    assert pearl == "| pearl (2) | 2 000 | −150 (−150 to −150) | −60 (−60 to −60) | – | 0 | 1.5 |"
    assert rl2 == "| rl2 (2) | 601 000 | −150 (−150 to −150) | −50 (−60 to −40) | 1.00 (1.00 to 1.00) | 0 | 1.5 |"


def test_the_table_has_scores_where_a_policy_knows_the_task():
    found = {"pearl": {"0": run_of(BASE, oracle=0.0)}, "maml": {"0": run_of(BASE, oracle=0.0, gradient_steps=3)}}
    assert compare.table(found).splitlines()[3] == (
        "| maml (1) | 2 000 | 0.250 (0.250 to 0.250) | 0.700 (0.700 to 0.700) | 0.50 (0.50 to 0.50) | 3 | 1.5 |"
    )


def test_a_tasks_score_lies_between_its_own_references():
    run = run_of(BASE, oracle=0.0)
    run["references"] = {"random": [-200.0, -100.0, -160.0, -60.0], "oracle": [0.0, -50.0, -10.0, 40.0]}
    assert normalised(run, run["returns"])[:, -1].tolist() == pytest.approx([0.7, 0.8, 2 / 3, 0.0])


def test_algorithms_that_share_no_tasks_are_not_compared():
    found = {"pearl": {"0": run_of(BASE)}, "rl2": {"0": run_of(AHEAD, tasks="efgh")}, "maml": {"1": run_of(AHEAD)}}
    assert [line.split(" | ")[4] for line in compare.table(found).splitlines()[2:]] == ["–", "–", "–"]


def test_the_baseline_comes_first_and_then_the_best_in_the_last_episode(tmp_path):
    for name, last in (("rl2", -50.0), ("pearl", -60.0), ("maml", -70.0), ("b", -40.0), ("a", -40.0)):
        (tmp_path / f"{name}.json").write_text(json.dumps({"runs": {"0": run_of([[-150.0, last]] * 4)}}))
    assert list(compare.all_runs(tmp_path, "pearl")) == ["pearl", "a", "b", "rl2", "maml"]


@pytest.mark.parametrize("oracle", [None, 0.0])
def test_algorithms_of_other_budgets_and_lengths_of_trial_are_drawn(tmp_path, oracle):
    longer = run_of([[-150.0, -90.0, -40.0]] * 4, oracle=oracle, steps=(0, 1000, 40_000))
    found = {"pearl": {"0": run_of(BASE, oracle=oracle)}, "of-old": {"0": longer, "1": run_of(AHEAD, oracle=oracle)}}
    assert pixels(compare.draw(tmp_path / "a.png", "family", found, 1)).shape[1] == 1200


RESULTS = ROOT / "results" / "comparison"
PUBLISHED = sorted(path for path in RESULTS.iterdir() if path.is_dir()) if RESULTS.is_dir() else []
PAGE = ROOT / "docs" / "comparison.md"


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: folder.name)
def test_the_published_page_has_the_figures_of_the_results(folder):
    found = compare.all_runs(folder, PEARLConfig.algorithm)
    shown = compare.section(found, f"../results/comparison/{folder.name}/{compare.PICTURE}")
    assert with_table(PAGE.read_text(), folder.name, shown) == PAGE.read_text()
    assert (folder / compare.PICTURE).is_file()


@pytest.mark.parametrize("family", ["point-robot", "sparse-point-robot", "varying-cartpole", "cheetah-vel"])
def test_the_published_page_has_a_place_for_the_family(family):
    assert "new" in with_table(PAGE.read_text(), family, "new")


def test_the_table_of_all_families_comes_from_the_results():
    page = PAGE.read_text()
    assert with_table(page, "overview", compare.overview_table(RESULTS, PEARLConfig.algorithm)) == page
