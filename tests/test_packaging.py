import ast
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.support.processes import ROOT

PACKAGES = ("encoders", "agents", "pearl")
# Lowest first: each may import itself and those before it.
FLOORS = (*PACKAGES, "experiments")
MAX_LINES = 350
# The rooms inside each floor, lowest first; those of one storey do not know each other.
STOREYS: dict[str, tuple[set[str], ...]] = {
    "encoders": (
        {"abbreviation", "kernels", "mlp"},
        {"mlp_in_numpy", "objectives", "registration", "settings", "types"},
        {"base"},
        {"blind", "feature_encoder"},
        {"pooled", "sequence"},
        {"config"},
    ),
    "agents": (
        {"config", "finite", "images", "losses", "memories", "types"},
        {"spaces"},
        {"networks"},
        {"base", "kernels"},
        {"learning"},
        {"context", "gradient", "memory"},
    ),
    "pearl": (
        {"files", "floors", "process", "tasks", "version"},
        {"checkpoint", "collection", "config"},
        {"adaptation", "evaluation", "replay"},
        {"plots", "training"},
        {"algorithms"},
        {"model"},
        {"runs"},
        {"studies"},
    ),
}
MAX_FILES = 12
# What only training, drawing or some families need, and what takes long to import.
HEAVY = {"PIL", "matplotlib", "metaworld", "mujoco", "rich", "stable_baselines3", "wandb"}


