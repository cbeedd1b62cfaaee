"""Checkpoints that say something else than was saved, with every checksum right, as a forger would write them."""

import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from torch import Tensor

from pearl.checkpoint.manifest import own_checksum, read_manifest
from pearl.checkpoint.store import read_checkpoint, write_checkpoint

Place = tuple[str | int, ...]
"""The keys of a value in a document, from the outermost in"""


def put_and_seal(folder: Path, group: str, content: bytes) -> None:
    """Put other bytes in a group's place, and list their true size and hash."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    entry = manifest["files"][group]
    (folder / entry["name"]).write_bytes(content)
    entry.update(bytes=len(content), sha256=sha256(content).hexdigest())
    manifest["sha256"] = own_checksum(manifest)
    path.write_text(json.dumps(manifest))


def read_state(folder: Path) -> dict[str, Any]:
    """Return the document as it stands."""
    document: dict[str, Any] = json.loads((folder / read_manifest(folder).files["state"].name).read_text())
    return document


def put_state(folder: Path, document: dict[str, Any]) -> None:
    """Put another document in the place of the one that was saved."""
    put_and_seal(folder, "state", json.dumps(document).encode())


def places(value: Any, path: Place = ()) -> Iterator[Place]:
    """Every place of a document, as keys from the outermost in; of a list its first item stands for all."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else list(enumerate(value))[:1] if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


MISSING = object()


def changed(document: dict[str, Any], path: Place, value: Any) -> dict[str, Any]:
    """Return a copy of a document with another value at a place, or without it."""
    copy: dict[str, Any] = json.loads(json.dumps(document))
    *outer, last = path
    holder: Any = copy
    for key in outer:
        holder = holder[key]
    if value is MISSING:
        del holder[last]
    else:
        holder[last] = value
    return copy


def rewrite(folder: Path, change: Callable[[dict[str, dict[str, Tensor]], dict[str, Any]], object]) -> None:
    """Write a checkpoint again, sound as a file, with other contents."""
    checkpoint = read_checkpoint(folder)
    groups = {name: dict(tensors) for name, tensors in checkpoint.groups.items()}
    document = json.loads(json.dumps(checkpoint.document))
    change(groups, document)
    write_checkpoint(folder, groups, document)
