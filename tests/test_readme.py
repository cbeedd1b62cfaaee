"""The examples of the README and of two pages run as they stand there; training alone is cut short."""

import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

import pearl
from pearl.adaptation import fitting
from tests.support.processes import ROOT
from tests.support.small import small_model


def examples(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


EXAMPLES = examples("README.md")


@pytest.fixture(autouse=True)
def in_a_copy_of_the_root(tmp_path, monkeypatch):
    (tmp_path / "pretrained").symlink_to(ROOT / "pretrained")
    monkeypatch.chdir(tmp_path)


def test_there_are_two_examples():
    assert len(EXAMPLES) == 2


def test_the_adaptation_example_runs(capsys):
    exec(EXAMPLES[0], {})
    assert "tensor" in capsys.readouterr().out


def test_the_own_task_example_runs(monkeypatch):
    monkeypatch.setattr("pearl.evaluation.protocol.REFERENCE_EPISODES", 1)
    learnt: dict[str, Any] = {}
    few_steps = "pearl.PEARLConfig(training=pearl.TrainingConfig(total_steps=4_001, gradient_steps_per_env_step=0.005))"
    exec(EXAMPLES[1].replace("VaryingPendulum(), seed=0", f"VaryingPendulum(), {few_steps}, seed=0"), learnt)
    assert learnt["model"].training.gradient_steps == 30
    assert learnt["policy"].trial.n_transitions == 400
    assert Path("runs/varying-pendulum/manifest.json").is_file()


def test_the_examples_of_the_environments_page_run(capsys):
    perturbed, drifting, evaluation = examples("docs/environments.md")
    namespace: dict[str, Any] = {}
    exec(perturbed + drifting, namespace)
    assert namespace["tasks"].name == "mirrored-perturbed-Pendulum-v1"
    assert namespace["family"].name == "drifting-mirrored-perturbed-Pendulum-v1"
    namespace["model"] = small_model(namespace["family"])
    exec(evaluation, namespace)
    assert "drift/regret" in capsys.readouterr().out
    assert namespace["reward_around_a_change"].shape == (40,)


def test_the_loop_of_the_deployment_page_plays_an_episode(capsys):
    loop, *_ = examples("docs/deployment.md")
    env = gym.make("pearl/PointRobot-v0", goal=(0.3, -0.7))
    namespace: dict[str, Any] = {"pearl": pearl, "env": env}
    exec(loop, namespace)
    assert namespace["truncated"]
    assert "tensor" in capsys.readouterr().out


def test_the_deployment_pages_model_notices_changes_and_is_saved(tmp_path, monkeypatch):
    _, watching, fitting_and_saving, unfamiliar, interval, _ = examples("docs/deployment.md")
    monkeypatch.setattr(fitting, "STEPS", 2_000)
    monkeypatch.setattr(fitting, "GRADIENT_STEPS", 20)
    namespace: dict[str, Any] = {"model": pearl.load(ROOT / "pretrained" / "point-robot")}
    exec(watching, namespace)
    assert namespace["session"].changes == ()
    monkeypatch.chdir(tmp_path)
    exec(fitting_and_saving, namespace)
    namespace["session"] = pearl.load("my-agent").session(detect_changes=True)
    exec(unfamiliar, namespace)
    exec(interval, namespace)
    assert (namespace["low"] < namespace["high"]).all()
    assert namespace["session"].changes == ()


def test_every_link_and_picture_exists():
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text())
    assert links
    assert all((ROOT / link).exists() for link in links)
