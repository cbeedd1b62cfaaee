"""No script answers a wrong argument with a traceback: it prints one line, and its exit code is 2."""

import os
import runpy
import stat
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT
from tests.support.runs.script_runs import SHORTEST

MODULE = """
import pearl

class Abstract(pearl.TaskDistribution):
    pass

class HalfDone(pearl.TaskDistribution):
    def sample(self, n, rng):
        return []

class Walks(HalfDone):
    def __init__(self, length, *, width):
        pass

    def make_env(self, task, *, render_mode=None):
        raise RuntimeError

class Fails(Walks):
    def __init__(self):
        self.length = {}["length"]

class Misread(Walks):
    def __init__(self):
        pass

    def sample(self, n, rng):
        return [len(rng)]

def function():
    pass
"""
OTHERS = {
    "raising": "x = 1\n1 / 0\n",
    "exiting": "import sys\nsys.exit(3)\n",
    "unmet": "import no_such_package\n",
    "mistyped": "def (:\n",
}
LONG = "a" * 300
FAMILIES = [
    ("..:A", "'..' is no module's name. Write my_module:MyClass"),
    (".a:A", "'.a' is no module's name"),
    ("walks:", "walks has no TaskDistribution class ''; it has Abstract, HalfDone, Walks, Fails, Misread"),
    (":Walks", "'' is no module's name"),
    ("walks:function", "walks has no TaskDistribution class 'function'"),
    ("walks:Abstract", "Abstract is abstract: define make_env, sample, or name a class that does."),
    ("walks:HalfDone", "HalfDone is abstract: define make_env, or name a class that does."),
    ("walks:Walks", "Walks must take no arguments (missing a required argument: 'length')"),
    ("walks:Fails", "Fails() failed: KeyError: 'length' ("),
    ("raising:A", "Importing raising failed: ZeroDivisionError: division by zero ("),
    ("exiting:A", "Importing exiting failed: SystemExit: 3 ("),
    ("unmet:A", "Importing unmet failed: ModuleNotFoundError: No module named 'no_such_package' ("),
    ("mistyped:A", "Importing mistyped failed: SyntaxError: invalid syntax (mistyped.py, line 1)."),
    ("walks.inner:A", "There is no module 'walks.inner'"),
    ("no_such_module:A", "There is no module 'no_such_module'"),
    (f"{LONG}:A", "There is no module"),
    ("a\0b:A", "is no module's name"),
    (LONG, "Unknown family 'aaa"),
    ("a\0b", "Unknown family 'a\\x00b'"),
    ("", "Unknown family ''"),
]
PATHS = [("", "must not be empty; '.' is the current folder."), ("a\0b", r"must not hold a NUL, got 'a\x00b'.")]


@pytest.fixture
def script(capsys, monkeypatch, own_working_directory):
    """A function that runs a script as its own program would, and returns its exit code and what it printed."""
    for name, text in {"walks": MODULE, **OTHERS}.items():
        Path(f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "path", ["", *sys.path])

    def run(name, *argv):
        path = str(ROOT / "experiments" / f"{name}.py")
        monkeypatch.setattr(sys, "argv", [path, *map(str, argv)])
        with pytest.raises(SystemExit) as exit_:
            runpy.run_path(path, run_name="__main__")
        printed = capsys.readouterr()
        return exit_.value.code, printed.out, printed.err

    return run


def assert_refused(result, message):
    code, out, err = result
    assert code == 2
    (line,) = err.splitlines()
    assert line.startswith("Error: ")
    assert message in line
    assert out == ""


@pytest.mark.parametrize(("family", "message"), FAMILIES)
def test_a_family_that_cannot_be_had_is_named_with_the_reason(script, own_working_directory, family, message):
    before = set(own_working_directory.iterdir())
    assert_refused(script("train", family), message)
    assert {path for path in own_working_directory.iterdir() if path.name != "__pycache__"} == before


@pytest.mark.parametrize("name", ["evaluate", "adapt"])
@pytest.mark.parametrize(("family", "message"), FAMILIES)
def test_a_distribution_that_cannot_be_had_is_named_with_the_reason(script, finished, name, family, message):
    assert_refused(script(name, finished.folder, "--distribution", family), message)


@pytest.mark.parametrize("name", ["compare", "reproduce"])
@pytest.mark.parametrize("family", ["..:A", "walks:Walks", LONG, "a\0b", "", "../point-robot"])
def test_a_family_that_is_not_registered_is_named(script, name, family):
    assert_refused(script(name, family), "Unknown family ")


def test_a_users_mistake_in_a_family_is_told_with_its_place(script):
    code, _, err = script("train", "walks:Misread")
    assert code == 2
    assert "object of type 'numpy.random._generator.Generator' has no len() (TypeError in " in err
    line = MODULE.splitlines().index("        return [len(rng)]") + 1
    assert err.rstrip().endswith(f"walks.py, line {line})")


