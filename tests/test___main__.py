"""``python -m gisegkit`` is the command ``giseg``."""

from __future__ import annotations

import subprocess
import sys

import gisegkit


def test_the_module_is_the_command():
    command = [sys.executable, "-m", "gisegkit", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()[-1]) == (0, gisegkit.__version__), done.stderr
