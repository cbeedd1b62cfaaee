"""Section on bfloat16: its error in a gradient, compared with the noise between meta-batches."""

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import pearl
from agents import MetaBatch, PEARLAgent
from benchmark.learning import PRECISIONS, Precision
from benchmark.measure import Figure, figure
from pearl.collection.rollout import rollout
from pearl.replay.sampling import MetaSampler

PRETRAINED = Path(__file__).parents[2] / "pretrained"
PARTS = ("encoder", "actor", "critics")
EPISODES = 3


def precision(quick: bool) -> Iterator[Figure]:
    """Distance of gradients in bfloat16 from those in float32, at pretrained agents' weights and on their own trials.

    Two figures, relative to a gradient's length: the error of bfloat16 on one meta-batch, and the distance of one
    meta-batch's gradient from the mean of all. The second is the noise of every step in any precision.
    """
    has_mujoco = importlib.util.find_spec("mujoco") is not None
    for family in ("point-robot", *(["cheetah-vel"] if has_mujoco and not quick else [])):
        model = pearl.load(PRETRAINED / family, device="cpu")
        assert isinstance(model, pearl.PEARL)
        batches = _batches(model, 3 if quick else 21)
        full, lower = ([_gradients(model, batch, kind) for batch in batches] for kind in PRECISIONS)
        for part in PARTS:
            mean = torch.stack([gradients[part] for gradients in full]).mean(0)
            errors = [_distance(one[part], other[part]) for one, other in zip(full, lower, strict=True)]
            noise = [_distance(mean, gradients[part]) for gradients in full]
            yield figure(family, f"{part}: error of bfloat16", "%", 100 * np.array(errors))
            yield figure(family, f"{part}: one meta-batch from the mean", "%", 100 * np.array(noise))


def _batches(model: pearl.PEARL, n: int) -> list[MetaBatch]:
    tasks, rng = model.train_tasks[: model.config.training.meta_batch], torch.Generator().manual_seed(0)
    envs = model.task_distribution.make_vec_env(tasks)
    memory = model.agent.begin(len(tasks), rng)
    trajectories, _ = rollout(envs, model.agent, memory, episodes=EPISODES, seed=0, rng=rng)
    envs.close()
    model.training.replay.add(range(len(tasks)), trajectories)
    sampler = MetaSampler(
        model.training.replay,
        model.task_distribution,
        model.train_tasks,
        model.config.training,
        rng,
        early_context=model.agent.reads_early_context,
        task_numbers=model.agent.reads_task_numbers,
    )
    return [sampler.sample() for _ in range(n)]


def _gradients(model: pearl.PEARL, batch: MetaBatch, precision: Precision) -> dict[str, Tensor]:
    """Return each part's flat gradient at the model's weights; every call makes the same draws."""
    config = replace(model.config.agent, precision=precision)
    spaces = model.observation_space, model.action_space
    agent = PEARLAgent(*spaces, model.config.encoder, config, torch.Generator().manual_seed(0))
    agent.load_state_dict(model.agent.state_dict())
    agent.update(batch, torch.Generator().manual_seed(1))
    parameters = {part: list(getattr(agent, part).parameters()) for part in PARTS}
    return {part: torch.cat([p.grad.flatten() for p in found]) for part, found in parameters.items()}


def _distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / one.norm())