@pytest.mark.parametrize(("path", "message"), PATHS)
@pytest.mark.parametrize(
    ("name", "argv"),
    [
        ("train", [*SHORTEST, "--run-dir"]),
        ("train", [*SHORTEST, "--config"]),
        ("evaluate", []),
        ("evaluate", ["pretrained/point-robot", "--out"]),
        ("adapt", []),
        ("adapt", ["pretrained/point-robot", "--out"]),
        ("adapt", ["pretrained/point-robot", "--gif"]),
        ("compare", ["point-robot", "--out"]),
        ("compare", ["point-robot", "--page"]),
        ("compare", ["point-robot", "--trained"]),
        ("reproduce", ["point-robot", "--out"]),
        ("reproduce", ["point-robot", "--runs"]),
        ("specialists", ["pretrained/point-robot", "--out"]),
        ("specialists", ["--out", "a.json", "--tasks", "1"]),
        ("study", []),
        ("study", ["study.yaml", "--page"]),
        ("publish", []),
        ("publish", ["runs/a", "--out"]),
    ],
)
def test_a_path_that_is_none_is_named_by_its_argument(script, name, argv, path, message):
    flag = (
        argv[-1] if argv and argv[-1].startswith("--") else {"study": "STUDY", "specialists": "RUNS"}.get(name, "RUN")
    )
    assert_refused(script(name, *argv, path), f"Error: {flag} {message}")


@pytest.mark.parametrize(
    ("name", "before", "after", "message"),
    [
        ("train", [*SHORTEST, "--run-dir"], [], "File name too long"),
        ("train", [*SHORTEST, "--config"], [], "File name too long"),
        ("evaluate", [], [], "File name too long"),
        ("adapt", [], [], "File name too long"),
        ("specialists", [], ["--out", "a.json"], "File name too long"),
        ("study", [], [], "File name too long"),
        ("publish", [], [], "File name too long"),
        ("compare", ["point-robot", "--trained"], [], "File name too long"),
    ],
)
def test_a_name_that_no_disk_takes_is_told_from_the_others(script, name, before, after, message):
    assert_refused(script(name, *before, LONG, *after), message)


@pytest.mark.parametrize("name", ["evaluate", "adapt", "specialists", "publish"])
def test_a_folder_without_a_checkpoint_is_named(script, name):
    assert_refused(script(name, "nowhere", *(["--out", "a.json"] * (name == "specialists"))), "nowhere does not exist")


def test_a_study_of_no_such_family_is_refused(script):
    Path("mine.yaml").write_text("families: {no-such: }\nvariants: {a: {others: {agent: {discount: 0.5}}}}\n")
    assert_refused(script("study", "mine.yaml", "--seeds", "0"), "Unknown family 'no-such'")


@pytest.fixture
def without_mujoco(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] in ("mujoco", "metaworld")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "pearl.tasks.families.mujoco_envs", raising=False)
    monkeypatch.setitem(sys.modules, "mujoco", None)
    monkeypatch.setitem(sys.modules, "metaworld", None)


@pytest.mark.usefixtures("without_mujoco")
@pytest.mark.parametrize(
    ("family", "extra"), [("cheetah-vel", "mujoco"), ("ml1-reach-v3", "metaworld"), ("ml10", "metaworld")]
)
def test_an_extra_that_is_missing_is_told_with_how_to_install_it(script, family, extra):
    for name in ("train", "reproduce"):
        code, _, err = script(name, family)
        assert code == 2
        assert err.splitlines()[-1].startswith("Error: The M")
        assert f"pip install pearl-metarl[{extra}]" in err


@pytest.fixture
def locked(tmp_path):
    """A folder that may not be searched. Permissions do not bind the superuser, who becomes somebody else."""
    folder = tmp_path / "locked"
    folder.mkdir()
    (folder / "inner").mkdir()
    user = os.geteuid()
    folder.chmod(0)
    if user == 0:
        os.seteuid(65534)
    yield folder
    os.seteuid(user)
    folder.chmod(stat.S_IRWXU)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("train", [*SHORTEST, "--run-dir"], []),
        ("train", [*SHORTEST, "--resume", "--run-dir"], []),
        ("train", [*SHORTEST, "--config"], []),
        ("evaluate", [], []),
        ("adapt", [], []),
        ("specialists", [], ["--out", "a.json"]),
        ("study", [], []),
        ("publish", [], []),
        ("compare", ["point-robot", "--trained"], []),
    ],
)
def test_a_folder_that_may_not_be_searched_is_named(script, locked, name, before, after, monkeypatch):
    monkeypatch.setattr("reproduce.commit", lambda: "abc")  # git reads no repository of another user's
    code, _, err = script(name, *before, locked / "inner", *after)
    assert code == 2
    assert "Traceback" not in err
    assert str(locked / "inner") in err.splitlines()[-1]


def test_no_threads_are_refused(script):
    for threads in ("0", "-1"):
        assert_refused(script("reproduce", "point-robot", "--threads", threads), "threads must be at least 1, got")


@pytest.mark.parametrize("name", ["compare", "reproduce"])
def test_a_commit_that_git_cannot_tell_is_told_before_anything_is_trained(script, name, monkeypatch):
    monkeypatch.setenv("GIT_DIR", "nowhere")
    assert_refused(script(name, "point-robot"), "Results name their commit, but git cannot read the commit of ")
    monkeypatch.setenv("PATH", "")
    assert_refused(script(name, "point-robot"), "Results name their commit, but git cannot read the commit of ")
