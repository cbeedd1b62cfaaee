"""Runs of several algorithms on a family, as plain data, and what they come to beside each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pearl.config.run import Config
from pearl.evaluation.protocol import Evaluation, References
from pearl.evaluation.statistics import interquartile_mean, interval, performance_profile, probability_of_improvement
from pearl.model.meta_learner import MetaLearner, learner_of, load
from pearl.plots.comparison import Compared, Estimate
from pearl.runs.run import RunError, read_progress

FloatArray = NDArray[np.float64]
Runs = Mapping[str, Mapping[str, Any]]
"""An algorithm's runs by seed, as ``train`` returns them"""

THRESHOLDS = 101
"""Of the performance profiles"""
DIGITS = 4
"""Decimals of what is kept of a run"""


def train(family: str, config: Config, seed: int, *, trial_episodes: int) -> dict[str, Any]:
    """Train one run; return as plain data its curve, its last evaluation and a longer trial of the test tasks.

    Args:
        family: the family's name.
        config: the run's settings.
        seed: of the run.
        trial_episodes: episodes of the longer trial, whose exploration episodes are the protocol's; never fewer than
            the protocol has.
    """
    model = learner_of(config)(family, config, seed=seed)
    logged: list[tuple[Evaluation, dict[str, float]]] = []
    model.learn(on_evaluation=lambda evaluation, metrics: logged.append((evaluation, metrics)))
    progress = {name: [metrics[name] for _, metrics in logged] for name in logged[0][1]}
    return _as_plain_data(model, progress, logged[-1][0], trial_episodes)


def measure(folder: Path, *, trial_episodes: int) -> tuple[MetaLearner, dict[str, Any]]:
    """Load a run that is through; return its model, and what ``train`` would have returned of it.

    Args:
        folder: the run's.
        trial_episodes: episodes of the longer trial, as for ``train``.

    Raises:
        CheckpointError: there is no checkpoint in it, or a damaged one.
        RunError: the run is not through.
    """
    model = load(folder)
    if not (folder / "result.json").is_file():
        raise RunError(f"The run in {folder} is not through. Continue it with train.py --resume.")
    return model, _as_plain_data(model, read_progress(folder), model.evaluate(), trial_episodes)


def _as_plain_data(
    model: MetaLearner,
    progress: Mapping[str, Sequence[float]] | Mapping[str, FloatArray],
    last: Evaluation,
    trial_episodes: int,
) -> dict[str, Any]:
    episodes = model.config.evaluation.episodes
    trial = model.evaluate(episodes=max(trial_episodes, episodes))
    by_episode = [np.asarray(progress[f"test/return_ep{episode}"]) for episode in range(1, episodes + 1)]
    curve: dict[str, Any] = {
        "env_steps": [int(steps) for steps in progress["env_steps"]],
        "gradient_steps": [int(steps) for steps in progress["gradient_steps"]],
        "wall_s": [round(float(seconds), 1) for seconds in progress["wall_s"]],
        "return_per_episode": np.transpose(by_episode).round(DIGITS).tolist(),
    }
    if last.score is not None:
        curve["score"] = [round(float(score), DIGITS) for score in progress["test/score"]]
    references = last.references
    ends = {
        "random": [round(end, DIGITS) for end in references.random_by_task],
        "oracle": [round(end, DIGITS) for end in references.oracle_by_task] or None,
    }
    return {
        "curve": curve,
        "test_tasks": [task.to_json() for task in model.test_tasks],
        "references": ends,
        "returns": last.returns.round(DIGITS).tolist(),
        "trial_returns": trial.returns.round(DIGITS).tolist(),
        "gradient_steps_at_test": model.agent.gradient_steps_per_trial,
        "wall_s": round(model.wall_s, 1),
    }


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
        env_steps=float(np.mean([run["curve"]["env_steps"][-1] for run in runs.values()])),
        first=_estimate(values[..., 0]),
        last=_estimate(values[..., -1]),
        improvement=None if runs is baseline else improvement(runs, baseline),
        gradient_steps=next(iter(runs.values()))["gradient_steps_at_test"],
        wall_s=float(np.mean([run["wall_s"] for run in runs.values()])),
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
    found = [normalised(run, run[trial]) for run in runs.values()]
    episodes = min(values.shape[1] for values in found)
    return np.stack([values[:, :episodes] for values in found])


def last_episode(runs: Runs) -> float:
    """Return the interquartile mean of the protocol's last episode."""
    return float(interquartile_mean(performance(runs, "returns")[..., -1]))


def normalised(run: Mapping[str, Any], returns: Any) -> FloatArray:
    """Return each task's scores between its own references, or its returns where the family has no oracle.

    Args:
        run: as ``train`` returns it.
        returns: of its test tasks, (task, episode).
    """
    values = np.asarray(returns, dtype=np.float64)
    if run["references"]["oracle"] is None:
        return values
    random, oracle = (np.asarray(run["references"][end], dtype=np.float64)[:, None] for end in ("random", "oracle"))
    scores: FloatArray = (values - random) / (oracle - random)
    return scores


def curve(run: Mapping[str, Any]) -> tuple[FloatArray, FloatArray]:
    """Return a run's environment steps and the last episode's value at each evaluation, (evaluation,) each.

    Values are means over tasks, of returns or, where there is an oracle, between the means of the references.
    """
    means = np.asarray(run["curve"]["return_per_episode"], dtype=np.float64)[:, -1]
    random, oracle = (None if ends is None else float(np.mean(ends)) for ends in run["references"].values())
    assert random is not None
    scores = References(random=random, oracle=oracle).score(means)
    return np.asarray(run["curve"]["env_steps"], dtype=np.float64), means if scores is None else scores


def improvement(runs: Runs, baseline: Runs) -> Estimate | None:
    """Return the probability of being better than the baseline in the last episode, of the seeds that both have.

    None where they have no seed with the same test tasks.
    """
    shared = [seed for seed in runs if seed in baseline and runs[seed]["test_tasks"] == baseline[seed]["test_tasks"]]
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
    return all(run["references"]["oracle"] is not None for runs in found.values() for run in runs.values())


def _estimate(values: FloatArray) -> Estimate:
    """Return the interquartile mean of values (run, task, …) with its interval, (…) each."""
    return Estimate(interquartile_mean(values), *interval(interquartile_mean, values))
