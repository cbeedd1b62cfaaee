"""Files are written whole or not at all and never through a link; only regular files are read."""

import ast
import os
import signal
import subprocess
import sys

import pytest

from pearl.files.access import (
    FileError,
    append_to,
    copy,
    create,
    folder_in,
    open_to_read,
    read_bytes,
    read_text,
    refuse_links,
    replacing,
    write_text,
)
from pearl.plots import style
from pearl.runs.run import read_json, write_json
from tests.support.processes import ROOT

UNIX = pytest.mark.skipif(sys.platform == "win32", reason="named pipes and links")
UNFINISHED = f".pearl-{7:032x}.partial"


@pytest.fixture
def private(tmp_path):
    """A file of the user's that nothing may change."""
    path = tmp_path / "home" / ".bashrc"
    path.parent.mkdir()
    path.write_text("mine\n")
    yield path
    assert path.read_text() == "mine\n"
    assert [found.name for found in path.parent.iterdir()] == [".bashrc"]


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "run"
    made.mkdir()
    return made


def with_figure(path):
    with style.png(path, height=1.0):
        pass


@pytest.mark.parametrize(
    "write", [lambda path: write_text(path, "new"), lambda path: write_json(path, {}), with_figure], ids=range(3)
)
@pytest.mark.parametrize("linked", [os.symlink, os.link])
def test_a_file_that_is_a_link_is_replaced_and_what_it_leads_to_stays(folder, private, write, linked):
    path = folder / "curve.png"
    linked(private, path)
    write(path)
    assert not path.is_symlink()
    assert path.read_bytes() != b"mine\n"
    assert os.listdir(folder) == ["curve.png"]


@UNIX
def test_a_pipe_is_replaced_by_the_file(folder):
    os.mkfifo(folder / "result.json")
    write_text(folder / "result.json", "1")
    assert read_text(folder / "result.json") == "1"


def test_a_write_that_fails_leaves_the_file_as_it_was_and_nothing_beside_it(folder):
    write_text(folder / "a", "old")
    with pytest.raises(TypeError, match="bytes-like"), replacing(folder / "a") as stream:
        stream.writelines([b"new", 7])
    assert (folder / "a").read_text() == "old"
    assert os.listdir(folder) == ["a"]


def test_the_name_of_a_file_may_be_as_long_as_the_system_allows(folder):
    write_text(folder / ("a" * 255), "1")
    assert os.listdir(folder) == ["a" * 255]


def test_a_file_gets_the_rights_that_any_new_file_gets(folder):
    (folder / "plain").write_text("")
    write_text(folder / "ours", "")
    assert (folder / "ours").stat().st_mode == (folder / "plain").stat().st_mode


