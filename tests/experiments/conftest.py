"""One finished run that the tests of all scripts look at."""

import contextlib
import io
import shutil
from types import SimpleNamespace

import pytest
import train

from pearl.runs.run import Run
from tests.support.runs.script_runs import SHORT, environment


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A run of the training script: its folder, exit code and what it printed. Copy the folder to write into it."""
    folder = tmp_path_factory.mktemp("finished") / "a [bracketed] folder" / "run"
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setenv("COLUMNS", "100")
        code = train.main([*SHORT, "--run-dir", str(folder)])
    return SimpleNamespace(folder=folder, code=code, printed=printed.getvalue())


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished run's folder."""
    shutil.copytree(finished.folder, tmp_path / "copied")
    return tmp_path / "copied"


@pytest.fixture(params=["truncated", "altered", "pickle", "manifest"])
def damaged(request, copied):
    """A run whose checkpoint was tampered with, and the file that the error has to name."""
    (weights,) = (copied / "checkpoint").glob("weights-*.safetensors")
    manifest = copied / "checkpoint" / "manifest.json"
    content = bytearray(weights.read_bytes())
    if request.param == "truncated":
        weights.write_bytes(content[:-10])
    elif request.param == "altered":
        content[-5] ^= 1
        weights.write_bytes(content)
    elif request.param == "pickle":
        weights.write_bytes(b"\x80\x04cos\nalgorithm\n(S'touch /tmp/never'\ntR.")
    else:
        manifest.write_text(manifest.read_text()[:-20])
    return copied, manifest if request.param == "manifest" else weights


@pytest.fixture
def no_pictures(monkeypatch):
    """Let runs draw nothing at their end: it takes seconds."""
    monkeypatch.setattr(Run, "draw", lambda run, evaluation: [])


@pytest.fixture(autouse=True)
def own_working_directory(tmp_path, monkeypatch):
    """Let relative paths lead into an empty folder, and the terminal be 100 wide."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    return tmp_path / "cwd"
