"""Sections on learning: the meta-gradient step and the replay, at several sizes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import cycle
from typing import Literal, get_args

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray
from torch import nn

from agents import MetaBatch, ObservationsConfig, PEARLAgent, PEARLAgentConfig, Transitions
from benchmark.floor import StepSizes, floor, step_products
from benchmark.measure import Figure, Seconds, figure, fresh_process, in_turns, resident_memory_mib
from benchmark.textbook import TextbookPEARL
from encoders import Context, EncoderConfig
from pearl import ContextConfig, PEARLConfig, Task, TaskDistribution, TrainingConfig
from pearl.collection.rollout import Trajectories
from pearl.config.run import load_preset
from pearl.replay.sampling import MetaSampler
from pearl.replay.transitions import MIB, TaskReplay
from pearl.training.learner import TwinLearner

TASKS, BATCH, OBSERVATION, ACTION = 16, 256, 20, 6
ENCODER = EncoderConfig(
    kind="product_of_gaussians",
    latent_dim=5,
    context_fields=("observation", "action", "reward"),
    hidden_sizes=(200, 200, 200),
)
AGENT = PEARLAgentConfig(
    hidden_sizes=(300, 300, 300),
    critic_layer_norm=False,
    temperature=1.0,
    discount=0.99,
    target_update_rate=0.005,
    reward_scale=1.0,
    kl_weight=0.1,
    observations=ObservationsConfig(normalise=False),
)
"""The paper's learner"""
PRESETS = {"point-robot": (2, 2, 20), "cheetah-vel": (17, 6, 200)}
"""Widths of observation and action, and length of the episodes"""
Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
OURS, LOWER, TEXTBOOK = "float32", "bfloat16", "textbook"
FLOORS = {OURS: "floor of float32", LOWER: "floor of bfloat16"}

Floats = NDArray[np.float32]


class Synthetic(TaskDistribution):
    """Tasks of any width, without further packages: each has a goal, and the reward is minus the distance to it."""

    name = "synthetic"

    def __init__(self, observation_dim: int = OBSERVATION, action_dim: int = ACTION) -> None:
        self.observation_space = Box(-np.inf, np.inf, (observation_dim,), np.float32)
        self.action_space = Box(-1.0, 1.0, (action_dim,), np.float32)

    def sample(self, n: int, rng: np.random.Generator) -> list[Task]:
        return [Task({"goal": goal}) for goal in rng.uniform(-1, 1, n).tolist()]

    def make_env(self, task: Task, *, render_mode: str | None = None) -> gym.Env[Floats, Floats]:
        return gym.wrappers.TimeLimit(_SyntheticEnv(self, task.params["goal"]), 200)


class _SyntheticEnv(gym.Env[Floats, Floats]):
    def __init__(self, family: Synthetic, goal: float) -> None:
        self.observation_space, self.action_space = family.observation_space, family.action_space
        self._goal = goal
        self._state = np.zeros(family.observation_space.shape, np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, object] | None = None
    ) -> tuple[Floats, dict[str, object]]:
        super().reset(seed=seed)
        self._state = np.zeros_like(self._state)
        return self._state, {}

    def step(self, action: Floats) -> tuple[Floats, float, bool, bool, dict[str, object]]:
        self._state = 0.9 * self._state
        self._state[: len(action)] += 0.1 * action
        return self._state, -abs(float(self._state[0]) - self._goal), False, False, {}


def step(quick: bool) -> Iterator[Figure]:
    """The meta-gradient step at the sizes of the paper's experiments."""
    n = _n_tasks(quick)
    for length in (64,) if quick else (64, 100, 1024):
        setting = f"{n} tasks × {BATCH}, context {length}"
        yield from _step(setting, [random_batch(length, n)], ENCODER, AGENT, 3 if quick else 21)


def presets(quick: bool) -> Iterator[Figure]:
    """The step at presets' sizes, on sampled contexts. The textbook implementation keeps its own encoder."""
    for family, (observation_dim, action_dim, horizon) in PRESETS.items():
        config = load_preset(family)
        trial = config.training.episodes_per_trial * horizon
        sampler = _sampler(_filled(config.training.n_tasks(horizon), trial, 2, observation_dim, action_dim), config)
        batches = [sampler.sample() for _ in range(2 if quick else 8)]
        yield from _step(f"{family}'s preset", batches, config.encoder, config.agent, 3 if quick else 41)


def context(quick: bool) -> Iterator[Figure]:
    """One step at several context lengths."""
    for length in (16, 64) if quick else (16, 64, 256, 1024, 4096):
        batch = random_batch(length, _n_tasks(quick))
        seconds = in_turns(_steps([batch], ENCODER, AGENT), 3 if quick else 9)
        yield from (figure(f"{length} transitions", name, "ms", 1e3 * taken) for name, taken in seconds.items())


