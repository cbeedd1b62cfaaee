"""A safetensors file whose header is damaged or forged is refused by name, before its tensors take memory."""

import json
import pickle

import pytest

from pearl.checkpoint.store import CheckpointError, read_checkpoint
from tests.support.checkpoint.forgeries import put_and_seal


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 64, pickle.dumps(3, protocol=0)])
def test_a_sealed_file_that_is_no_safetensors_is_refused(saved, content):
    put_and_seal(saved, "weights", content)
    with pytest.raises(CheckpointError, match=r"weights-000001\.safetensors is not a safetensors file"):
        read_checkpoint(saved)


def test_tensors_other_than_those_listed_are_refused(saved):
    put_and_seal(saved, "weights", (saved / "replay-000001.safetensors").read_bytes())
    with pytest.raises(
        CheckpointError, match=r"holds the tensors \['rewards', 'terminated'\], while the manifest lists"
    ):
        read_checkpoint(saved)


def header_of(content):
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def with_header(header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


TENSOR = "actor.0"
HEADERS = {
    "huge shape": lambda header: header[TENSOR].update(shape=[10**9, 10**9]),
    "overflowing shape": lambda header: header[TENSOR].update(shape=[2**62, 2**62]),
    "shape of many digits": lambda header: header[TENSOR].update(shape=[10**90]),
    "negative shape": lambda header: header[TENSOR].update(shape=[-3, -2]),
    "fraction": lambda header: header[TENSOR].update(shape=[3.0, 2]),
    "text as shape": lambda header: header[TENSOR].update(shape="32"),
    "truth as shape": lambda header: header[TENSOR].update(shape=[True, 6]),
    "no shape": lambda header: header[TENSOR].pop("shape"),
    "overlap": lambda header: header["log_alpha"].update(data_offsets=[0, 4]),
    "backwards": lambda header: header[TENSOR].update(data_offsets=[24, 0]),
    "beyond the end": lambda header: header[TENSOR].update(data_offsets=[2**60, 2**60 + 24]),
    "negative offsets": lambda header: header[TENSOR].update(data_offsets=[-24, 0]),
    "three offsets": lambda header: header[TENSOR].update(data_offsets=[0, 24, 24]),
    "hole": lambda header: header.update({TENSOR: header[TENSOR] | {"shape": [1, 2], "data_offsets": [0, 8]}}),
    "wider numbers": lambda header: header[TENSOR].update(dtype="F64"),
    "unknown numbers": lambda header: header[TENSOR].update(dtype="F8_E4M3"),
    "no numbers": lambda header: header[TENSOR].update(dtype=["F32"]),
    "number as entry": lambda header: header.update({TENSOR: 3}),
    "fewer": lambda header: header.pop(TENSOR),
}


@pytest.mark.parametrize("change", HEADERS.values(), ids=HEADERS.keys())
def test_a_sealed_file_with_another_header_is_refused_before_its_tensors_take_memory(saved, change):
    header, data = header_of((saved / "weights-000001.safetensors").read_bytes())
    change(header)
    put_and_seal(saved, "weights", with_header(header, data))
    with pytest.raises(CheckpointError, match=r"weights-000001\.safetensors is not a safetensors file") as caught:
        read_checkpoint(saved)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"{",
        b"null",
        b"{" * 100_000,
        b'{"a":' * 100_000,
        b'{"log_alpha": 1, "log_alpha": 2}',
        b'{"a": NaN}',
        b"7" * 5_000,
        b"\xff\xff",
    ],
)
def test_a_header_that_is_no_plain_json_object_is_refused(saved, header):
    put_and_seal(saved, "weights", with_header(header, b""))
    with pytest.raises(CheckpointError, match=r"weights-000001\.safetensors is not a safetensors file"):
        read_checkpoint(saved)


@pytest.mark.parametrize("length", [0, 1, 2**20, 2**63, 2**64 - 1])
def test_a_header_of_another_length_is_refused(saved, length):
    content = (saved / "weights-000001.safetensors").read_bytes()
    put_and_seal(saved, "weights", length.to_bytes(8, "little") + content[8:])
    with pytest.raises(CheckpointError, match=r"weights-000001\.safetensors is not a safetensors file"):
        read_checkpoint(saved)
