"""Measure trained agents on tasks that change within an episode, and on tasks that do not.

    python experiments/drift.py pretrained/cheetah-vel
    python experiments/drift.py pretrained/cheetah-vel pretrained/varying-pendulum --page docs/deployment.md

Each kind of session plays the same drifting tasks from the prior on: z that is kept, z that follows the posterior,
with fading evidence, with detection of changes, and told of each change. Writes results/FAMILY/drift.json and prints
the tables.
"""

import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import tyro
from command_line import errors_in_one_line, load_with_belief, path_argument
from pages import with_table
from reproduce import commit
from tyro.conf import Positional

import pearl
from pearl.adaptation.session import Session
from pearl.config.reading import ConfigError
from pearl.evaluation.drift import TOLD, DriftEvaluation, evaluate_drift
from pearl.files.access import read_text, write_text
from pearl.process.output import protect_output
from pearl.runs.run import write_json
from pearl.tasks import Drifting, Task, TaskDistribution, time_limit

FOLLOWS, DETECTS = "follows", "detects"
SHARES = (0.99, 0.97, 0.95, 0.9)
"""Shares of the evidence that sessions keep in each step"""
SOON = 5
"""Steps after a change within which an alarm counts as prompt"""


class Lengthened(TaskDistribution):
    """A family whose episodes end later.

    Args:
        family: whose tasks these are; its environments end by a ``TimeLimit``.
        steps: of an episode.
    """

    def __init__(self, family: TaskDistribution, steps: int) -> None:
        self.family, self.steps = family, steps
        self.name = pearl.tasks.family_name(family)
        self.same_tasks = family.same_tasks

    def sample(self, n: int, rng: np.random.Generator) -> list[Task]:
        """Draw ``n`` tasks of the family."""
        return self.family.sample(n, rng)

    def make_env(self, task: Task, *, render_mode: str | None = None) -> gym.Env[Any, Any]:
        """Build the environment of one task.

        Raises:
            ValueError: its episodes end otherwise than by a ``TimeLimit``.
        """
        env = self.family.make_env(task, render_mode=render_mode)
        layer: Any = env
        while not isinstance(layer, gym.wrappers.TimeLimit):
            if not isinstance(layer, gym.Wrapper):
                raise ValueError(
                    f"The environments of {self.name!r} end their episodes themselves, so that none can go on after a "
                    "change. Let make_env wrap them in gymnasium.wrappers.TimeLimit."
                )
            layer = layer.env
        layer._max_episode_steps = self.steps
        return env

    def change_task(self, env: gym.Env[Any, Any], task: Task) -> bool:
        """Change the task of a running environment as the family does."""
        return self.family.change_task(env, task)


def measure(model: pearl.PEARL, steps: int, switches: int, n_tasks: int, seed: int) -> dict[str, Any]:
    """Return the figures of each kind of session on drifting tasks, and of detection on tasks that do not change."""
    longer = Lengthened(model.task_distribution, steps * (switches + 1))
    family = Drifting(longer, pearl.DriftSchedule(steps=steps, switches=switches))
    tasks = family.sample(n_tasks, np.random.default_rng(seed))
    watching: list[Session] = []

    def detecting(each: pearl.PEARL) -> Session:
        watching.append(each.session(seed=seed, detect_changes=True))
        return watching[-1]

    kinds = {
        FOLLOWS: lambda each: each.session(seed=seed),
        "z kept": lambda each: each.session(seed=seed, follow=False),
        **{f"forgetting {share}": _forgetting(share, seed) for share in (SHARES if _forgets(model) else ())},
        DETECTS: detecting,
    }
    found = evaluate_drift(model, family, tasks, kinds, deterministic=True, seed=seed)
    figures = {name: _figures(evaluation) for name, evaluation in found.items()}
    figures[DETECTS] |= _alarms(watching, found[DETECTS])
    still = {FOLLOWS: kinds[FOLLOWS], DETECTS: detecting}
    return {"drifting": figures, "still": _still(model, longer, still, n_tasks, seed)}


def _forgets(model: pearl.PEARL) -> bool:
    """Whether the encoder's beliefs are sums over transitions."""
    try:
        model.agent.following(SHARES[0])
    except TypeError:
        return False
    return True


def _forgetting(share: float, seed: int) -> Any:
    return lambda each: each.session(seed=seed, forgetting=share)


def _figures(evaluation: DriftEvaluation) -> dict[str, Any]:
    # A segment that a terminated episode did not reach counts as 0: its mean over the others would favour early ends.
    segments = np.nan_to_num(evaluation.segment_returns).mean(0)
    figures = {name.removeprefix("drift/"): value for name, value in evaluation.figures().items()}
    figures["later_segments"] = float(segments[1:].mean())
    return {name: _known(value) for name, value in figures.items()} | {"segment_returns": segments.tolist()}


