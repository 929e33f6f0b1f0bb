"""The house stands: who imports whom, one home for each third party, every file small and with a purpose."""

from __future__ import annotations

import ast
import functools
import graphlib
import re
import sys
import tomllib
from pathlib import Path

import pytest

from gisegkit.registry.kinds import KINDS
from gisegkit.registry.signatures import load_path

PACKAGE = Path(__file__).parent.parent / "gisegkit"

LEVELS = (  # from the ground up: a room imports from rooms below it
    ("errors", "machine"),
    ("types",),
    ("registry",),
    ("", "data", "recipe", "report"),  # "" is gisegkit/__init__.py
    ("components", "plugins", "testing"),
    ("engine",),
    ("runs",),
    ("build",),
    ("workflows",),
    ("cli",),
    ("__main__",),
)
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}

NEIGHBORS = {("plugins", "components"), ("machine", "errors")}
"""Who may import whom on one level."""

MOST_ROOMS = 17

HOMES = {
    "segmentation_models_pytorch": ("components/models/encoders.py", "components/models/networks.py"),
    "albumentations": ("components/augmentation/albumentations_",),
    "click": ("cli/",),
    "PIL": ("data/images/pillow.py",),
    "imagecodecs": ("data/images/tiff.py",),
    "tifffile": ("data/images/tiff.py",),
    "jinja2": ("report/",),
    "pluggy": ("registry/hookspecs.py", "plugins.py"),
}

NAMED_OTHERWISE = {"PIL": "pillow", "cv2": "opencv-python-headless"}
"""Distributions whose name is not that of what they are imported as."""

FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = {file.relative_to(PACKAGE).with_suffix("").as_posix().removesuffix("__init__").rstrip("/") for file in FILES}


@functools.cache
def parsed(file: Path) -> ast.Module:
    """The tree of a file, which several tests read."""
    return ast.parse(file.read_text())


@functools.cache
def imports_of(file: Path) -> list[tuple[str, bool]]:
    """The imports of a file, which several tests read."""
    return imports(parsed(file))


