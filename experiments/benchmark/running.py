"""Sections on everything around learning: acting, checkpoints, start-up, memory."""

import importlib.util
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

import pearl
from agents import PEARLAgent
from agents.spaces import env_actions
from benchmark.learning import (
    ACTION,
    AGENT,
    ENCODER,
    OBSERVATION,
    PRESETS,
    Synthetic,
    make_agent,
    random_batch,
)
from benchmark.measure import Figure, figure, fresh_process, in_turns, peak_memory_mib
from benchmark.textbook import TextbookPEARL
from pearl.adaptation.session import Session
from pearl.collection.rollout import rollout
from pearl.config.run import load_preset
from pearl.evaluation.protocol import References, evaluate
from pearl.replay.transitions import MIB, TaskReplay

HAS_MUJOCO = importlib.util.find_spec("mujoco") is not None
TRAIN = Path(__file__).parents[1] / "train.py"
EPISODE = 200

# Prints the time at which the environments of a rollout have taken their first step.
_WATCHED_TRAINING = r"""
import os, runpy, sys, time
import pearl.evaluation.protocol, pearl.training.base

def watch(module, word, last):
    play = module.rollout
    def watched(envs, *arguments, **named):
        step = envs.step
        def first_step(actions):
            result = step(actions)
            print("\nSTEP", word, time.time(), flush=True)
            envs.step = step
            module.rollout = play
            if last:
                os._exit(0)
            return result
        envs.step = first_step
        return play(envs, *arguments, **named)
    module.rollout = watched

watch(pearl.evaluation.protocol, "evaluation", False)
watch(pearl.training.base, "training", True)
"""


def collection(quick: bool) -> Iterator[Figure]:
    """Environment steps per second with policy, belief and replay, compared with the environment alone."""
    for family, n in (("point-robot", 20), ("point-robot", 100), *([("cheetah-vel", 10)] if HAS_MUJOCO else [])):
        model = _model(family, n_train=n, n_test=1)
        episodes = 1 if quick or family != "point-robot" else 3
        seconds = in_turns(_collecting(model, episodes), 3 if quick else 21, warm_up=1)
        n_steps = n * episodes * model.horizon
        setting = f"{family}, {n} tasks"
        for name, taken in seconds.items():
            yield figure(setting, name, "steps/s", n_steps / taken)
        share = 100 * seconds["environment alone"] / seconds["collection"]
        yield figure(setting, "collection, of the environment alone", "%", share)


def evaluation(quick: bool) -> Iterator[Figure]:
    """One evaluation of 30 tasks by the preset's protocol, without the measurement of references."""
    for family in ("point-robot", *(["cheetah-vel"] if HAS_MUJOCO and not quick else [])):
        model = _model(family, n_train=1, n_test=30)
        references = References(random=0.0, oracle=None)
        play = partial(
            evaluate,
            model.agent,
            model.task_distribution,
            model.test_tasks,
            episodes=model.config.evaluation.episodes,
            exploration_episodes=model.config.evaluation.exploration_episodes,
            seed=0,
            references=references,
        )
        taken = in_turns({"evaluation": play}, 3 if quick else 5, warm_up=1)["evaluation"]
        yield figure(f"{family}, 30 tasks", "evaluation", "s", taken)


def adaptation(quick: bool) -> Iterator[Figure]:
    """Time of acting and observing in one environment step, without the environment, early and late in a trial."""
    late = 400 if quick else 10_000
    agents = {
        "reference": make_agent(OBSERVATION, ACTION, ENCODER, AGENT),
        **{
            f"{family}'s preset": make_agent(
                *PRESETS[family][:2], load_preset(family).encoder, load_preset(family).agent
            )
            for family in PRESETS
        },
    }
    followers = {f"{name}, z follows": agent.following() for name, agent in agents.items()}
    for kind in ("product_of_gaussians", "pooled_features", "max_pooled_features", "mean", "gru", "attention"):
        agent = make_agent(OBSERVATION, ACTION, replace(ENCODER, kind=kind), AGENT)
        followers[f"reference with {kind}, z follows"] = agent.following()
    for setting, agent in (agents | followers).items():
        long = _Loop(agent, steps=late)
        memory = _Loop(agent, steps=10).most_memory(), long.most_memory()
        early_seconds, late_seconds = [], []
        for _ in range(3 if quick else 21):
            early_seconds.append(_Loop(agent, steps=10).seconds(EPISODE))
            late_seconds.append(long.seconds(EPISODE))
        for first, seconds, held in ((10, early_seconds, memory[0]), (late, late_seconds, memory[1])):
            yield figure(setting, f"act and observe, from step {first:,}", "µs", 1e6 * np.array(seconds) / EPISODE)
            yield figure(setting, f"most memory, from step {first:,}", "bytes", held)


