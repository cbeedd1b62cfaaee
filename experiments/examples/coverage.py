"""Measure how often a session's intervals hold where its belief ends, on tasks drawn anew.

    python experiments/examples/coverage.py pretrained/point-robot pretrained/cheetah-vel

Each task is played for a trial of two episodes, the second one deterministic. On the way the session's intervals are
noted, at the end it is counted how many hold the last posterior mean, by dimension. Beside them stand intervals of the
posterior's own spread, as if it were right. Writes results/FAMILY/coverage.json.
"""

import sys
from contextlib import closing
from pathlib import Path
from statistics import NormalDist
from typing import Annotated, Any

import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).parents[1]))  # The scripts' folder: this file lies in a folder below it.

from command_line import errors_in_one_line, load_with_belief, path_argument
from reproduce import commit
from tyro.conf import Positional

import pearl
from pearl.adaptation.familiarity import counts_up_to
from pearl.process.output import protect_output
from pearl.runs.run import write_json
from pearl.tasks import Task

COVERAGES = (0.5, 0.9)
EPISODES = 2


def play(model: pearl.PEARL, task: Task, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """Return which intervals of a trial held its last posterior mean, (noted, coverage, latent_dim) each."""
    session = model.session(seed=seed)
    noted_after = set(counts_up_to(model.horizon).tolist())  # of the trial's first half
    bounds: dict[str, list[Any]] = {"calibrated": [], "own spread": []}
    n_seen = 0
    with closing(model.task_distribution.make_env(task)) as env:
        for episode in range(EPISODES):
            observation, _ = env.reset(seed=seed) if episode == 0 else env.reset()
            ended = False
            while not ended:
                if n_seen in noted_after:
                    bounds["calibrated"].append([session.interval(coverage) for coverage in COVERAGES])
                    bounds["own spread"].append([_own(session.posterior, coverage) for coverage in COVERAGES])
                action = session.act(observation, episode > 0)
                after, reward, terminated, truncated, _ = env.step(action)
                session.observe(observation, action, float(reward), after, bool(terminated), bool(truncated))
                observation, ended, n_seen = after, bool(terminated or truncated), n_seen + 1
    last = session.posterior.mean.numpy()
    both = {name: np.array(each) for name, each in bounds.items()}  # (noted, coverage, low and high, latent_dim)
    return {name: (each[:, :, 0] <= last) & (last <= each[:, :, 1]) for name, each in both.items()}


def _own(posterior: Any, coverage: float) -> tuple[Any, Any]:
    reach = NormalDist().inv_cdf(0.5 + coverage / 2) * posterior.stddev
    return (posterior.mean - reach).numpy(), (posterior.mean + reach).numpy()


@errors_in_one_line
def main(
    runs: Positional[tuple[Annotated[Path, path_argument("RUN")], ...]],
    /,
    tasks: int = 50,
    seed: int = 0,
) -> int:
    """Measure agents on tasks drawn anew, and return the process's exit code.

    Args:
        runs: run folders or checkpoint folders of PEARL agents that know which tasks are familiar.
        tasks: tasks of each family.
        seed: seed of the tasks and of all draws.
    """
    for run in runs:
        model = load_with_belief(run)
        drawn = model.task_distribution.sample(tasks, np.random.default_rng(seed))
        played = [play(model, task, seed + row) for row, task in enumerate(drawn)]
        found: dict[str, dict[str, list[float]]] = {
            kind: {
                str(coverage): np.mean([each[kind][:, index].mean(0) for each in played], axis=0).tolist()
                for index, coverage in enumerate(COVERAGES)
            }
            for kind in played[0]
        }
        for kind, shares in found.items():
            said = (
                f"{np.mean(each):.0%} ({min(each):.0%} to {max(each):.0%}) of {name}" for name, each in shares.items()
            )
            print(f"{model.family}, {kind}: {', '.join(said)}")
        protocol = {"tasks": tasks, "seed": seed, "tasks_are_those_of_training": model.task_distribution.same_tasks}
        measured = {"commit": commit(), "agent_seed": model.seed, **protocol, "coverage_by_dimension": found}
        write_json(Path("results") / model.family / "coverage.json", measured)
    return 0


if __name__ == "__main__":
    protect_output()
    sys.exit(errors_in_one_line(tyro.cli)(main))