def _known(value: float) -> float | None:
    """Return a figure for JSON, None if it is not known."""
    return None if np.isnan(value) else float(value)


def _alarms(sessions: Sequence[Session], evaluation: DriftEvaluation) -> dict[str, float | None]:
    """Return the share of changes noticed, and noticed soon, of those at which the episode still went on.

    None if all episodes ended before.
    """
    delays = []
    for session, steps, rewards in zip(sessions, evaluation.switch_steps, evaluation.rewards, strict=True):
        noticed = [change.step for change in session.changes]
        length = int(np.isfinite(rewards).sum())
        for begin, end in zip(steps, [*steps[1:], length], strict=True):
            if begin < length:
                delays.append(min((step - begin for step in noticed if begin <= step < end), default=np.inf))
    if not delays:
        return {"noticed": None, "noticed_soon": None}
    return {"noticed": float(np.mean(np.isfinite(delays))), "noticed_soon": float(np.mean(np.array(delays) < SOON))}


def _still(
    model: pearl.PEARL, family: TaskDistribution, kinds: Mapping[str, Any], n_tasks: int, seed: int
) -> dict[str, Any]:
    """Play tasks that do not change; return each kind's mean return, and the alarms per 5 000 steps."""
    returns: dict[str, list[float]] = {name: [] for name in kinds}
    n_steps = alarms = 0
    for row, task in enumerate(family.sample(n_tasks, np.random.default_rng(seed + 1))):
        for name, start in kinds.items():
            with closing(family.make_env(task)) as env:
                session, earned = start(model), 0.0
                observation, _ = env.reset(seed=seed + row)
                ended = False
                while not ended:
                    action = session.act(observation, True)
                    after, reward, terminated, truncated, _ = env.step(action)
                    session.observe(observation, action, float(reward), after, bool(terminated), bool(truncated))
                    observation, ended, earned = after, bool(terminated or truncated), earned + float(reward)
                    n_steps += name == DETECTS
            returns[name].append(earned)
            alarms += len(session.changes) if name == DETECTS else 0
    means = {name: float(np.mean(values)) for name, values in returns.items()}
    return {"returns": means, "alarms_per_5000_steps": 5000 * alarms / n_steps}


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table of all families."""
    names = list(dict.fromkeys(name for measured in found.values() for name in measured["drifting"] if name != TOLD))
    lines = [
        "| return after a change | " + " | ".join([*names, TOLD]) + " | noticed, soon | alarms without a change |",
        "|" + "---|" * (len(names) + 4),
    ]
    for family, measured in found.items():
        drifting, still = measured["drifting"], measured["still"]
        later = [_number(drifting.get(name, {}).get("later_segments")) for name in [*names, TOLD]]
        seen = ", ".join(_share(drifting[DETECTS][name]) for name in ("noticed", "noticed_soon"))
        alarms = f"{_number(still['alarms_per_5000_steps'])} in 5 000 steps"
        lines.append(f"| `{family}` | {' | '.join(later)} | {seen} | {alarms} |")
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}".replace("-", "−")


@errors_in_one_line
def main(
    runs: Positional[tuple[Annotated[Path, path_argument("RUN")], ...]],
    /,
    steps: int = 100,
    switches: int = 3,
    tasks: int = 20,
    seed: int = 0,
    page: Path | None = None,
) -> int:
    """Measure trained agents on tasks that change, and return the process's exit code.

    Args:
        runs: run folders, or checkpoint folders such as pretrained/cheetah-vel, of PEARL agents with a detector.
        steps: environment steps that a task lasts.
        switches: changes within an episode.
        tasks: drifting tasks, and tasks that do not change.
        seed: seed of the tasks and of all draws.
        page: page of findings whose table named drift is replaced.
    """
    found = {}
    for run in runs:
        model = load_with_belief(run)
        if model.family in found:
            raise ConfigError(f"{run} is a second agent of {model.family}; measure one of each family.")
        env = model.task_distribution.make_env(model.test_tasks[0])
        limit = time_limit(env, "The environments have")
        env.close()
        lasting = min(steps, limit)
        found[model.family] = measured = measure(model, lasting, switches, tasks, seed)
        protocol = {"steps": lasting, "switches": switches, "tasks": tasks, "seed": seed, "agent_seed": model.seed}
        write_json(Path("results") / model.family / "drift.json", {"commit": commit(), **protocol, **measured})
        print(table({model.family: measured}), flush=True)
    if page is not None:
        write_text(page, with_table(read_text(page), "drift", table(found)))
    return 0


if __name__ == "__main__":
    protect_output()
    sys.exit(errors_in_one_line(tyro.cli)(main))
