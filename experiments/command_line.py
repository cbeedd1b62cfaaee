"""Common parts of the scripts' command lines: path arguments, loading of agents, errors on one line, exit codes."""

import functools
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, ParamSpec

from gymnasium.error import DependencyNotInstalled
from tyro.conf import UseAppendAction, arg
from tyro.constructors import PrimitiveConstructorSpec

import agents
import encoders
import pearl
from pearl.config.reading import ConfigError
from pearl.model.arguments import folder_path
from pearl.process.output import make_console
from pearl.runs.run import RunError
from pearl.tasks import find
from pearl.tasks.user_modules import import_user_module

Arguments = ParamSpec("Arguments")
OURS = [Path(file).parent for file in (encoders.__file__, agents.__file__, pearl.__file__, __file__)]

FAILED = 2
"""Exit code after an expected error, as after a wrong flag"""
EXPECTED = (
    pearl.CheckpointError,
    pearl.DivergedError,
    pearl.EnvError,
    pearl.TaskDistributionError,
    pearl.UnknownFamilyError,
    RunError,
    DependencyNotInstalled,
    ImportError,
    MemoryError,
    OSError,
    TypeError,
    ValueError,
)
"""Errors caused by a script's input, shown as their message; other errors are bugs and keep their traceback"""


Modules = Annotated[UseAppendAction[tuple[str, ...]], arg(name="import", metavar="MODULE")]
"""A user's modules: ``--import MODULE``, once per module"""


def import_modules(names: Sequence[str]) -> None:
    """Import a user's modules, which register families, encoders and algorithms.

    Args:
        names: dotted names of installed modules, or of modules in the current folder.

    Raises:
        UserModuleError: a module does not exist, or importing it fails.
    """
    if "" not in sys.path:
        sys.path.insert(0, "")  # A user's module lies in the current folder.
    for name in names:
        import_user_module(name)


def path_argument(name: str) -> PrimitiveConstructorSpec[Path]:
    """Return tyro's parser of a path argument: it refuses an empty path and expands ``~``.

    Args:
        name: the argument's name, for the error.
    """

    def read(texts: list[str]) -> Path:
        try:
            return folder_path(texts[0], name)
        except ValueError as error:
            raise RunError(str(error)) from error  # tyro would print a ValueError with all types that it tried.

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda value: [str(value)],
    )


def load_to_act(
    run: Path, distribution: str | None, modules: Sequence[str] = (), *, z_follows_posterior: bool | None = None
) -> pearl.MetaLearner:
    """Load a trained agent on the CPU, for acting.

    Args:
        run: run folder or checkpoint folder.
        distribution: module:Class of the task distribution; None if the family is registered.
        modules: the user's modules that register the agent's encoder or algorithm.
        z_follows_posterior: whether z follows the posterior within an episode; None keeps the trained setting.

    Raises:
        UserModuleError: a module does not exist, or importing it fails.
        CheckpointError, ConfigError, UnknownFamilyError: as from ``pearl.load`` and ``pearl.tasks.find``.
    """
    import_modules(modules)
    return pearl.load(
        run,
        distribution=None if distribution is None else find(distribution),
        device="cpu",
        z_follows_posterior=z_follows_posterior,
    )


def load_with_belief(run: Path) -> pearl.PEARL:
    """Load a trained agent of a registered family that infers the task, on the CPU.

    Raises:
        CheckpointError, UnknownFamilyError: as from ``load_to_act``.
        ConfigError: the agent is of another algorithm.
    """
    model = load_to_act(run, None)
    if not isinstance(model, pearl.PEARL):
        raise ConfigError(f"{run} holds a {model.config.algorithm} agent; only PEARL has a belief.")
    return model


def errors_in_one_line(main: Callable[Arguments, int | None]) -> Callable[Arguments, int]:
    """Return ``main`` wrapped so that an expected error is printed and gives the exit code ``FAILED``."""

    @functools.wraps(main)
    def reporting(*args: Arguments.args, **kwargs: Arguments.kwargs) -> int:
        try:
            return main(*args, **kwargs) or 0
        except EXPECTED as error:
            report("Error", error)
            return FAILED

    return reporting


def report(what: str, error: BaseException, more: str = "") -> None:
    """Print an error on one line of stderr.

    Args:
        what: start of the line.
        error: the error.
        more: end of the line.
    """
    text = f"{error.strerror}: {error.filename}." if isinstance(error, OSError) and error.filename else str(error)
    line = " ".join(part for part in (f"{what}: {text or type(error).__name__}", _place(error), more) if part)
    make_console(stderr=True).print(line, style="red", highlight=False, soft_wrap=True)


def _place(error: BaseException) -> str:
    """Return an error's type and place if it was raised outside our packages, else an empty string."""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, OSError) or any(Path(frames[-1].filename).is_relative_to(folder) for folder in OURS):
        return ""
    return f"({type(error).__name__} in {frames[-1].filename}, line {frames[-1].lineno})"