def checkpoint(quick: bool) -> Iterator[Figure]:
    """Writing and reading a checkpoint of the reference sizes, with and without training state."""
    training = pearl.TrainingConfig(
        n_train_tasks=20, replay_capacity=200 if quick else 2_000, episodes_per_trial=1, gradient_steps_per_env_step=0
    )
    config = pearl.PEARLConfig(encoder=ENCODER, agent=AGENT, training=training)
    family = Synthetic()
    model = pearl.PEARL(family, config)
    for _ in range(1 if quick else 10):
        model.training.iterate()
    model.agent.update(random_batch(16, 2), torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as folder:
        for name, whole in (("weights", False), ("weights, optimizer and replay", True)):
            path = Path(folder) / name
            seconds = in_turns(
                {
                    "write": partial(model.save, path, training_state=whole),
                    "read": partial(pearl.load, path, distribution=family),
                },
                3 if quick else 11,
            )
            size = sum(file.stat().st_size for file in path.iterdir()) / MIB
            for what, taken in seconds.items():
                yield figure(f"{name}, {size:.1f} MiB", what, "ms", 1e3 * taken)


def startup(quick: bool) -> Iterator[Figure]:
    """Imports in new processes, and the time until train.py takes its first environment step."""
    rounds = 1 if quick else 7
    imports: dict[str, list[float]] = {"torch": [], "pearl": []}
    timed = "import time; begun = time.perf_counter(); import {}; print(time.perf_counter() - begun)"
    for number in range(-1, rounds):  # in the first round, files are not in the system's cache yet
        for name, seconds in imports.items():
            taken = float(fresh_process(timed.format(name)))
            if number >= 0:
                seconds.append(taken)
    for name, seconds in imports.items():
        yield figure("new process", f"import {name}", "s", seconds)
    ratio = np.array(imports["pearl"]) / np.array(imports["torch"])
    yield figure("new process", "import pearl, over import torch", "×", ratio)
    for family in ("point-robot", *(["cheetah-vel"] if HAS_MUJOCO and not quick else [])):
        found = [_first_steps(family) for _ in range(1 if quick else 3)]
        for name in found[0]:
            what = f"train.py to the first environment step of {name}"
            yield figure(family, what, "s", [seconds[name] for seconds in found])


def memory(quick: bool) -> Iterator[Figure]:
    """Peak memory of new processes."""
    repetitions = 1 if quick else 3
    runs = {
        "import torch": "import torch, benchmark.measure as b; print(b.peak_memory_mib())",
        "import pearl": "import pearl, benchmark.measure as b; print(b.peak_memory_mib())",
    }
    for name in ("float32", "bfloat16", "textbook"):
        code = f"import benchmark.running as b; b.print_peak_memory({name!r}, {2 if quick else 20})"
        runs[f"reference steps, context 100, {name}"] = code
    for what, code in runs.items():
        yield figure("new process", what, "MiB", [float(fresh_process(code)) for _ in range(repetitions)])


def print_peak_memory(name: str, n_steps: int) -> None:
    """Take gradient steps at the reference sizes and print this process's peak memory in MiB."""
    torch.set_num_threads(1)
    batch, rng = random_batch(100), torch.Generator().manual_seed(0)
    learner: PEARLAgent | TextbookPEARL
    if name == "textbook":
        learner = TextbookPEARL(OBSERVATION, ACTION, ENCODER, AGENT)
    else:
        learner = make_agent(OBSERVATION, ACTION, ENCODER, AGENT, "bfloat16" if name == "bfloat16" else "float32")
    for _ in range(n_steps):
        learner.update(batch, rng)
    print(peak_memory_mib())


class _Loop:
    """A session that acts on random transitions, drawn in advance."""

    def __init__(self, agent: PEARLAgent, *, steps: int = 0) -> None:
        self._session = Session(agent, torch.Generator().manual_seed(0))
        self._observations = np.random.default_rng(0).standard_normal((EPISODE + 1, agent.observation_dim), np.float32)
        self._taken = 0
        self.take(steps)

    def take(self, steps: int) -> None:
        """Act and observe; every episode ends by time, so that work at the end of episodes counts too."""
        for _ in range(steps):
            row = self._taken % EPISODE
            observation, after = self._observations[row : row + 2]
            self._taken += 1
            action = self._session.act(observation)
            self._session.observe(observation, action, 0.5, after, False, self._taken % EPISODE == 0)

    def seconds(self, steps: int) -> float:
        """Return the time of ``steps`` steps."""
        begun = time.perf_counter()
        self.take(steps)
        return time.perf_counter() - begun

    def most_memory(self) -> int:
        """Return the size of the largest memory in an episode, in bytes."""
        sizes = []
        for _ in range(EPISODE):
            self.take(1)
            sizes.append(_n_bytes(self._session.memory))
        return max(sizes)


def _collecting(model: pearl.PEARL, episodes: int) -> dict[str, Callable[[], object]]:
    tasks = model.train_tasks
    envs = model.task_distribution.make_vec_env(tasks)
    rng = torch.Generator().manual_seed(0)
    n_steps = episodes * model.horizon
    store = TaskReplay(len(tasks), 2 * n_steps, model.agent.observation_dim, model.agent.action_dim, budget_mb=1_024)
    sampled = 2.0 * torch.rand(n_steps, len(tasks), model.agent.action_dim, generator=rng).numpy() - 1.0
    actions = [env_actions(model.action_space, rows) for rows in sampled]

    def collect() -> None:
        memory = model.agent.begin(len(tasks), rng)
        trajectories, _ = rollout(envs, model.agent, memory, episodes=episodes, seed=0, rng=rng)
        store.add(range(len(tasks)), trajectories)

    return {"environment alone": partial(_play, envs, actions), "collection": collect}


def _play(envs: VectorEnv[Any, Any, Any], actions: list[Any]) -> None:
    envs.reset(seed=0)
    for action in actions:
        _, _, terminated, truncated, _ = envs.step(action)
        ended = terminated | truncated
        if ended.any():
            envs.reset(options={"reset_mask": ended})


def _model(family: str, *, n_train: int, n_test: int) -> pearl.PEARL:
    config = load_preset(family)
    training = replace(config.training, n_train_tasks=n_train, meta_batch=1, tasks_per_iteration=None)
    evaluation = replace(config.evaluation, n_test_tasks=n_test)
    return pearl.PEARL(family, replace(config, training=training, evaluation=evaluation))


def _first_steps(family: str) -> dict[str, float]:
    """Return the seconds from the start of train.py to the first environment step of evaluation and of training."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [str(TRAIN), family, "--run-dir", str(Path(folder) / "run"), "--wandb", "disabled"]
        code = f"{_WATCHED_TRAINING}\nsys.argv = {arguments!r}\nrunpy.run_path(sys.argv[0], run_name='__main__')"
        begun = time.time()
        printed = fresh_process(code)
    return {word: float(told) - begun for word, told in re.findall(r"^STEP (\w+) ([\d.]+)$", printed, re.MULTILINE)}


def _n_bytes(memory: Any) -> int:
    """Return the size of all tensors in nested tuples."""
    if isinstance(memory, Tensor):
        return memory.numel() * memory.element_size()
    return sum(_n_bytes(part) for part in memory) if isinstance(memory, (tuple, list)) else 0
