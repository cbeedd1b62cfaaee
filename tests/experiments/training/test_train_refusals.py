"""What the training script refuses to start with or to go on with, and how it says what is wrong."""

import numpy as np
import pytest

import pearl
from pearl.tasks import registry
from tests.support.runs.script_runs import SHORT, SHORTEST, contents, printed_by, rows
from tests.support.small import Counting


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--training.meta-bach", "3"], "--training.meta-batch"),
        (["--total-step", "3"], "--total-steps"),
        (["--sead", "3"], "--seed"),
        (["--agent.learning-rate", "high"], "--agent.learning-rate: could not convert string to float: 'high'"),
        (["--training.meta-batch", "1.5"], "--training.meta-batch: invalid literal for int()"),
        (["--wandb", "perhaps"], "invalid choice 'perhaps'"),
        (["--encoder.kind", "magic"], "encoder.kind must be one of 'linear_gaussian', "),
        (["--training.meta-batch", "-3"], "training.meta_batch must be at least 1, got -3"),
        (["--agent.hidden-sizes", "-8"], "agent.hidden_sizes must be one or more positive widths, got (-8,)"),
        (["--evaluation.episodes", "2"], "evaluation.episodes (2) must exceed evaluation.exploration_episodes (2)"),
        (["--training.replay-capacity", "10000", "--training.replay-budget-mb", "1"], "training.replay_budget_mb"),
        (["--total-steps", "0"], "training.total_steps must be at least 1, got 0"),
        (["--seed", "-1"], "--seed must be at least 0, got -1"),
        (["--threads", "0"], "--threads must be at least 1, got 0"),
        (["and-more"], "Unrecognized options: and-more"),
        (["--config", "nowhere.yaml"], "Cannot read the config file nowhere.yaml"),
        (["--run-dir", ""], "--run-dir must not be empty; '.' is the current folder."),
        (["--config", ""], "--config must not be empty; '.' is the current folder."),
    ],
)
def test_a_wrong_flag_is_named_and_starts_no_run(capsys, own_working_directory, flags, message):
    code, printed = printed_by(capsys, "point-robot", *flags)
    assert code == 2
    assert message in printed
    assert "Traceback" not in printed
    assert list(own_working_directory.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training: {meta_bach: 3}", "Unknown setting 'training.meta_bach'. Did you mean 'meta_batch'?"),
        ("trainin: {}", "Unknown setting 'trainin'. Did you mean 'training'?"),
        ("training: {meta_batch: many}", "training.meta_batch must be a whole number, got 'many'"),
        ("training: {meta_batch: -3}", "training.meta_batch must be at least 1, got -3"),
        ("evaluation: {episodes: 2}", "evaluation.episodes (2) must exceed evaluation.exploration_episodes (2)"),
        ("agent: {hidden_sizes: [-8]}", "agent.hidden_sizes must be one or more positive widths, got (-8,)"),
        ("encoder: {kind: magic}", "encoder.kind must be one of"),
        ("[]", "must be a mapping of settings"),
        ("a: [", "is not valid YAML"),
    ],
)
def test_a_wrong_setting_in_yaml_is_named_with_its_file_and_starts_no_run(capsys, tmp_path, text, message):
    (tmp_path / "mine.yaml").write_text(text)
    code, printed = printed_by(capsys, "point-robot", "--config", tmp_path / "mine.yaml")
    assert code == 2
    assert message in printed
    assert "mine.yaml" in printed
    assert not (tmp_path / "cwd" / "runs").exists()


def test_an_unknown_family_names_the_nearest(capsys):
    code, printed = printed_by(capsys, "point-robt")
    assert code == 2
    assert "Unknown family 'point-robt'. Did you mean 'point-robot'" in printed


@pytest.mark.parametrize("argv", [[], ["--seed", "1"], ["--resume"]])
def test_without_a_family_the_families_are_listed(capsys, argv):
    code, printed = printed_by(capsys, *argv)
    assert code == 2
    assert "Name a task family first: train.py FAMILY [flags]." in printed
    assert all(name in printed for name in pearl.families())


def test_a_folder_that_holds_a_run_is_refused_and_left_untouched(capsys, finished):
    before = contents(finished.folder)
    code, printed = printed_by(capsys, *SHORT, "--run-dir", finished.folder)
    assert code == 2
    assert "already holds a run" in printed
    assert "--resume" in printed
    assert "--run-dir" in printed
    assert contents(finished.folder) == before


