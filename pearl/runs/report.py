"""Reports of an evaluation: numbers, a table, pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table

from agents import LearningAgent, PEARLAgent
from encoders import Context
from pearl.adaptation.policy import infers_task
from pearl.collection.rollout import Trajectories
from pearl.evaluation.diagnosis import Finding
from pearl.evaluation.protocol import Evaluation
from pearl.evaluation.statistics import CVAR_TASKS, mean_interval
from pearl.model.meta_learner import MetaLearner
from pearl.model.saving import versions
from pearl.process.output import warn_on_failure
from pearl.tasks import Task, TaskDistribution

PLOTTED_TASKS = 6


@dataclass(frozen=True)
class PosteriorPath:
    """Posterior of each task after several numbers of transitions."""

    transitions_seen: NDArray[np.int64]
    """Numbers of transitions, (n,), from 0"""
    mean: NDArray[np.float32]
    """(task, n, latent_dim)"""
    stddev: NDArray[np.float32]
    """(task, n, latent_dim)"""


@torch.no_grad()
def posterior_path(agent: PEARLAgent, trial: Trajectories, transitions_seen: Sequence[int]) -> PosteriorPath:
    """Return the posterior after the first ``transitions_seen`` transitions of each task's trial."""
    fields = [torch.from_numpy(getattr(trial, name)) for name in Context._fields]
    belief = agent.encoder.prior(len(trial.mask))
    means, spreads, done = [], [], 0
    for seen in transitions_seen:
        if seen > done:
            belief = agent.infer(Context(*(field[:, done:seen] for field in fields)), belief)
        done = seen
        posterior = agent.encoder.posterior(belief)
        means.append(posterior.mean.numpy(force=True))
        spreads.append(posterior.stddev.numpy(force=True))
    return PosteriorPath(np.asarray(transitions_seen), np.stack(means, 1), np.stack(spreads, 1))


def episode_positions(trial: Trajectories, task: int) -> list[NDArray[np.float32]]:
    """Return the positions visited in each of a task's episodes, (step + 1, 2), for families played in a plane."""
    paths = []
    for number in range(int(trial.episode[task].max()) + 1):
        steps = trial.mask[task] & (trial.episode[task] == number)
        if steps.any():
            start, visited = trial.observation[task][steps][:1, :2], trial.next_observation[task][steps][:, :2]
            paths.append(np.concatenate([start, visited]))
    return paths


def draw_evaluation(
    agent: LearningAgent[Any],
    distribution: TaskDistribution,
    tasks: Sequence[Task],
    evaluation: Evaluation,
    folder: Path,
) -> list[Path]:
    """Draw an evaluation's pictures into ``folder`` and return their paths.

    The pictures are the return by episode; the posterior's means and spread, if the agent has a posterior; and several
    tasks' trajectories, if the family is played in a plane. A picture that fails prints a line on stderr.
    """
    trial = evaluation.trajectories
    paths: list[Path] = []
    with warn_on_failure("the returns by episode were not drawn"):
        from pearl import plots  # imports matplotlib late: training does not need it

        paths.append(
            plots.return_by_episode(
                folder / "return_by_episode.png",
                evaluation.returns,
                exploration_episodes=evaluation.exploration_episodes,
                references=evaluation.references.lines(),
                by_gradient=agent.gradient_steps_per_trial > 0,
            )
        )
    if infers_task(agent):
        with warn_on_failure("the posterior means were not drawn"):
            paths.append(_draw_posterior_means(agent, tasks, trial, folder / "posterior_means.png"))
        with warn_on_failure("the posterior's spread was not drawn"):
            paths.append(_draw_posterior_spread(agent, trial, folder / "posterior_spread.png"))
    with warn_on_failure("the trajectories were not drawn"):
        paths += _draw_trajectories(distribution, tasks, trial, folder / "trajectories.png")
    return paths


def _draw_posterior_means(agent: PEARLAgent, tasks: Sequence[Task], trial: Trajectories, path: Path) -> Path:
    from pearl import plots

    final = posterior_path(agent, trial, [trial.mask.shape[1]])
    values, names = task_values(tasks, plots.posterior.MOST_TASK_VALUES)
    return plots.posterior_means(path, final.mean[:, 0], task_values=values, task_value_name=names)


