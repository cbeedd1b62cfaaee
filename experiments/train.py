"""Meta-train PEARL, or another algorithm, on a task family.

    python experiments/train.py point-robot --seed 0
    python experiments/train.py point-robot --algorithm rl2
    python experiments/train.py my_module:MyDistribution
    python experiments/train.py point-robot --import my_module --encoder.kind my_encoder
    python experiments/train.py --list
    python experiments/train.py point-robot --print-config

Settings come from the family's preset, then from --config FILE.yaml, then from flags. --help shows the settings that
matter most, --help-all every setting; docs/settings.md explains them.
"""

import dataclasses
import shlex
import sys
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import tyro
from command_line import EXPECTED, FAILED, Modules, import_modules, path_argument, report
from rich.table import Table

import pearl
from encoders.settings import setting_types
from pearl.algorithms import ALGORITHMS, find_algorithm
from pearl.checkpoint.store import has_checkpoint
from pearl.config.documentation import ESSENTIAL, documented
from pearl.config.reading import ConfigError, load_yaml, to_yaml
from pearl.config.run import Config, PEARLConfig, preset
from pearl.evaluation.diagnosis import diagnosis_lines
from pearl.model.meta_learner import learner_of
from pearl.model.saving import CHECKPOINT
from pearl.process.output import make_console, protect_output
from pearl.process.threads import use_threads
from pearl.runs.console import TrainingProgress
from pearl.runs.report import evaluation_table, headline
from pearl.runs.run import Run, check_unused, resume, run_name, saved_config
from pearl.runs.wandb_mode import WandbMode
from pearl.tasks import TaskDistribution, family_name, find

HELP = ("--help", "-h", "--help-all")
Objective = Literal["critics", "reconstruction", "both"]


@dataclass(frozen=True, kw_only=True)
class Common:
    """Settings of the command itself."""

    seed: int = 0
    """Seed of tasks, weights and every draw."""
    total_steps: int | None = None
    """Length of training in environment steps; short for --training.total-steps."""
    objective: Objective | None = None
    """Training signal of PEARL's encoder: the critics (Rakelly et al. 2019); reconstruction, a decoder of reward and
    next observation (VariBAD, Zintgraf et al. 2020); or both. Short for settings in --agent.auxiliary."""
    run_dir: Annotated[Path, path_argument("--run-dir")] | None = None
    """Folder of the run; by default runs/FAMILY-seedN, or runs/FAMILY-ALGORITHM-seedN if the algorithm is not PEARL."""
    resume: bool = False
    """Continue from the run folder's checkpoint, as if never interrupted."""
    wandb: WandbMode = "auto"
    """Weights & Biases: auto follows WANDB_MODE, else is online if an API key is configured, else offline."""
    config: Annotated[Path, path_argument("--config")] | None = None
    """YAML file of settings; they override the preset, and flags override them."""
    print_config: bool = False
    """Print all settings of the run as YAML for --config, without training."""
    threads: int = 1
    """CPU threads; one is fastest for small networks and makes resuming exact."""

    def __post_init__(self) -> None:
        for name, minimum in (("seed", 0), ("threads", 1)):
            if getattr(self, name) < minimum:
                raise ConfigError(f"--{name} must be at least {minimum}, got {getattr(self, name)}.")


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The algorithm, and the modules that may register it."""

    modules: Modules = ()
    """Your own module to import first; it registers families, encoders or algorithms. Repeat the flag for more."""

    algorithm: str | None = None
    """Algorithm; by default pearl, or the run's own with --resume and --run-dir. --list shows all."""


