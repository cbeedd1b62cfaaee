"""The scripts behind what is published: specialists beside adapted agents, reference runs, pretrained agents."""

import dataclasses
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import publish
import pytest
import reproduce
import specialists
from stable_baselines3 import PPO

import pearl
from pearl import ContextConfig, PEARLConfig, TrainingConfig
from pearl.adaptation import fitting
from pearl.config.reading import ConfigError, from_mapping
from pearl.config.run import EvaluationConfig
from pearl.runs.run import RunError
from pearl.studies.reproduction import by_setting, summary
from pearl.studies.results import RUNS, read_results
from pearl.tasks import make
from tests.support.pictures import pixels
from tests.support.runs.run_records import assert_same_runs

SMALL = PEARLConfig(
    agent=dataclasses.replace(PEARLConfig().agent, hidden_sizes=(8,)),
    encoder=dataclasses.replace(PEARLConfig().encoder, hidden_sizes=(8,), latent_dim=2),
    training=TrainingConfig(
        n_train_tasks=2,
        meta_batch=2,
        batch_size=8,
        context=ContextConfig(max_length=16),
        episodes_per_trial=1,
        total_steps=400,
        gradient_steps_per_env_step=0.01,
    ),
    evaluation=EvaluationConfig(n_test_tasks=2, exploration_episodes=1, episodes=2, interval=400),
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Two seeds of an agent that was hardly trained."""
    paths = [tmp_path_factory.mktemp("agents") / f"seed{seed}" for seed in (0, 1)]
    for seed, path in enumerate(paths):
        pearl.PEARL("varying-pendulum", SMALL, seed=seed).save(path, training_state=False)
    return paths


def arguments(runs, out, **others):
    return specialists.Arguments(runs=list(runs), out=out, tasks=1, steps=120, interval=50, episodes=2, **others)


def test_specialists_play_the_first_agents_test_tasks_beside_every_agent(saved, tmp_path):
    assert specialists.main(arguments(saved, tmp_path)) == 0
    found = read_results(tmp_path / "varying-pendulum").specialists
    models = [pearl.load(path) for path in saved]
    task = models[0].test_tasks[0]
    assert found["tasks"] == [task.to_json()]
    own = [np.mean([model.evaluate([task], seed=trial).returns for trial in (0, 1)], axis=0) for model in models]
    assert np.allclose(found["adapted_return"], own)
    assert found["adapted_mean_per_episode"] == pytest.approx(np.mean(own, axis=(0, 1)).tolist())
    again = specialists.train_specialist(make("varying-pendulum"), task, steps=120, interval=50, episodes=2, seed=0)
    assert found["specialist"] == "SAC"
    assert found["specialist_curves"] == [again]
    assert found["specialist_return"] == [again[-1]]
    assert found["specialist_steps"] == [0, 50, 100, 120]
    assert found["adapted_steps"] == 200
    level = found["adapted_mean_per_episode"][-1]
    at_level = [steps for steps, value in zip(found["specialist_steps"], again, strict=True) if value >= level]
    assert found["steps_to_adapted"] == (at_level[0] if at_level else None)
    assert pixels(tmp_path / "varying-pendulum" / "specialists.png").shape[1] == 1200


def test_specialists_that_were_stopped_go_on_and_others_are_not_overwritten(saved, tmp_path, monkeypatch):
    out = tmp_path / "varying-pendulum" / RUNS
    trained: list[Any] = []

    def train(distribution, task, *, seed, **settings):
        if len(trained) == 1:
            trained.append(None)
            raise KeyboardInterrupt
        trained.append(seed)
        return [float(seed)] * 4

    monkeypatch.setattr(specialists, "train_specialist", train)
    two = dataclasses.replace(arguments(saved[:1], tmp_path), tasks=2)
    with pytest.raises(KeyboardInterrupt):
        specialists.main(two)
    assert json.loads(out.read_text())["specialists"]["specialist_curves"] == [[0.0] * 4]
    for _ in range(2):
        specialists.main(two)
        assert trained == [0, None, 1]
    before = out.read_bytes()
    for other in (dataclasses.replace(two, steps=100), dataclasses.replace(two, tasks=1)):
        with pytest.raises(ConfigError, match=r"runs\.json holds specialists of other tasks or settings"):
            specialists.main(other)
    assert out.read_bytes() == before
    assert len(json.loads(before)["specialists"]["specialist_return"]) == 2
    out.write_text("{")
    with pytest.raises(RunError, match=r"runs\.json"):
        specialists.main(two)
    assert out.read_text() == "{"


def test_a_specialist_that_another_call_has_stored_meanwhile_stays(saved, tmp_path, monkeypatch):
    def train(distribution, task, *, seed, **settings):
        if not trained:
            trained.append(seed)
            specialists.main(one)
        return [float(len(trained))] * 4

    trained: list[int] = []
    one = arguments(saved[:1], tmp_path)
    monkeypatch.setattr(specialists, "train_specialist", train)
    specialists.main(one)
    found = read_results(tmp_path / "varying-pendulum").specialists
    assert found["specialist_curves"] == [[1.0] * 4]
    assert len(found["tasks"]) == len(found["specialist_seconds"]) == 1


def test_a_specialist_of_discrete_actions_is_evaluated_where_it_is_due():
    family = make("varying-cartpole")
    task = family.sample(1, np.random.default_rng(0))[0]
    settings = {"interval": 150, "episodes": 2, "seed": 0}
    found = specialists.train_specialist(family, task, steps=300, **settings)
    assert isinstance(specialists.make_specialist(family.make_env(task), seed=0), PPO)
    assert len(found) == 3
    assert found[0] == found[1], "what is learnt from the first 256 steps"
    assert specialists.train_specialist(family, task, steps=600, **settings)[:3] == found


def test_measuring_a_specialist_more_often_does_not_change_what_it_learns():
    family = make("varying-pendulum")
    task = family.sample(1, np.random.default_rng(0))[0]
    often, seldom = (
        specialists.train_specialist(family, task, steps=120, interval=interval, episodes=1, seed=0)
        for interval in (40, 120)
    )
    assert [often[0], often[-1]] == seldom


@pytest.mark.parametrize(("level", "reached"), [(-9.0, 0), (0.0, 10), (0.5, 10), (3.0, 30), (3.1, None)])
def test_a_level_is_reached_where_the_mean_over_tasks_first_does(level, reached):
    curves = np.array([[-9.0, 2, -9, 3], [-9, -1, -9, 3]])
    assert specialists.steps_to_reach(level, [0, 10, 20, 30], curves) == reached


def test_a_specialist_is_measured_at_the_end_too():
    assert specialists.evaluation_steps(10, 4) == [0, 4, 8, 10]
    assert specialists.evaluation_steps(8, 4) == [0, 4, 8]
    assert specialists.evaluation_steps(3, 4) == [0, 3]


def test_an_interval_of_no_steps_is_refused():
    with pytest.raises(ValueError, match="--interval must be at least 1, got 0"):
        specialists.Arguments(runs=[], out=Path("results"), interval=0)


def test_a_task_that_an_agent_was_trained_on_is_refused(saved, tmp_path):
    trained_on_it = pearl.PEARL(
        "varying-pendulum", SMALL, seed=5, tasks=(pearl.load(saved[0]).test_tasks, pearl.load(saved[1]).test_tasks)
    )
    trained_on_it.save(tmp_path / "agent", training_state=False)
    with pytest.raises(ValueError, match="training tasks too"):
        specialists.main(arguments([saved[0], tmp_path / "agent"], tmp_path / "results"))


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory):
    """A family without a score, reproduced in small, with its blind reference."""
    folder = tmp_path_factory.mktemp("reproduced")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reproduce, "load_preset", lambda family: SMALL)
        for blind in (False, True):
            reproduce.main("varying-pendulum", seeds=(0,), out=folder / "results", runs=folder / "runs", blind=blind)
    return folder


def settings_in(folder):
    """The runs of each published setting in a folder of results."""
    return by_setting(read_results(folder / "results" / "varying-pendulum"))


def test_a_result_without_a_score_has_returns_probes_and_a_curve(reproduced):
    runs = settings_in(reproduced)["plain"]
    found = summary("varying-pendulum", runs)
    assert found["seeds"] == [0]
    assert found["score_mean"] is None
    assert found["last_return"] == [runs[0].measured["test"]["return_per_episode"][-1]]
    assert found["last_return"][0] == pytest.approx(np.mean(runs[0].measured["returns"], axis=0)[-1], abs=1e-3)
    assert found["last_return"] == [runs[0].curve["test/return_ep2"][-1]]
    assert found["last_cvar"] == [None], "two test tasks are too few"
    assert set(found["probes_mean"]) == {"usual", "zero_z", "other_tasks_z", "random_context"}
    assert found["probes_mean"]["usual"] == pytest.approx(found["last_return"][0])
    assert len(found["commit"].removesuffix("-dirty")) == 40


def test_pictures_are_of_all_seeds_or_of_the_first(reproduced):
    names = {path.name for path in (reproduced / "results" / "varying-pendulum").glob("*.png")}
    assert {"learning_curves.png", "return_by_episode.png"} <= names
    assert "learning_curve.png" not in names


def test_the_blind_reference_has_the_same_settings_but_for_the_encoder(reproduced):
    own, blind = (settings_in(reproduced)[name][0] for name in ("plain", "blind"))
    configs = [from_mapping(PEARLConfig, run.config) for run in (own, blind)]
    assert [config.encoder.kind for config in configs] == ["linear_gaussian", "blind"]
    assert dataclasses.replace(configs[1], encoder=configs[0].encoder) == configs[0]
    assert "probes" not in blind.measured
    assert summary("varying-pendulum", {0: blind})["probes_mean"] == {}
    for name in ("train_tasks", "test_tasks"):
        assert own.measured[name] == blind.measured[name]


def test_a_longer_run_is_a_setting_of_its_own_and_another_seed_joins_the_first(reproduced, tmp_path):
    results = tmp_path / "results" / "varying-pendulum"
    shutil.copytree(reproduced / "results" / "varying-pendulum", results)
    own = settings_in(tmp_path)["plain"]
    total_steps = SMALL.training.total_steps + 100
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reproduce, "load_preset", lambda family: SMALL)
        for longer in (total_steps, None):
            reproduce.main(
                "varying-pendulum", seeds=(1,), out=tmp_path / "results", runs=tmp_path / "runs", total_steps=longer
            )
    found = settings_in(tmp_path)
    assert list(found) == ["plain", f"{total_steps}-steps", "blind"]
    (run,) = found[f"{total_steps}-steps"].values()
    assert run.config["training"]["total_steps"] == total_steps
    assert run.measured["env_steps"] >= total_steps
    assert list(found["plain"]) == [0, 1]
    assert_same_runs({0: found["plain"][0]}, own)


def test_a_run_that_is_reproduced_again_replaces_the_published_one(reproduced, tmp_path):
    shutil.copytree(reproduced / "results" / "varying-pendulum", tmp_path / "results" / "varying-pendulum")
    published = settings_in(tmp_path)["plain"][0]
    other = dataclasses.replace(SMALL, evaluation=dataclasses.replace(SMALL.evaluation, n_test_tasks=3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reproduce, "load_preset", lambda family: other)
        reproduce.main("varying-pendulum", seeds=(0,), out=tmp_path / "results", runs=tmp_path / "runs")
    (run,) = settings_in(tmp_path)["plain"].values()
    assert len(published.measured["returns"]) == 2
    assert len(run.measured["returns"]) == len(run.measured["test_tasks"]) == 3


def test_a_published_agent_has_a_card_without_a_score_and_no_training_state(reproduced, tmp_path):
    publish.main(reproduced / "runs" / "varying-pendulum-seed0", out=tmp_path)
    folder = tmp_path / "varying-pendulum"
    card = (folder / "README.md").read_text()
    assert "| random policy |" in card
    assert "score" not in card
    assert "| 2 test tasks are too few, 20 different ones are needed |" in card
    assert "| test tasks | 2, none of them a training task |" in card
    assert not any("replay" in path.name for path in folder.iterdir())
    assert pearl.load(folder).family == "varying-pendulum"


def test_a_published_agent_notices_changes_and_knows_familiar_tasks_also_if_its_run_knew_changes_alone(
    reproduced, tmp_path, monkeypatch
):
    monkeypatch.setattr(fitting, "GRADIENT_STEPS", 1)
    run = tmp_path / "run"
    shutil.copytree(reproduced / "runs" / "varying-pendulum-seed0", run)
    model = pearl.load(run)
    model.fit_change_detector(seed=0)
    model.familiarity = None
    model.save(run / "checkpoint")
    publish.main(run, out=tmp_path)
    session = pearl.load(tmp_path / "varying-pendulum").session(detect_changes=True)
    assert session.changes == ()
    assert session.unfamiliarity == 0


def test_a_card_has_the_return_of_the_worst_tasks_of_each_episode_or_a_dash_if_the_run_is_older(reproduced, tmp_path):
    shutil.copytree(reproduced / "runs" / "varying-pendulum-seed0", tmp_path / "run")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    row = "| worst 5 % of tasks (CVaR), return of episode 1 to 2 |"
    result["test"] |= {"cvar_per_episode": [-1500.0, -300.127]}
    (tmp_path / "run" / "result.json").write_text(json.dumps(result))
    publish.main(tmp_path / "run", out=tmp_path)
    assert f"{row} -1500.00 → -300.13 |" in (tmp_path / "varying-pendulum" / "README.md").read_text()
    del result["test"]["cvar_per_episode"]
    (tmp_path / "run" / "result.json").write_text(json.dumps(result))
    publish.main(tmp_path / "run", out=tmp_path)
    assert f"{row} – |" in (tmp_path / "varying-pendulum" / "README.md").read_text()


def test_a_commit_is_marked_where_anything_but_results_differs_from_it(tmp_path, monkeypatch):
    for name in ("experiments/reproduce.py", "results/runs.json"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("1")
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (["init", "-q"], ["add", "."], [*author, "commit", "-q", "-m", "all"]):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    monkeypatch.setattr(reproduce, "__file__", str(tmp_path / "experiments" / "reproduce.py"))
    clean = reproduce.commit()
    assert len(clean) == 40
    (tmp_path / "results" / "runs.json").write_text("2")
    assert reproduce.commit() == clean
    (tmp_path / "experiments" / "reproduce.py").write_text("2")
    assert reproduce.commit() == f"{clean}-dirty"