def _draw_posterior_spread(agent: PEARLAgent, trial: Trajectories, path: Path) -> Path:
    from pearl import plots

    longest = int(trial.mask.sum(1).min())
    seen = sorted({0, *np.unique(np.geomspace(1, longest, 12).astype(int)).tolist()})
    posterior = posterior_path(agent, trial, seen)
    return plots.posterior_spread(path, posterior.transitions_seen, posterior.stddev)


def _draw_trajectories(
    distribution: TaskDistribution, tasks: Sequence[Task], trial: Trajectories, path: Path
) -> list[Path]:
    """Draw the first tasks' trajectories; draw and return nothing if the family is not played in a plane."""
    planes = [distribution.plane(task) for task in tasks[:PLOTTED_TASKS]]
    played = [plane for plane in planes if plane is not None]
    if not played:
        return []
    from pearl import plots

    drawn = plots.trajectories(
        path,
        [episode_positions(trial, number) for number in range(len(played))],
        [plane.goal for plane in played],
        goal_radius=played[0].goal_radius,
        half_circle=played[0].half_circle,
        titles=[str(task) for task in tasks[: len(played)]],
    )
    return [drawn]


def draw_adaptation(
    agent: LearningAgent[Any],
    distribution: TaskDistribution,
    task: Task,
    trial: Trajectories,
    references: Mapping[str, float],
    path: Path,
) -> Path:
    """Draw one adaptation, a trial of a single task: trajectories, returns, and the posterior if there is one."""
    from pearl import plots  # imports matplotlib late: training does not need it

    episodes = int(trial.episode.max()) + 1
    ends = [int((trial.episode[0] < number).sum()) for number in range(episodes + 1)]
    posterior = posterior_path(agent, trial, ends) if infers_task(agent) else None
    subtitle = plots.story.SUBTITLE if posterior else plots.story.WITHOUT_BELIEF
    if agent.gradient_steps_per_trial:
        subtitle = plots.story.BY_GRADIENT
    plane = distribution.plane(task)
    return plots.adaptation_story(
        path,
        trial.episode_returns(episodes)[0],
        None if posterior is None else posterior.mean[0],
        None if posterior is None else posterior.stddev[0],
        title=f"Adaptation to {task}",
        subtitle=subtitle,
        positions=episode_positions(trial, 0) if plane else None,
        goal=plane.goal if plane else None,
        goal_radius=plane.goal_radius if plane else None,
        half_circle=plane is not None and plane.half_circle,
        references=references,
    )


def evaluation_table(evaluation: Evaluation, title: str) -> Table:
    """Return the few-shot table: each episode's return and score, as means over tasks with 95 % intervals.

    The return's mean over the worst 5 % of tasks stands beside it. With too few tasks for that, the caption says so.
    """
    successes, worst = evaluation.success_per_episode, evaluation.cvar_per_episode
    table = Table(title=title, caption=None if worst is not None else _too_few_tasks(evaluation.distinct_tasks))
    measures = ["return", "95 % interval", *([] if worst is None else ["worst 5 %"])]
    for column in ("episode", "acting", *measures, "score" if successes is None else "success"):
        table.add_column(column, justify="left" if column == "acting" else "right")
    ends = zip(*mean_interval(evaluation.returns), strict=True)
    for number, (returns, (low, high)) in enumerate(zip(evaluation.returns.T, ends, strict=True), start=1):
        scores = evaluation.references.score(returns)
        exploring = number <= evaluation.exploration_episodes
        table.add_row(
            str(number),
            "explores" if exploring else "best guess",
            f"{returns.mean():.2f}",
            f"{low:.2f} … {high:.2f}",
            *([] if worst is None else [f"{worst[number - 1]:.2f}"]),
            f"{successes[number - 1]:.0%}"
            if successes is not None
            else "–"
            if scores is None
            else f"{scores.mean():.3f}",
        )
    if evaluation.following is not None:
        table.add_row("1", "z follows", f"{evaluation.following.mean():.2f}", *[""] * len(measures), style="dim")
    if evaluation.kept is not None:
        table.add_row("1", "z is kept", f"{evaluation.kept.mean():.2f}", *[""] * len(measures), style="dim")
    for name, value in evaluation.references.lines().items():
        table.add_row("", name, f"{value:.2f}", *[""] * len(measures), style="dim")
    return table