def tasks(quick: bool) -> Iterator[Figure]:
    """Sampling of a meta-batch of 10 tasks and one step on it, for several numbers of training tasks."""
    agent = make_agent(OBSERVATION, ACTION, ENCODER, AGENT)
    rng = torch.Generator().manual_seed(0)
    for n in (10, 100) if quick else (10, 100, 1_000, 10_000):
        sampler = _sampler(_filled(n, 100, 1), _reference_config(_n_tasks(quick, 10)))
        seconds = in_turns(
            {"sampling": sampler.sample, "sampling and step": partial(_learn, agent, sampler, rng)}, 3 if quick else 21
        )
        yield from (figure(f"{n:,} tasks", name, "ms", 1e3 * taken) for name, taken in seconds.items())


def replay(quick: bool) -> Iterator[Figure]:
    """Time of sampling relative to a step, and memory of the replay relative to its announced memory."""
    agent = make_agent(OBSERVATION, ACTION, ENCODER, AGENT)
    rng = torch.Generator().manual_seed(0)
    store = _filled(100, 200, 2 if quick else 10)
    sampler = _sampler(store, _reference_config(_n_tasks(quick)))
    batch = sampler.sample()
    seconds = in_turns({"sampling": sampler.sample, "step": lambda: agent.update(batch, rng)}, 5 if quick else 41)
    setting = "100 tasks, context up to 100"
    yield figure(setting, "sampling", "ms", 1e3 * seconds["sampling"])
    yield figure(setting, "sampling, of the step in float32", "%", 100 * seconds["sampling"] / seconds["step"])
    n = 10 if quick else 500
    announced, taken = (
        float(word) for word in fresh_process(f"import benchmark.learning as b; b.print_replay_memory({n})").split()
    )
    yield figure(f"{n} tasks × 10,000", "memory announced", "MiB", announced)
    yield figure(f"{n} tasks × 10,000", "memory taken", "MiB", taken)


def gpu(quick: bool) -> Iterator[Figure]:
    """A gradient step on an NVIDIA GPU, from the time of a whole iteration; no figures without a GPU.

    The time includes sampling, and the copies of weights before and after an iteration's steps.
    """
    if not torch.cuda.is_available():
        return
    n_steps = 5 if quick else 500
    config = _reference_config(_n_tasks(quick))
    store = _filled(100, 200, 2 if quick else 10, device=torch.device("cuda"))
    iterations = {
        f"{precision}, {how}": partial(_on_device(store, config, precision, captured=captured).learn, n_steps)
        for precision in PRECISIONS
        for how, captured in (("captured", True), ("step by step", False))
    }
    setting = f"{config.training.meta_batch} tasks × {BATCH}, context up to 100, iterations of {n_steps} steps"
    for name, taken in in_turns(iterations, 2 if quick else 11).items():
        yield figure(setting, name, "ms", 1e3 * taken / n_steps)


def print_replay_memory(n_tasks: int) -> None:
    """Print a replay's announced memory, and the growth of this process while it is filled, in MiB."""
    _filled(n_tasks, 10, 1)  # memory of first uses
    before = resident_memory_mib()
    store = _filled(n_tasks, 200, 50)
    print(store.n_bytes / MIB, resident_memory_mib() - before)


