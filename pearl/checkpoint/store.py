"""Writing a checkpoint: one folder of safetensors and JSON files, replaced atomically.

Nothing is ever unpickled, so a checkpoint from a stranger cannot run code. The files of one write have its generation
in their names (`weights-000007.safetensors`, `state-000007.json`), and `manifest.json` names the valid generation.
Replacing the manifest commits the write: if a process dies at any moment, the manifest still names complete files. A
lock lets one process at a time write to a folder; any number may read it meanwhile.
"""

import contextlib
import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from pearl.checkpoint.manifest import (
    MANIFEST,
    STATE,
    CheckpointError,
    DataFile,
    Manifest,
    data_files,
    file_name,
    has_checkpoint,
    is_group_name,
    manifest_text,
    read_manifest,
)
from pearl.checkpoint.reading import Checkpoint, read_checkpoint
from pearl.checkpoint.safetensors_header import DTYPES
from pearl.files.access import create, replacing
from pearl.files.json_reading import MOST_BYTES, check_depth
from pearl.files.lock import FolderInUseError, FolderLock
from pearl.version import __version__

__all__ = ["Checkpoint", "CheckpointError", "has_checkpoint", "read_checkpoint", "write_checkpoint"]

_CHUNK = 1 << 20
_REMEDIES = {
    errno.ENOSPC: "Free some space there, or choose a folder on another disk, and save again.",
    errno.EDQUOT: "Your disk quota is used up: free some space, ask for more, or choose a folder on another disk.",
    errno.EFBIG: "A limit on the size of files is in force (see `ulimit -f`): raise it and save again.",
    errno.EROFS: "That disk is mounted read-only: choose a folder on another one.",
    errno.EACCES: "Grant yourself the right to write there, or choose another folder.",
    errno.EPERM: "Grant yourself the right to write there, or choose another folder.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.EEXIST: "A file stands where the folder should be: move it away, or choose another folder.",
    errno.ENOTDIR: "A file stands where a folder should be: move it away, or choose another folder.",
}


def write_checkpoint(
    folder: Path, groups: Mapping[str, Mapping[str, torch.Tensor]], document: Mapping[str, Any]
) -> None:
    """Replace the folder's checkpoint; on failure, leave the last good one untouched.

    Args:
        folder: made if it does not exist. Files in it that do not belong to a checkpoint are left alone.
        groups: tensors by group ("weights", "replay") and name, one file per group. Any device, strides and sharing.
        document: the other data of the checkpoint, as JSON. Tuples become lists.

    Raises:
        ValueError: a group's name, a tensor or a value of the document cannot be stored; nothing was written.
        CheckpointError: the disk is full or not writable, another process is writing to the folder, or it holds a
            foreign manifest.
    """
    contents = {group: _storage_order(group, tensors) for group, tensors in groups.items()}
    headers = {group: _safetensors_header(tensors) for group, tensors in contents.items()}
    _check_json(document, "document")
    text = json.dumps(document, allow_nan=False).encode()
    if len(text) > MOST_BYTES:
        raise ValueError(
            f"document takes {len(text):,} bytes as JSON, more than {MOST_BYTES:,}. Put arrays in a group."
        )
    check_depth(document)
    sizes = [len(headers[group]) + sum(map(_byte_count, contents[group].values())) for group in contents]
    previous = read_manifest(folder) if has_checkpoint(folder) else None
    generation, files = 0, {}
    started: list[Path] = []
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FolderLock(folder))
            generation = 1 + max((found for _, _, found in data_files(folder)), default=0)
            for group, tensors in contents.items():
                chunks = _safetensors_chunks(headers[group], tensors)
                files[group] = _write_file(folder / file_name(group, generation), chunks, list(groups[group]), started)
            files[STATE] = _write_file(folder / file_name(STATE, generation), iter([text]), [], started)
            _commit(folder, Manifest(generation, files))
        except BaseException as error:
            committed = _is_committed(folder, generation)
            if not committed:
                for path in started:
                    with contextlib.suppress(OSError):
                        path.unlink(missing_ok=True)
            if isinstance(error, FolderInUseError):
                raise CheckpointError(f"{error} Save again when it has finished, or save to another folder.") from error
            if isinstance(error, OSError):
                needed = sum(sizes) + len(text)
                raise CheckpointError(_write_failure(folder, error, needed, previous, committed)) from error
            raise
        _remove_other_generations(folder, generation, {*files, *(previous.files if previous else ())})