def test_resuming_without_a_checkpoint_says_to_start_anew(capsys, own_working_directory):
    code, printed = printed_by(capsys, *SHORT, "--resume")
    assert code == 2
    assert "runs/point-robot-seed0 holds no checkpoint to resume from. Start a new run" in printed
    assert list(own_working_directory.iterdir()) == []


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([*SHORT, "--agent.discount", "0.5"], "agent.discount: 0.9, now 0.5"),
        ([*SHORT, "--evaluation.interval", "50"], "evaluation.interval: 300, now 50"),
        ([*SHORT, "--config", "changed.yaml"], "training.context.max_length: 60, now 30"),
        ([*SHORT, "--seed", "1"], "has seed 0, not 1"),
        (["sparse-point-robot"], "is of the family 'point-robot', not 'sparse-point-robot'"),
    ],
)
def test_resuming_as_another_run_names_what_differs_and_changes_nothing(
    capsys, finished, own_working_directory, argv, message
):
    (own_working_directory / "changed.yaml").write_text("training: {context: {max_length: 30}}\n")
    before = contents(finished.folder)
    code, printed = printed_by(capsys, *argv, "--run-dir", finished.folder, "--resume")
    assert code == 2
    assert message in printed
    assert contents(finished.folder) == before


@pytest.fixture
def registered(monkeypatch):
    """A function that registers families for one test."""
    monkeypatch.setattr(registry, "_FAMILIES", dict(registry._FAMILIES))
    return lambda name, family: pearl.register(name, lambda: family, "of a test")


COUNTING = [
    "--training.episodes-per-trial",
    "2",
    "--evaluation.exploration-episodes",
    "1",
    "--evaluation.episodes",
    "2",
]


def test_a_reward_that_is_nan_ends_training_and_names_task_step_and_value(capsys, registered, tmp_path):
    registered("counting", Counting(broken=("reward", 60, float("nan"))))
    family = ["counting", *SHORTEST[1:], *COUNTING, "--evaluation.interval", "64"]
    code, printed = printed_by(capsys, *family, "--run-dir", tmp_path / "run")
    assert code == 1
    assert "Training ended: The environment of task" in printed
    assert "(number=" in printed
    assert "returned reward nan at step" in printed
    assert printed.endswith(f"Nothing of this trial was learnt. The last checkpoint in {tmp_path / 'run'} is kept.")
    assert "Traceback" not in printed
    model = pearl.load(tmp_path / "run")
    assert model.num_timesteps == int(rows(tmp_path / "run")[-1]["env_steps"]) > 0


def test_training_that_ends_before_its_first_checkpoint_claims_none(capsys, registered, tmp_path):
    class Broken(Counting):
        def make_env(self, task, *, render_mode=None):
            self._largest = task.params["number"]
            return super().make_env(task, render_mode=render_mode)

    registered("counting", Broken(broken=("reward", 1, float("nan"))))
    code, printed = printed_by(capsys, "counting", *SHORTEST[1:], *COUNTING, "--run-dir", tmp_path / "run")
    assert code == 1
    assert "Training ended: The environment of task" in printed
    assert printed.endswith("Nothing of this trial was learnt.")


def test_a_setting_that_the_family_cannot_serve_is_refused_with_the_remedy(capsys, registered, own_working_directory):
    registered("counting", Counting())
    code, printed = printed_by(capsys, "counting", *SHORTEST[1:], *COUNTING, "--training.relabelling.candidates", "2")
    assert code == 2
    assert list(own_working_directory.iterdir()) == []
    assert "training.relabelling.candidates needs a family that can compute its rewards" in printed


def test_a_family_that_repeats_its_tasks_is_refused(capsys, registered, own_working_directory):
    class One(Counting):
        def sample(self, n, rng):
            return Counting.sample(self, 1, np.random.default_rng(0)) * n

    registered("one", One())
    code, printed = printed_by(capsys, "one", *SHORTEST[1:])
    assert code == 2
    assert "4 of 4 test tasks are training tasks too" in printed
    assert list(own_working_directory.iterdir()) == []


def test_a_run_folder_that_cannot_be_made_is_named(capsys, tmp_path):
    (tmp_path / "taken").write_text("mine")
    code, printed = printed_by(capsys, *SHORTEST, "--run-dir", tmp_path / "taken" / "run")
    assert code == 2
    assert "Cannot write the run folder" in printed
    assert "--run-dir" in printed


def test_a_replay_beyond_its_budget_is_refused_before_it_is_taken(capsys, own_working_directory):
    code, printed = printed_by(capsys, "point-robot", "--training.replay-capacity", "10000000", "--wandb", "disabled")
    assert code == 2
    assert "training.replay_budget_mb" in printed
    assert list(own_working_directory.iterdir()) == []
