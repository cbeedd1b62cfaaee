"""Whatever PyTorch's default precision is, and whenever it changes: the same numbers."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch

import pearl
from pearl.model.meta_learner import learner_of
from tests.support.agent_tester import KINDS
from tests.support.algorithms import CONFIGS
from tests.support.small import Counting, differences, everything_learnt, small_config
from tests.support.tasks.sampled_spaces import env_of, model_of

EVERYTHING = {
    "exploration": {"sweep": 0.1},
    "auxiliary": {
        "contrastive_weight": 0.1,
        "reconstruction_weight": 0.1,
        "early_kl_weight": 0.1,
        "task_inference_weight": 0.1,
    },
}
SETTINGS = {
    **CONFIGS,
    **{f"pearl-{kind}": small_config(encoder={"kind": kind}, agent=EVERYTHING) for kind in KINDS},
}


@contextmanager
def default(precision):
    before = torch.get_default_dtype()
    torch.set_default_dtype(precision)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def outcome(config, folder, *, building, living):
    """All that a model learns and does, built under one default precision and used under another."""
    with default(building):
        model = learner_of(config)(Counting(), config, seed=0)
    with default(living):
        model.learn(100)
        returns = model.evaluate().returns
        policy = model.adapt(model.task_distribution.make_env(model.test_tasks[0]), 2, seed=1)
        actions = policy.predict(np.zeros((2, *model.observation_space.shape)), None, np.ones(2, bool))[0]
        model.save(folder)
        loaded = pearl.load(folder, distribution=Counting())
        loaded.training.iterate()
        seen = {"returns": returns, "actions": actions, "played": policy.trial.action}
        return everything_learnt(loaded) | {name: torch.from_numpy(array) for name, array in seen.items()}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_model_is_built_learns_adapts_and_loads_alike_under_any_default_precision(name, tmp_path):
    config = SETTINGS[name]
    usual = outcome(config, tmp_path / "usual", building=torch.float32, living=torch.float32)
    for building in (torch.float32, torch.float64):
        other = outcome(config, tmp_path / "other", building=building, living=torch.float64)
        assert differences(usual, other) == []
        assert [
            name for name, value in usual.items() if getattr(value, "dtype", 0) != getattr(other[name], "dtype", 0)
        ] == []


@pytest.mark.parametrize("observations", ["dict", "image"])
def test_every_space_is_acted_in_alike(observations):
    def played(precision):
        with default(precision):
            model = model_of(observations, "discrete")
            return model.adapt(env_of(model), episodes=2, seed=0).trial.action

    assert np.array_equal(played(torch.float32), played(torch.float64))


def test_the_default_precision_stays_as_the_user_set_it():
    with default(torch.float64):
        learner_of(CONFIGS["pearl"])(Counting(), CONFIGS["pearl"])
        assert torch.get_default_dtype() == torch.float64
