"""Write the tables of ``settings.md`` from the config classes. Run from the repository root; a test keeps them true.

python docs/list_settings.py
"""

import re
import textwrap
from pathlib import Path

from pearl.algorithms import ALGORITHMS
from pearl.config.documentation import ESSENTIAL, Documented, documented
from pearl.config.run import PEARLConfig

PAGE = Path(__file__).with_name("settings.md")
_TABLE = re.compile(r"(<!-- ([\w.]+) -->\n).*?(<!-- / -->)", re.DOTALL)


def page(text: str) -> str:
    """Return the page with every table, between a comment that names it and an empty one, written anew."""
    tables = _tables()
    return _TABLE.sub(lambda found: f"{found[1]}\n{tables[found[2]]}\n\n{found[3]}", text)


def table_names() -> list[str]:
    """Return the names of the tables that the page has to hold: one for each section, and two more."""
    return list(_tables())


def _tables() -> dict[str, str]:
    pearls = documented(PEARLConfig())
    by_name = {setting.name: setting for setting in pearls}
    sections: dict[str, list[Documented]] = {}
    for setting in pearls:
        sections.setdefault(setting.name.rpartition(".")[0], []).append(setting)
    essential = "\n".join(_item(f"`{name}`: {by_name[name].documentation}") for name in ESSENTIAL)
    return {
        "essential": essential,
        **{name: _table(part) for name, part in sections.items()},
        "others": _others(pearls),
    }


def _item(text: str) -> str:
    """Return an item of a numbered list, in lines of 120 columns."""
    return textwrap.fill(" ".join(text.split()), 120, initial_indent="1. ", subsequent_indent="   ")


def _table(settings: list[Documented]) -> str:
    rows = [f"| `{each.name}` | {_shown(each.value)} | {_cell(each.documentation)} |" for each in settings]
    return "\n".join(["| setting | default | meaning |", "|---|---|---|", *rows])


def _others(pearls: list[Documented]) -> str:
    """Return the table of the settings that PEARL lacks or that mean something else to it."""
    known = {(each.name, each.documentation) for each in pearls}
    found: dict[tuple[str, str], tuple[list[str], object]] = {}
    for algorithm in ALGORITHMS.values():
        for each in documented(algorithm.config()):
            key = each.name, each.documentation
            if key not in known:
                found.setdefault(key, ([], each.value))[0].append(algorithm.config.algorithm)
    rows = [
        f"| `{name}` | {', '.join(algorithms)} | {_shown(value)} | {_cell(text)} |"
        for (name, text), (algorithms, value) in sorted(found.items())
    ]
    return "\n".join(["| setting | algorithms | default | meaning |", "|---|---|---|---|", *rows])


def _shown(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