def result(model: MetaLearner, evaluation: Evaluation, findings: Sequence[Finding]) -> dict[str, Any]:
    """Return a finished run's result as JSON."""
    return {
        "family": model.family,
        "algorithm": model.config.algorithm,
        "seed": model.seed,
        "env_steps": model.num_timesteps,
        "gradient_steps": model.training.gradient_steps,
        "wall_s": model.wall_s,
        "test": evaluation_summary(evaluation),
        "headline": headline(evaluation),
        "diagnosis": [finding._asdict() for finding in findings],
        "versions": versions(model.task_distribution.simulators),
    }


def evaluation_summary(evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation's figures as JSON."""
    return {
        "return_per_episode": evaluation.return_per_episode.tolist(),
        "following": None if evaluation.following is None else float(evaluation.following.mean()),
        "kept": None if evaluation.kept is None else float(evaluation.kept.mean()),
        "cvar_per_episode": None if evaluation.cvar_per_episode is None else evaluation.cvar_per_episode.tolist(),
        "success_per_episode": None
        if evaluation.success_per_episode is None
        else evaluation.success_per_episode.tolist(),
        "score": evaluation.score,
        "score_ci95": None if evaluation.score_ci95 is None else list(evaluation.score_ci95),
        "n_tasks": len(evaluation.returns),
        "same_tasks": evaluation.same_tasks,
        "exploration_episodes": evaluation.exploration_episodes,
        "references": {"random": evaluation.references.random, "oracle": evaluation.references.oracle},
    }


def headline(evaluation: Evaluation) -> str:
    """Return the effect of adaptation in one line."""
    first, last = evaluation.return_per_episode[0], evaluation.return_per_episode[-1]
    episodes = evaluation.returns.shape[1]
    text = f"return {first:.2f} in episode 1"
    if evaluation.following is not None:
        text += f" ({evaluation.following.mean():.2f} if z follows the posterior)"
    if evaluation.kept is not None:
        text += f" ({evaluation.kept.mean():.2f} if z is kept)"
    text += f", {last:.2f} in episode {episodes}, mean of {evaluation.tasks_label}"
    if evaluation.cvar_per_episode is not None:
        text += "; worst 5 % of tasks {:.2f} and {:.2f}".format(*evaluation.cvar_per_episode[[0, -1]])
    if evaluation.score is not None and evaluation.score_ci95 is not None:
        before = evaluation.references.score(evaluation.returns[:, 0] if evaluation.kept is None else evaluation.kept)
        assert before is not None
        low, high = evaluation.score_ci95
        text += (
            f"; score {before.mean():.2f} before and {evaluation.score:.2f} [{low:.2f}, {high:.2f}] after adaptation"
        )
    return text


def task_values(tasks: Sequence[Task], most: int) -> tuple[NDArray[np.float64], list[str]]:
    """Return the tasks' numeric parameters, (task, value), and a name for each value.

    Parameters that are equal in all tasks are left out, unless all are equal. With more than ``most`` values, a
    parameter of several numbers is replaced by their mean, and only the first ``most`` values are returned.
    """
    columns: dict[str, list[float]] = {}
    parameter: dict[str, str] = {}
    for task in tasks:
        for name, value in task.params.items():
            parts = {name: value} if not isinstance(value, tuple) else {f"{name} {i}": v for i, v in enumerate(value)}
            for part, number in parts.items():
                if isinstance(number, (int, float)):
                    columns.setdefault(part, []).append(float(number))
                    parameter[part] = name
    complete = {name: column for name, column in columns.items() if len(column) == len(tasks)}
    if not complete:
        return np.arange(len(tasks), dtype=np.float64)[:, None], ["task number"]
    shown = {name: column for name, column in complete.items() if min(column) < max(column)} or complete
    if len(shown) > most:
        names = dict.fromkeys(parameter[part] for part in shown)
        together = {name: [column for part, column in shown.items() if parameter[part] == name] for name in names}
        shown = {
            name if len(parts) == 1 else f"mean of {name}": np.mean(parts, axis=0).tolist()
            for name, parts in together.items()
        }
    return np.column_stack(list(shown.values()))[:, :most], list(shown)[:most]


def _too_few_tasks(n_tasks: int) -> str:
    """Return why the return of the worst 5 % of ``n_tasks`` different tasks is not given, in words."""
    return f"Worst 5 % of tasks: {n_tasks} different tasks are too few, {CVAR_TASKS} are needed."
