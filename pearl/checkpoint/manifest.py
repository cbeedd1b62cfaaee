"""Contents of a checkpoint's folder: the names of its files, and the manifest that lists the valid ones.

A manifest is untrusted data. Its entries are trusted only after `verify_file` has compared them with the disk, and its
file names never lead out of the folder. It contains its own checksum, so that an error can name what changed, the
manifest or a file. Older manifests lack this checksum.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from encoders.abbreviation import abbreviated, shortened
from encoders.settings import INTEGERS
from pearl.files.access import open_to_read, read_bytes
from pearl.files.json_reading import MOST_BYTES, parse_json

FORMAT = "pearl-checkpoint"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
STATE = "state"

_SEAL = "sha256"
_KEYS = {"format", "format_version", "pearl_version", "generation", "files"}
_GROUP = re.compile(r"[a-z][a-z0-9_]{0,99}")
_DATA_FILE = re.compile(r"(?P<group>[a-z][a-z0-9_]{0,99})-(?P<generation>[0-9]{6,12})\.(?:safetensors|json)")
_GENERATIONS = 10**12
_PICKLE_SUFFIXES = (".zip", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin")


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written or read; the message gives the reason and the remedy."""


class DataFile(NamedTuple):
    """One file of a checkpoint, as the manifest lists it.

    Attributes:
        name: its name in the folder.
        size: its size in bytes.
        sha256: SHA-256 of its bytes, in hexadecimal digits.
        tensors: names of its tensors, in the order in which they were given.
    """

    name: str
    size: int
    sha256: str
    tensors: list[str]


class Manifest(NamedTuple):
    """The valid generation of a checkpoint's folder, and its files.

    Attributes:
        generation: number of the write to the folder, from 1.
        files: the generation's files by group.
        sealed: whether the manifest contains its own checksum.
    """

    generation: int
    files: dict[str, DataFile]
    sealed: bool = True


def is_group_name(name: str) -> bool:
    """Return whether a group of tensors may have this name: it must be valid in a file name on any system."""
    return _GROUP.fullmatch(name) is not None and name != STATE


def file_name(group: str, generation: int) -> str:
    """Return the file name of a group in a generation."""
    return f"{group}-{generation:06d}.{'json' if group == STATE else 'safetensors'}"


def data_files(folder: Path) -> list[tuple[Path, str, int]]:
    """Return the files in the folder that have a checkpoint's file names, listed in the manifest or not.

    Returns:
        (path, group, generation) of each file.
    """
    found = []
    for path in folder.iterdir():
        match = _DATA_FILE.fullmatch(path.name)
        if match and path.name == file_name(match["group"], int(match["generation"])):
            found.append((path, match["group"], int(match["generation"])))
    return found


def has_checkpoint(folder: Path) -> bool:
    """Return whether the folder has a manifest, even a damaged one, so that a new run never overwrites it."""
    return os.path.lexists(folder / MANIFEST)


def manifest_text(manifest: Manifest, pearl_version: str) -> bytes:
    """Return the manifest in the format of `read_manifest`."""
    files = {
        group: {"name": file.name, "bytes": file.size, "sha256": file.sha256, "tensors": file.tensors}
        for group, file in manifest.files.items()
    }
    head = {"format": FORMAT, "format_version": FORMAT_VERSION, "pearl_version": pearl_version}
    content = {**head, "generation": manifest.generation, "files": files}
    return json.dumps(content | {_SEAL: own_checksum(content)}, indent=1).encode()


def own_checksum(content: Mapping[str, Any]) -> str:
    """Return the SHA-256, in hexadecimal digits, of a manifest's content except its own checksum."""
    rest = {key: value for key, value in content.items() if key != _SEAL}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """Read and check the folder's manifest, but not the files that it lists.

    Raises:
        CheckpointError: the manifest is missing, damaged, foreign or of a newer format version.
    """
    path = folder / MANIFEST
    try:
        if not has_checkpoint(folder):
            raise CheckpointError(_no_checkpoint(folder))
        content = read_bytes(path, MOST_BYTES)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error}. Fix the cause and load again.") from error
    try:
        raw = parse_json(content)
    except ValueError as error:
        _refuse_pickle(path, content)
        raise CheckpointError(
            f"{path} is not valid JSON ({error}): it is damaged or belongs to something else. "
            "Restore the checkpoint from a copy, or choose another folder."
        ) from error
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        given = raw.get("format") if isinstance(raw, dict) else None
        raise CheckpointError(
            f"{path} belongs to something else: its format is {abbreviated(given)}, a checkpoint's is {FORMAT!r}. "
            "Choose another folder."
        )
    version = raw.get("format_version")
    if type(version) is int and version > FORMAT_VERSION:
        writer = shortened(str(raw.get("pearl_version")), 30)
        raise CheckpointError(
            f"{path} has format version {version}, written by pearl {writer}; this pearl reads up to "
            f"{FORMAT_VERSION}. Upgrade: pip install --upgrade pearl-metarl"
        )
    if type(version) is not int or version < 1:
        _damaged(path, f"format_version is {abbreviated(version)}, expected a whole number from 1")
    _check_seal(path, raw)
    generation, files = raw.get("generation"), raw.get("files")
    if type(generation) is not int or not 1 <= generation < _GENERATIONS:
        _damaged(path, f"generation is {abbreviated(generation)}, expected a whole number from 1")
    if not isinstance(files, dict) or STATE not in files:
        _damaged(path, f"its files lack {STATE!r}")
    listed = {group: _data_file(path, group, entry, generation) for group, entry in files.items()}
    return Manifest(generation, listed, sealed=_SEAL in raw)


