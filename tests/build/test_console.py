"""What every command needs besides the recipe: a quiet console prints nothing."""

from __future__ import annotations

from gisegkit.build.console import Console
from gisegkit.plugins import Plugins


def test_a_console_is_quiet_by_default(capsys):
    console = Console(Plugins())
    console.note("something")
    console.say("something else")
    assert list(console.progress(range(3), "label", 3)) == [0, 1, 2]
    assert capsys.readouterr().out == ""
    assert console.device == "auto"
