"""Running a snippet of Python in a process of its own, and one that renders with MuJoCo where that is possible."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
can_render = pytest.mark.skipif(sys.platform != "linux", reason="renders off screen through EGL, which is Linux's")


def run_python(code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, **path, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def run_rendering(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a snippet that renders; the test is skipped if it prints "no OpenGL" or MuJoCo's import of EGL fails."""
    done = run_python(code, folder, MUJOCO_GL=os.environ.get("MUJOCO_GL", "egl"))
    if "no OpenGL" in done.stdout or (not done.stdout and "mujoco/egl/" in done.stderr):
        pytest.skip(f"MuJoCo finds no OpenGL to render with here: {done.stdout or done.stderr[-200:]}")
    return done
