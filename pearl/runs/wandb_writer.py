"""Weights & Biases as an output of stable-baselines3's logger.

`wandb` is imported only at the start of a W&B run; importing this module, or tracking without W&B, does not import it.
A start never blocks for long: if the server is out of reach, the run is kept on disk for a later `wandb sync`.
"""

import contextlib
import netrc
import os
import re
import shlex
import socket
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from stable_baselines3.common.logger import Figure, HParam, Image, KVWriter, filter_excluded_keys

from pearl.files.access import FileError, read_text, refuse_links, write_text
from pearl.process.output import brief, warn
from pearl.runs.wandb_mode import ResolvedWandbMode, WandbError, WandbMode, resolve_wandb_mode

if TYPE_CHECKING:
    import wandb

DEFAULT_PROJECT = "pearl-metarl"
START_BUDGET_S = 10.0  # for all waits on the server before training
REACH_TIMEOUT_S = 4.0  # its share for the first TCP connection
FINISH_TIMEOUT_S = 60.0  # for the remaining uploads at the end of a run

# One service with two names: wandb 0.31 connects to the second and accepts a netrc entry of either.
_PUBLIC_HOSTS = frozenset({"api.wandb.ai", "api.forge.coreweave.com"})
# Links that wandb itself replaces; any other link is foreign.
_WANDB_LINKS = frozenset({"latest-run", "debug.log", "debug-internal.log", "debug-core.log"})


def has_wandb_key() -> bool:
    """Return whether W&B credentials are configured: in the environment, wandb's settings files or a netrc file."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    settings = _wandb_settings()
    if settings.api_key:
        return True
    host = urlsplit(settings.base_url).netloc
    return _in_netrc(_PUBLIC_HOSTS if host in _PUBLIC_HOSTS else {host})


def start_wandb(
    run_dir: Path, *, config: Mapping[str, Any], name: str, mode: WandbMode = "auto"
) -> "WandbWriter | None":
    """Start a W&B run, or continue the one of `run_dir`; None if W&B is disabled.

    If an online start fails or takes longer than `START_BUDGET_S`, the run is offline. A line on stderr then gives the
    reason and the upload command. If the offline start fails too and the mode is "auto", there is no W&B run, and a
    line on stderr gives the reason.

    Args:
        run_dir: the run's folder; wandb writes there too, unless `WANDB_DIR` names another folder.
        config: the run's settings, shown beside its curves.
        name: the run's name on the dashboard, unless `WANDB_NAME` is set.
        mode: see `resolve_wandb_mode`.

    Raises:
        FileError: `run_dir/wandb` or something in it is a link, or `wandb_id.txt` is not a text file.
        ValueError: `mode` or `WANDB_MODE` is not a mode.
        WandbError: `mode` is "online" or "offline" and W&B cannot start.
    """
    try:
        resolved = resolve_wandb_mode(mode, os.environ, _or_wandb_error(has_wandb_key))
        return None if resolved == "disabled" else _or_wandb_error(_start)(run_dir, config, name, resolved)
    except WandbError as error:
        if mode != "auto":
            raise WandbError(f"{error} Correct that, or train without W&B: --wandb disabled.") from error
        warn(f"{error} Training continues without W&B.")
        return None


def _or_wandb_error(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        try:
            return function(*args)
        except FileError:  # A foreign link is not a failure of W&B.
            raise
        # wandb raises errors of many unrelated classes: settings, files, incompatible packages.
        except Exception as error:
            raise WandbError(f"W&B cannot start ({brief(error)}).") from error

    return call


def _start(run_dir: Path, config: Mapping[str, Any], name: str, resolved: ResolvedWandbMode) -> "WandbWriter":
    refuse_links(run_dir / "wandb", allowed=_WANDB_LINKS)
    refuse_links(run_dir / "wandb" / "artifacts")
    run_id: str | None = _stable_run_id(run_dir)
    reason = ""
    if resolved == "online":
        deadline = time.monotonic() + START_BUDGET_S
        reason = _offline_reason()
        if not reason:
            try:
                return WandbWriter(_init(run_dir, config, name, "online", run_id, deadline - time.monotonic()), run_dir)
            except Exception as error:
                reason = brief(error)
                # The service still reserves the stable id for the run that failed to start.
                run_id = None
    writer = WandbWriter(_init(run_dir, config, name, "offline", run_id, START_BUDGET_S), run_dir)
    if resolved == "online":
        warn(f"W&B did not start online ({reason}). The run is kept offline; upload it with: {writer.sync_command}")
    return writer


class WandbWriter(KVWriter):
    """Writes the rows of stable-baselines3's logger to a W&B run, with environment steps as the axis of every metric.

    It writes scalars, strings, figures, images and hyperparameters; videos and histograms go to TensorBoard only, as in
    stable-baselines3. If W&B fails, a line on stderr says so and training continues without it.
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
            key_excluded: the outputs that skip each key; this output is "wandb".
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
            with self._surviving_a_lost_service(), self._staging_in_run_dir():
                import wandb

                self._run.log({key: wandb.Table(columns=list(columns), data=[list(row) for row in rows])})

    def artifact(self, folder: Path, name: str, kind: str) -> None:
        """Store a copy of `folder` as a version of the artifact `name`, of type `kind`."""
        if self._run is not None:
            with self._surviving_a_lost_service(), self._staging_in_run_dir():
                import wandb

                artifact = wandb.Artifact(re.sub(r"[^\w.-]+", "-", name), type=kind)
                for path in sorted(folder.rglob("*")):
                    if path.is_file() and not path.is_symlink():  # A link may lead to private files.
                        artifact.add_file(str(path), name=path.relative_to(folder).as_posix())
                self._run.log_artifact(artifact)

    def close(self) -> None:
        """End the run with `exit_code`; uploads that exceed `FINISH_TIMEOUT_S` are left to `wandb sync`."""
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
        try:
            yield
        # Errors of many classes, as at the start; none may end a training run.
        except Exception as error:
            self._run = None
            warn(
                f"W&B stopped ({brief(error)}). Training continues without it. Upload the rows "
                f"written so far with: {self.sync_command}"
            )

    @contextlib.contextmanager
    def _staging_in_run_dir(self) -> Iterator[None]:
        """Let wandb stage artifact files in the run's folder, so that `wandb sync` needs no other folder."""
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
    if "finish_timeout" in wandb.Settings.model_fields:  # older versions have none
        settings["finish_timeout"] = FINISH_TIMEOUT_S
    return wandb.init(
        project=os.environ.get("WANDB_PROJECT") or DEFAULT_PROJECT,
        name=os.environ.get("WANDB_NAME") or name,
        config=dict(config),
        dir=os.environ.get("WANDB_DIR") or str(run_dir),
        mode=mode,
        id=run_id,
        resume="allow",
        allow_val_change=True,
        settings=wandb.Settings(**settings),
    )


