"""Train stable-baselines3's SAC from nothing on each of some held-out tasks, beside a meta-trained agent on the same.

    python experiments/specialists.py runs/reproduce/varying-pendulum-seed0 --out specialists.json --steps 8000

It answers what a user would do without meta-learning, and what that costs. The tasks are the first test tasks of the
first seed; the others' agents have seen none of them in training either, which is checked.
"""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.console import Console
from stable_baselines3 import SAC
from stable_baselines3.common.evaluation import evaluate_policy

import pearl
from pearl.evaluation import check_disjoint
from pearl.tasks import Task, TaskDistribution, find
from pearl.threads import use_threads


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Train a specialist per task and compare."""

    runs: Annotated[list[Path], tyro.conf.Positional]
    """Run folders with checkpoints, one per seed; the first one's test tasks are played."""
    out: Path
    """JSON file for the figures; specialists of the same tasks and steps that it holds are not trained again."""
    tasks: int = 10
    """Test tasks."""
    steps: int = 10_000
    """Environment steps that each specialist learns for."""
    episodes: int = 10
    """Episodes that measure a specialist, and trials that measure an adapted agent."""


def train_specialist(distribution: TaskDistribution, task: Task, *, steps: int, episodes: int, seed: int) -> float:
    """Return the mean return of SAC after ``steps`` environment steps on one task, acting deterministically."""
    env = distribution.make_env(task)
    specialist = SAC("MlpPolicy", env, learning_rate=1e-3, seed=seed, device="cpu")
    specialist.learn(steps)
    mean, _ = evaluate_policy(specialist, env, n_eval_episodes=episodes, deterministic=True, warn=False)
    env.close()
    assert isinstance(mean, float)
    return mean


def main(arguments: Arguments) -> int:
    """Compare, and return the process's exit code."""
    use_threads(1)
    console = Console()
    models = [pearl.load(path, device="cpu") for path in arguments.runs]
    distribution = find(models[0].family)
    tasks = models[0].test_tasks[: arguments.tasks]
    for model in models:
        check_disjoint(model.train_tasks, tasks)
    # (agent, trial, task, episode)
    adapted = np.array(
        [[model.evaluate(tasks, seed=trial).returns for trial in range(arguments.episodes)] for model in models]
    )
    setting = {
        "family": models[0].family,
        "tasks": [task.to_json() for task in tasks],
        "specialist_steps_per_task": arguments.steps,
    }
    held = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    if setting.items() <= held.items():
        specialists, seconds = held["specialist_return"], held["specialist_seconds_per_task"]
    else:
        begun = time.perf_counter()
        specialists = [
            train_specialist(distribution, task, steps=arguments.steps, episodes=arguments.episodes, seed=number)
            for number, task in enumerate(tasks)
        ]
        seconds = (time.perf_counter() - begun) / len(tasks)
    for number, task in enumerate(tasks):
        meta = adapted[:, :, number, -1].mean()
        console.print(f"{task}: specialist {specialists[number]:.1f}, adapted {meta:.1f}", highlight=False)
    figures = setting | {
        "specialist_seconds_per_task": seconds,
        "specialist_return": specialists,
        "specialist_mean": float(np.mean(specialists)),
        "adapted_runs": [path.name for path in arguments.runs],
        "trials_per_task": arguments.episodes,
        "adapted_return": adapted.mean(1).tolist(),
        "adapted_mean_per_episode": adapted.mean((0, 1, 2)).tolist(),
    }
    arguments.out.write_text(json.dumps(figures, indent=1) + "\n")
    console.print(
        f"specialists {np.mean(specialists):.1f} after {arguments.steps:,} steps each; adapted "
        f"{adapted[..., -1].mean():.1f} in episode {adapted.shape[-1]}",
        highlight=False,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments)))
