"""The pages on encoders and algorithms of one's own show the lines of the example files, and name places that exist."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = {"add-an-encoder.md": "my_encoder.py", "add-an-algorithm.md": "my_algorithm.py"}


def blocks(page):
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)


@pytest.mark.parametrize(("page", "example"), PAGES.items())
def test_the_code_of_a_page_is_the_examples_line_by_line(page, example):
    source = (ROOT / "experiments" / "examples" / example).read_text()
    assert blocks(page)
    assert [block for block in blocks(page) if f"\n{block}" not in source] == []


@pytest.mark.parametrize(("page", "example"), PAGES.items())
def test_a_page_shows_the_whole_example_but_its_docstring_and_imports(page, example):
    source = (ROOT / "experiments" / "examples" / example).read_text()
    body = source[re.search(r"^(@dataclass|class )", source, re.MULTILINE).start() :]
    assert "".join(blocks(page)).split() == body.split()


@pytest.mark.parametrize("page", PAGES)
def test_every_file_and_name_that_a_page_gives_exists(page):
    text = (ROOT / "docs" / page).read_text()
    paths = re.findall(r"`((?:agents|encoders|pearl|tests|experiments)/[\w./]*)`", text)
    assert paths
    assert [path for path in paths if "NAME" not in path and not (ROOT / path).exists()] == []
    for name in re.findall(r"`((?:agents|encoders|pearl)(?:\.[A-Za-z_]\w*)+)`", text):
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), name