def _storage_order(group: str, tensors: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Return the tensors with the widest elements first, so that each is aligned in the file."""
    if not is_group_name(group):
        raise ValueError(
            f"{group!r} cannot name a group of tensors: a name has lower-case letters, digits and underscores, begins "
            f"with a letter and is not {STATE!r}, the document's name. Rename the group."
        )
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided or tensor.is_meta:
            kind = f"a {tensor.layout} tensor on {tensor.device}" if isinstance(tensor, torch.Tensor) else type(tensor)
            raise ValueError(
                f"groups[{group!r}][{name!r}] is {kind}; a checkpoint takes dense tensors that hold data. "
                "Convert it, or put it in the document if it is a plain value."
            )
        if tensor.dtype not in DTYPES:
            accepted = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
            raise ValueError(
                f"groups[{group!r}][{name!r}] has dtype {tensor.dtype}; a checkpoint takes {accepted}. Convert it."
            )
        if name == "__metadata__":
            raise ValueError(f"groups[{group!r}] has a tensor {name!r}, which safetensors reserves. Rename it.")
    return dict(sorted(tensors.items(), key=lambda item: -item[1].element_size()))


def _safetensors_header(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """Return the header of a safetensors file: its length in 8 bytes, then JSON with each tensor's offsets."""
    header, offset = {}, 0
    for name, tensor in tensors.items():
        end = offset + _byte_count(tensor)
        dtype = DTYPES[tensor.dtype]
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _safetensors_chunks(header: bytes, tensors: Mapping[str, torch.Tensor]) -> Iterator[bytes | memoryview]:
    yield header
    for tensor in tensors.values():
        if tensor.numel() > 0:
            data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
            yield from (data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK))


def _byte_count(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _check_json(value: object, path: str) -> None:
    """Raise a ValueError for a value that JSON would refuse or change; the message gives its path in the document."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{path} has the key {key!r}; JSON's keys are strings. Convert it.")
            _check_json(item, f"{path}[{key!r}]")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check_json(item, f"{path}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{path} is {value}, which JSON cannot hold. Leave it out, or store None or a string.")
    elif not isinstance(value, str | int | float | None):
        raise ValueError(
            f"{path} is a {type(value).__name__}; JSON holds strings, numbers, booleans, None, lists and mappings. "
            "Convert it, or put it in a group if it is a tensor."
        )


def _write_file(path: Path, chunks: Iterator[bytes | memoryview], tensors: list[str], started: list[Path]) -> DataFile:
    """Write and hash a new file in one pass, add it to ``started``, and return when its bytes are on disk."""
    sha256, size = hashlib.sha256(), 0
    with create(path) as file:
        started.append(path)
        for chunk in chunks:
            file.write(chunk)
            sha256.update(chunk)
            size += len(chunk)
        file.flush()
        os.fsync(file.fileno())
    return DataFile(path.name, size, sha256.hexdigest(), tensors)


def _commit(folder: Path, manifest: Manifest) -> None:
    """Make a generation, whose files are on disk, the valid one."""
    with replacing(folder / MANIFEST) as file:
        file.write(manifest_text(manifest, __version__))
        file.flush()
        os.fsync(file.fileno())
        # The new file names must reach the disk before the manifest that lists them, and both before the removal of
        # any older file.
        _sync_directory(folder)
    _sync_directory(folder)


def _sync_directory(folder: Path) -> None:
    if os.name == "nt":
        return  # Windows neither needs nor allows this.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # Some network disks cannot sync a folder.
            raise
    finally:
        os.close(descriptor)


def _is_committed(folder: Path, generation: int) -> bool:
    try:
        return read_manifest(folder).generation == generation
    except CheckpointError:
        return has_checkpoint(folder)  # An unreadable manifest may be the new one: keep its files.


def _remove_other_generations(folder: Path, generation: int, groups: Collection[str]) -> None:
    """Remove the files of earlier writes, finished or not; a failed removal does not fail a good save."""
    with contextlib.suppress(OSError):
        for path, group, found in data_files(folder):
            if group in groups and found != generation:
                with contextlib.suppress(OSError):
                    path.unlink()


def _is_hidden(path: Path) -> bool:
    """Return whether missing permissions on a parent folder hide the existence of ``path``."""
    try:
        os.stat(path)
    except OSError as error:
        return isinstance(error, PermissionError)
    return False


def _write_failure(folder: Path, error: OSError, needed: int, previous: Manifest | None, committed: bool) -> str:
    if committed:
        return (
            f"the checkpoint in {folder} is written and readable, but the system could not confirm that it would "
            f"survive a power cut: {error}. Check the disk and save again."
        )
    # os.path gives False for an inaccessible folder or too long a name, for which Path raises.
    existing = next((path for path in (folder, *folder.absolute().parents) if os.path.isdir(path)), None)
    free = "an unknown number of bytes"
    with contextlib.suppress(OSError):
        free = f"{shutil.disk_usage(existing).free:,} bytes" if existing else free
    if previous is not None:
        standing = f"The last good checkpoint (generation {previous.generation}) stands untouched."
    elif _is_hidden(folder / MANIFEST):
        standing = "Whether there was an earlier checkpoint is unknown."
    else:
        standing = "There was no earlier checkpoint."
    remedy = _REMEDIES.get(error.errno or 0, "Fix the cause, or choose another folder, and save again.")
    return (
        f"cannot write the checkpoint to {folder}: {error}. It needs {needed:,} bytes; {free} are free there. "
        f"{standing} {remedy}"
    )
