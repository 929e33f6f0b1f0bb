"""What a run ran on: versions, device, git revision, command line, plugins; for ``environment.json``."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gisegkit.plugins import Plugins

PACKAGES = (
    "gisegkit",
    "torch",
    "torchvision",
    "segmentation-models-pytorch",
    "timm",
    "albumentations",
    "opencv-python-headless",
    "numpy",
    "pandas",
    "scipy",
)


def describe_environment(plugins: Plugins, *, device: str, recipe: Path) -> dict[str, Any]:
    """Facts of this process, as plain data.

    Args:
        device: where the run computes, in words.
        recipe: the recipe's file; the git revision is that of the folder around it.
    """
    return {
        "versions": {"python": platform.python_version(), **{name: version_of(name) for name in PACKAGES}},
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "device": device,
        "git_revision": git_revision(recipe.resolve().parent),
        "command": sys.argv,
        "plugins": {owner.distribution: owner.version for owner in plugins.owners},
        "failed_plugins": [str(failure) for failure in plugins.failures],
    }


def version_of(name: str) -> str | None:
    """The installed version of a distribution, None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def git_revision(folder: Path) -> str | None:
    """The commit that the folder's checkout is at, with ``-dirty`` where files differ; None outside a checkout."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
