"""The README's examples run as they stand there; training alone is cut short."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import ROOT

EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


@pytest.fixture(autouse=True)
def in_a_copy_of_the_root(tmp_path, monkeypatch):
    (tmp_path / "pretrained").symlink_to(ROOT / "pretrained")
    monkeypatch.chdir(tmp_path)


def test_there_are_three_examples():
    assert len(EXAMPLES) == 3


def test_the_adaptation_example_runs(capsys):
    exec(EXAMPLES[0], {})
    assert "tensor" in capsys.readouterr().out


def test_the_own_task_example_runs(monkeypatch):
    monkeypatch.setattr("pearl.evaluation.protocol.REFERENCE_EPISODES", 1)
    learnt: dict[str, Any] = {}
    cut = EXAMPLES[1].replace("learn(20_000", "learn(4_001")
    exec(cut.replace("n_train_tasks=20", "n_train_tasks=20, gradient_steps_per_env_step=0.005"), learnt)
    assert learnt["model"].training.gradient_steps == 60
    assert learnt["policy"].trial.n_transitions == 400
    assert Path("runs/varying-pendulum/manifest.json").is_file()


def test_the_perturbed_example_runs():
    namespace: dict[str, Any] = {}
    exec(EXAMPLES[2], namespace)
    assert namespace["tasks"].name == "mirrored-perturbed-Pendulum-v1"


def test_every_link_and_picture_exists():
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text())
    assert links
    assert all((ROOT / link).exists() for link in links)
