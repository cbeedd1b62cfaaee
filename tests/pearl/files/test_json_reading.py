"""JSON from a stranger is read strictly, and refused in few words."""

import json
from typing import Any

import pytest
from hypothesis import given

from pearl.files import json_reading
from pearl.files.json_reading import MOST_LEVELS, check_depth, parse_json, read_json_file
from pearl.runs.run import RunError, read_json
from tests.support.checkpoint.json_values import json_values


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1, "b": 2, "a": 3}', "the key 'a' appears twice"),
        (b'{"a": [{"b": {}, "b": {}}]}', "the key 'b' appears twice"),
        (b"[NaN]", "NaN is no number"),
        (b'{"a": Infinity}', "Infinity is no number"),
        (b"-Infinity", "-Infinity is no number"),
        (b"1e999", "1e999 is no finite number"),
        (b"0." + b"1" * 5_000, "0.1+\\.\\.\\. is no finite number of at most 100"),
        (b"7" * 5_000, "a whole number has 5,000 characters"),
        (b"[" * 200_000, "more than 50 levels deep"),
        (b'{"a":' * 200_000, "more than 50 levels deep"),
        (b"[" * 900 + b"]" * 900, "more than 50 levels deep"),
        (b"[" * 51 + b"]" * 51, "more than 50 levels deep"),
        (b"\xff", "can't decode"),
        ("{}".encode("utf-16"), "can't decode"),
        (b"", "Expecting value"),
        (b"{} {}", "Extra data"),
        (b"{'a': 1}", "Expecting property name"),
        (b'{"a": "\0"}', "Invalid control character"),
    ],
)
def test_what_is_not_plain_json_is_refused_in_few_words(content, message):
    with pytest.raises(ValueError, match=message) as error:
        parse_json(content)
    assert len(str(error.value)) < 200


@given(json_values)
def test_what_python_writes_is_read_back(value):
    assert parse_json(json.dumps(value, allow_nan=False).encode()) == value


@pytest.mark.parametrize("kind", [list, tuple])
def test_depth_is_counted_in_objects_and_lists(kind):
    value: Any = 1
    for _ in range(MOST_LEVELS // 2):
        value = {"a": kind([value])}
    check_depth(value)
    with pytest.raises(ValueError, match="more than 50 levels"):
        check_depth([value])


def test_a_large_file_is_read_no_further_than_documents_go(tmp_path, monkeypatch):
    monkeypatch.setattr(json_reading, "MOST_BYTES", 10)
    (tmp_path / "a.json").write_bytes(b"[1, 2, 3] ")
    assert read_json_file(tmp_path / "a.json") == [1, 2, 3]
    (tmp_path / "a.json").write_bytes(b"[1, 2, 3]" + b" " * 100)
    with pytest.raises(OSError, match="larger than 10 bytes"):
        read_json_file(tmp_path / "a.json")


@pytest.mark.parametrize(
    "content", [b"[" * 200_000, b'{"a": NaN}', b'{"a": 1, "a": 2}', b'{"a": ' + b"7" * 5_000 + b"}"]
)
def test_a_run_folders_document_is_refused_by_name(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(RunError, match=r"Cannot read .*config\.json") as error:
        read_json(tmp_path / "config.json")
    assert len(str(error.value)) < 300 + len(str(tmp_path))
