"""A model answers to stable-baselines3's names: with what they mean there, or with an error that says what to use."""

import gymnasium as gym
import numpy as np
import pytest
import torch
import wandb
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from wandb.integration.sb3 import WandbCallback

import pearl
from pearl import PEARL, CheckpointError, MetaLearner
from tests.support.algorithms import CONFIGS, made
from tests.support.small import (
    INITIAL,
    ITERATION,
    LENGTH,
    Counting,
    CountingEnv,
    differences,
    everything_learnt,
    small_config,
    small_model,
)


@pytest.fixture(scope="module", params=[PPO, SAC])
def names(request):
    """Public names of one of its models."""
    return [name for name in dir(request.param("MlpPolicy", "Pendulum-v1")) if not name.startswith("_")]


@pytest.mark.parametrize("name", ["pearl", "rl2"])
def test_every_public_name_is_there_or_says_what_takes_its_place(names, name):
    model = made(CONFIGS[name])
    missing = {}
    for each in names:
        try:
            getattr(model, each)
        except AttributeError as error:
            missing[each] = str(error)
    assert {each: text for each, text in missing.items() if "as in stable-baselines3. " not in text} == {}
    assert {"ep_info_buffer", "policy", "set_logger", "n_envs", "env", "load", "device"}.isdisjoint(missing)
    assert "model.training.replay" in missing["save_replay_buffer"] if "save_replay_buffer" in missing else True


def test_a_name_of_nobody_is_an_ordinary_attribute_error():
    with pytest.raises(AttributeError, match=r"^A PEARL has no attribute 'polcy'\.$"):
        small_model().polcy  # noqa: B018


def test_the_policy_is_a_module_on_the_device_that_it_acts_on():
    for config in CONFIGS.values():
        model = made(config)
        assert isinstance(model.policy, torch.nn.Module)
        assert model.device == torch.device("cpu")
        assert model.n_envs == model.get_env().num_envs == 4


def test_a_logger_is_set_as_there(tmp_path):
    model, logger = small_model(), configure(str(tmp_path), ["csv"])
    model.set_logger(logger)
    assert model.logger is logger
    model.learn(INITIAL)
    logger.close()
    assert "test/return_ep1" in (tmp_path / "progress.csv").read_text()


class Adjustable(CountingEnv):
    """Its bonus is paid in every step."""

    bonus = 0.0

    def set_bonus(self, bonus, *, factor=1.0):
        self.bonus = bonus * factor
        return self.number

    def step(self, action):
        observation, reward, *rest = super().step(action)
        return observation, reward + self.bonus, *rest


class AdjustableTasks(Counting):
    """Environments that a callback changes."""

    def make_env(self, task, *, render_mode=None):
        return gym.wrappers.TimeLimit(Adjustable(task.params["number"], self.length), 10)


class Curriculum(BaseCallback):
    """Calls ``change`` on the training environments after the initial episodes, and notes every reward."""

    def __init__(self, change):
        super().__init__()
        self.change, self.rewards = change, []

    def _on_rollout_start(self):
        if self.num_timesteps == INITIAL:
            self.change(self.training_env)

    def _on_step(self):
        self.rewards.append(self.locals["rewards"].copy())
        return True


@pytest.mark.parametrize(
    "change",
    [
        lambda envs: envs.env_method("set_bonus", 5, factor=2.0),
        lambda envs: envs.set_attr("bonus", 10.0),
        lambda envs: [env.unwrapped.set_bonus(10.0) for env in envs.envs],
    ],
    ids=["env_method", "set_attr", "envs"],
)
def test_a_callback_changes_the_environments_that_training_plays(change):
    callback = Curriculum(change)
    model = PEARL(AdjustableTasks(), small_config()).learn(INITIAL + ITERATION, callback=callback)
    plain = np.array([task.params["number"] for task in model.train_tasks]) + 0.1
    assert callback.rewards[0] == pytest.approx(plain)
    assert callback.rewards[LENGTH] == pytest.approx(plain + 10)


def test_the_training_environments_are_read_by_index():
    model = PEARL(AdjustableTasks(), small_config())
    envs, numbers = model.get_env(), [task.params["number"] for task in model.train_tasks]
    assert isinstance(envs, VecEnv)
    assert (envs.observation_space, envs.action_space) == (model.observation_space, model.action_space)
    assert envs.get_attr("number") == numbers
    assert envs.get_attr("number", indices=[2, 0]) == [numbers[2], numbers[0]]
    assert envs.env_method("set_bonus", 1.0, indices=1) == [numbers[1]]
    assert envs.get_attr("bonus") == [0.0, 1.0, 0.0, 0.0]
    envs.set_attr("note", "new", indices=3)
    assert envs.has_attr("bonus")
    assert not envs.has_attr("note")
    assert envs.get_attr("note", 3) == ["new"]
    assert envs.env_is_wrapped(gym.wrappers.TimeLimit) == [True] * 4
    assert envs.env_is_wrapped(Monitor) == [False] * 4