def run_python(code: str, *, folder: Path, path: list[Path], site: bool = True) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter; without site it sees nothing installed, not even this checkout."""
    command = [sys.executable, *([] if site else ["-S"]), "-c", code]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def source_files(*folders: str) -> list[Path]:
    return [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


def put_foreign_agents(folder: Path, source: str) -> Path:
    package = folder / "foreign" / "agents"
    package.mkdir(parents=True)
    file = package / "__init__.py"
    file.write_text(source)
    return file


@pytest.mark.parametrize("mode", ["enable", "disable"])
def test_importing_pearl_leaves_the_search_for_garbage_as_it_was(mode: str, elsewhere: Path) -> None:
    code = f"import gc; gc.{mode}(); import pearl; print(gc.isenabled())"
    assert run_python(code, folder=elsewhere, path=[ROOT]).stdout.split() == [str(mode == "enable")]


def test_train_starts_without_what_draws_pictures(elsewhere: Path) -> None:
    code = "import sys, train; print([name for name in ('matplotlib', 'wandb') if name in sys.modules])"
    assert run_python(code, folder=elsewhere, path=[ROOT, ROOT / "experiments"]).stdout.strip() == "[]"


@pytest.mark.parametrize(
    "source",
    ["class Agent: ...", "import a_dependency_nobody_has", "raise RuntimeError('set a key first')", "def broken(:"],
    ids=["imports", "lacks_a_dependency", "raises", "does_not_parse"],
)
def test_importing_pearl_beside_a_foreign_agents_names_its_file_and_the_remedy(
    source: str, tmp_path: Path, elsewhere: Path
) -> None:
    file = put_foreign_agents(tmp_path, source)
    result = run_python("import pearl", folder=elsewhere, path=[file.parent.parent, ROOT])
    assert result.returncode != 0
    message = result.stderr[result.stderr.rindex("ImportError: ") :]
    assert str(file) in message
    assert "uninstall" in message
    assert "virtual environment" in message


def test_the_error_names_the_distribution_that_brought_the_foreign_agents(tmp_path: Path, elsewhere: Path) -> None:
    site = put_foreign_agents(tmp_path, "").parent.parent
    record = site / "openai_agents-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: a-rival\nVersion: 1.0\n")
    (record / "top_level.txt").write_text("agents\n")
    result = run_python("import pearl", folder=elsewhere, path=[site, ROOT])
    assert "(installed here: a-rival)" in result.stderr


def put_pearl_and_encoders(folder: Path, encoders: str = "") -> None:
    shutil.copytree(ROOT / "pearl", folder / "pearl")
    (folder / "encoders").mkdir()
    (folder / "encoders" / "__init__.py").write_text(f'__distribution__ = "pearl-metarl"\n{encoders}\n')


def test_a_folder_of_the_callers_that_is_no_package_is_named_too(tmp_path: Path, elsewhere: Path) -> None:
    put_pearl_and_encoders(tmp_path / "lib")
    (elsewhere / "agents").mkdir()
    result = run_python("import pearl", folder=elsewhere, path=[tmp_path / "lib"], site=False)
    assert "ImportError: pearl needs pearl-metarl's own package 'agents'" in result.stderr
    assert str(elsewhere / "agents") in result.stderr


def test_a_missing_lower_package_asks_for_a_reinstallation(tmp_path: Path, elsewhere: Path) -> None:
    put_pearl_and_encoders(tmp_path / "lib")
    result = run_python("import pearl", folder=elsewhere, path=[tmp_path / "lib"], site=False)
    assert "ImportError: pearl needs the package 'agents'" in result.stderr
    assert "Reinstall" in result.stderr


def test_an_error_inside_our_own_lower_package_is_shown_as_it_is(tmp_path: Path, elsewhere: Path) -> None:
    put_pearl_and_encoders(tmp_path / "lib", encoders="import a_dependency_nobody_has")
    result = run_python("import pearl", folder=elsewhere, path=[tmp_path / "lib"])
    assert "ModuleNotFoundError: No module named 'a_dependency_nobody_has'" in result.stderr
    assert "foreign" not in result.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """A wheel built from a copy of the tree, so that no build folder is left in it and none is picked up."""
    folder = tmp_path_factory.mktemp("tree")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in (*FLOORS, "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--skip-dependency-check", "."]
    build = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert build.returncode == 0, build.stdout + build.stderr
    return zipfile.ZipFile(next((folder / "dist").glob("*.whl")))


def test_the_wheel_holds_every_file_of_the_three_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    expected = {
        file.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for pattern in ("*.py", "*.yaml", "py.typed")
        for file in (ROOT / package).rglob(pattern)
    }
    packaged = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packaged == expected


def test_the_wheel_is_typed_and_brings_presets_and_the_licence(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    assert any(name.startswith("pearl/presets/") and name.endswith(".yaml") for name in names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_wheels_metadata_is_what_setup_cfg_says(wheel: zipfile.ZipFile) -> None:
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = Parser().parsestr(wheel.read(name).decode())
    assert metadata["Name"] == "pearl-metarl"
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("Provides-Extra")) == {"mujoco", "metaworld", "dev", "docs"}
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload().strip() == (ROOT / "README.md").read_text().strip()


def test_the_packages_import_from_the_wheel_in_another_folder(
    wheel: zipfile.ZipFile, tmp_path: Path, elsewhere: Path
) -> None:
    site = tmp_path / "site"
    wheel.extractall(site)
    code = (
        "import importlib.metadata, importlib.resources as r, encoders, agents, pearl, pearl.version as v\n"
        "print(*(m.__file__ for m in (encoders, agents, pearl)), sep='\\n')\n"
        "print(importlib.metadata.version('pearl-metarl') == v.__version__)\n"
        "print(any(f.name.endswith('.yaml') for f in (r.files('pearl') / 'presets').iterdir()))\n"
    )
    result = run_python(code, folder=elsewhere, path=[site])
    assert result.returncode == 0, result.stderr
    expected = [*(str(site / package / "__init__.py") for package in PACKAGES), "True", "True"]
    assert result.stdout.splitlines() == expected


def imported_floors(source: str) -> set[str]:
    """The floors that a file's absolute imports name, wherever in the file they stand."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(str(node.module))
    return {name.partition(".")[0] for name in names} & set(FLOORS)


@pytest.mark.parametrize(
    ("source", "floors"),
    [
        ("import pearl.tasks as t", {"pearl"}),
        ("def f():\n    from agents.context.pearl import PEARLAgent", {"agents"}),
        ("if TYPE_CHECKING:\n    import encoders, experiments", {"encoders", "experiments"}),
        ("from . import pearl\nimport torch", set()),
    ],
)
def test_an_import_is_seen_wherever_it_stands(source: str, floors: set[str]) -> None:
    assert imported_floors(source) == floors


@pytest.mark.parametrize("floor", FLOORS)
def test_imports_run_down_only(floor: str) -> None:
    above = set(FLOORS[FLOORS.index(floor) + 1 :])
    files = source_files(floor)
    assert files, f"{floor}/ holds no Python file"
    upward = {str(file.relative_to(ROOT)): imported_floors(file.read_text()) & above for file in files}
    assert {file: floors for file, floors in upward.items() if floors} == {}


