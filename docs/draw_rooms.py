"""Draw docs/images/rooms.svg: the rooms of every floor and the imports between them, read from the source files.

    python docs/draw_rooms.py

A room stands above every room that it imports. Arrows that follow from others are left out.
"""

import ast
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "images" / "rooms.svg"
FLOORS = ("experiments", "pearl", "agents", "encoders")
ROLES = {
    "experiments": "scripts that a person runs",
    "pearl": "meta-RL around an agent; the public API",
    "agents": "acting and learning, once the belief is given",
    "encoders": "from context to a belief over the task",
}
COLOURS = {"experiments": "#f3efe6", "pearl": "#e8f0f7", "agents": "#eaf4ea", "encoders": "#f6ecf3"}
WIDTH, BOX, GAP, ROW, MARGIN = 1120, 34, 14, 66, 24
LETTER = 7.4
"""Width of a letter, in pixels"""

Graph = Mapping[str, set[str]]


def modules(tree: ast.AST) -> Iterable[str]:
    """Yield the dotted names that a file imports, one name deeper than the module for ``from a import b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms(floor: str) -> Graph:
    """Return each room of a floor with the rooms of the same floor that it imports."""
    folder = ROOT / floor
    names = {path.name for path in folder.iterdir() if path.is_dir() and list(path.glob("*.py"))}
    names |= {path.name for path in folder.glob("*.py") if path.name != "__init__.py"}
    found: dict[str, set[str]] = {name: set() for name in sorted(names)}
    for name in found:
        path = folder / name
        for file in [path] if path.is_file() else path.rglob("*.py"):
            for imported in modules(ast.parse(file.read_text())):
                parts = imported.split(".")
                if floor == "experiments":
                    parts = [floor, *parts]  # Scripts import each other by their bare names.
                if parts[0] != floor or len(parts) < 2:
                    continue
                room = parts[1] if parts[1] in found else f"{parts[1]}.py"
                if room in found and room != name:
                    found[name].add(room)
    return found


def heights(graph: Graph) -> dict[str, int]:
    """Return each room's row from the ground: one above the highest room that it imports.

    Raises:
        ValueError: rooms import each other in a circle.
    """
    found: dict[str, int] = {}

    def height(room: str, below: tuple[str, ...] = ()) -> int:
        if room in below:
            raise ValueError(f"rooms import each other in a circle: {' → '.join([*below, room])}")
        if room not in found:
            found[room] = 1 + max((height(other, (*below, room)) for other in graph[room]), default=-1)
        return found[room]

    for room in graph:
        height(room)
    return found


def direct(graph: Graph) -> list[tuple[str, str]]:
    """Return the imports that do not follow from others."""

    def reached(room: str) -> set[str]:
        return graph[room].union(*(reached(other) for other in graph[room])) if graph[room] else set()

    return [
        (room, other)
        for room in graph
        for other in sorted(graph[room])
        if not any(other in reached(between) for between in graph[room])
    ]


def width(name: str) -> float:
    """Return the width of a room's box, in pixels."""
    return LETTER * len(name) + 22


def place(graph: Graph, top: float) -> tuple[dict[str, tuple[float, float]], float]:
    """Return the upper left corner of each box, and the height of the floor that holds them."""
    height = heights(graph)
    rows: list[list[str]] = []
    for level in sorted(set(height.values()), reverse=True):
        row: list[str] = []
        for room in (room for room in graph if height[room] == level):
            if row and sum(map(width, row)) + width(room) + GAP * len(row) > WIDTH - 2 * MARGIN - 20:
                rows.append(row)
                row = []
            row.append(room)
        rows.append(row)
    corners = {}
    for number, row in enumerate(rows):
        free = WIDTH - sum(map(width, row))
        gap = min(free / (len(row) + 1), 70.0)
        x = (free - gap * (len(row) - 1)) / 2
        for room in row:
            corners[room] = (x, top + 48 + number * ROW)
            x += width(room) + gap
    return corners, 48 + len(rows) * ROW - (ROW - BOX) + 20


def draw() -> str:
    """Return the picture as SVG."""
    lines, top = [], float(MARGIN)
    for floor in FLOORS:
        graph = rooms(floor)
        corners, height = place(graph, top)
        lines.append(
            f'<rect x="{MARGIN}" y="{top:.0f}" width="{WIDTH - 2 * MARGIN}" height="{height:.0f}" rx="10" '
            f'fill="{COLOURS[floor]}"/>'
            f'<text x="{MARGIN + 16}" y="{top + 26:.0f}"><tspan font-weight="bold">{floor}/</tspan>'
            f'<tspan dx="10" fill="#666">{escape(ROLES[floor])}</tspan></text>'
        )
        for room, other in direct(graph):
            (x, y), (to_x, to_y) = corners[room], corners[other]
            start, end = x + width(room) / 2, to_x + width(other) / 2
            middle = (y + BOX + to_y) / 2
            lines.append(
                f'<path d="M {start:.1f} {y + BOX:.1f} C {start:.1f} {middle:.1f} {end:.1f} {middle:.1f} '
                f'{end:.1f} {to_y - 5:.1f}" fill="none" stroke="#8a94a0" marker-end="url(#arrow)"/>'
            )
        for room, (x, y) in corners.items():
            face = ' font-weight="bold"' if not room.endswith(".py") else ' fill="#555"'
            lines.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{width(room):.1f}" height="{BOX}" rx="6" fill="#fff" '
                f'stroke="#8a94a0"/>'
                f'<text x="{x + width(room) / 2:.1f}" y="{y + 22:.1f}" text-anchor="middle"{face}>{room}</text>'
            )
        top += height
        if floor != FLOORS[-1]:
            lines.append(
                f'<path d="M {WIDTH / 2} {top:.1f} v 19" stroke="#555" stroke-width="3" marker-end="url(#arrow)"/>'
            )
            top += 26
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top + MARGIN:.0f}" '
        'font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="13">'
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" '
        'markerUnits="userSpaceOnUse" orient="auto"><path d="M 0 0 L 8 4 L 0 8 z" fill="#6c7680"/></marker></defs>'
        f'<rect width="100%" height="100%" fill="#fff"/>'
    )
    return "\n".join([head, *lines, "</svg>"]) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(draw())
