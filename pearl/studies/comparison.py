"""Statistics of a comparison: several algorithms on a family, with the same tasks and protocol."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pearl.evaluation.protocol import References
from pearl.evaluation.statistics import interquartile_mean, interval, performance_profile, probability_of_improvement
from pearl.plots.comparison import Compared, Estimate
from pearl.studies.results import PLAIN, FamilyResults, FloatArray, RunRecord, Runs

STUDY = "comparison"
"""The name of this study among a family's results"""

THRESHOLDS = 101
"""Of the performance profiles"""


def by_name(results: FamilyResults, baseline: str) -> dict[str, Runs]:
    """Return the runs of a family's comparison: the baseline's first, then by the last episode, best first.

    Runs with a budget of their own bear it in their name: ``rl2-1000000-steps``.
    """
    found = {
        setting.algorithm if setting.name == PLAIN else f"{setting.algorithm}-{setting.name}": runs
        for setting, runs in results.of_study(STUDY).items()
    }
    return dict(sorted(found.items(), key=lambda item: (item[0] != baseline, -last_episode(item[1]), item[0])))


@dataclass(frozen=True)
class Row:
    """An algorithm's line in a table. Values are scores where the family has an oracle, else returns."""

    env_steps: float
    """Environment steps of a run, mean of the runs"""
    first: Estimate
    """Interquartile mean of the first episode"""
    last: Estimate
    """Of the last one"""
    improvement: Estimate | None
    """Probability that it is better than the baseline on a task; None where they share no tasks, and of the baseline"""
    gradient_steps: int
    """At test time"""
    wall_s: float
    """Seconds of training, mean of the runs"""


def row(runs: Runs, baseline: Runs) -> Row:
    """Return an algorithm's line beside the baseline's runs."""
    values = performance(runs, "returns")
    return Row(
        env_steps=float(np.mean([run.curve["env_steps"][-1] for run in runs.values()])),
        first=_estimate(values[..., 0]),
        last=_estimate(values[..., -1]),
        improvement=None if runs is baseline else improvement(runs, baseline),
        gradient_steps=next(iter(runs.values())).measured["gradient_steps_at_test"],
        wall_s=float(np.mean([run.measured["wall_s"] for run in runs.values()])),
    )


def compared(runs: Runs, baseline: Runs, thresholds: FloatArray) -> Compared:
    """Return what is drawn of an algorithm beside the baseline's runs."""
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
    """Return every run's scores, or returns where the family has no oracle, (run, task, episode).

    Where runs differ in length, the episodes are those that all of them played.
    """
    found = [normalised(run, run.measured[trial]) for run in runs.values()]
    episodes = min(values.shape[1] for values in found)
    return np.stack([values[:, :episodes] for values in found])


def last_episode(runs: Runs) -> float:
    """Return the interquartile mean of the protocol's last episode."""
    return float(interquartile_mean(performance(runs, "returns")[..., -1]))


def normalised(run: RunRecord, returns: Any) -> FloatArray:
    """Return each task's scores between its own references, or its returns where the family has no oracle.

    Args:
        run: the run.
        returns: of its test tasks, (task, episode).
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

    Values are means over tasks, of returns or, where there is an oracle, between the means of the references.
    """
    means = run.curve[f"test/return_ep{len(run.measured['returns'][0])}"]
    random, oracle = (run.measured["references"][end] for end in ("random", "oracle"))
    references = References(random=float(np.mean(random)), oracle=None if oracle is None else float(np.mean(oracle)))
    scores = references.score(means)
    return run.curve["env_steps"], means if scores is None else scores


def improvement(runs: Runs, baseline: Runs) -> Estimate | None:
    """Return the probability of being better than the baseline in the last episode, of the seeds that both have.

    None where they have no seed with the same test tasks.
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
    """Return whether values are scores, 0 for a random policy and 1 for the one that knows the task."""
    return all(run.measured["references"]["oracle"] is not None for runs in found.values() for run in runs.values())


def _estimate(values: FloatArray) -> Estimate:
    """Return the interquartile mean of values (run, task, …) with its interval, (…) each."""
    return Estimate(interquartile_mean(values), *interval(interquartile_mean, values))
