"""Modes of Weights & Biases: online, offline on disk, or disabled."""

from collections.abc import Callable, Mapping
from typing import Literal

WandbMode = Literal["auto", "online", "offline", "disabled"]
ResolvedWandbMode = Literal["online", "offline", "disabled"]

_ENVIRONMENT_MODES: Mapping[str, ResolvedWandbMode] = {
    "online": "online",
    "run": "online",
    "offline": "offline",
    "dryrun": "offline",
    "disabled": "disabled",
}


class WandbError(RuntimeError):
    """Weights & Biases was requested and cannot start."""


def resolve_wandb_mode(
    requested: WandbMode, environ: Mapping[str, str], has_key: Callable[[], bool]
) -> ResolvedWandbMode:
    """Return the mode of W&B: an explicit request, else `WANDB_MODE`, else online if an API key is configured.

    Args:
        requested: the caller's mode; any but "auto" is final.
        environ: environment variables; only `WANDB_MODE` is read.
        has_key: returns whether an API key is configured; called only if the answer decides.

    Raises:
        ValueError: `requested` or `WANDB_MODE` is not a mode.
    """
    if requested in ("online", "offline", "disabled"):
        return requested
    if requested != "auto":
        raise ValueError(f"wandb_mode is {requested!r}; accepted are 'auto', 'online', 'offline' and 'disabled'")
    from_environment = environ.get("WANDB_MODE", "").strip().lower()
    if from_environment:
        if from_environment not in _ENVIRONMENT_MODES:
            raise ValueError(
                f"the environment variable WANDB_MODE is {from_environment!r}; accepted are 'online', 'offline' and "
                "'disabled'. Change it, unset it, or pass wandb_mode"
            )
        return _ENVIRONMENT_MODES[from_environment]
    return "online" if has_key() else "offline"
