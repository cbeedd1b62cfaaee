"""The version stands in pearl/version.py; what repeats it elsewhere agrees."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import yaml

from pearl.version import __version__

ROOT = Path(__file__).parents[2]


def test_the_changelog_begins_with_this_version() -> None:
    headings = re.findall(r"^## \[(.+)\] - (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    newest, date = headings[0]
    assert newest == __version__
    assert date == "Unreleased" or re.fullmatch(r"\d{4}-\d{2}-\d{2}", date)


def test_each_section_of_the_changelog_is_one_of_keep_a_changelog() -> None:
    sections = re.findall(r"^### (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert sections
    assert set(sections) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_citation_is_of_this_version_name_and_licence() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["version"] == __version__
    assert citation["title"] == project["name"]
    assert citation["license"] == "MIT"


def test_the_installed_distribution_has_this_version() -> None:
    assert importlib.metadata.version("pearl-metarl") == __version__


def test_no_other_file_of_settings_states_the_version() -> None:
    for name in ("setup.cfg", "pyproject.toml", "Makefile"):
        assert __version__ not in re.findall(r"\d+\.\d+\.\d+", (ROOT / name).read_text()), name
