"""The executor ``ray``, without Ray: its entry point, and what it says and sends.

tests/distributed runs plans on two nodes.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from gisegkit.plugins import load_plugins
from gisegkit.registry.annotations import show

pytest.importorskip("giseg_ray", reason="giseg-ray is not installed: pip install ./plugins/giseg-ray")
from giseg_ray.executor import environment

ROOT = Path(__file__).parent.parent

WITHOUT = """
import sys
sys.modules["ray"] = None
from gisegkit.errors import RunError
from giseg_ray.executor import Ray
try:
    Ray(folder="p")
except RunError as error:
    print(error)
"""


def test_the_entry_point_registers_it_and_needs_no_ray():
    (point,) = entry_points(group="gisegkit", name="ray")
    given = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert point.dist is not None
    assert (point.dist.name, point.dist.version) == (given["name"], given["version"])
    plugins = load_plugins(selection="", found=[point])
    component = plugins.registries["executor"].get("ray")
    defaults = {name: item.default for name, item in component.signature().parameters.items()}
    assert defaults["gpus"] == 1.0 and defaults["address"] == "" and "folder" in defaults, show(defaults)


def test_without_ray_it_says_what_to_install():
    printed = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True).stdout
    assert printed.startswith("executor ray needs the package ray, in the version of the cluster: pip install ray==")


def test_commands_have_the_environment_of_giseg_plan_but_for_what_is_the_nodes():
    given = {"GISEG_CACHE": "/shared", "PATH": "/bin", "OMP_NUM_THREADS": "2"}
    of_the_node = {"CUDA_VISIBLE_DEVICES": "3", "RAY_ADDRESS": "x:1", "HOSTNAME": "login", "TMPDIR": "/t"}
    assert environment(given | of_the_node) == given
