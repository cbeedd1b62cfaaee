"""Weights & Biases as one more output of stable-baselines3's logger.

`wandb` is imported only where a run is about to start: importing this module, or tracking without W&B, does not touch
it. A start never blocks for long: where the server is out of reach, the run is kept on disk for a later `wandb sync`.
"""

import contextlib
import netrc
import os
import re
import shlex
import socket
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from stable_baselines3.common.logger import Figure, HParam, Image, KVWriter, filter_excluded_keys

from pearl.files import read_text, refuse_links, write_text

if TYPE_CHECKING:
    import wandb

WandbMode = Literal["auto", "online", "offline", "disabled"]
ResolvedWandbMode = Literal["online", "offline", "disabled"]

DEFAULT_PROJECT = "pearl-metarl"
START_BUDGET_S = 10.0  # for everything that waits on the server before training starts
REACH_TIMEOUT_S = 4.0  # its share for the first TCP connection
FINISH_TIMEOUT_S = 60.0  # for the upload of what is left when a run ends

# The same service under two names: wandb 0.31 calls the second, and takes a netrc entry for either.
_PUBLIC_HOSTS = frozenset({"api.wandb.ai", "api.forge.coreweave.com"})
# wandb puts a new link in the place of the old one; whatever else is a link is not its own.
_WANDB_LINKS = frozenset({"latest-run", "debug.log", "debug-internal.log", "debug-core.log"})
_ENVIRONMENT_MODES: Mapping[str, ResolvedWandbMode] = {
    "online": "online",
    "run": "online",
    "offline": "offline",
    "dryrun": "offline",
    "disabled": "disabled",
}


def resolve_wandb_mode(
    requested: WandbMode, environ: Mapping[str, str], has_key: Callable[[], bool]
) -> ResolvedWandbMode:
    """The mode to start W&B in: an explicit request, else `WANDB_MODE`, else online where an API key is configured.

    Args:
        requested: what the caller asked for; anything but "auto" is final.
        environ: environment variables, of which `WANDB_MODE` is read.
        has_key: whether an API key is configured; called only where the answer decides.

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


def has_wandb_key() -> bool:
    """Whether W&B credentials are configured: in the environment, in wandb's settings files or in a netrc file."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    settings = _wandb_settings()
    if settings.api_key:
        return True
    host = urlsplit(settings.base_url).netloc
    return any(_in_netrc(name) for name in (_PUBLIC_HOSTS if host in _PUBLIC_HOSTS else {host}))


def start_wandb(
    run_dir: Path, *, config: Mapping[str, Any], name: str, mode: WandbMode = "auto"
) -> "WandbWriter | None":
    """Start a W&B run, or go on with the one that `run_dir` belongs to; None where W&B is disabled.

    Where an online start fails or takes longer than `START_BUDGET_S`, the run is offline, and one line on stderr says
    why and how to upload it later.

    Args:
        run_dir: the run's folder, which also holds all that wandb writes.
        config: the run's settings, shown beside its curves.
        name: the run's name on the dashboard.
        mode: see `resolve_wandb_mode`.

    Raises:
        FileError: `run_dir/wandb` or something in it is a link, or `wandb_id.txt` is no text file.
    """
    resolved = resolve_wandb_mode(mode, os.environ, has_wandb_key)
    if resolved == "disabled":
        return None
    refuse_links(run_dir / "wandb", besides=_WANDB_LINKS)
    refuse_links(run_dir / "wandb" / "artifacts")
    run_id: str | None = _stable_run_id(run_dir)
    reason = ""
    if resolved == "online":
        deadline = time.monotonic() + START_BUDGET_S
        reason = _why_not_online()
        if not reason:
            try:
                return WandbWriter(_init(run_dir, config, name, "online", run_id, deadline - time.monotonic()), run_dir)
            # wandb raises errors of many unrelated classes here, and none of them is worth a training run.
            except Exception as error:
                reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
                # The service still holds the stable id for the run that failed to start.
                run_id = None
    writer = WandbWriter(_init(run_dir, config, name, "offline", run_id, START_BUDGET_S), run_dir)
    if resolved == "online":
        _warn(f"W&B did not start online ({reason}). The run is kept offline; upload it with: {writer.sync_command}")
    return writer


