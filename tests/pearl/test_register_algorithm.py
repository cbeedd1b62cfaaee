"""Algorithms of a user's own: what registration accepts, and what an agent needs in order to be trained."""

from dataclasses import dataclass, field
from typing import ClassVar

import pytest
import torch
from torch import nn

import pearl
from agents import RecurrentSACAgent, RecurrentSACAgentConfig
from agents.base import NetworkAgent
from agents.learning.soft_actor_critic import SoftActorCriticAgent
from pearl.algorithms import ALGORITHMS, find_algorithm
from pearl.training.learner import make_learner
from tests.support.small import Counting, differences, everything_learnt, small_config


@dataclass(frozen=True, kw_only=True)
class OwnConfig(pearl.Config):
    algorithm: ClassVar[str] = "own"
    agent: RecurrentSACAgentConfig = field(default_factory=lambda: RecurrentSACAgentConfig(hidden_sizes=(8,)))
    training: pearl.TrialReplayConfig = field(
        default_factory=lambda: pearl.TrialReplayConfig(
            total_steps=160, n_train_tasks=4, meta_batch=3, replay_capacity=200
        )
    )


class OwnAgent(RecurrentSACAgent):
    """An agent that learns from kept trials, of another class and with other settings than the library's."""


def own_agent(observations, actions, config, rng):
    return OwnAgent(observations, actions, config.agent, rng)


@pytest.fixture(autouse=True)
def _forgotten_after():
    yield
    ALGORITHMS.pop("own", None)


def register(**changed):
    given = {"config": OwnConfig, "agent": own_agent, "training": pearl.TrialReplayTraining}
    pearl.register_algorithm("own", **given | changed)


def test_an_agent_that_learns_from_kept_trials_needs_no_training_of_its_own(tmp_path):
    register(description="mine")
    config = OwnConfig(evaluation=small_config().evaluation)
    through, first = (pearl.MetaLearner(Counting(), config) for _ in range(2))
    through.learn(160)
    first.learn(96).save(tmp_path)
    resumed = pearl.load(tmp_path, distribution=Counting())
    assert isinstance(resumed.agent, OwnAgent)
    resumed.learn(64)
    assert resumed.training.gradient_steps > 0
    assert differences(everything_learnt(through), everything_learnt(resumed)) == []


def test_a_name_is_registered_once():
    register()
    for name in ("own", "rl2"):
        with pytest.raises(ValueError, match=f"An algorithm named '{name}' is registered already"):
            pearl.register_algorithm(name, config=OwnConfig, agent=own_agent, training=pearl.TrialReplayTraining)


def named(name):
    return type("Named", (OwnConfig,), {"algorithm": name})


@dataclass(frozen=True)
class Bare:
    """Settings that meta-training cannot read."""


@dataclass(frozen=True, kw_only=True)
class BareConfig(pearl.Config):
    algorithm: ClassVar[str] = "own"
    agent: Bare = field(default_factory=Bare)


@dataclass(frozen=True, kw_only=True)
class WithoutDefault(pearl.Config):
    algorithm: ClassVar[str] = "own"
    agent: RecurrentSACAgentConfig


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"config": dict}, TypeError, "config of the algorithm 'own' must be a subclass of pearl.Config, got"),
        ({"config": OwnConfig()}, TypeError, "must be a subclass of pearl.Config, got"),
        ({"config": named("other")}, ValueError, "Named.algorithm must be 'own', got 'other'"),
        ({"config": pearl.RL2Config}, ValueError, "RL2Config.algorithm must be 'own', got 'rl2'"),
        ({"config": WithoutDefault}, TypeError, "WithoutDefault must be built without arguments .*default_factory"),
        ({"config": BareConfig}, TypeError, "Bare, the section agent of BareConfig, lacks learning_rate, final_learn"),
        ({"agent": None}, TypeError, r"callable as factory\(observation_space, action_space, config, rng\), got None"),
        ({"agent": lambda config: None}, TypeError, "agent of the algorithm 'own' must be callable as factory"),
        ({"training": OwnAgent}, TypeError, "must be a class of meta-training .*got <class"),
        ({"training": pearl.ReplayTraining}, pearl.ConfigError, "needs a TrainingConfig as the section training, Own"),
        ({"distribution": "task_observed"}, TypeError, "distribution of the algorithm 'own' must be callable"),
    ],
)
def test_what_cannot_be_trained_is_refused_at_registration(changed, error, message):
    with pytest.raises(error, match=message):
        register(**changed)
    assert "own" not in ALGORITHMS


@pytest.mark.parametrize("name", ["", "two words", "../up", None])
def test_a_name_that_no_file_or_command_can_hold_is_refused(name):
    with pytest.raises(ValueError, match="The name of an algorithm must be a word of letters, digits, _ and -"):
        pearl.register_algorithm(name, config=OwnConfig, agent=own_agent, training=pearl.TrialReplayTraining)


@pytest.mark.parametrize(
    ("agent", "lacking"),
    [
        (lambda *arguments: nn.Linear(2, 3), "lacks begin, act, observe, end_episode, fold, redraw, update, see, "),
        (lambda *arguments: None, "got a NoneType, which lacks begin"),
        (
            lambda *arguments: NetworkAgent(*arguments[:2]),
            "got a NetworkAgent, which lacks begin, act, observe, end_episode, update, optimizer",
        ),
    ],
)
def test_an_agent_that_cannot_learn_says_what_it_lacks(agent, lacking):
    register(agent=agent)
    with pytest.raises(TypeError, match=f"agent of the algorithm 'own' must be .*agents.LearningAgent, .*{lacking}"):
        pearl.MetaLearner(Counting(), OwnConfig())


def test_a_model_of_an_unregistered_algorithm_says_what_to_import():
    with pytest.raises(pearl.UnregisteredError, match=r"no algorithm 'own'\. Algorithms: .*import that module first"):
        find_algorithm("own")
    with pytest.raises(pearl.UnregisteredError):
        pearl.MetaLearner(Counting(), OwnConfig())


def test_an_agent_that_cannot_move_to_a_gpu_is_refused_there_with_the_remedy(monkeypatch):
    monkeypatch.delattr(SoftActorCriticAgent, "make_optimizer")
    agent = object.__new__(OwnAgent)
    with pytest.raises(pearl.ConfigError, match=r"OwnAgent has no make_optimizer .*training\.device to cpu"):
        make_learner(agent, None, torch.Generator(), torch.device("cuda"))


def test_a_users_algorithm_gets_the_tasks_and_the_protocol_of_a_familys_preset():
    register()
    config = pearl.preset(OwnConfig, "point-robot")
    pearls = pearl.load_preset("point-robot")
    assert config.evaluation == pearls.evaluation
    assert config.training.n_train_tasks == pearls.training.n_train_tasks
