"""Show one adaptation: an agent meets a task it has never seen, and adapts to it.

python experiments/adapt.py pretrained/point-robot --task goal=0.3,-0.7 --gif adaptation.gif
"""

import sys
from pathlib import Path
from typing import Annotated

import gymnasium as gym
import tyro
from command_line import Modules, errors_in_one_line, load_to_act, path_argument
from rich.table import Table
from tyro.conf import Positional

from pearl import plots
from pearl.adaptation.policy import infers_task
from pearl.evaluation.protocol import measure_references
from pearl.files.access import folder_in
from pearl.model.arguments import whole_number
from pearl.process.output import make_console, protect_output, warn_on_failure
from pearl.runs.report import draw_adaptation, posterior_path
from pearl.runs.run import output_folder
from pearl.tasks import parse_task


@errors_in_one_line
def main(
    run: Annotated[Positional[Path], path_argument("RUN")],
    /,
    task: str | None = None,
    episodes: int | None = None,
    gif: Annotated[Path, path_argument("--gif")] | None = None,
    seed: int = 0,
    out: Annotated[Path, path_argument("--out")] | None = None,
    distribution: str | None = None,
    modules: Modules = (),
    follow: bool = True,
) -> int:
    """Adapt a trained agent to one task, and print and draw the result.

    Args:
        run: run folder, or checkpoint folder such as pretrained/point-robot.
        task: the task's parameters, for example goal=0.3,-0.7; the first held-out task if None.
        episodes: episodes of the trial; the last ones act on the posterior mean. The run's number if None.
        gif: GIF file of the trial.
        seed: seed of the trial's draws.
        out: folder of the picture; the run folder if None.
        distribution: module:Class of the task distribution; needed if the family is not registered.
        modules: module that registers your own encoder or algorithm of the agent.
        follow: whether z follows the posterior after each step; --no-follow keeps it for an episode, as in the paper.
    """
    console = make_console()
    whole_number(seed, "--seed")
    if gif is not None and gif.suffix.lower() != ".gif":
        raise ValueError(f"--gif must name a file that ends in .gif, got {gif}.")
    model = load_to_act(run, distribution, modules)
    chosen = model.test_tasks[0] if task is None else parse_task(task, like=model.test_tasks[0])
    settings = model.config.evaluation
    episodes = settings.episodes if episodes is None else episodes
    env = model.task_distribution.make_env(chosen, render_mode="rgb_array" if gif else None)
    if gif:
        env = gym.wrappers.RenderCollection(env, pop_frames=False, reset_clean=False)
    exploring = min(settings.exploration_episodes, max(1, episodes - 1))
    policy = model.adapt(env, episodes, exploration_episodes=exploring, seed=seed, follow=follow)
    folder = output_folder(run, out)
    pictures = folder_in(folder, "plots")
    for made in (pictures, *([gif.parent] if gif else [])):
        made.mkdir(parents=True, exist_ok=True)
    trial = policy.trial
    assert trial is not None
    references = measure_references(model.task_distribution, [chosen], seed=seed)
    ends = [int((trial.episode[0] < number).sum()) for number in range(episodes + 1)]
    posterior = posterior_path(model.agent, trial, ends) if infers_task(model.agent) else None
    table = Table(title=f"{model.family}: adapting to {chosen}")
    believed = ("posterior mean after it", "posterior spread") if posterior else ()
    for column in ("episode", "acting", "return", *believed):
        table.add_column(column, justify="left" if column == "acting" else "right")
    for number, value in enumerate(trial.episode_returns(episodes)[0], start=1):
        cells = [str(number), "explores" if number <= exploring else "best guess", f"{value:.2f}"]
        if posterior:
            mean, spread = posterior.mean[0, number], posterior.stddev[0, number]
            cells += [" ".join(f"{x:+.2f}" for x in mean), f"{float(spread.mean()):.3f}"]
        table.add_row(*cells)
    for name, reference in references.lines().items():
        table.add_row("", name, f"{reference:.2f}", style="dim")
    console.print(table)
    paths = []
    with warn_on_failure("the picture was not drawn"):
        picture = pictures / "adaptation.png"
        paths.append(draw_adaptation(model.agent, model.task_distribution, chosen, trial, references.lines(), picture))
    if gif:
        with warn_on_failure(f"the film {gif} was not made"):
            paths.append(plots.animation(gif, env.render()))  # type: ignore[arg-type]
    for path in paths:
        console.print(f"  {path}", highlight=False, soft_wrap=True)
    return (
        1 if gif and gif not in paths else 0
    )  # The user requested the film, so its failure is an error; a failed picture is only a warning.


if __name__ == "__main__":
    protect_output()
    sys.exit(errors_in_one_line(tyro.cli)(main))
