"""Looking costs nothing: the package, its help, lists and checks load neither torch nor numpy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import gisegkit

ROOT = Path(__file__).parent.parent
HEAVY = {
    "torch",
    "numpy",
    "pandas",
    "cv2",
    "scipy",
    "sklearn",
    "albumentations",
    "segmentation_models_pytorch",
    "matplotlib",
}

RUNNER = """
import json, sys
from gisegkit.cli import main
try:
    main(json.loads(sys.argv[1]))
    code = 0
except SystemExit as error:
    code = error.code
print("\\nSEEN " + json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def fresh(code: str, *arguments: str, folder: Path = ROOT) -> str:
    """What a new interpreter prints for this code."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path, "GISEG_PLUGINS": "none"}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def giseg(*arguments: str, folder: Path = ROOT) -> tuple[int, set[str], str]:
    """Exit code, top packages that were loaded, and output of a command."""
    out, _, seen = fresh(RUNNER, json.dumps(arguments), folder=folder).partition("\nSEEN ")
    code, modules = json.JSONDecoder().raw_decode(seen)[0]
    return code, set(modules), out + seen


def test_the_package_is_light():
    code = "import json, sys, gisegkit; assert 'load_run' in dir(gisegkit); print(json.dumps(list(sys.modules)))"
    loaded = json.loads(fresh(code))
    assert "gisegkit" in loaded
    assert {name.partition(".")[0] for name in loaded} & (HEAVY | {"click"}) == set()


def test_the_public_names():
    documented = {"IGNORE", "Above", "AtLeast", "Batch", "Between", "GisegError", "__version__", "hookimpl"}
    documented |= {"epochs", "evaluate", "load_recipe", "load_run", "predict", "train"}
    assert set(gisegkit.__all__) == documented
    assert len(gisegkit.__all__) == len(documented)
    for name in gisegkit.__all__:
        assert getattr(gisegkit, name) is not None


def test_the_version_is_that_of_the_project_file():
    assert f'version = "{gisegkit.__version__}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--help"], "list-components"),
        (["--version"], gisegkit.__version__),
        (["list-components"], "tversky"),
        (["list-components", "--json"], '"distribution"'),
        (["describe", "model", "unet"], "encoder"),
        (["describe", "dataset", "uwmgi"], "root"),
        (["check", "recipes/unet_effb1.toml", "--no-data"], "no mistakes in the recipe"),
        (["check", "recipes/unet_effb1.toml", "--demo"], "DEMO"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_commands_that_only_look_are_light(arguments, expected):
    code, modules, out = giseg(*arguments)
    assert code == 0
    assert expected in out
    assert "gisegkit" in modules
    assert modules & HEAVY == set()


@pytest.mark.parametrize("command", ["evaluate", "predict", "tune"])
def test_a_folder_that_is_no_run_is_refused_before_torch_is_imported(command, tmp_path):
    code, modules, out = giseg(command, "runs/mistyped", folder=tmp_path)
    assert code == 2
    assert "runs/mistyped is not a run folder" in out
    assert "torch" not in modules


def test_describing_every_component_is_light(registries):
    code = "import sys\nfrom gisegkit.plugins import load_plugins\n"
    code += "print(len([item for item in load_plugins('none').registries if item.signature().summary]))\n"
    code += "print(*{name.partition('.')[0] for name in sys.modules})\n"
    count, modules = fresh(code).split("\n", 1)
    assert int(count) == len(list(registries)) > 15
    assert set(modules.split()) & HEAVY == set()


def test_checking_a_recipe_with_mistakes_is_light(tmp_path):
    (tmp_path / "bad.toml").write_text('name = bad\n[modle]\nx = 1\n[[loss]]\nname = "dise"\n')
    code, modules, out = giseg("check", "bad.toml", folder=tmp_path)
    assert code == 2
    assert modules & HEAVY == set()
    assert "Traceback" not in out
    for line, text in [(1, "texts need quotes"), (2, "did you mean 'model'?"), (5, "did you mean 'dice'?")]:
        assert f"bad.toml:{line}: " in out
        assert text in out
