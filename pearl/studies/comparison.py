"""Statistics of a comparison: several algorithms on a family, with the same tasks and protocol."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pearl.evaluation.protocol import References
from pearl.evaluation.statistics import (
    CVAR_TASKS,
    cvar,
    interquartile_mean,
    interval,
    performance_profile,
    probability_of_improvement,
)
from pearl.plots.comparison import Compared, Estimate
from pearl.studies.results import PLAIN, FamilyResults, FloatArray, RunRecord, Runs

STUDY = "comparison"
"""Name of this study in a family's results"""

THRESHOLDS = 101
"""Number of thresholds of the performance profiles"""


def by_name(results: FamilyResults, baseline: str) -> dict[str, Runs]:
    """Return the runs of a family's comparison: the baseline first, then by the last episode, best first.

    The name of runs with a budget of their own contains it: ``rl2-1000000-steps``.
    """
    found = {
        setting.algorithm if setting.name == PLAIN else f"{setting.algorithm}-{setting.name}": runs
        for setting, runs in results.of_study(STUDY).items()
    }
    return dict(sorted(found.items(), key=lambda item: (item[0] != baseline, -last_episode(item[1]), item[0])))


@dataclass(frozen=True)
class Row:
    """An algorithm's line in a table. Values are scores if the family has an oracle, else returns."""

    env_steps: float
    """Environment steps of a run, mean of the runs"""
    first: Estimate
    """Interquartile mean of the first episode"""
    last: Estimate
    """Interquartile mean of the last episode"""
    worst: float | None
    """Mean of the worst 5 % of runs and tasks in the last episode (CVaR); None if a run has too few tasks for it"""
    improvement: Estimate | None
    """Probability of being better than the baseline on a task; None for the baseline, and if they share no tasks"""
    gradient_steps: int
    """Gradient steps per trial at test time"""
    wall_s: float
    """Seconds of training, mean of the runs"""


def row(runs: Runs, baseline: Runs) -> Row:
    """Return an algorithm's line, compared with the baseline's runs."""
    values = performance(runs, "returns")
    return Row(
        env_steps=float(np.mean([run.curve["env_steps"][-1] for run in runs.values()])),
        first=_estimate(values[..., 0]),
        last=_estimate(values[..., -1]),
        worst=float(cvar(values[..., -1])) if _enough_tasks(runs) else None,
        improvement=None if runs is baseline else improvement(runs, baseline),
        gradient_steps=next(iter(runs.values())).measured["gradient_steps_at_test"],
        wall_s=float(np.mean([run.measured["wall_s"] for run in runs.values()])),
    )


def compared(runs: Runs, baseline: Runs, thresholds: FloatArray) -> Compared:
    """Return the plotted data of an algorithm, compared with the baseline's runs."""
    last = performance(runs, "returns")[..., -1]

    def profile(values: FloatArray) -> FloatArray:
        return performance_profile(values, thresholds)

    return Compared(
        episodes=_estimate(performance(runs, "trial_returns")),
        curves=[curve(run) for run in runs.values()],
        profile=Estimate(profile(last), *interval(profile, last)),
        improvement=None if runs is baseline else improvement(runs, baseline),
    )


def performance(runs: Runs, trial: Literal["returns", "trial_returns"]) -> FloatArray:
    """Return every run's scores, or its returns if the family has no oracle, (run, task, episode).

    If trials differ in length, later episodes that some runs lack are left out.
    """
    found = [normalised(run, run.measured[trial]) for run in runs.values()]
    episodes = min(values.shape[1] for values in found)
    return np.stack([values[:, :episodes] for values in found])


def last_episode(runs: Runs) -> float:
    """Return the interquartile mean of the protocol's last episode."""
    return float(interquartile_mean(performance(runs, "returns")[..., -1]))


def normalised(run: RunRecord, returns: Any) -> FloatArray:
    """Return each task's scores by its own references, or its returns if the family has no oracle.

    Args:
        run: the run.
        returns: returns of its test tasks, (task, episode).
    """
    values = np.asarray(returns, dtype=np.float64)
    references = run.measured["references"]
    if references["oracle"] is None:
        return values
    random, oracle = (np.asarray(references[end], dtype=np.float64)[:, None] for end in ("random", "oracle"))
    scores: FloatArray = (values - random) / (oracle - random)
    return scores


def curve(run: RunRecord) -> tuple[FloatArray, FloatArray]:
    """Return a run's environment steps and the last episode's value at each evaluation, (evaluation,) each.

    Values are means over tasks: returns, or scores by the references' means if there is an oracle.
    """
    means = run.curve[f"test/return_ep{len(run.measured['returns'][0])}"]
    random, oracle = (run.measured["references"][end] for end in ("random", "oracle"))
    references = References(random=float(np.mean(random)), oracle=None if oracle is None else float(np.mean(oracle)))
    scores = references.score(means)
    return run.curve["env_steps"], means if scores is None else scores


def improvement(runs: Runs, baseline: Runs) -> Estimate | None:
    """Return the probability of being better than the baseline in the last episode, over the seeds that both have.

    The result is None if they share no seed with the same test tasks.
    """
    tasks, others = ({seed: run.measured["test_tasks"] for seed, run in each.items()} for each in (runs, baseline))
    shared = [seed for seed in runs if seed in baseline and tasks[seed] == others[seed]]
    if not shared:
        return None
    ours, theirs = (performance({seed: each[seed] for seed in shared}, "returns")[..., -1] for each in (runs, baseline))
    value = np.float64(probability_of_improvement(ours, theirs))
    return Estimate(value, *interval(probability_of_improvement, ours, theirs))


def thresholds_of(found: Mapping[str, Runs]) -> FloatArray:
    """Return evenly spaced thresholds from the worst to the best last episode of any algorithm, (threshold,)."""
    last = np.concatenate([performance(runs, "returns")[..., -1].ravel() for runs in found.values()])
    return np.linspace(last.min(), last.max(), THRESHOLDS)


def is_scored(found: Mapping[str, Runs]) -> bool:
    """Return whether values are scores, 0 for a random policy and 1 for the oracle."""
    return all(run.measured["references"]["oracle"] is not None for runs in found.values() for run in runs.values())


def _enough_tasks(runs: Runs) -> bool:
    """Return whether every run has enough different test tasks to tell their worst 5 %."""
    distinct = [{json.dumps(task, sort_keys=True) for task in run.measured["test_tasks"]} for run in runs.values()]
    return min(map(len, distinct)) >= CVAR_TASKS


def _estimate(values: FloatArray) -> Estimate:
    """Return the interquartile mean of values (run, task, …) with its interval, (…) each."""
    return Estimate(interquartile_mean(values), *interval(interquartile_mean, values))
