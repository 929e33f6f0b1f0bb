"""The types hold, by mypy as one test among the others; and no folder of tests is passed over."""

from __future__ import annotations

import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest


@pytest.mark.slow
def test_mypy_finds_nothing():
    command = [sys.executable, "-m", "mypy"]
    done = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_folder_of_tests_is_passed_over(request):
    """Pytest leaves out folders of some names, such as build, unless the project says otherwise."""
    left_out = request.config.getini("norecursedirs")
    folders = {file.parent.name for file in Path(__file__).parent.rglob("test_*.py")}
    assert "build" in folders
    assert not [name for name in folders if any(fnmatch(name, pattern) for pattern in left_out)]
