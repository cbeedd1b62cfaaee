"""Runs of a study: each is trained in a folder, where it can be stopped and continued."""

import numpy as np
import pytest

from pearl.model.meta_learner import load
from pearl.runs.run import Run, RunError, read_json
from pearl.studies import runner
from pearl.studies.results import PLAIN, Setting, read_results
from tests.support.small import small_config

SETTING = Setting("some", PLAIN, "pearl")
CONFIG = small_config(training={"total_steps": 480}, evaluation={"interval": 120})


class Stopped(Run):
    """A run that Ctrl-C reaches after its first evaluation that has a checkpoint."""

    def save(self) -> None:
        super().save()
        self.interrupted = True


def trained(folder, config=CONFIG, *, commit="abc"):
    """Train what is missing; return whether it is finished, and the runs."""
    results = folder / "results"
    finished = runner.train_missing(
        results, "point-robot", {SETTING: config}, (0,), commit=commit, runs=folder / "runs", announce=print
    )
    return finished, read_results(results).runs.get(SETTING, {}) if results.exists() else {}


def untimed(run):
    return {name: value for name, value in run.measured.items() if name != "wall_s"}


def own_folder(folder, commit="abc"):
    return folder / "runs" / commit / "point-robot-some-plain-pearl-seed0"


def test_a_run_that_was_stopped_continues_and_ends_as_if_it_had_not_been(tmp_path, monkeypatch):
    finished, expected = trained(tmp_path / "through")
    assert finished
    with monkeypatch.context() as patch:
        patch.setattr(runner, "Run", Stopped)
        assert trained(tmp_path / "stopped") == (False, {})
    assert load(own_folder(tmp_path / "stopped")).num_timesteps < 480
    finished, found = trained(tmp_path / "stopped")
    assert finished
    assert untimed(found[0]) == untimed(expected[0])
    timed = {name for name in expected[0].curve if name == "wall_s" or name.startswith("time/")}
    assert set(found[0].curve) == set(expected[0].curve)
    for name in set(expected[0].curve) - timed:
        np.testing.assert_array_equal(found[0].curve[name], expected[0].curve[name], err_msg=name)


def test_a_stop_after_the_last_step_keeps_the_run_and_ends_the_study(tmp_path, monkeypatch):
    class Late(Run):
        """A run that Ctrl-C reaches while its pictures are drawn."""

        def draw(self, evaluation):
            self.interrupted = True
            return super().draw(evaluation)

    monkeypatch.setattr(runner, "Run", Late)
    results = tmp_path / "results"
    assert not runner.train_missing(
        results, "point-robot", {SETTING: CONFIG}, (0, 1), commit="abc", runs=tmp_path, announce=print
    )
    assert list(read_results(results).runs[SETTING]) == [0]


def test_uncommitted_code_begins_anew(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(runner, "Run", Stopped)
        trained(tmp_path, commit="abc-dirty")
    assert trained(tmp_path, commit="abc-dirty")[0]
    assert len(list((tmp_path / "runs").glob("abc-dirty-*"))) == 2


def test_a_variants_name_does_not_lead_out_of_the_runs_folder(tmp_path):
    setting = Setting("some", "../../a", "pearl")
    runs = tmp_path / "runs"
    config = small_config()
    runner.train_missing(
        tmp_path / "results", "point-robot", {setting: config}, (0,), commit="abc", runs=runs, announce=print
    )
    assert [path.parent for path in tmp_path.rglob("result.json")] == [
        runs / "abc" / "point-robot-some-..-..-a-pearl-seed0"
    ]


def test_the_folder_of_a_run_that_is_through_holds_its_agent_and_its_commit(tmp_path):
    _, runs = trained(tmp_path)
    model = load(own_folder(tmp_path))
    np.testing.assert_array_equal(model.evaluate().returns.round(4), runs[0].measured["returns"])
    assert read_json(own_folder(tmp_path) / "result.json")["commit"] == "abc"


def test_another_commit_trains_anew(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(runner, "Run", Stopped)
        trained(tmp_path)
    finished, runs = trained(tmp_path, commit="def")
    assert finished
    assert runs[0].commit == "def"
    assert not (own_folder(tmp_path) / "result.json").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": {"total_steps": 960}}, "holds a run of 480 steps, not 960"),
        ({"training": {"total_steps": 480, "gradient_steps_per_env_step": 0.5}}, "gradient_steps_per_env_step"),
    ],
)
def test_a_run_of_other_settings_is_not_continued(tmp_path, monkeypatch, changes, message):
    with monkeypatch.context() as patch:
        patch.setattr(runner, "Run", Stopped)
        trained(tmp_path)
    with pytest.raises(RunError, match=rf"cannot be used. Remove it, or choose another place with --runs. .*{message}"):
        trained(tmp_path, small_config(evaluation={"interval": 120}, **changes))