def parse(argv: list[str]) -> tuple[TaskDistribution, Any, Config]:
    """Return the family, the command's settings and the run's config: preset, then YAML, then flags."""
    chosen, argv = tyro.cli(Chosen, args=argv, return_unknown_args=True, add_help=False)
    import_modules(chosen.modules)
    algorithm = find_algorithm(chosen.algorithm or PEARLConfig.algorithm)
    asked = [flag for flag in argv if flag in HELP]
    if asked and argv[0] in HELP:
        show_help(
            preset(algorithm.config, ""),
            "train.py FAMILY [--algorithm NAME] [--import MODULE]",
            everything="--help-all" in asked,
        )
    if not argv or argv[0].startswith("-"):
        raise ConfigError(
            f"Name a task family first: train.py FAMILY [flags]. Families: {', '.join(pearl.families())}."
        )
    distribution, flags = find(argv[0]), argv[1:]
    if asked:
        base = preset(algorithm.config, family_name(distribution))
        show_help(base, f"train.py {argv[0]}", everything="--help-all" in asked)
    common, _ = tyro.cli(Common, args=flags, return_unknown_args=True, add_help=False)
    if common.resume:
        folder = folder_of(distribution, common, algorithm.config.algorithm)
        base = saved_config(folder)
        if chosen.algorithm is not None and base.algorithm != chosen.algorithm:
            raise ConfigError(
                f"The run in {folder} trains {base.algorithm}, not {chosen.algorithm}. Leave --algorithm out."
            )
    else:
        base = preset(algorithm.config, family_name(distribution))
    if common.config is not None:
        base = load_yaml(common.config, base)
    arguments = tyro.cli(arguments_of(base), prog=f"train.py {argv[0]}", args=flags)
    config = type(base)(**{part.name: getattr(arguments, part.name) for part in dataclasses.fields(base)})
    if arguments.total_steps is not None:
        config = dataclasses.replace(
            config, training=dataclasses.replace(config.training, total_steps=arguments.total_steps)
        )
    if arguments.objective is not None:
        config = with_objective(config, arguments.objective)
    return distribution, arguments, config


def show_help(base: Config, prog: str, *, everything: bool) -> NoReturn:
    """Print the command's flags with their defaults, and end the process.

    Args:
        base: the defaults.
        prog: the command in the usage line.
        everything: whether to show every setting, or only those in ``ESSENTIAL``.
    """
    tyro.cli(arguments_of(base) if everything else essential_arguments_of(base), prog=prog, args=["--help"])
    raise AssertionError("tyro ends the process after the help.")


def with_objective(config: Config, objective: Objective) -> Config:
    """Return the settings with the encoder's training signal set.

    Raises:
        ConfigError: the algorithm has no encoder.
    """
    if not isinstance(config, PEARLConfig):
        raise ConfigError(f"--objective is for PEARL's encoder; {config.algorithm} has none. Leave it out.")
    auxiliary = dataclasses.replace(
        config.agent.auxiliary, critics_teach_encoder=True, reconstruction_weight=0.0, task_inference_weight=0.0
    )
    if objective != "critics":
        auxiliary = dataclasses.replace(
            auxiliary,
            critics_teach_encoder=objective == "both",
            reconstruction_weight=config.agent.auxiliary.reconstruction_weight or 1.0,
            reconstructed=("reward", "next_observation"),
        )
    return dataclasses.replace(config, agent=dataclasses.replace(config.agent, auxiliary=auxiliary))


def arguments_of(base: Config) -> type[Any]:
    """Return the command's settings with the sections of a config; the config's values are the defaults."""
    sections: list[Any] = []
    for part in dataclasses.fields(base):
        value = getattr(base, part.name)
        sections.append((part.name, type(value), dataclasses.field(default=value)))
    made: type[Any] = dataclasses.make_dataclass("Arguments", sections, bases=(Common,), frozen=True, kw_only=True)
    made.__doc__ = (
        "Meta-train on a task family: train.py FAMILY [--algorithm NAME] [--import MODULE] [flags]. Algorithms: "
        + "; ".join(f"{name}, {algorithm.description}" for name, algorithm in ALGORITHMS.items())
    )
    return made


def essential_arguments_of(base: Config) -> type[Any]:
    """Return the command's settings with only the ``ESSENTIAL`` settings of a config, for the help."""
    settings = {setting.name: setting for setting in documented(base)}
    shown: list[Any] = []
    for name in ESSENTIAL:
        if name in settings:
            section, _, field = name.rpartition(".")
            hint = setting_types(type(attrgetter(section)(base)))[field]
            argument = tyro.conf.arg(name=name.replace("_", "-"), help=settings[name].documentation)
            default = dataclasses.field(default=settings[name].value)
            shown.append((name.replace(".", "_"), Annotated[hint, argument], default))
    made: type[Any] = dataclasses.make_dataclass("Arguments", shown, bases=(Common,), frozen=True, kw_only=True)
    made.__doc__ = (
        "Meta-train on a task family: train.py FAMILY [--algorithm NAME] [flags]. --list shows families, algorithms. "
        "These settings matter most; --help-all shows every setting, docs/settings.md explains them."
    )
    return made


