"""Models whose gradient steps a twin takes, and what must hold of steps that a GPU is to repeat by itself."""

import contextlib
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pearl import PEARL
from pearl.replay.sampling import MetaSampler
from pearl.training.learner import TwinLearner
from tests.support.small import small_model

VARIANTS: dict[str, dict[str, Any]] = {
    "linear-Gaussian": {},
    "scalar critics": {"agent": {"reward_scale": 2.0}},
    "plain inputs and hidden layers": {"agent": {"observations": {"normalise": False}, "critic_layer_norm": False}},
    "product, decoder, early": {
        "encoder": {"kind": "product_of_gaussians", "context_fields": ("reward", "next_observation")},
        "agent": {
            "auxiliary": {
                "early_kl_weight": 0.1,
                "reconstruction_weight": 1.0,
                "reconstructed": ("reward", "next_observation"),
            },
        },
    },
    "pooled, normalised, recent": {
        "encoder": {"kind": "pooled_features"},
        "agent": {"observations": {"normalise": True, "ignored": (1,)}, "critic_layer_norm": True},
        "training": {"context": {"recent_transitions": 4, "random_length": True}},
    },
    "maximum, contrastive, schedule": {
        "encoder": {"kind": "max_pooled_features"},
        "agent": {"final_learning_rate": 1e-5, "temperature": 0.1, "auxiliary": {"contrastive_weight": 1.0}},
    },
    "mean, temperature learnt": {"encoder": {"kind": "mean"}, "agent": {"target_entropy": -1.0}},
    "task inference": {"agent": {"auxiliary": {"task_inference_weight": 1.0}}},
    "GRU, early, random lengths": {
        "encoder": {"kind": "gru"},
        "agent": {"auxiliary": {"early_kl_weight": 0.1}},
        "training": {"context": {"random_length": True}},
    },
    "attention, contrastive": {
        "encoder": {"kind": "attention", "window": 4},
        "agent": {"auxiliary": {"contrastive_weight": 1.0}},
    },
    "blind, discrete actions": {"family": "varying-cartpole", "encoder": {"kind": "blind"}},
    "images": {"family": "image-point-robot", "training": {"batch_size": 2, "context": {"max_length": 2}}},
}

UNCAPTURABLE = ("linalg_", "_linalg", "nonzero", "_local_scalar_dense", "masked_select", "is_nonzero", "unique")
"""Beginnings of the names of operations that wait for a device, or call libraries that CUDA graphs cannot hold"""


def twin_model(monkeypatch: Any, device: str = "cpu", **sections: Any) -> PEARL:
    """A small model that learns with a twin on ``device``, step by step."""

    def make_learner(agent: Any, make_sampler: Any, rng: Any, _: Any) -> TwinLearner:
        return TwinLearner(agent, make_sampler, rng, torch.device(device), captured=False)

    with monkeypatch.context() as patch:
        patch.setattr("pearl.training.off_policy.make_learner", make_learner)
        return small_model(sections.pop("family", None), **sections)


def own_sampler(training: Any, rng: torch.Generator, replay: Any = None) -> MetaSampler:
    """A sampler of the model's own replay, or of another one."""
    replay = training.replay if replay is None else replay
    agent = training.agent
    reads = {"early_context": agent.reads_early_context, "task_numbers": agent.reads_task_numbers}
    return MetaSampler(replay, training.distribution, training.tasks, training.settings, rng, **reads)


class OneDevice(TorchDispatchMode):
    """Within it no operation reads tensors of two devices, and none on ``device`` is one that a graph cannot hold."""

    def __init__(self, device: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.device = device
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor)]
        devices = {tensor.device.type for tensor in tensors}
        assert len(devices) < 2, f"{func} works on {devices}"
        if devices == {self.device}:
            name = func.name().removeprefix("aten::")
            assert not name.startswith(UNCAPTURABLE) or name == "linalg_vector_norm", name
            self.seen.add(name)
        return result


@contextlib.contextmanager
def without_autocast(monkeypatch: Any) -> Any:
    """Leave autocast out, which knows nothing of devices without data."""
    with monkeypatch.context() as patch:
        patch.setattr(torch, "autocast", lambda *args, **options: contextlib.nullcontext())
        patch.setattr(torch, "is_autocast_enabled", lambda device_type: False)
        yield
