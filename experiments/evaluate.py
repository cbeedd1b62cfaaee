"""Evaluate a trained agent by the few-shot protocol: return of episode 1 to K on held-out tasks.

python experiments/evaluate.py runs/point-robot-seed0 --tasks 100
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from command_line import Modules, errors_in_one_line, load_to_act, path_argument
from tyro.conf import Positional

from agents import PEARLAgent
from pearl.evaluation.protocol import check_disjoint
from pearl.files.access import folder_in
from pearl.model.arguments import whole_number
from pearl.process.output import make_console, protect_output
from pearl.runs.report import draw_evaluation, evaluation_summary, evaluation_table, headline
from pearl.runs.run import output_folder, write_json

FOLLOWS = {"as-trained": None, "follows": True, "kept": False}
"""Whether z follows the posterior, by the value of the flag; None as in training"""


@errors_in_one_line
def main(
    run: Annotated[Positional[Path], path_argument("RUN")],
    /,
    tasks: int | None = None,
    episodes: int | None = None,
    seed: int | None = None,
    out: Annotated[Path, path_argument("--out")] | None = None,
    distribution: str | None = None,
    modules: Modules = (),
    z: Literal["as-trained", "follows", "kept"] = "as-trained",
) -> int:
    """Evaluate a trained agent on held-out tasks and return the process's exit code.

    Args:
        run: run folder, or checkpoint folder such as pretrained/point-robot.
        tasks: number of new held-out tasks drawn from the family, 20 or more for the return of the worst 5 % of them;
            the run's own test tasks if None.
        episodes: episodes per trial; the run's number if None.
        seed: seed of the new tasks and of the protocol's draws; the run's evaluation seed if None.
        out: folder for evaluation.json and plots/; the run folder if None.
        distribution: module:Class of the task distribution; needed if the family is not registered.
        modules: module that registers your own encoder or algorithm of the agent.
        z: whether z follows the posterior within an episode or is kept.
    """
    console = make_console()
    model = load_to_act(run, distribution, modules, z_follows_posterior=FOLLOWS[z])
    if z == "kept" and isinstance(model.agent, PEARLAgent):
        model.agent = model.agent.keeping()  # A sweep stands still too.
    chosen = model.test_tasks
    if seed is not None:
        whole_number(seed, "--seed")
    if episodes is not None:
        replace(model.config.evaluation, episodes=episodes)  # The same checks as in training.
    if tasks is not None:
        whole_number(tasks, "--tasks", least=1)
        chosen = model.task_distribution.sample(tasks, np.random.default_rng([0 if seed is None else seed, tasks]))
        if not model.task_distribution.same_tasks:
            check_disjoint(model.train_tasks, chosen)
    evaluation = model.evaluate(chosen, episodes=episodes, seed=seed)
    folder = output_folder(run, out)
    plots = folder_in(folder, "plots")
    plots.mkdir(parents=True, exist_ok=True)
    write_json(
        folder / "evaluation.json",
        {
            "family": model.family,
            "algorithm": model.config.algorithm,
            "seed": seed,
            "env_steps": model.num_timesteps,
            "z_follows_posterior": isinstance(model.agent, PEARLAgent) and model.agent.z_moves,
            "test": evaluation_summary(evaluation),
            "tasks": [
                {"task": task.to_json(), "returns": returns}
                for task, returns in zip(chosen, evaluation.returns.tolist(), strict=True)
            ],
        },
    )
    console.print(evaluation_table(evaluation, f"{model.family}: {evaluation.tasks_label}"))
    console.print(headline(evaluation), highlight=False, soft_wrap=True)
    paths = draw_evaluation(model.agent, model.task_distribution, chosen, evaluation, plots)
    for path in [folder / "evaluation.json", *paths]:
        console.print(f"  {path}", highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    protect_output()
    sys.exit(errors_in_one_line(tyro.cli)(main))
