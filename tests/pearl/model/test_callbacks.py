"""stable-baselines3's callbacks and a user's own drive meta-training unchanged."""

import csv

import numpy as np
import pytest
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    CheckpointCallback,
    EvalCallback,
    EveryNTimesteps,
    LogEveryNTimesteps,
    ProgressBarCallback,
    StopTrainingOnMaxEpisodes,
    StopTrainingOnNoModelImprovement,
    StopTrainingOnRewardThreshold,
)
from stable_baselines3.common.logger import CSVOutputFormat, Logger
from stable_baselines3.common.monitor import Monitor

import pearl
from pearl import PEARL
from tests.support.small import (
    INITIAL,
    ITERATION,
    LENGTH,
    Counting,
    CountingEnv,
    differences,
    everything_learnt,
    files_of,
    small_config,
    small_model,
)

pytestmark = pytest.mark.filterwarnings("ignore:rich is experimental")
other_type_of_environments = pytest.mark.filterwarnings("ignore:Training and eval env are not of the same type")


class Recorder(BaseCallback):
    """A user's own callback: notes what it is called with."""

    def __init__(self, stop_at=None):
        super().__init__()
        self.stop_at = stop_at
        self.events, self.timesteps, self.rewards, self.dones = [], [], [], 0

    def _on_training_start(self):
        self.events.append("training starts")
        self.n_envs = self.training_env.num_envs

    def _on_rollout_start(self):
        self.events.append("rollout starts")

    def _on_step(self):
        self.timesteps.append(self.model.num_timesteps)
        assert self.num_timesteps == self.model.num_timesteps
        self.rewards.append(self.locals["rewards"].copy())
        self.dones += int(self.locals["dones"].sum())
        assert self.locals["self"] is self.model
        assert len(self.locals["infos"]) == len(self.locals["dones"])
        self.logger.record("mine/steps", self.num_timesteps)
        return self.stop_at is None or self.num_timesteps < self.stop_at

    def _on_rollout_end(self):
        self.events.append("rollout ends")

    def _on_training_end(self):
        self.events.append("training ends")


@pytest.fixture
def log(tmp_path):
    """A logger and the file that it writes."""
    path = tmp_path / "log.csv"
    logger = Logger(folder=str(tmp_path), output_formats=[CSVOutputFormat(str(path))])
    yield logger, path
    logger.close()


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_users_callback_sees_the_model_the_environments_and_every_step():
    model, recorder = small_model(), Recorder()
    model.learn(INITIAL + ITERATION, callback=recorder)
    assert recorder.n_envs == 4
    assert recorder.timesteps == list(range(4, INITIAL + ITERATION + 1, 4))
    assert recorder.dones == 4 * 1 + 4 * 2
    numbers = [task.params["number"] for task in model.train_tasks]
    assert recorder.rewards[0] == pytest.approx(np.array(numbers) + 0.1)
    assert recorder.events == [
        "training starts",
        *["rollout starts", "rollout ends"] * 2,
        "training ends",
    ]


def test_what_a_callback_records_is_logged_with_the_evaluation(log):
    model = small_model()
    model.logger, path = log
    model.learn(INITIAL + ITERATION, callback=Recorder())
    last = rows_of(path)[-1]
    assert float(last["mine/steps"]) == float(last["env_steps"]) == INITIAL + ITERATION
    assert float(last["gradient_steps"]) == model.training.gradient_steps
    assert {"test/return_ep1", "test/return_ep2", "train/critic_loss", "test/posterior_stddev"} <= last.keys()


def test_a_callback_that_returns_false_ends_training_after_the_iteration():
    model = small_model().learn(1_000, callback=Recorder(stop_at=INITIAL + 8))
    assert model.num_timesteps == INITIAL + 8
    assert model.training.replay.n_added.sum() == model.num_timesteps


def test_training_goes_on_after_a_callback_has_stopped_it():
    model = small_model().learn(1_000, callback=Recorder(stop_at=INITIAL + 8))
    model.learn(ITERATION)
    assert model.num_timesteps == INITIAL + 8 + ITERATION


def test_a_plain_function_is_a_callback():
    seen = []

    def callback(local, global_):
        seen.append((local["self"].num_timesteps, local["dones"].shape))
        return local["self"].num_timesteps < 12

    model = small_model().learn(1_000, callback=callback)
    assert seen == [(4, (4,)), (8, (4,)), (12, (4,))]
    assert model.num_timesteps == 12


def test_a_list_of_callbacks_and_a_callback_list_call_each():
    for kind in (list, CallbackList):
        recorders = [Recorder(), Recorder()]
        small_model().learn(INITIAL, callback=kind(recorders))
        assert [recorder.timesteps for recorder in recorders] == [[4, 8, 12, 16]] * 2


def test_callbacks_do_not_change_training():
    plain = small_model().learn(INITIAL + ITERATION)
    watched = small_model().learn(INITIAL + ITERATION, callback=Recorder(), progress_bar=True)
    assert differences(everything_learnt(plain), everything_learnt(watched)) == []


