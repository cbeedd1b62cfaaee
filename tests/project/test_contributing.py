"""CONTRIBUTING.md and the project's habits name files, commands and hooks that exist."""

import os
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
TARGETS = set((ROOT / "Makefile").read_text().partition(".PHONY: ")[2].partition("\n")[0].split())


def test_every_link_leads_to_a_file() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", PAGE)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_path_is_there() -> None:
    paths = re.findall(r"(?<![\w/.])((?:docs|encoders|agents|pearl|experiments|tests|\.ci)/[\w/.-]*)", PAGE)
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists() and path != "pearl/presets/NAME.yaml"] == []


def test_every_make_target_is_there() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    used = re.findall(r"make ([a-z-]+)", " ".join(hook["entry"] for hook in hooks))
    assert len(used) == len(hooks)
    named = re.findall(r"`make ([a-z-]+)|^make ([a-z-]+)", PAGE, re.MULTILINE)
    assert {one or other for one, other in named} | set(used) <= TARGETS


def test_the_workflow_runs_ci_run_on_each_python_that_the_classifiers_name() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())["jobs"]
    classified = re.findall(r"Python :: (3\.\d+)$", (ROOT / "setup.cfg").read_text(), re.MULTILINE)
    assert jobs["tests"]["strategy"]["matrix"]["python"] == classified
    assert {"run": ".ci/run"} in jobs["tests"]["steps"]
    assert os.access(ROOT / ".ci/run", os.X_OK)
