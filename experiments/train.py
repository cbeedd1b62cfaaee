"""Meta-train PEARL on a task family.

    python experiments/train.py point-robot --seed 0
    python experiments/train.py my_module:MyDistribution
    python experiments/train.py --list

Settings come from the family's preset, then from --config FILE.yaml, then from flags.
"""

import dataclasses
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch
import tyro
from rich.console import Console
from rich.table import Table

import pearl
from agents import PEARLAgentConfig
from encoders import EncoderConfig
from pearl.config import ConfigError, load_preset, load_yaml
from pearl.console import TrainingProgress
from pearl.report import evaluation_table, headline
from pearl.run import Run, RunError, check_unused, resume, saved_config
from pearl.tasks import TaskDistribution, family_name, find
from pearl.wandb_writer import WandbMode


@dataclass(frozen=True, kw_only=True)
class Common:
    """Settings of the command itself."""

    seed: int = 0
    """Seed of tasks, weights and every draw."""
    total_steps: int | None = None
    """Length of training in environment steps; short for --training.total-steps."""
    run_dir: Path | None = None
    """Folder of the run; runs/FAMILY-seedN where None."""
    resume: bool = False
    """Go on from the run folder's checkpoint, as if never interrupted."""
    wandb: WandbMode = "auto"
    """Weights & Biases: auto follows WANDB_MODE, else is online where an API key is configured, else offline."""
    config: Path | None = None
    """YAML file with settings, over the preset and under the flags."""
    threads: int = 1
    """CPU threads; one is fastest for small networks and makes resuming exact."""

    def __post_init__(self) -> None:
        for name, minimum in (("seed", 0), ("threads", 1)):
            if getattr(self, name) < minimum:
                raise ConfigError(f"--{name} must be at least {minimum}, got {getattr(self, name)}.")


@dataclass(frozen=True, kw_only=True)
class Arguments(Common):
    """Meta-train PEARL on a task family: train.py FAMILY [flags]."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    agent: PEARLAgentConfig = field(default_factory=PEARLAgentConfig)
    training: pearl.TrainingConfig = field(default_factory=pearl.TrainingConfig)
    evaluation: pearl.EvaluationConfig = field(default_factory=pearl.EvaluationConfig)


def parse(argv: list[str]) -> tuple[TaskDistribution, Arguments, pearl.PEARLConfig]:
    """Return the family, the command's settings and the run's config: preset, then YAML, then flags."""
    if argv and argv[0] in ("--help", "-h"):
        tyro.cli(Arguments, prog="train.py FAMILY", args=["--help"])
    if not argv or argv[0].startswith("-"):
        raise ConfigError(
            f"Name a task family first: train.py FAMILY [flags]. Families: {', '.join(pearl.families())}."
        )
    sys.path.insert(0, "")  # A user's module lies in the folder where the command is given.
    distribution, flags = find(argv[0]), argv[1:]
    common, _ = tyro.cli(Common, args=flags, return_unknown_args=True, add_help=False)
    base = saved_config(folder_of(distribution, common)) if common.resume else load_preset(family_name(distribution))
    if common.config is not None:
        base = load_yaml(common.config, base)
    parts = {part.name: getattr(base, part.name) for part in dataclasses.fields(base)}
    arguments = tyro.cli(Arguments, prog=f"train.py {argv[0]}", args=flags, default=Arguments(**parts))
    config = pearl.PEARLConfig(**{name: getattr(arguments, name) for name in parts})
    if arguments.total_steps is not None:
        config = dataclasses.replace(
            config, training=dataclasses.replace(config.training, total_steps=arguments.total_steps)
        )
    return distribution, arguments, config


def folder_of(distribution: TaskDistribution, arguments: Common) -> Path:
    """Return the run's folder."""
    return arguments.run_dir or Path("runs") / f"{family_name(distribution)}-seed{arguments.seed}"


def family_table() -> Table:
    """Return the registered families, a line each."""
    table = Table("family", "task", box=None)
    for name, description in pearl.families().items():
        table.add_row(name, description)
    return table


def main(argv: list[str]) -> int:
    """Train, and return the process's exit code."""
    console = Console()
    if argv == ["--list"]:
        console.print(family_table())
        return 0
    try:
        distribution, arguments, config = parse(argv)
        folder = folder_of(distribution, arguments)
        torch.set_num_threads(arguments.threads)
        if arguments.resume:
            model = resume(folder, seed=arguments.seed, config=config, distribution=distribution)
        else:
            check_unused(folder)
            model = pearl.PEARL(distribution, config, seed=arguments.seed)
        run = Run(model, folder, wandb=arguments.wandb, resume=arguments.resume)
    except (RunError, ConfigError, pearl.CheckpointError, pearl.UnknownFamilyError, MemoryError, ValueError) as error:
        console.print(f"Error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 2
    progress = TrainingProgress(console)
    try:
        evaluation = run.train(callback=progress, on_evaluation=progress.evaluated)
    except (pearl.NonFiniteError, pearl.DivergedError, pearl.CheckpointError, OSError) as error:
        console.print(f"Training ended: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    finally:
        progress.stop()
    if evaluation is None:
        python = sys.orig_argv[0]
        again = shlex.join([python, sys.argv[0], *argv, *([] if arguments.resume else ["--resume"])])
        console.print(
            f"Stopped at {model.num_timesteps:,} environment steps; the checkpoint is in {folder}/checkpoint.",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
        console.print(f"Go on with:  {again}", markup=False, highlight=False, soft_wrap=True)
        return 130
    console.print(evaluation_table(evaluation, f"{model.family}: {evaluation.tasks_label}"))
    console.print(headline(evaluation), highlight=False, soft_wrap=True)
    for path in sorted((folder / "plots").glob("*.png")):
        console.print(f"  {path}", markup=False, highlight=False, soft_wrap=True)
    if run.tracker.sync_command:
        console.print(
            f"Upload to Weights & Biases with:  {run.tracker.sync_command}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