def verify_file(folder: Path, file: DataFile, *, sealed: bool = True) -> Path:
    """Compare a file with its entry in the manifest, and return its path.

    Args:
        folder: the checkpoint's folder.
        file: the file's entry in the manifest.
        sealed: whether the manifest contains its own checksum; without it, either may have changed.

    Raises:
        CheckpointError: the file is missing, truncated, altered, or a disguised pickle. The message names it.
    """
    path = folder / file.name
    restore = "Restore the checkpoint from a copy or an earlier run."
    if not sealed:
        restore = f"Or {folder / MANIFEST} is altered: it is an older one, without a checksum of its own. {restore}"
    if not path.exists():
        raise CheckpointError(f"{path} is missing, though the manifest lists it. {restore}")
    try:
        with open_to_read(path) as stream:
            _refuse_pickle(path, stream.read(16))
            size = stream.seek(0, os.SEEK_END)
            if size != file.size:
                change = "truncated" if size < file.size else "altered: it has grown"
                raise CheckpointError(
                    f"{path} is {change}: {size:,} bytes, while the manifest lists {file.size:,}. {restore}"
                )
            stream.seek(0)
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error}. Fix the cause and load again.") from error
    if digest != file.sha256:
        raise CheckpointError(
            f"{path} is altered: its size is right, but its SHA-256 is {digest}, while the manifest lists "
            f"{abbreviated(file.sha256)}. {restore}"
        )
    return path


def _check_seal(path: Path, raw: Mapping[str, Any]) -> None:
    unknown = sorted(set(raw) - _KEYS)
    if _SEAL in raw and raw[_SEAL] != own_checksum(raw):
        _damaged(path, f"its own SHA-256 is {own_checksum(raw)}, but it says {abbreviated(raw[_SEAL])}")
    if _SEAL not in raw and unknown:
        _damaged(path, f"it lacks its own SHA-256 and has the unknown {abbreviated(unknown)}")


def _data_file(manifest: Path, group: str, entry: Any, generation: int) -> DataFile:
    if not isinstance(entry, dict):
        _damaged(
            manifest,
            f"the file of {abbreviated(group)} is {abbreviated(entry)}, expected name, bytes, sha256 and tensors",
        )
    name, size, sha256, tensors = (entry.get(key) for key in ("name", "bytes", "sha256", "tensors"))
    if not (is_group_name(group) or group == STATE) or name != file_name(group, generation):
        _damaged(
            manifest,
            f"for {abbreviated(group)} of generation {generation} it lists the file {abbreviated(name)}; a "
            "checkpoint's files have fixed names and lie in its own folder",
        )
    if type(size) is not int or not 0 <= size < INTEGERS or not isinstance(sha256, str):
        _damaged(manifest, f"the file {name!r} lacks its size or its SHA-256")
    if not isinstance(tensors, list) or not all(isinstance(tensor, str) for tensor in tensors):
        _damaged(manifest, f"the file {name!r} lacks the names of its tensors")
    return DataFile(name, size, sha256, tensors)


def _damaged(manifest: Path, finding: str) -> NoReturn:
    raise CheckpointError(
        f"{manifest} is damaged or was tampered with: {finding}. Restore the checkpoint from a copy; do not load it "
        "if you did not write it."
    )


def _refuse_pickle(path: Path, start: bytes) -> None:
    """Raise an error if a file is a pickle or an archive that may contain one, whatever its name and hash.

    A safetensors file with a header of 640 bytes begins like a pickle of protocol 2, but continues with the rest of
    that length, four zero bytes, and a brace.
    """
    is_pickle = len(start) > 1 and start[0] == 0x80 and 2 <= start[1] <= 5 and start[4:9] != b"\0\0\0\0{"
    if is_pickle or start.startswith(b"PK\x03\x04"):
        kind = "a pickle" if is_pickle else "a zip archive, as torch.save writes, that may carry a pickle"
        raise CheckpointError(
            f"{path} is {kind}. Unpickling runs whatever code the file holds, so pearl never does it: "
            "this is not a checkpoint that pearl wrote. Do not load it."
        )


def _no_checkpoint(folder: Path) -> str:
    if folder.is_file():
        archive = folder.suffix.lower() in _PICKLE_SUFFIXES
        reason = "Such files carry pickles, which run code when loaded; pearl" if archive else "pearl"
        return f"no checkpoint here: {folder} is a file. {reason} reads only the folders that its own save() writes."
    if not folder.is_dir():
        return f"no checkpoint here: {folder} does not exist. Give the folder that save() wrote."
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    holds = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    return (
        f"no checkpoint here: {folder} has no {MANIFEST}. It holds: {holds or 'nothing'}. "
        "Give the folder that save() wrote."
    )
