"""TensorBoard's event files of a run that may be resumed."""

import re
import time
from pathlib import Path

from stable_baselines3.common.logger import TensorBoardOutputFormat
from torch.utils.tensorboard import SummaryWriter

_EVENT_FILE = re.compile(r"(?P<kind>events\.out\.tfevents\.)(?P<second>\d{10})(?P<rest>\..*)")


class ResumableTensorBoard(TensorBoardOutputFormat):
    """TensorBoard's event files; after a resume, TensorBoard hides rows logged after the checkpoint."""

    def __init__(self, folder: Path, *, resume_env_steps: int | None = None) -> None:
        # TensorBoard reads files in the order of their names, which begin with the second of their creation. Within one
        # second, or after the clock was set back, a resumed run's file could come before the earlier one.
        _let_earlier_files_come_first(folder)
        # Not the parent's constructor: it opens an event file without the purge.
        purge_step = None if resume_env_steps is None else resume_env_steps + 1
        self.writer = SummaryWriter(log_dir=str(folder), purge_step=purge_step)
        self._is_closed = False


def _let_earlier_files_come_first(folder: Path) -> None:
    """Rename event files in ``folder`` whose names contain a future second; keep their order."""
    found = {path: _EVENT_FILE.fullmatch(path.name) for path in sorted(folder.glob("events.out.tfevents.*"))}
    files = {path: match for path, match in found.items() if match is not None}
    now = int(time.time())
    seconds = [int(match["second"]) for match in files.values()]
    if not files or seconds[-1] < now:
        return
    # Lower than all existing seconds, so that no file is overwritten and the order is kept throughout.
    first = min(now, *seconds) - len(files)
    for number, (path, match) in enumerate(files.items()):
        path.rename(path.with_name(f"{match['kind']}{first + number:010d}{match['rest']}"))
