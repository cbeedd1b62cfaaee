"""Output that is closed, full, or without the letters does not end the process that prints."""

import io
import subprocess
import sys

import pytest
from rich.table import Table

from pearl.process.output import brief, make_console, warn_on_failure
from tests.support.processes import ROOT, run_python

PRINTING = """
import os, sys, warnings
from pearl.process.output import protect_output, make_console
protect_output()
make_console().print("−1.5 → 2 … ½ \\udcff", soft_wrap=True)
for stream in (sys.stdout, sys.stderr):
    print("x" * 100_000, file=stream, flush=True)
warnings.warn("a warning")
with open("left.txt", "w") as file:
    file.write("to the end")
"""


@pytest.mark.parametrize(
    ("encoding", "line"),
    [("ascii", "-1.5 -> 2 ... ? ?"), ("cp1252", "-1.5 -> 2 … ½ ?"), ("utf-8", "−1.5 → 2 … ½ ?")],
)
def test_what_cannot_be_encoded_is_replaced(tmp_path, encoding, line):
    done = subprocess.run(
        [sys.executable, "-c", PRINTING],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding},
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
    )
    assert done.stdout.decode(encoding).splitlines()[0] == line


def test_the_c_locale_prints_as_well(tmp_path):
    (tmp_path / "printing.py").write_text(PRINTING, encoding="utf-8")
    code = "import runpy; runpy.run_path('printing.py')"
    done = run_python(code, tmp_path, LC_ALL="C", LANG="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "-1.5 -> 2 ... ? ?"


@pytest.mark.parametrize(
    "redirection", [">&-", "2>&-", ">&- 2>&- <&-", ">/dev/full 2>/dev/full", "| true", "2>&1 | true"]
)
def test_output_that_nobody_takes_does_not_end_the_process(tmp_path, redirection):
    (tmp_path / "printing.py").write_text(PRINTING)
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{sys.executable} printing.py {redirection}"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
        timeout=60,
    )
    assert done.returncode == 0
    assert (tmp_path / "left.txt").read_text() == "to the end"


def test_what_is_printed_never_lands_in_a_file_that_got_a_closed_descriptor(tmp_path):
    code = (
        "import os; from pearl.process.output import protect_output; protect_output(); print(os.open('f', os.O_CREAT))"
    )
    (tmp_path / "opening.py").write_text(code.replace("print", "assert 2 < "))
    for redirection in (">&-", "2>&-", "<&- >&- 2>&-"):
        subprocess.run(
            ["bash", "-c", f"{sys.executable} opening.py {redirection}"],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT)},
            check=True,
            timeout=60,
        )


def test_paths_are_printed_as_they_are(monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr("sys.stdout", written)
    console, table = make_console(), Table("path", title=":x: [b]")
    table.add_row("runs/:100:[red]")
    console.print("runs/:x:/[bold]a[/bold]", soft_wrap=True)
    console.print(table)
    assert "runs/:x:/[bold]a[/bold]" in written.getvalue()
    assert "runs/:100:[red]" in written.getvalue()
    assert ":x: [b]" in written.getvalue()


def test_a_failure_of_what_only_adds_is_one_line_on_stderr(capsys):
    def fail():
        raise ValueError("a font\n  is missing")

    with warn_on_failure("the picture was not drawn"):
        fail()
    assert capsys.readouterr() == ("", "Warning: the picture was not drawn (ValueError: a font is missing).\n")
    with pytest.raises(KeyboardInterrupt), warn_on_failure("the picture was not drawn"):
        raise KeyboardInterrupt


def test_long_messages_are_cut():
    assert brief(OSError()) == "OSError"
    assert len(brief(OSError("a word " * 1000))) < 320
