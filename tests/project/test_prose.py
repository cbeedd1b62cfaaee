"""Docstrings begin with a noun or a verb, and lines of prose fit a screen."""

import ast
import re

import pytest

from tests.support.processes import ROOT

SOURCES = [file for floor in ("encoders", "agents", "pearl", "experiments") for file in (ROOT / floor).rglob("*.py")]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
RIDDLES = re.compile(r"(What|That which|Where|How|Which)\b")
WIDTH = 120


def texts(source: str) -> list[str]:
    """Docstrings of a file, those of attributes too."""
    statements = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Expr)]
    return [
        node.value.value
        for node in statements
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_docstring_begins_with_a_noun_or_a_verb(file):
    assert [text for text in texts(file.read_text()) if RIDDLES.match(text)] == []


def test_docstrings_of_attributes_are_seen():
    assert texts('"""a"""\nclass A:\n    """b"""\n    c = 1\n    """What d is"""') == ["a", "b", "What d is"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_of_prose_fit_a_screen(page):
    outside_code = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    lines = [line for line in outside_code.splitlines() if not line.startswith("|")]
    assert [line for line in lines if len(line) > WIDTH] == []
