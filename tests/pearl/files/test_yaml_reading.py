"""A settings file from a stranger takes little time and memory, and is refused by name and line."""

import os
import time
import tracemalloc
from pathlib import Path

import pytest

from pearl import ConfigError, PEARLConfig
from pearl.config.reading import load_yaml, read_yaml_file
from pearl.files.yaml_reading import MOST_BYTES, YAMLError, parse_yaml

NINES = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    + ["agent: *a8"]
)
MERGES = "\n".join(
    ["a0: &a0 {k0: 1, k1: 2}"]
    + [f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    + ["agent: *a8"]
)
REFUSED = [
    pytest.param(NINES, r"line 2: aliases \(\*a0\) are not read", id="aliases"),
    pytest.param(MERGES, r"line 3: aliases \(\*a0\) are not read", id="merged aliases"),
    pytest.param("agent: &a [*a]", "line 1: aliases", id="alias to itself"),
    pytest.param("agent:\n  <<: {discount: 0.5}", r"line 2: merges \(<<\) are not read", id="merge"),
    pytest.param("[" * 50_000, "line 1: values are nested more than 20 levels deep", id="deep list"),
    pytest.param("{a: " * 20_000, "line 1: values are nested more than 20 levels deep", id="deep mapping"),
    pytest.param(
        "\n".join(" " * n + "a:" for n in range(400)), "values are nested more than 20 levels", id="deep block"
    ),
    pytest.param("a: 1\nb: 2\na: 3", r"line 3: the key 'a' is already in line 1", id="key twice"),
    pytest.param(
        "agent:\n  discount: 0.5\n  discount: 0.9", "line 3: the key 'discount' is already in line 2", id="inner"
    ),
    pytest.param("{1: a, 1.0: b}", r"line 1: the key 1\.0 is already in line 1", id="equal keys"),
    pytest.param("a: " + "7" * 5_000, r"line 1: a number of 5,000 characters \(7{27}\.\.\.\)", id="many digits"),
    pytest.param("a: 0x" + "f" * 5_000, "line 1: a number of 5,002 characters", id="many hexadecimal digits"),
    pytest.param("a: " + "1" * 5_000 + ".5", "line 1: a number of 5,002 characters", id="long float"),
    pytest.param("a: 9223372036854775808", "line 1: 9223372036854775808 is outside the range", id="beyond 64 bits"),
    pytest.param("a: 0x_", "line 1: 0x_ is no number", id="no digits"),
    pytest.param("a: !!binary aGk=", r"line 1: tags \(tag:yaml\.org,2002:binary\) are not read", id="binary"),
    pytest.param("a: !!python/object/apply:os.algorithm [ls]", r"line 1: tags \(tag:yaml", id="python"),
    pytest.param("a: !!bool maybe", "line 1: tags", id="tagged bool"),
    pytest.param("a: !!timestamp noon", "line 1: tags", id="tagged date"),
    pytest.param("a: !!set {b}", "line 1: tags", id="set"),
    pytest.param("a:\n\tb: 1", "not valid YAML", id="tab"),
    pytest.param("a: \0", "not valid YAML", id="NUL"),
    pytest.param("a: 1\n---\na: 2", "not valid YAML", id="two documents"),
    pytest.param("? [a]\n: 1", "not valid YAML", id="list as key"),
    pytest.param("%YAML 9.1\n---\na: 1", "not valid YAML", id="other version"),
    pytest.param("=", "not valid YAML", id="value"),
    pytest.param("a: &" + "b" * 90_000 + " 1\nc: &" + "b" * 9_000 + " 2\nd: [", "not valid YAML", id="long anchor"),
    pytest.param("a" * (MOST_BYTES + 1), "is larger than 100,000 bytes", id="large"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_what_settings_have_no_use_for_is_refused_in_few_words_with_the_files_name(tmp_path, text, message):
    path = tmp_path / "theirs.yaml"
    path.write_text(text)
    begun = time.perf_counter()
    tracemalloc.start()
    with pytest.raises(ConfigError, match=message) as error:
        load_yaml(path, PEARLConfig())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert str(path) in str(error.value)
    assert len(str(error.value)) < 500 + len(str(path))
    assert time.perf_counter() - begun < 20
    assert peak < 100e6


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("training: {meta_batch: 2020-99-99}", "got '2020-99-99'"),
        ("training: {meta_batch: 2020-01-01}", "got '2020-01-01'"),
        ("training: {meta_batch: [" + "12345, " * 5_000 + "]}", r"got \[12345, .*\.\.\."),
        (f"training: {{meta_batch: {'x' * 50_000}}}", r"got 'x+\.\.\.x+'"),
        (f"training: {{{'x' * 1_000}: 1}}", r"Unknown setting 'training\.x+\.\.\.'"),
        (f"{'x' * 1_000}: 1", r"Unknown setting 'x+\.\.\.'"),
        (f"encoder: {{kind: {'x' * 50_000}}}", r"kind must be one of .*got 'x+\.\.\.x+'"),
        ("agent: {hidden_sizes: [" + "1, " * 30_000 + "0]}", "hidden_sizes must be one or more positive"),
        ("x" * 50_000, r"must be a mapping of settings, got 'x+\.\.\.x+'"),
    ],
)
def test_a_wrong_value_is_shown_by_its_beginning(tmp_path, text, shown):
    path = tmp_path / "theirs.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=shown) as error:
        load_yaml(path, PEARLConfig())
    assert str(path) in str(error.value)
    assert len(str(error.value)) < 1_100 + len(str(path))


def test_a_pipe_or_a_device_is_named_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "settings.yaml")
    with pytest.raises(ConfigError, match=r"settings\.yaml is a named pipe"):
        read_yaml_file(tmp_path / "settings.yaml")
    with pytest.raises(ConfigError, match=r"/dev/zero is a device"):
        read_yaml_file(Path("/dev/zero"))