def random_batch(context_length: int, n_tasks: int = TASKS) -> MetaBatch:
    """Return a meta-batch of random numbers at the reference widths, every context full."""
    rng = torch.Generator().manual_seed(0)

    def rows(length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        observation, next_observation = (torch.randn(n_tasks, length, OBSERVATION, generator=rng) for _ in range(2))
        action = 2.0 * torch.rand(n_tasks, length, ACTION, generator=rng) - 1.0
        return observation, action, torch.randn(n_tasks, length, generator=rng), next_observation

    return MetaBatch(
        Context(*rows(context_length), torch.ones(n_tasks, context_length, dtype=torch.bool)),
        Transitions(*rows(BATCH), torch.zeros(n_tasks, BATCH)),
    )


def make_agent(
    observation_dim: int,
    action_dim: int,
    encoder: EncoderConfig,
    config: PEARLAgentConfig,
    precision: Precision = "float32",
) -> PEARLAgent:
    """Return our agent for spaces of these widths."""
    family = Synthetic(observation_dim, action_dim)
    config = replace(config, precision=precision)
    rng = torch.Generator().manual_seed(0)
    return PEARLAgent(family.observation_space, family.action_space, encoder, config, rng)


def _n_tasks(quick: bool, full: int = TASKS) -> int:
    """Return the meta-batch's size: the requested one, or 2 in a quick test."""
    return 2 if quick else full


def _step(
    setting: str, batches: Sequence[MetaBatch], encoder: EncoderConfig, config: PEARLAgentConfig, rounds: int
) -> Iterator[Figure]:
    candidates = _steps(batches, encoder, config) | _floors(batches, encoder, config)
    seconds = in_turns(candidates, rounds, warm_up=max(2, len(batches)))
    for name, taken in seconds.items():
        yield figure(setting, name, "ms", 1e3 * taken)
    yield from _ratios(setting, seconds)


def _ratios(setting: str, seconds: dict[str, Seconds]) -> Iterator[Figure]:
    for ours, own_floor in FLOORS.items():
        yield figure(setting, f"{ours}, over its floor", "×", seconds[ours] / seconds[own_floor])
    for ours in FLOORS:
        yield figure(setting, f"{TEXTBOOK}, over {ours}", "×", seconds[TEXTBOOK] / seconds[ours])


def _steps(
    batches: Sequence[MetaBatch], encoder: EncoderConfig, config: PEARLAgentConfig
) -> dict[str, Callable[[], object]]:
    widths = batches[0].transitions.observation.shape[-1], batches[0].transitions.action.shape[-1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        textbook = TextbookPEARL(*widths, encoder, config)
    learners: dict[str, PEARLAgent | TextbookPEARL] = {
        OURS: make_agent(*widths, encoder, config),
        LOWER: make_agent(*widths, encoder, config, "bfloat16"),
        TEXTBOOK: textbook,
    }
    return {name: _repeating(learner, batches) for name, learner in learners.items()}


def _repeating(learner: PEARLAgent | TextbookPEARL, batches: Sequence[MetaBatch]) -> Callable[[], object]:
    following, rng = cycle(batches), torch.Generator().manual_seed(0)
    return lambda: learner.update(next(following), rng)


def _floors(
    batches: Sequence[MetaBatch], encoder: EncoderConfig, config: PEARLAgentConfig
) -> dict[str, Callable[[], object]]:
    """Return the floors; contexts of different lengths are replaced by their mean length."""
    transitions = batches[0].transitions
    observation_dim, action_dim = transitions.observation.shape[-1], transitions.action.shape[-1]
    agent = make_agent(observation_dim, action_dim, encoder, config)
    layers = [module for module in agent.encoder.modules() if isinstance(module, nn.Linear)]
    sizes = StepSizes(
        observation_dim=observation_dim,
        action_dim=action_dim,
        latent_dim=encoder.latent_dim,
        context_rows=round(float(np.mean([int(batch.context.mask.sum()) for batch in batches]))),
        rows=transitions.reward.numel(),
        encoder_widths=[layers[0].in_features, *(layer.out_features for layer in layers)],
    )
    return {
        FLOORS[OURS]: floor(step_products(sizes, replace(config, precision="float32"))),
        FLOORS[LOWER]: floor(step_products(sizes, replace(config, precision="bfloat16"))),
    }


def _learn(agent: PEARLAgent, sampler: MetaSampler, rng: torch.Generator) -> None:
    agent.update(sampler.sample(), rng)


def _on_device(store: TaskReplay, config: PEARLConfig, precision: Precision, *, captured: bool) -> TwinLearner:
    agent = make_agent(OBSERVATION, ACTION, config.encoder, config.agent, precision)
    seeds = torch.Generator().manual_seed(0)
    return TwinLearner(agent, partial(_sampler, store, config), seeds, store.device, captured=captured)


def _filled(
    n_tasks: int,
    trial: int,
    n_trials: int,
    observation_dim: int = OBSERVATION,
    action_dim: int = ACTION,
    *,
    device: torch.device | None = None,
) -> TaskReplay:
    """Return a replay that is full of trials of random numbers."""
    rng = np.random.default_rng(0)
    store = TaskReplay(n_tasks, trial * n_trials, observation_dim, action_dim, budget_mb=1_024, device=device)
    for _ in range(n_trials):
        for some in np.array_split(np.arange(n_tasks), max(1, n_tasks // 100)):
            store.add(some, _trial(rng, len(some), trial, observation_dim, action_dim))
    return store


def _trial(rng: np.random.Generator, n_tasks: int, length: int, observation_dim: int, action_dim: int) -> Trajectories:
    shape = n_tasks, length
    reward = rng.standard_normal(shape, np.float32)
    return Trajectories(
        observation=rng.standard_normal((*shape, observation_dim), np.float32),
        action=rng.uniform(-1, 1, (*shape, action_dim)).astype(np.float32),
        reward=reward,
        training_reward=reward,
        next_observation=rng.standard_normal((*shape, observation_dim), np.float32),
        terminated=np.zeros(shape, np.bool_),
        truncated=np.zeros(shape, np.bool_),
        episode=np.zeros(shape, np.int64),
        mask=np.ones(shape, np.bool_),
        extras={},
    )


def _sampler(store: TaskReplay, config: PEARLConfig, rng: torch.Generator | None = None) -> MetaSampler:
    family = Synthetic()
    drawn = family.sample(len(store.n_added), np.random.default_rng(0))
    rng = torch.Generator().manual_seed(0) if rng is None else rng
    auxiliary = config.agent.auxiliary
    return MetaSampler(
        store,
        family,
        drawn,
        config.training,
        rng,
        early_context=bool(auxiliary.early_kl_weight),
        task_numbers=auxiliary.task_inference > 0,
    )


def _reference_config(meta_batch: int) -> PEARLConfig:
    training = TrainingConfig(meta_batch=meta_batch, batch_size=BATCH, context=ContextConfig(max_length=100))
    return PEARLConfig(encoder=ENCODER, agent=AGENT, training=training)