def _wandb_settings() -> "wandb.Settings":
    """Return the settings that wandb reads from its files and the environment; keep its messages off the console."""
    # wandb reads this at import: its error reports would delay the exit by 20 s if no server answers.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    return wandb.setup(settings=wandb.Settings(silent=True)).settings


def _offline_reason() -> str:
    """Return why an online run cannot start; empty if it may be tried. Never prompts at the terminal."""
    if not has_wandb_key():
        return "no API key is configured: run `wandb login`"
    settings = _wandb_settings()
    url = urlsplit(settings.base_url)
    if settings.http_proxy or settings.https_proxy or url.scheme in urllib.request.getproxies():
        return ""  # only wandb knows how to use the proxy
    try:
        _connect(url.hostname or "", url.port or (443 if url.scheme == "https" else 80), REACH_TIMEOUT_S)
    except OSError as error:
        return f"{url.netloc} is out of reach: {error}"
    return ""


def _connect(host: str, port: int, timeout_s: float) -> None:
    """Raise OSError unless a TCP connection succeeds in time. A thread, because name resolution has no timeout."""
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


def _in_netrc(hosts: Collection[str]) -> bool:
    named = os.environ.get("NETRC")
    # Without a home, os.path.expanduser keeps the tilde, while Path.expanduser raises.
    for path in map(Path, map(os.path.expanduser, [named] if named else ["~/.netrc", "~/_netrc"])):
        if path.is_file():
            try:
                found = netrc.netrc(path)
            except (netrc.NetrcParseError, OSError, ValueError) as error:  # ValueError: not UTF-8
                warn(f"W&B: no API key was read from {path}: {error}")
                return False
            entries = [found.authenticators(host) for host in hosts]
            return any(entry and entry[2] for entry in entries)
    return False


def _stable_run_id(run_dir: Path) -> str:
    """Return the id shared by all sessions of a run: `WANDB_RUN_ID` if set, else the one in `wandb_id.txt`."""
    path = run_dir / "wandb_id.txt"
    named = os.environ.get("WANDB_RUN_ID", "").strip()
    if not named and path.exists() and (run_id := read_text(path, limit=1_000).strip()):
        return run_id
    run_id = named or uuid.uuid4().hex[:12]
    write_text(path, run_id + "\n")
    return run_id


def _sync_command(folder: Path, run_id: str, stable_id: str) -> str:
    target = "" if run_id == stable_id else f"--id {shlex.quote(stable_id)} "
    return f"wandb sync {target}{shlex.quote(str(folder))}"
