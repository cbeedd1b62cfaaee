"""The header of a safetensors file, read and checked before any tensor takes memory."""

import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch

from encoders.abbreviation import abbreviated
from encoders.settings import INTEGERS
from pearl.files.access import open_to_read
from pearl.files.json_reading import MOST_BYTES, parse_json

DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""The dtypes that a checkpoint can hold, with safetensors' names"""

_SIZES = {name: torch.empty((), dtype=dtype).element_size() for dtype, name in DTYPES.items()}
_METADATA = "__metadata__"


class Form(NamedTuple):
    """Dtype and shape of a tensor."""

    dtype: str
    """safetensors' name of the dtype, for example F32"""
    shape: tuple[int, ...]

    @classmethod
    def of(cls, tensor: torch.Tensor) -> "Form":
        """Return a tensor's form."""
        return cls(DTYPES.get(tensor.dtype, str(tensor.dtype)), tuple(tensor.shape))

    @property
    def n_bytes(self) -> int:
        """Size in memory."""
        return math.prod(self.shape) * _SIZES[self.dtype]

    def __str__(self) -> str:
        return f"{self.dtype} {abbreviated(self.shape)}"


def read_header(path: Path) -> dict[str, Form]:
    """Read the dtypes and shapes of a file's tensors, by name.

    Raises:
        OSError: the file cannot be read.
        ValueError: the header is invalid, or the tensors do not fill the rest of the file without gaps.
    """
    with open_to_read(path) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or not 2 <= length <= min(size - 8, MOST_BYTES):
            raise ValueError(f"its header would take {length:,} bytes, and the file has {size:,}")
        header = parse_json(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    places = {name: _place(name, entry) for name, entry in header.items() if name != _METADATA}
    end = 0
    for name, (_, (begin, stop)) in sorted(places.items(), key=lambda item: item[1][1]):
        if begin != end:
            raise ValueError(f"{abbreviated(name)} begins at byte {abbreviated(begin)}, expected {end:,}")
        end = stop
    if end != size - 8 - length:
        raise ValueError(f"its tensors take {abbreviated(end)} bytes, but the file has {size - 8 - length:,} for them")
    return {name: form for name, (form, _) in places.items()}


def _place(name: str, entry: Any) -> tuple[Form, tuple[int, int]]:
    entry = entry if isinstance(entry, dict) else {}
    dtype, shape, offsets = (entry.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or dtype not in _SIZES:
        raise ValueError(f"{abbreviated(name)} has the dtype {abbreviated(dtype)}, expected one of {', '.join(_SIZES)}")
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        raise ValueError(
            f"{abbreviated(name)} has the shape {abbreviated(shape)} and the offsets {abbreviated(offsets)}, "
            "expected whole numbers from 0"
        )
    form = Form(dtype, tuple(shape))
    if form.n_bytes != offsets[1] - offsets[0]:
        raise ValueError(f"{abbreviated(name)} is {form}, but its offsets {abbreviated(offsets)} give another size")
    return form, (offsets[0], offsets[1])


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < INTEGERS for value in values)
