"""What a run ran on."""

from __future__ import annotations

import subprocess
import sys

from gisegkit.plugins import load_plugins
from gisegkit.runs.environment import describe_environment, git_revision


def test_facts(tmp_path):
    (tmp_path / "r.toml").write_text("")
    facts = describe_environment(load_plugins(selection="none"), device="cpu, fp32", recipe=tmp_path / "r.toml")
    assert facts["versions"]["python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}")
    assert facts["versions"]["torch"] and facts["device"] == "cpu, fp32"
    assert facts["git_revision"] is None
    assert "gisegkit" in facts["plugins"] and facts["failed_plugins"] == []


def test_git_revision_says_dirty(tmp_path):
    def git(*arguments):
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )

    git("init")
    (tmp_path / "file").write_text("1")
    git("add", ".")
    git("commit", "-m", "one")
    clean = git_revision(tmp_path)
    assert clean is not None and len(clean) == 40
    (tmp_path / "file").write_text("2")
    assert git_revision(tmp_path) == clean + "-dirty"
