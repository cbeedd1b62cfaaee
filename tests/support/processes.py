"""Snippets of Python in a process of their own: what they print, what they leave, and what they render with MuJoCo."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
can_render = pytest.mark.skipif(sys.platform != "linux", reason="renders off screen through EGL, which is Linux's")


def run_python(code: str, folder: Path, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **path, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def assert_says_nothing(code: str, folder: Path) -> None:
    """Assert that a snippet ends well, prints nothing, and leaves no file in the folder that it runs in."""
    done = run_python(code, folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done
    left = list(folder.iterdir())
    assert left == [], left


def assert_names_what_to_install(code: str, folder: Path, *, printed: str, extra: str) -> None:
    """Assert that a snippet prints a line, then fails as it lacks what an extra of this package installs."""
    done = run_python(code, folder)
    assert done.stdout == f"{printed}\n", done
    assert done.stderr.strip().endswith(f"pip install pearl-metarl[{extra}]"), done.stderr
    assert "\nImportError: " in done.stderr, done.stderr


RENDER = """
import sys
env.reset(seed=0)
try:
    frame = env.render()
except Exception as error:
    print("no OpenGL:", type(error).__name__)
    sys.exit()
print(frame.shape, frame.dtype, {shows})
env.close()
"""


def assert_renders(code: str, folder: Path, *, shows: str) -> None:
    """Assert that a snippet's ``env`` renders a ``frame`` of which an expression holds, and says nothing.

    The test is skipped where rendering fails for want of OpenGL, or MuJoCo's import of EGL does.
    """
    done = run_python(code + RENDER.format(shows=shows), folder, MUJOCO_GL=os.environ.get("MUJOCO_GL", "egl"))
    if "no OpenGL" in done.stdout or (not done.stdout and "mujoco/egl/" in done.stderr):
        pytest.skip(f"MuJoCo finds no OpenGL to render with here: {done.stdout or done.stderr[-200:]}")
    assert (done.stdout, done.stderr) == ("(480, 480, 3) uint8 True\n", ""), done