class WandbWriter(KVWriter):
    """Writes what stable-baselines3's logger dumps to a W&B run, with environment steps as the axis of every metric.

    Scalars, strings, figures, images and hyperparameters are written. Videos and histograms, which
    stable-baselines3 writes only to TensorBoard, stay there. Should the W&B process die, one line on stderr says so and
    training goes on without it.
    """

    def __init__(self, run: "wandb.Run", run_dir: Path) -> None:
        self.exit_code = 0
        self.offline = bool(run.offline)
        self.folder = Path(run.dir).parent
        self.sync_command = _sync_command(self.folder, run.id, _stable_run_id(run_dir))
        self._staging = run_dir / "wandb"
        self._run: wandb.Run | None = run
        with self._surviving_a_lost_service():
            run.define_metric("env_steps")
            run.define_metric("*", step_metric="env_steps")

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Log one row.

        Args:
            key_values: the values, by key.
            key_excluded: the outputs that each key is not meant for; this one is called "wandb".
            step: environment steps.
        """
        if self._run is None:
            return
        row: dict[str, Any] = {}
        with self._surviving_a_lost_service():
            for key, value in filter_excluded_keys(key_values, key_excluded, "wandb").items():
                if isinstance(value, HParam):
                    self._run.config.update(value.hparam_dict, allow_val_change=True)  # type: ignore[no-untyped-call]
                elif isinstance(value, Figure):
                    row[key] = self._wandb_image(value.figure)
                elif isinstance(value, Image):
                    row[key] = self._wandb_image(value.image)
                elif isinstance(value, str | int | float):
                    row[key] = value
                elif getattr(value, "ndim", None) == 0:
                    row[key] = value.item()
            self._run.log({**row, "env_steps": int(step)})

    def image(self, key: str, path: Path, env_steps: int) -> None:
        """Log the image file at `path`."""
        if self._run is not None:
            with self._surviving_a_lost_service():
                self._run.log({key: self._wandb_image(str(path)), "env_steps": int(env_steps)})

    def table(self, key: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Log a table."""
        if self._run is not None:
            import wandb

            with self._surviving_a_lost_service(), self._staging_in_run_dir():
                self._run.log({key: wandb.Table(columns=list(columns), data=[list(row) for row in rows])})

    def artifact(self, folder: Path, name: str, kind: str) -> None:
        """Store a copy of `folder` as a version of the artifact `name`, of type `kind`."""
        if self._run is not None:
            import wandb

            with self._surviving_a_lost_service(), self._staging_in_run_dir():
                artifact = wandb.Artifact(re.sub(r"[^\w.-]+", "-", name), type=kind)
                for path in sorted(folder.rglob("*")):
                    if path.is_file() and not path.is_symlink():  # A link may lead to what nobody wants uploaded.
                        artifact.add_file(str(path), name=path.relative_to(folder).as_posix())
                self._run.log_artifact(artifact)

    def close(self) -> None:
        """End the run with `exit_code`; what is not uploaded within `FINISH_TIMEOUT_S` is left for `wandb sync`."""
        if self._run is not None:
            with self._surviving_a_lost_service():
                self._run.finish(exit_code=self.exit_code)
            self._run = None

    @staticmethod
    def _wandb_image(content: Any) -> "wandb.Image":
        import wandb

        return wandb.Image(content)

    @contextlib.contextmanager
    def _surviving_a_lost_service(self) -> Iterator[None]:
        import wandb

        try:
            yield
        except (OSError, wandb.Error) as error:
            self._run = None
            _warn(
                f"W&B stopped ({type(error).__name__}: {error}). Training goes on without it; upload what was written "
                f"until now with: {self.sync_command}"
            )

    @contextlib.contextmanager
    def _staging_in_run_dir(self) -> Iterator[None]:
        """Let wandb stage artifact files in the run's folder, so that `wandb sync` needs no other one."""
        if "WANDB_DATA_DIR" in os.environ:
            yield
            return
        os.environ["WANDB_DATA_DIR"] = str(self._staging)
        try:
            yield
        finally:
            del os.environ["WANDB_DATA_DIR"]


