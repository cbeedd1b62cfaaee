"""Reading a checkpoint: the result is returned only if all requested parts are sound."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open

from encoders.abbreviation import abbreviated
from pearl.checkpoint.manifest import STATE, CheckpointError, Manifest, read_manifest, verify_file
from pearl.checkpoint.safetensors_header import Form, read_header
from pearl.files.json_reading import read_json_file

REMEDY = "Load a checkpoint that pearl wrote."
"""Remedy in the error about a file that pearl did not write"""


class Outline(NamedTuple):
    """Description of a checkpoint, read before any of its tensors.

    Attributes:
        document: the JSON document.
        forms: dtypes and shapes of the tensors, by group and name.
        paths: files by group; the document's is under "state".
    """

    document: dict[str, Any]
    forms: Mapping[str, Mapping[str, Form]]
    paths: Mapping[str, Path]


class Checkpoint(NamedTuple):
    """A checkpoint, verified and read.

    Attributes:
        groups: tensors by group and name, in the order in which they were written.
        document: the JSON document.
        generation: number of the write to the folder, from 1.
        paths: files by group; the document's is under "state".
    """

    groups: dict[str, dict[str, torch.Tensor]]
    document: dict[str, Any]
    generation: int
    paths: Mapping[str, Path]


def read_checkpoint(
    folder: Path,
    groups: Collection[str] | None = None,
    device: str | torch.device = "cpu",
    check: Callable[[Outline], None] | None = None,
) -> Checkpoint:
    """Verify and load the folder's checkpoint; return only if all requested parts are sound.

    Args:
        folder: a folder of `write_checkpoint`; a running training may still write to it.
        groups: groups to verify and load, all by default. Files of the other groups may be missing.
        device: device of the tensors.
        check: called before any tensor is read; raises a CheckpointError if the outline is invalid.

    Raises:
        CheckpointError: the checkpoint is missing, foreign, newer, damaged, contains a pickle, or lacks a group.
    """
    manifest = read_manifest(folder)
    while True:
        try:
            return _read_generation(folder, manifest, groups, device, check)
        except CheckpointError:
            # A training that saves meanwhile removes the generation being read: read the newer one instead.
            newer = read_manifest(folder)
            if newer.generation == manifest.generation:
                raise
            manifest = newer


def _read_generation(
    folder: Path,
    manifest: Manifest,
    groups: Collection[str] | None,
    device: str | torch.device,
    check: Callable[[Outline], None] | None,
) -> Checkpoint:
    present = [group for group in manifest.files if group != STATE]
    absent = sorted(set(groups or ()) - set(present))
    if absent:
        raise CheckpointError(
            f"the checkpoint in {folder} has no {', '.join(map(repr, absent))}; it has "
            f"{', '.join(map(repr, present)) or 'no tensors'}. Ask for one of these, or load a checkpoint that was "
            "saved with the missing ones."
        )
    wanted = [group for group in present if groups is None or group in groups]
    paths = {group: verify_file(folder, manifest.files[group], sealed=manifest.sealed) for group in [*wanted, STATE]}
    document = _load_document(paths[STATE])
    forms = {group: _load_forms(paths[group], manifest.files[group].tensors) for group in wanted}
    if check is not None:
        check(Outline(document, forms, paths))
    tensors = {group: _load_tensors(paths[group], manifest.files[group].tensors, device) for group in wanted}
    return Checkpoint(tensors, document, manifest.generation, paths)


def _load_document(path: Path) -> dict[str, Any]:
    try:
        document = read_json_file(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}). {REMEDY}") from error
    if not isinstance(document, dict):
        raise CheckpointError(f"{path} holds no JSON object. {REMEDY}")
    return document


def _load_forms(path: Path, names: list[str]) -> dict[str, Form]:
    try:
        forms = read_header(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a safetensors file ({error}). {REMEDY}") from error
    if sorted(forms) != sorted(names):
        raise CheckpointError(
            f"{path} holds the tensors {abbreviated(sorted(forms), 300)}, while the manifest lists "
            f"{abbreviated(sorted(names), 300)}. {REMEDY}"
        )
    return forms


def _load_tensors(path: Path, names: list[str], device: str | torch.device) -> dict[str, torch.Tensor]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            # safetensors returns views of the mapped file, which would change with the file: hence the copy.
            return {name: file.get_tensor(name).to(device, copy=True) for name in names}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is not a safetensors file ({error}). {REMEDY}") from error
