"""Scripts on consoles that are closed, or that lack their letters."""

import json
import shlex
import subprocess
import sys

import pytest

from tests.support.processes import ROOT
from tests.support.runs.script_runs import SHORTEST, environment

SCRIPTS = sorted(path for path in (ROOT / "experiments").glob("*.py") if "\nif __name__ ==" in path.read_text())


def run_in_shell(command, folder, **variables):
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        env=environment() | variables,
        stdout=subprocess.PIPE,
        timeout=120,
    )


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_protects_its_output_and_prints_text_as_it_is(path):
    text = path.read_text()
    assert 'if __name__ == "__main__":\n    protect_output()\n' in text
    assert "Console(" not in text


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_console_without_the_letters_does_not_end_training(tmp_path, encoding):
    script = shlex.join([sys.executable, str(ROOT / "experiments" / "train.py"), *SHORTEST])
    done = run_in_shell(f"{script} --run-dir :x:/[run]", tmp_path, PYTHONIOENCODING=encoding)
    lines = done.stdout.decode(encoding).splitlines()
    assert done.returncode == 0, lines
    assert json.loads((tmp_path / ":x:" / "[run]" / "result.json").read_text())["headline"] in lines
    assert sum(" -> " in line for line in lines) == 2
    assert "  :x:/[run]/plots/learning_curve.png" in lines


@pytest.mark.parametrize("redirection", ["| head -1", "2>&1 | head -1", ">&- 2>&-"])
def test_output_that_is_closed_does_not_end_training(tmp_path, redirection):
    script = shlex.join([sys.executable, str(ROOT / "experiments" / "train.py"), *SHORTEST])
    done = run_in_shell(f"{script} --run-dir run {redirection}", tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "run" / "result.json").exists()
    assert len(list((tmp_path / "run" / "plots").iterdir())) == 5


@pytest.mark.parametrize("arguments", ["train.py point-robot --help", "evaluate.py --help", "compare.py --nonsense"])
def test_help_and_errors_are_shown_without_the_letters(tmp_path, arguments):
    command = f"{sys.executable} {ROOT / 'experiments'}/{arguments} 2>&1"
    done = run_in_shell(command, tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == (0 if "--help" in arguments else 2)
    assert b"Traceback" not in done.stdout
    assert done.stdout.isascii()