KILLED = """
import os, signal, sys
from pathlib import Path
from pearl.files.access import replacing
with replacing(Path(sys.argv[1]) / "a.png") as stream:
    stream.write(b"half")
    stream.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@UNIX
def test_what_a_killed_writer_left_goes_with_the_next_write_to_the_folder(folder):
    killed = subprocess.run([sys.executable, "-c", KILLED, folder], env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert killed.returncode == -signal.SIGKILL
    assert len(os.listdir(folder)) == 1
    write_text(folder / "b", "1")
    assert os.listdir(folder) == ["b"]


@UNIX
def test_what_another_writer_is_still_writing_stays(folder):
    with replacing(folder / "a") as stream:
        stream.write(b"1")
        write_text(folder / "b", "2")
    assert (read_text(folder / "a"), read_text(folder / "b")) == ("1", "2")


def test_a_file_whose_name_only_resembles_an_unfinished_one_stays(folder):
    names = {UNFINISHED + "x", ".pearl-7.partial", "config.json.partial"}
    for name in names:
        (folder / name).write_text("")
    write_text(folder / UNFINISHED.upper(), "")
    assert names < set(os.listdir(folder))


def test_an_unfinished_file_that_is_a_link_is_not_followed(folder, private):
    os.symlink(private, folder / UNFINISHED)
    write_text(folder / "a", "")


def test_a_new_file_is_not_made_where_a_link_stands(folder, private):
    os.symlink(private, folder / "a")
    os.symlink(folder / "nowhere", folder / "b")
    for name in ("a", "b"):
        with pytest.raises(FileExistsError):
            create(folder / name)


def test_nothing_is_appended_through_a_link_or_to_a_pipe(folder, private):
    os.symlink(private, folder / "a")
    os.mkfifo(folder / "b")
    for name in ("a", "b"):
        with pytest.raises(OSError, match=name):
            append_to(folder / name)


@UNIX
@pytest.mark.parametrize("read", [read_bytes, read_text, open_to_read, read_json])
def test_what_is_no_regular_file_is_refused_by_name_and_not_waited_for(folder, read):
    os.mkfifo(folder / "pipe")
    os.symlink("/dev/zero", folder / "zero")
    os.symlink(folder / "pipe", folder / "to_pipe")
    (folder / "folder").mkdir()
    for name, kind in {"pipe": "named pipe", "to_pipe": "named pipe", "zero": "device", "folder": "folder"}.items():
        with pytest.raises((OSError, RuntimeError), match=rf"run/{name} is a {kind}, not a regular file"):
            read(folder / name)


def test_a_file_is_read_through_a_link_as_model_hubs_keep_them(folder):
    (folder / "blob").write_text("{}")
    os.symlink("blob", folder / "config.json")
    assert read_json(folder / "config.json") == {}
    copy(folder / "config.json", folder / "copy")
    assert not (folder / "copy").is_symlink()
    assert read_text(folder / "copy") == "{}"


def test_a_file_is_read_up_to_its_limit(folder):
    (folder / "a").write_bytes(b"12345")
    assert read_bytes(folder / "a", 5) == b"12345"
    with pytest.raises(FileError, match=r"run/a is larger than 4 bytes"):
        read_bytes(folder / "a", 4)


def test_text_that_is_no_utf8_is_named(folder):
    (folder / "a").write_bytes(b"\xff")
    with pytest.raises(FileError, match=r"run/a is not text in UTF-8"):
        read_text(folder / "a")


def test_a_folder_inside_a_named_folder_may_not_be_a_link_but_the_named_one_may(folder, tmp_path):
    (folder / "tables").mkdir()
    os.symlink(folder, tmp_path / "scratch")
    assert folder_in(tmp_path / "scratch", "tables") == tmp_path / "scratch" / "tables"
    assert folder_in(folder, "not there yet") == folder / "not there yet"
    for target in (tmp_path, tmp_path / "nowhere"):
        os.symlink(target, folder / "plots")
        with pytest.raises(FileError, match=rf"run/plots is a link to {target}"):
            folder_in(folder, "plots")
        (folder / "plots").unlink()


def test_a_folder_that_others_write_to_holds_no_links_but_their_own(folder, tmp_path):
    refuse_links(folder / "not there")
    os.symlink(tmp_path, folder / "latest-run")
    refuse_links(folder, allowed={"latest-run"})
    with pytest.raises(FileError, match=r"run/latest-run is a link to"):
        refuse_links(folder)
    with pytest.raises(FileError, match=r"run/latest-run is a link to"):
        refuse_links(folder / "latest-run")


# What writes a file by its path. The modules that do it for all others are left out.
WRITERS = {"write_text", "write_bytes", "touch", "rename", "copyfile", "copytree", "copy2", "mkstemp", "imsave"}
OF_MODULES = {
    "os": {"replace", "rename", "open", "link", "symlink"},
    "shutil": {"copy", "move"},
    "np": {"save", "savez"},
}


def writes(call: ast.Call) -> bool:
    """Whether a call writes to a file by its path, as far as its source tells."""
    function = call.func
    name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
    module = function.value.id if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) else ""
    if name == "open":
        given = [*call.args, *(keyword.value for keyword in call.keywords)]
        modes = [each.value for each in given if isinstance(each, ast.Constant) and isinstance(each.value, str)]
        return module == "os" or any(set(mode) <= set("rwxabt+") and set(mode) & set("wxa+") for mode in modes)
    if name == "savefig":
        return not isinstance(call.args[0], ast.Name) or call.args[0].id != "stream"
    return name in OF_MODULES.get(module, ()) or (name in WRITERS and isinstance(function, ast.Attribute))


def test_no_other_module_opens_a_file_to_write():
    found = []
    for package in ("pearl", "experiments", "agents", "encoders"):
        for path in sorted((ROOT / package).rglob("*.py")):
            calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
            found += [(path.relative_to(ROOT).as_posix(), ast.unparse(call)) for call in calls if writes(call)]
    theirs = (
        "pearl/files/access.py",
        "pearl/files/lock.py",
        "pearl/process/output.py",
    )  # The last one opens no path but null.
    elsewhere = [entry for entry in found if entry[0] not in theirs]
    assert elsewhere == [
        ("pearl/checkpoint/store.py", "os.open(folder, os.O_RDONLY)"),
        (
            "pearl/runs/tensorboard.py",
            """path.rename(path.with_name(f"{match['kind']}{first + number:010d}{match['rest']}"))""",
        ),
    ]
    assert ("pearl/files/access.py", "open(path, 'xb')") in found


@pytest.mark.parametrize(
    "source",
    ["open(p, 'w')", "p.open(mode='a')", "os.open(p, f)", "p.write_text('')", "os.replace(a, b)", "f.savefig('a.png')"],
)
def test_a_call_that_writes_is_recognised(source):
    assert writes(ast.parse(source).body[0].value)