def imports(tree: ast.AST) -> list[tuple[str, bool]]:
    """(what is imported with dots, whether only for the type checker) of every import, wherever it stands."""
    found = []

    def walk(node: ast.AST, typing: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend((alias.name, typing) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a name comes from"
            found.extend((f"{node.module}.{alias.name}", typing) for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for child in node.body:
                walk(child, True)
            for child in node.orelse:
                walk(child, typing)
        else:
            for child in ast.iter_child_nodes(node):
                walk(child, typing)

    walk(tree, False)
    return found


def dotted(file: Path) -> str:
    """The name by which a file is imported."""
    return ".".join(("gisegkit", *file.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


KNOWN = {dotted(file) for file in FILES}
ROOMS = {module.split("/")[0] for module in MODULES}


def imported(file: Path) -> set[str]:
    """The modules that a file imports, but for those that only the type checker wants."""
    names = [name for name, typing in imports_of(file) if not typing and name.startswith("gisegkit")]
    modules = {name if name in KNOWN else name.rpartition(".")[0] for name in names}
    return modules - {dotted(file)}


def room(name: str) -> str:
    """``gisegkit.data.rle.decode`` to ``data``; a name out of gisegkit/__init__.py to an empty text."""
    first = [*name.split("."), ""][1]
    return first if first in ROOMS else ""


def trespasses(file: str, found: list[tuple[str, bool]]) -> list[str]:
    """What a file with these imports takes although it must not."""
    own = file.removesuffix(".py").split("/")[0].removesuffix("__init__")
    wrong = []
    for name, typing in found:
        party = name.split(".")[0]
        if party in HOMES and not file.startswith(HOMES[party]):
            wrong.append(f"{party} is at home in {HOMES[party]}")
        if party != "gisegkit" or typing:
            continue
        other = room(name)
        if other != own and LEVEL[other] >= LEVEL[own] and (own, other) not in NEIGHBORS:
            wrong.append(f"{own or 'gisegkit'} may not import {name}")
    return wrong


def test_imports_go_down_and_third_parties_stay_at_home():
    sources = {path.relative_to(PACKAGE).as_posix(): imports_of(path) for path in FILES}
    wrong = {file: trespasses(file, found) for file, found in sources.items()}
    assert {file: found for file, found in wrong.items() if found} == {}


def test_every_module_has_a_level_and_every_level_has_its_modules():
    assert set(LEVEL) == ROOMS, "a new room needs a level here, one that is gone needs none"
    assert len(ROOMS) <= MOST_ROOMS


def test_no_two_modules_import_each_other_in_a_circle():
    arrows = {dotted(file): imported(file) for file in FILES}
    order = graphlib.TopologicalSorter(arrows)
    order.prepare()  # raises CycleError, with the modules of a circle
    rooms: dict[str, set[str]] = {}
    for module, others in arrows.items():
        rooms.setdefault(room(module), set()).update(map(room, others))
    graphlib.TopologicalSorter({own: others - {own} for own, others in rooms.items()}).prepare()


def test_every_home_is_used():
    for party, homes in HOMES.items():
        files = [file for file in FILES if file.relative_to(PACKAGE).as_posix().startswith(homes)]
        assert any(name.split(".")[0] == party for file in files for name, _ in imports_of(file)), party


@pytest.mark.slow
def test_what_is_imported_is_declared_and_what_is_declared_is_imported():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    declared = {re.match(r"[\w.-]+", line).group() for line in project["dependencies"]}
    tops = {name.split(".")[0] for file in FILES for name, _ in imports_of(file)}
    parties = tops - {"gisegkit", "__future__", *sys.stdlib_module_names}
    assert {NAMED_OTHERWISE.get(party, party.replace("_", "-")) for party in parties} == declared


@pytest.mark.parametrize(
    ("file", "source", "allowed"),
    [
        ("data/rle.py", "from gisegkit.errors import DataError", True),
        ("data/rle.py", "from gisegkit.data import folds", True),
        ("data/rle.py", "from gisegkit import IGNORE", False),
        ("data/rle.py", "from gisegkit.components.losses.ratios import BCE", False),
        ("data/rle.py", "from gisegkit.recipe.sections import Recipe", False),
        ("data/rle.py", "def f():\n    from gisegkit import components", False),
        ("components/losses/ratios.py", "from gisegkit.data import rle", True),
        ("components/losses/ratios.py", "from gisegkit import IGNORE", True),
        ("components/losses/ratios.py", "import gisegkit.build", False),
        ("components/losses/ratios.py", "import albumentations as A", False),
        ("components/losses/ratios.py", "if TYPE_CHECKING:\n    import albumentations", False),
        ("components/losses/ratios.py", "from gisegkit import testing", False),
        ("components/augmentation/albumentations_list.py", "def f():\n    import albumentations.core", True),
        ("registry/hookspecs.py", "if TYPE_CHECKING:\n    from gisegkit.recipe.sections import Recipe", True),
        ("registry/hookspecs.py", "from gisegkit.recipe.sections import Recipe", False),
        ("registry/hookspecs.py", "from gisegkit.registry.adder import Adder", True),
        ("errors.py", "from gisegkit import IGNORE", False),
        ("engine/fit.py", "from gisegkit.runs.folder import RunDir", False),
        ("report/page.py", "try:\n    import gisegkit.engine.fit\nexcept ImportError: ...", False),
        ("engine/fit.py", "from gisegkit.report import page", True),
        ("runs/folder.py", "from gisegkit.build.network import build_network", False),
        ("workflows/train.py", "import click", False),
        ("cli/run.py", "import click", True),
        ("plugins.py", "import gisegkit.components", True),
        ("plugins.py", "from gisegkit import build", False),
        ("recipe/load.py", "import pluggy", False),
    ],
)
def test_the_test_itself_sees_a_trespass(file, source, allowed):
    assert (trespasses(file, imports(ast.parse(source))) == []) is allowed


def test_every_file_says_what_it_is_for():
    wordings = {path: ast.get_docstring(parsed(path)) or "" for path in FILES}
    assert [str(path) for path, wording in wordings.items() if len(wording.split()) < 4] == []


def test_every_file_is_small():
    lines = {path.relative_to(PACKAGE).as_posix(): len(path.read_text().splitlines()) for path in FILES}
    assert {file: count for file, count in lines.items() if count > 300} == {}


def test_no_function_is_long():
    long = [
        f"{file.relative_to(PACKAGE)}: {node.name}"
        for file in FILES
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno >= 50
    ]
    assert long == []


def test_there_is_at_least_as_much_test_as_code():
    code, tests = (
        sum(len(file.read_text().splitlines()) for file in folder.rglob("*.py"))
        for folder in (PACKAGE, Path(__file__).parent)
    )
    assert tests >= code


def test_every_module_has_a_test_file():
    """But packages, the commands (test_cli) and the contracts of the kinds (testing/test_every_kind)."""
    modules = [file for file in FILES if file.name != "__init__.py" and file.parent.name != "cli"]
    checks = {Path(load_path(kind.check).__code__.co_filename) for kind in KINDS.values()}
    modules = [file for file in modules if file not in checks]
    tests = [Path(__file__).parent / file.relative_to(PACKAGE).with_name(f"test_{file.name}") for file in modules]
    assert [test.name for test in tests if not test.is_file()] == []