def _init(
    run_dir: Path,
    config: Mapping[str, Any],
    name: str,
    mode: Literal["online", "offline"],
    run_id: str | None,
    timeout_s: float,
) -> "wandb.Run":
    import wandb

    _wandb_settings()
    settings: dict[str, Any] = {
        "console": "off",
        "quiet": True,
        "silent": True,
        "init_timeout": max(timeout_s, 1.0),
        "login_timeout": 1.0,
        "reinit": "create_new",
    }
    if "finish_timeout" in wandb.Settings.model_fields:  # older ones have none
        settings["finish_timeout"] = FINISH_TIMEOUT_S
    return wandb.init(
        project=os.environ.get("WANDB_PROJECT") or DEFAULT_PROJECT,
        name=name,
        config=dict(config),
        dir=str(run_dir),
        mode=mode,
        id=run_id,
        resume="allow",
        allow_val_change=True,
        settings=wandb.Settings(**settings),
    )


def _wandb_settings() -> "wandb.Settings":
    """What wandb reads from its files and the environment. Keeps its messages off the console, too."""
    # wandb reads this as it is imported: its own error reports would hold up the exit, 20 s where no server answers.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    return wandb.setup(settings=wandb.Settings(silent=True)).settings


def _why_not_online() -> str:
    """Why an online run cannot start, or nothing where it is worth a try. Never asks at the terminal."""
    if not has_wandb_key():
        return "no API key is configured: run `wandb login`"
    settings = _wandb_settings()
    url = urlsplit(settings.base_url)
    if settings.http_proxy or settings.https_proxy or url.scheme in urllib.request.getproxies():
        return ""  # only wandb knows the way
    try:
        _connect(url.hostname or "", url.port or (443 if url.scheme == "https" else 80), REACH_TIMEOUT_S)
    except OSError as error:
        return f"{url.netloc} is out of reach: {error}"
    return ""


def _connect(host: str, port: int, timeout_s: float) -> None:
    """Raise OSError unless a TCP connection succeeds in time. The thread bounds name resolution, which has no limit."""
    failures: list[OSError] = []

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=timeout_s).close()
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive():
        raise TimeoutError(f"no connection within {timeout_s:g} s")
    if failures:
        raise failures[0]


def _in_netrc(host: str) -> bool:
    candidates = [Path("~/.netrc").expanduser(), Path("~/_netrc").expanduser()]
    if named := os.environ.get("NETRC"):
        candidates = [Path(named).expanduser()]
    for path in candidates:
        if path.is_file():
            try:
                entry = netrc.netrc(path).authenticators(host)
            except (netrc.NetrcParseError, OSError) as error:
                _warn(f"W&B: no API key was read from {path}: {error}")
                return False
            return bool(entry and entry[2])
    return False


def _stable_run_id(run_dir: Path) -> str:
    """The id that ties the sessions of one run together, kept in `wandb_id.txt`."""
    path = run_dir / "wandb_id.txt"
    if path.exists() and (run_id := read_text(path, limit=1_000).strip()):
        return run_id
    run_id = uuid.uuid4().hex[:12]
    write_text(path, run_id + "\n")
    return run_id


def _sync_command(folder: Path, run_id: str, stable_id: str) -> str:
    target = "" if run_id == stable_id else f"--id {shlex.quote(stable_id)} "
    return f"wandb sync {target}{shlex.quote(str(folder))}"


def _warn(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
