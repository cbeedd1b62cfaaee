"""docs/architecture.md agrees with the source: its picture, and each function that it names."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text()
HOPS = re.findall(r"\| `([\w.]+)` \| `([\w/]+\.py)` \|$", PAGE, re.MULTILINE)
ANSWERS = re.findall(r"`([\w.]+)` in `([\w/]+\.py)`", PAGE)
MOST_FILES = 12


def drawing():
    spec = importlib.util.spec_from_file_location("draw_rooms", ROOT / "docs" / "draw_rooms.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def defined(file: Path) -> set[str]:
    """Names of the functions that a file defines, methods with their class."""
    tree = ast.parse(file.read_text())
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{method.name}" for method in node.body if isinstance(method, ast.FunctionDef)}
    return names


def test_the_picture_of_the_rooms_shows_the_imports_of_today():
    rooms = drawing()
    assert rooms.PICTURE.read_text() == rooms.draw(), "Draw it anew: python docs/draw_rooms.py"


def test_rooms_in_a_circle_are_refused():
    with pytest.raises(ValueError, match="in a circle: a → b → a"):
        drawing().heights({"a": {"b"}, "b": {"a"}})


def test_from_a_task_to_a_gradient_step_few_files_are_opened():
    files = [file for _, file in HOPS]
    assert files[0] == "pearl/tasks/distribution.py"
    assert "agents/context/pearl.py" in files
    assert len(files) == len(set(files)) <= MOST_FILES


@pytest.mark.parametrize(("function", "file"), [*HOPS, *ANSWERS])
def test_a_function_that_the_page_names_stands_in_its_file(function, file):
    assert function in defined(ROOT / file)


def test_the_page_answers_where_things_are():
    assert {"information_bounds", "soft_bellman_target", "PEARLAgent._draw"} <= {name for name, _ in ANSWERS}


@pytest.mark.parametrize("page", sorted(set(re.findall(r"\]\(([\w-]+\.md)\)", PAGE))))
def test_the_pages_that_it_links_are_there(page):
    assert (ROOT / "docs" / page).is_file()
