"""A user's own distribution goes through the scripts by its name ``module:Class``."""

import json

import adapt
import evaluate
import pytest
import train

MODULE = """
import gymnasium as gym
import pearl


class VaryingPendulum(pearl.TaskDistribution):
    def sample(self, n, rng):
        return [pearl.Task({"gravity": float(g)}) for g in rng.uniform(5.0, 15.0, n)]

    def make_env(self, task, *, render_mode=None):
        return gym.make("Pendulum-v1", g=task.params["gravity"], render_mode=render_mode, max_episode_steps=20)
"""
NAME = "my_pendulum:VaryingPendulum"
TINY = {
    "--training.n-train-tasks": 2,
    "--training.meta-batch": 2,
    "--training.batch-size": 4,
    "--training.context.max-length": 20,
    "--evaluation.n-test-tasks": 2,
    "--wandb": "disabled",
}
FLAGS = [str(part) for flag in TINY.items() for part in flag]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "my_pendulum.py").write_text(MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setattr("pearl.evaluation.protocol.REFERENCE_EPISODES", 1)
        assert train.main([NAME, *FLAGS, "--total-steps", "200", "--run-dir", str(folder / "run")]) == 0
        yield folder / "run"


def test_it_trains(run):
    result = json.loads((run / "result.json").read_text())
    assert result["family"] == "VaryingPendulum"
    assert result["test"]["score"] is None


def test_it_resumes_evaluates_and_adapts(run, capsys):
    assert train.main([NAME, *FLAGS, "--total-steps", "400", "--run-dir", str(run), "--resume"]) == 0
    assert evaluate.main(run, tasks=2, distribution=NAME) == 0
    assert adapt.main(run, task="gravity=9.8", distribution=NAME) == 0
    assert evaluate.main(run) == 2
    assert "which is not registered" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my_pendulum:VaryingPendulm", "it has VaryingPendulum"),
        ("my_pendulum:gym", "has no TaskDistribution class 'gym'"),
        ("no_such_module:Thing", "There is no module 'no_such_module'"),
    ],
)
def test_a_wrong_name_says_what_there_is(run, capsys, name, message):
    assert train.main([name]) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")


def test_the_families_are_listed_a_line_each(capsys):
    assert train.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.strip().startswith("sparse-point-robot") for line in lines)