def folder_of(distribution: TaskDistribution, arguments: Common, algorithm: str) -> Path:
    """Return the run's folder."""
    return arguments.run_dir or Path("runs") / run_name(family_name(distribution), algorithm, arguments.seed)


def family_table() -> Table:
    """Return the list of registered families, one per line."""
    table = Table("family", "task", box=None)
    for name, description in pearl.families().items():
        table.add_row(name, description)
    return table


def algorithm_table() -> Table:
    """Return the list of algorithms, one per line."""
    table = Table("algorithm", "description", box=None)
    for name, algorithm in ALGORITHMS.items():
        table.add_row(name, algorithm.description)
    return table


def resuming(argv: list[str]) -> str:
    """Return the command that resumes a run."""
    return shlex.join([sys.orig_argv[0], sys.argv[0], *argv, *([] if "--resume" in argv else ["--resume"])])


def main(argv: list[str]) -> int:
    """Train, and return the process's exit code."""
    console = make_console()
    try:
        if "--list" in argv:
            chosen, _ = tyro.cli(Chosen, args=argv, return_unknown_args=True, add_help=False)
            import_modules(chosen.modules)
            console.print(family_table())
            console.print(algorithm_table())
            return 0
        distribution, arguments, config = parse(argv)
        if arguments.print_config:
            print(f"# train.py {family_name(distribution)} --algorithm {config.algorithm}\n{to_yaml(config)}", end="")
            return 0
        folder = folder_of(distribution, arguments, config.algorithm)
        use_threads(arguments.threads)
        if arguments.resume:
            model = resume(folder, seed=arguments.seed, config=config, distribution=distribution)
        else:
            check_unused(folder)
            model = learner_of(config)(distribution, config, seed=arguments.seed)
        run = Run(model, folder, wandb=arguments.wandb, resume=arguments.resume)
    except EXPECTED as error:
        report("Error", error)
        return FAILED
    progress = TrainingProgress(console)
    try:
        evaluation = run.train(callback=progress, on_evaluation=progress.evaluated)
    except (pearl.NonFiniteError, pearl.DivergedError, pearl.EnvError, pearl.CheckpointError, OSError) as error:
        # The message of a CheckpointError already says it.
        stands = not isinstance(error, pearl.CheckpointError) and has_checkpoint(folder / CHECKPOINT)
        report("Training ended", error, f"The last checkpoint in {folder} is kept." if stands else "")
        return 1
    except KeyboardInterrupt:  # the second one
        if has_checkpoint(folder / CHECKPOINT):
            console.print("Ended at once; the training since the last checkpoint is lost.", soft_wrap=True)
            console.print(f"Go on with:  {resuming(argv)}", highlight=False, soft_wrap=True)
        else:
            console.print("Ended at once; there is no checkpoint yet.", soft_wrap=True)
        return 130
    finally:
        progress.stop()
    if evaluation is None:
        console.print(
            f"Stopped at {model.num_timesteps:,} environment steps; the checkpoint is in {folder}/checkpoint.",
            highlight=False,
            soft_wrap=True,
        )
        console.print(f"Go on with:  {resuming(argv)}", highlight=False, soft_wrap=True)
        return 130
    console.print(evaluation_table(evaluation, f"{model.family}: {evaluation.tasks_label}"))
    console.print(headline(evaluation), highlight=False, soft_wrap=True)
    for line in diagnosis_lines(run.findings):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    for path in sorted((folder / "plots").glob("*.png")):
        console.print(f"  {path}", highlight=False, soft_wrap=True)
    if run.tracker.sync_command:
        console.print(
            f"Upload to Weights & Biases with:  {run.tracker.sync_command}",
            highlight=False,
            soft_wrap=True,
        )
    return 0


if __name__ == "__main__":
    protect_output()
    sys.exit(main(sys.argv[1:]))