def imported_rooms(source: str, floor: str) -> set[str]:
    """The rooms inside a floor that a file's absolute imports name, wherever in the file they stand."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == floor:
            names |= {f"{floor}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(str(node.module))
    return {name.split(".")[1] for name in names if name.startswith(f"{floor}.")}


def room_of(file: Path, floor: str) -> str:
    return file.relative_to(ROOT / floor).with_suffix("").parts[0]


@pytest.mark.parametrize("floor", PACKAGES)
def test_inside_a_floor_too_imports_run_down_only(floor: str) -> None:
    storey = {room: number for number, rooms in enumerate(STOREYS[floor]) for room in rooms}
    files = [file for file in source_files(floor) if file != ROOT / floor / "__init__.py"]
    assert {room_of(file, floor) for file in files} == set(storey)
    upward = {}
    for file in files:
        own = room_of(file, floor)
        above = {
            room for room in imported_rooms(file.read_text(), floor) - {own} if storey.get(room, 99) >= storey[own]
        }
        if above:
            upward[str(file.relative_to(ROOT))] = above
    assert upward == {}


def test_an_import_within_a_floor_is_seen_wherever_it_stands() -> None:
    inside = "def f():\n    from pearl.model.loading import load\n"
    source = f"import pearl.runs.run\nfrom pearl import plots\n{inside}import torch"
    assert imported_rooms(source, "pearl") == {"runs", "plots", "model"}


def module_of(file: Path) -> str:
    """The name by which a source file is imported; the scripts in experiments/ import each other by their stems."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part not in ("__init__", "experiments"))


def imports_of(tree: ast.AST, *, within: bool = False) -> Iterator[tuple[str, bool]]:
    """Every module or name that a file imports absolutely, and whether it does so later than when it is loaded."""
    for node in ast.iter_child_nodes(tree):
        later = within or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        later |= isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if isinstance(node, ast.Import):
            yield from ((alias.name, later) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from ((f"{node.module}.{alias.name}", later) for alias in node.names)
        else:
            yield from imports_of(node, within=later)


def test_an_import_in_a_function_or_for_type_checkers_counts_as_later() -> None:
    source = "import a\nfrom b import c\ntry:\n    import d\nexcept ImportError:\n    pass\n"
    source += "def f():\n    if f:\n        import e\nif TYPE_CHECKING:\n    from g import h"
    found = list(imports_of(ast.parse(source)))
    assert found == [("a", False), ("b.c", False), ("d", False), ("e", True), ("g.h", True)]


@pytest.fixture(scope="module")
def imports() -> dict[str, list[tuple[str, bool]]]:
    """For each module of ours what it imports: a module of ours by its own name, and whether it does so later."""
    trees = {module_of(file): ast.parse(file.read_text()) for file in source_files(*FLOORS)}

    def own(name: str) -> str:
        return next((known for known in (name, name.rpartition(".")[0]) if known in trees), name)

    return {module: [(own(name), later) for name, later in imports_of(tree)] for module, tree in trees.items()}


def test_only_what_loads_a_heavy_package_is_imported_elsewhere_than_at_the_top(
    imports: dict[str, list[tuple[str, bool]]],
) -> None:
    """A file whose loading loads a heavy package, as each file of plots loads matplotlib, counts as that package."""

    def is_heavy(name: str, seen: frozenset[str] = frozenset()) -> bool:
        at_top = [each for each, later in imports.get(name, []) if not later and each not in seen]
        return name.partition(".")[0] in HEAVY or any(is_heavy(each, seen | {name}) for each in at_top)

    without_need = {(module, name) for module in imports for name, later in imports[module] if later}
    assert {(module, name) for module, name in without_need if not is_heavy(name)} == set()


def test_no_files_import_each_other_in_a_circle(imports: dict[str, list[tuple[str, bool]]]) -> None:
    graph = {module: {name for name, _ in found if name in imports} for module, found in imports.items()}
    assert len(list(TopologicalSorter(graph).static_order())) == len(imports)


def test_no_room_holds_more_files_than_a_reader_can_overlook() -> None:
    floors = (*FLOORS, "tests")
    folders = [folder for floor in floors for folder in [ROOT / floor, *(ROOT / floor).rglob("*/")]]
    rooms = {str(folder.relative_to(ROOT)): len(list(folder.glob("*.py"))) for folder in folders}
    assert {room: count for room, count in rooms.items() if count > MAX_FILES} == {}


def test_importing_pearl_loads_nothing_heavy_that_only_training_or_drawing_needs(tmp_path: Path) -> None:
    shown = run_python(f"import sys, pearl; print({HEAVY} & set(sys.modules))", folder=tmp_path, path=[ROOT])
    assert shown.stdout == "set()\n", shown.stderr


def test_no_source_file_is_longer_than_a_reader_can_hold() -> None:
    lines = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in source_files(*FLOORS, "tests")}
    assert {file: count for file, count in lines.items() if count > MAX_LINES} == {}