def test_training_environments_that_were_closed_are_made_anew():
    model = small_model()
    model.get_env().close()
    model.learn(INITIAL).get_env().close()
    assert model.learn(ITERATION).num_timesteps == INITIAL + ITERATION


@pytest.mark.parametrize(
    ("family", "training", "message"),
    [
        (None, {"tasks_per_iteration": 2}, r"tasks_per_iteration=2.*model\.task_distribution.*make_env"),
        (None, {"workers": 2}, r"training\.workers=2.*Set training\.workers to 0"),
        ("sparse-point-robot", {}, r"steps its tasks in one .*model\.training\.envs"),
    ],
)
def test_environments_out_of_reach_say_why_and_what_to_do(family, training, message):
    envs = small_model(family, training=training).get_env()
    assert envs.num_envs == 4
    for ask in (
        lambda: envs.get_attr("number"),
        lambda: envs.set_attr("bonus", 1.0),
        lambda: envs.env_method("set_bonus", 1.0),
        lambda: envs.env_is_wrapped(Monitor),
        lambda: envs.envs,
    ):
        with pytest.raises(NotImplementedError, match=message):
            ask()


@pytest.mark.parametrize("method", ["reset", "step", "seed", "set_options", "render", "get_images"])
def test_nobody_but_training_plays_its_environments(method):
    envs = small_model().get_env()
    with pytest.raises(
        NotImplementedError, match=r"Only training may .*model\.task_distribution\.make_env.*model\.evaluate"
    ):
        getattr(envs, method)(*[np.zeros((4, 2), np.float32)] * (method == "step"))


def test_evaluating_on_the_training_environments_says_what_to_do():
    model = small_model()
    with pytest.raises(NotImplementedError, match=r"evaluate_policy\(model\.adapt\(env\), env\)"):
        evaluate_policy(model, model.get_env(), warn=False)


def test_a_class_loads_what_pearl_load_loads(tmp_path):
    model = small_model().learn(INITIAL)
    model.save(tmp_path)
    for kind in (PEARL, MetaLearner):
        loaded = kind.load(tmp_path, distribution=Counting(), z_follows_posterior=True)
        assert type(loaded) is PEARL
        assert loaded.config.agent.exploration.z_follows_posterior
        assert differences(everything_learnt(model), everything_learnt(loaded)) == []


def test_pearl_does_not_load_another_algorithms_model(tmp_path):
    made(CONFIGS["rl2"]).save(tmp_path)
    with pytest.raises(CheckpointError, match=r"a MetaLearner of rl2.*PEARL\.load does not.*pearl\.load\(path\)"):
        PEARL.load(tmp_path, distribution=Counting())
    assert MetaLearner.load(tmp_path, distribution=Counting()).config.algorithm == "rl2"
    assert pearl.load(tmp_path, distribution=Counting()).config.algorithm == "rl2"


@pytest.fixture
def wandb_run(tmp_path, monkeypatch):
    """An offline run of Weights & Biases."""
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = wandb.init(mode="offline", dir=tmp_path, project="test")
    yield run
    wandb.unwatch()
    run.finish()


def test_the_callback_of_weights_and_biases_reads_settings_and_gradients(wandb_run, tmp_path, monkeypatch):
    logged = []
    plain = small_model().learn(INITIAL + ITERATION)
    model = small_model()
    monkeypatch.setattr(wandb_run._torch, "log_tensor_stats", lambda tensor, name: logged.append(name))
    model.learn(INITIAL + ITERATION, callback=WandbCallback(gradient_save_freq=1))
    assert {name for name in logged if "actor" in name} != set()
    assert all(name.startswith(("gradients/", "parameters/")) for name in logged)
    assert wandb_run.config["algo"] == "PEARL"
    assert differences(everything_learnt(plain), everything_learnt(model)) == []
    with pytest.raises(ValueError, match=r"uploads one file.*model\.save\(folder\).*artifact\.add_dir"):
        model.learn(ITERATION, callback=[WandbCallback(model_save_path=str(tmp_path / "models"), model_save_freq=4)])


def test_gradients_that_nobody_would_see_are_refused(wandb_run, monkeypatch):
    model = small_model()
    object.__setattr__(model.config.training, "device", "cuda")
    with pytest.raises(ValueError, match=r"sees no gradients with training\.device='cuda'"):
        model.learn(INITIAL, callback=WandbCallback(gradient_save_freq=1))
