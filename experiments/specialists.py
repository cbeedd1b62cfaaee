"""Train a specialist from scratch on each of several held-out tasks, and compare it with a meta-trained agent.

    python experiments/specialists.py runs/reproduce/varying-pendulum-seed0 --steps 8000

It measures the cost of doing without meta-learning: the environment steps in a test task that stable-baselines3's SAC
(PPO for discrete actions) needs to play as well as the adapted agent. The tasks are the first test tasks of the first
seed. The script checks that no agent has seen them in training.
The figures go to results/FAMILY/, with the picture specialists.png.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import tyro
from command_line import errors_in_one_line, path_argument
from numpy.typing import NDArray
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy

import pearl
from agents.spaces import is_discrete
from pearl import plots
from pearl.config.reading import ConfigError
from pearl.evaluation.protocol import check_disjoint
from pearl.model.callbacks import silent_logger
from pearl.process.output import make_console, protect_output, warn_on_failure
from pearl.process.threads import use_threads
from pearl.studies.results import RUNS, read_results, store_specialists
from pearl.tasks import Task, TaskDistribution, find

PICTURE = "specialists.png"
"""Name of the picture in a family's folder"""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Train a specialist per task and compare."""

    runs: Annotated[list[Annotated[Path, path_argument("RUNS")]], tyro.conf.Positional]
    """Run folders with checkpoints, one per seed; the first one's test tasks are played."""
    out: Annotated[Path, path_argument("--out")] = Path("results")
    """Folder of the results, written after every task. Stored specialists are not trained again; those of other tasks
    or settings are not overwritten."""
    tasks: int = 10
    """Number of test tasks."""
    steps: int = 10_000
    """Environment steps of each specialist's training."""
    interval: int = 500
    """Environment steps between a specialist's evaluations."""
    episodes: int = 10
    """Episodes in each evaluation of a specialist, and trials in that of an adapted agent."""

    def __post_init__(self) -> None:
        for name in ("tasks", "steps", "interval", "episodes"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, got {getattr(self, name)}.")


class Evaluations(BaseCallback):
    """Measures a learner before its first step, after every ``interval`` steps and at the end, and stops it then."""

    def __init__(self, env: gym.Env[Any, Any], *, steps: int, interval: int, episodes: int, seed: int) -> None:
        super().__init__()
        self._env, self._episodes, self._seed = env, episodes, seed
        self._due = evaluation_steps(steps, interval)
        self.returns: list[float] = []

    def _on_training_start(self) -> None:
        self._measure()

    def _on_step(self) -> bool:
        if self.num_timesteps == self._due[len(self.returns)]:
            self._measure()
        return len(self.returns) < len(self._due)

    def _measure(self) -> None:
        self._env.reset(seed=self._seed)  # The same initial states in every evaluation.
        mean, _ = evaluate_policy(self.model, self._env, n_eval_episodes=self._episodes, deterministic=True, warn=False)
        assert isinstance(mean, float)
        self.returns.append(mean)


def evaluation_steps(steps: int, interval: int) -> list[int]:
    """Return the environment steps of a specialist's evaluations, from 0 to ``steps``."""
    return [*range(0, steps, interval), steps]


def make_specialist(env: gym.Env[Any, Any], seed: int) -> BaseAlgorithm:
    """Return an untrained SAC; for discrete actions a PPO that learns after every 256 steps."""
    specialist: BaseAlgorithm
    if is_discrete(env.action_space):
        specialist = PPO("MlpPolicy", env, learning_rate=1e-3, n_steps=256, seed=seed, device="cpu")
    else:
        specialist = SAC("MlpPolicy", env, learning_rate=1e-3, seed=seed, device="cpu")
    specialist.set_logger(silent_logger())  # The default logger would leave a folder behind.
    return specialist


def train_specialist(
    distribution: TaskDistribution, task: Task, *, steps: int, interval: int, episodes: int, seed: int
) -> list[float]:
    """Return a specialist's mean return on one task, acting deterministically, at each of ``evaluation_steps``."""
    env, other = distribution.make_env(task), distribution.make_env(task)
    evaluations = Evaluations(other, steps=steps, interval=interval, episodes=episodes, seed=seed)
    make_specialist(env, seed).learn(steps, callback=evaluations)
    env.close()
    other.close()
    return evaluations.returns


def steps_to_reach(level: float, steps: Sequence[int], curves: NDArray[np.float64]) -> int | None:
    """Return the first of ``steps`` at which the mean over tasks of ``curves`` (task, evaluation) reaches ``level``."""
    reached = np.flatnonzero(curves.mean(0) >= level)
    return steps[reached[0]] if len(reached) else None


def main(arguments: Arguments) -> int:
    """Compare, and return the process's exit code."""
    use_threads(1)
    console = make_console()
    models = [pearl.load(path, device="cpu") for path in arguments.runs]
    tasks = models[0].test_tasks[: arguments.tasks]
    for model in models:
        check_disjoint(model.train_tasks, tasks)
    trials = [[model.evaluate(tasks, seed=trial) for trial in range(arguments.episodes)] for model in models]
    # (agent, trial, task, episode)
    adapted = np.array([[trial.returns for trial in of_one] for of_one in trials])
    played = [trial.trajectories for of_one in trials for trial in of_one]
    last = adapted.shape[-1] - 1
    spent = float(np.mean([(trial.mask & (trial.episode < last)).sum(1).mean() for trial in played]))
    folder = arguments.out / models[0].family
    learnt = train_from_scratch(folder, models[0], tasks, arguments)
    curves = np.array(learnt["specialist_curves"])
    level, steps = float(adapted[..., -1].mean()), learnt["specialist_steps"]
    reached = steps_to_reach(level, steps, curves)
    for number, task in enumerate(tasks):
        meta = adapted[:, :, number, -1].mean()
        console.print(f"{task}: specialist {curves[number, -1]:.1f}, adapted {meta:.1f}", highlight=False)
    figures = learnt | {
        "specialist_return": curves[:, -1].tolist(),
        "specialist_mean": float(curves[:, -1].mean()),
        "adapted_runs": [path.name for path in arguments.runs],
        "trials_per_task": arguments.episodes,
        "adapted_return": adapted.mean(1).tolist(),
        "adapted_mean_per_episode": adapted.mean((0, 1, 2)).tolist(),
        "adapted_steps": spent,
        "steps_to_adapted": reached,
    }
    store_specialists(folder, lambda _: figures)
    with warn_on_failure("the specialists' curves were not drawn"):
        plots.specialist_curves(
            folder / PICTURE,
            steps,
            curves,
            adapted=level,
            adapted_steps=spent,
            steps_to_adapted=reached,
            name=learnt["specialist"],
            references=trials[0][0].references.lines(),
            title=f"{models[0].family}: {learnt['specialist']} from scratch, compared with an adapted agent",
        )
    met = f"not within {arguments.steps:,}" if reached is None else f"after {reached:,}"
    console.print(
        f"specialists {curves[:, -1].mean():.1f} after {arguments.steps:,} steps each; adapted {level:.1f} in episode "
        f"{last + 1}, after {spent:,.0f} steps. Specialists reach this return {met} "
        f"(measured every {arguments.interval:,})",
        highlight=False,
    )
    return 0


def train_from_scratch(
    folder: Path, model: pearl.MetaLearner, tasks: Sequence[Task], arguments: Arguments
) -> dict[str, Any]:
    """Train the missing specialists and return all specialists' figures.

    Each specialist is stored as soon as it is trained, so that a later call continues after an interruption, or with
    more tasks.

    Raises:
        ConfigError: the results contain specialists of other tasks or settings.
        RunError: the results cannot be read.
    """
    distribution = find(model.family)
    wanted = [task.to_json() for task in tasks]
    lists: dict[str, Any] = {"tasks": [], "specialist_curves": [], "specialist_seconds": []}
    setting = {
        "family": model.family,
        "specialist": "PPO" if is_discrete(model.action_space) else "SAC",
        "specialist_steps_per_task": arguments.steps,
        "specialist_interval": arguments.interval,
        "specialist_steps": evaluation_steps(arguments.steps, arguments.interval),
        "specialist_episodes": arguments.episodes,
    }

    def checked(held: Mapping[str, Any] | None) -> dict[str, Any]:
        if held is None:
            return setting | lists
        if not setting.items() <= held.items() or held["tasks"] != wanted[: len(held["tasks"])]:
            raise ConfigError(
                f"{folder / RUNS} holds specialists of other tasks or settings. Remove them from it to train these."
            )
        return {name: held[name] for name in (*setting, *lists)}

    def add(new: Mapping[str, Any], number: int, held: Mapping[str, Any] | None) -> dict[str, Any]:
        found = checked(held)
        if len(found["tasks"]) != number:  # Another call has added the task already.
            return found
        return {**found, **{name: [*found[name], value] for name, value in new.items()}}

    learnt = checked(read_results(folder).specialists)
    for number in range(len(learnt["tasks"]), len(tasks)):
        begun = time.perf_counter()
        curve = train_specialist(
            distribution,
            tasks[number],
            steps=arguments.steps,
            interval=arguments.interval,
            episodes=arguments.episodes,
            seed=number,
        )
        new = dict(zip(lists, (wanted[number], curve, time.perf_counter() - begun), strict=True))
        store_specialists(folder, partial(add, new, number))
    return checked(read_results(folder).specialists)


if __name__ == "__main__":
    protect_output()
    sys.exit(errors_in_one_line(lambda: main(tyro.cli(Arguments)))())
