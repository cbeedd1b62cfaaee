"""Measure whether an agent tells tasks that are unlike its training tasks from tasks that are like them.

    python experiments/examples/unfamiliar.py pretrained/cheetah-vel --parameter velocity --low 3 --high 4

It plays held-out tasks as they are, and as many in which one parameter is drawn from another range, each for some steps
from the prior on. Writes the unfamiliarity of each task and its return to results/FAMILY/unfamiliarity.json.
"""

import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).parents[1]))  # The scripts' folder: this file lies in a folder below it.

from command_line import errors_in_one_line, load_with_belief, path_argument
from reproduce import commit
from tyro.conf import Positional

import pearl
from pearl.config.reading import ConfigError
from pearl.evaluation.statistics import probability_of_improvement
from pearl.process.output import protect_output
from pearl.runs.run import write_json
from pearl.tasks import Task

LEVEL = 0.95
"""Unfamiliarity above which a task counts as unfamiliar; 5 % of familiar tasks exceed it"""


def play(model: pearl.PEARL, task: Task, steps: int, seed: int) -> tuple[float, float]:
    """Return a task's unfamiliarity after ``steps`` steps, and the return of these steps."""
    session, earned = model.session(seed=seed), 0.0
    with closing(model.task_distribution.make_env(task)) as env:
        observation, _ = env.reset(seed=seed)
        for _ in range(steps):
            action = session.act(observation)
            after, reward, terminated, truncated, _ = env.step(action)
            session.observe(observation, action, float(reward), after, bool(terminated), bool(truncated))
            observation, earned = after, earned + float(reward)
            if terminated or truncated:
                observation, _ = env.reset()
    return session.unfamiliarity, earned


def separation(familiar: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    """Return the area under the ROC curve: how often one of ``other`` exceeds one of ``familiar``; a tie is half."""
    return probability_of_improvement(*np.broadcast_arrays(other[:, None], familiar))


def with_parameter(tasks: list[Task], name: str, values: np.ndarray[Any, Any]) -> list[Task]:
    """Return the tasks with another value each of one of their parameters.

    Raises:
        ConfigError: a task has no such number.
    """
    for task in tasks:
        if not isinstance(task.to_json().get(name), int | float):
            raise ConfigError(f"--parameter must name a number of the tasks, such as {task}; got {name!r}.")
    return [Task({**task.to_json(), name: float(value)}) for task, value in zip(tasks, values, strict=True)]


@errors_in_one_line
def main(
    run: Annotated[Positional[Path], path_argument("RUN")],
    /,
    parameter: str,
    low: float,
    high: float,
    steps: int = 100,
    tasks: int = 50,
    seed: int = 0,
) -> int:
    """Measure an agent on familiar and on other tasks, and return the process's exit code.

    Args:
        run: a run folder or a checkpoint folder of a PEARL agent that knows which tasks are familiar.
        parameter: name of the tasks' parameter that is changed, a number.
        low: smallest changed value.
        high: largest changed value.
        steps: steps that each task is played.
        tasks: tasks of each kind.
        seed: seed of the tasks and of all draws.
    """
    model = load_with_belief(run)
    rng = np.random.default_rng(seed)
    held_out = model.task_distribution.sample(tasks, rng)
    kinds = {"familiar": held_out, "other": with_parameter(held_out, parameter, rng.uniform(low, high, tasks))}
    found: dict[str, Any] = {}
    for kind, chosen in kinds.items():
        unfamiliarity, earned = np.array([play(model, task, steps, seed + row) for row, task in enumerate(chosen)]).T
        found[kind] = {"unfamiliarity": unfamiliarity.tolist(), "returns": earned.tolist()}
        above, mean = float((unfamiliarity > LEVEL).mean()), float(earned.mean())
        print(f"{kind}: {above:.0%} of {tasks} tasks above {LEVEL}, return of {steps} steps {mean:.1f}")
    area = separation(*(np.array(found[kind]["unfamiliarity"]) for kind in kinds))
    print(f"area under the ROC curve: {area:.3f}")
    protocol = {"parameter": parameter, "low": low, "high": high, "steps": steps, "seed": seed}
    measured = {"commit": commit(), "agent_seed": model.seed, **protocol, "roc_area": area, **found}
    write_json(Path("results") / model.family / "unfamiliarity.json", measured)
    return 0


if __name__ == "__main__":
    protect_output()
    sys.exit(errors_in_one_line(tyro.cli)(main))