def test_checkpoints_of_stable_baselines3_load(tmp_path):
    model = small_model()
    everything = {"save_replay_buffer": True, "save_vecnormalize": True}
    callback = CheckpointCallback(save_freq=4, save_path=str(tmp_path), name_prefix="counting", **everything)
    model.learn(INITIAL + ITERATION, callback=callback)
    assert files_of(tmp_path) == {f"counting_{steps}_steps.zip" for steps in (16, 32, 48)}
    loaded = pearl.load(tmp_path / "counting_48_steps.zip", distribution=Counting())
    assert loaded.num_timesteps == INITIAL  # The trial in which it was saved was not kept yet.
    assert differences(everything_learnt(model), everything_learnt(loaded.learn(ITERATION))) == []


@pytest.mark.parametrize("tasks_per_iteration", [None, 2])
@pytest.mark.parametrize(
    "options",
    [
        lambda: {"progress_bar": True},
        lambda: {"callback": ProgressBarCallback()},
        lambda: {"callback": [Recorder(), CallbackList([ProgressBarCallback()])]},
    ],
    ids=["progress_bar", "callback", "within lists"],
)
def test_the_progress_bar_counts_environment_steps(options, tasks_per_iteration, monkeypatch):
    shown = []
    close = ProgressBarCallback._on_training_end
    monkeypatch.setattr(
        ProgressBarCallback,
        "_on_training_end",
        lambda self: (shown.append((self.pbar.n, self.pbar.total)), close(self)),
    )
    model = small_model(training={"tasks_per_iteration": tasks_per_iteration})
    model.learn(INITIAL + ITERATION, **options())
    model.learn(2 * ITERATION, **options())
    assert shown == [(INITIAL + ITERATION, INITIAL + ITERATION), (2 * ITERATION, 2 * ITERATION)]


def test_training_stops_after_so_many_episodes_of_each_task():
    model = small_model().learn(1_000, callback=StopTrainingOnMaxEpisodes(max_episodes=3))
    assert model.num_timesteps == 3 * 4 * LENGTH


def test_every_n_timesteps_counts_environment_steps():
    inner = Recorder()
    small_model().learn(INITIAL + ITERATION, callback=EveryNTimesteps(n_steps=16, callback=inner))
    assert inner.timesteps == [16, 32, 48]


def test_logs_are_written_every_n_timesteps(log):
    model = small_model()
    model.logger, path = log
    model.learn(INITIAL, callback=[Recorder(), LogEveryNTimesteps(n_steps=8)])
    assert [row["mine/steps"] for row in rows_of(path) if row["mine/steps"]] == ["8", "16"]


def evaluation_callback(**options):
    """One of an environment whose every return is 2."""
    return EvalCallback(Monitor(CountingEnv(0.25)), verbose=0, **options)


@other_type_of_environments
def test_stable_baselines3s_evaluation_callback_evaluates_the_prior(log, tmp_path):
    model = small_model()
    model.logger, path = log
    best = tmp_path / "best"
    callback = evaluation_callback(
        n_eval_episodes=2, eval_freq=6, best_model_save_path=str(best), log_path=str(tmp_path)
    )
    model.learn(INITIAL + ITERATION, callback=callback)
    with np.load(tmp_path / "evaluations.npz") as saved:
        assert saved["timesteps"].tolist() == [24, 48]
        assert saved["results"] == pytest.approx(np.full((2, 2), 2.0))
    logged = [float(row["eval/mean_reward"]) for row in rows_of(path) if row["eval/mean_reward"]]
    assert logged == pytest.approx([2.0, 2.0])
    assert pearl.load(best / "best_model", distribution=Counting()).num_timesteps == INITIAL


@other_type_of_environments
def test_training_stops_on_a_reward_threshold():
    stop = StopTrainingOnRewardThreshold(reward_threshold=1.5)
    callback = evaluation_callback(callback_on_new_best=stop, n_eval_episodes=1, eval_freq=4)
    assert small_model().learn(1_000, callback=callback).num_timesteps == 16


@other_type_of_environments
def test_the_evaluation_callback_does_not_change_training():
    plain = small_model().learn(INITIAL + ITERATION)
    callback = evaluation_callback(n_eval_episodes=1, eval_freq=4, deterministic=False)
    watched = small_model().learn(INITIAL + ITERATION, callback=callback)
    assert differences(everything_learnt(plain), everything_learnt(watched)) == []


@other_type_of_environments
def test_training_stops_where_evaluations_stop_improving():
    stop = StopTrainingOnNoModelImprovement(max_no_improvement_evals=1)
    callback = evaluation_callback(callback_after_eval=stop, n_eval_episodes=1, eval_freq=4)
    model = small_model().learn(1_000, callback=callback)
    assert stop.no_improvement_evals == 2
    assert model.num_timesteps < 100


def test_training_ends_when_it_should_stop():
    answers = iter([False, False, True])
    model = small_model().learn(1_000, should_stop=lambda: next(answers))
    assert model.num_timesteps == INITIAL + ITERATION


def test_callbacks_work_in_a_native_family():
    recorder = Recorder()
    PEARL("sparse-point-robot", small_config()).learn(4 * 20, callback=recorder)
    assert recorder.timesteps == list(range(4, 81, 4))
    assert recorder.dones == 4
