"""What every command needs besides the recipe: the plugins, a device's name, and where lines and progress go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gisegkit.engine.world import ALONE, World
from gisegkit.plugins import Plugins
from gisegkit.types import Progress, silent


@dataclass(frozen=True)
class Console:
    """What every command needs besides the recipe.

    Attributes:
        device: ``auto`` or a device's name.
        progress: shows long work; say: prints one line.
        said: the lines that are printed once, and were.
        world: the processes that work together; this one prints only if it is the first.
    """

    plugins: Plugins
    device: str = "auto"
    progress: Progress = silent
    say: Callable[[str], None] = lambda line: None
    said: set[str] = field(default_factory=set, repr=False, compare=False)
    world: World = field(default=ALONE, repr=False, compare=False)

    def note(self, line: str) -> None:
        """Print a note, once per session, however many steps come upon it."""
        self.once(f"note: {line}")

    def once(self, line: str) -> None:
        """Print a line, once per session."""
        if line not in self.said:
            self.said.add(line)
            self.say(line)