def test_a_large_file_is_read_no_further_than_settings_go(tmp_path):
    (tmp_path / "settings.yaml").write_bytes(b"#" * (MOST_BYTES + 1))
    with pytest.raises(ConfigError, match=r"settings\.yaml is larger than"):
        read_yaml_file(tmp_path / "settings.yaml")


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("", None),
        ("# nothing", None),
        ("a: [1, -2, 0x10, 1_000]", {"a": [1, -2, 16, 1000]}),
        ("a: [0.5, 1e-3, 1.0e-3, -0.5]", {"a": [0.5, "1e-3", 1e-3, -0.5]}),
        ("a: {b: true, c: null, d: ~}", {"a": {"b": True, "c": None, "d": None}}),
        ("'<<': 1\n'=': 2", {"<<": 1, "=": 2}),
        ("a: &here 1", {"a": 1}),
        ("a: [010, 1:30, 1:30.5, 0o7, 0, -0]", {"a": ["010", "1:30", "1:30.5", "0o7", 0, 0]}),
        ("a: 9223372036854775807", {"a": 2**63 - 1}),
        ("a: {b: {c: {d: {e: [1]}}}}", {"a": {"b": {"c": {"d": {"e": [1]}}}}}),
    ],
)
def test_plain_settings_are_read_as_before(text, data):
    assert parse_yaml(text, "text") == data


def test_a_text_as_large_as_may_be_is_read_in_seconds():
    text = "\n".join(f"k{n}: [1, 2.5, text, true]" for n in range(3_000))
    assert 0.8 * MOST_BYTES < len(text) <= MOST_BYTES
    begun = time.perf_counter()
    assert len(parse_yaml(text, "text")) == 3_000
    assert time.perf_counter() - begun < 20


def test_the_error_names_its_source():
    with pytest.raises(YAMLError, match=r"^preset mine, line 2: tags"):
        parse_yaml("a: 1\nb: !x 2", "preset mine")
