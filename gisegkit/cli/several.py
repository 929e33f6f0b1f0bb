"""Commands that ``torchrun`` starts in several processes: process 0 is the command, the others help it."""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import click

from gisegkit.engine.world import ALONE, PeerLost, World
from gisegkit.errors import GisegError, RunError
from gisegkit.plugins import Plugins, installed

SHARED = ("run", "train", "evaluate", "predict")
"""The commands that several processes share."""


def process_count() -> int:
    """How many processes ``torchrun`` has started for this run."""
    return int(os.environ.get("WORLD_SIZE") or 1)


@functools.cache
def world() -> World:
    """The processes of this run; they find each other at the first call."""
    if process_count() == 1:
        return ALONE
    from gisegkit.engine.ranks import Ranks

    return Ranks.of_environment()


def joins(arguments: Sequence[str], commands: Sequence[str]) -> bool:
    """Whether this process is to help another one; process 0 is told if its command cannot be shared.

    Raises:
        GisegError: if it cannot.
    """
    if process_count() == 1:
        return False
    leads = os.environ.get("RANK", "0") == "0"
    command = next((word for word in arguments if word in commands), "")
    if command in SHARED:
        from gisegkit.build.alike import refuse_other_versions  # here, as it takes torch

        refuse_other_versions(world(), installed())
        return not leads
    if leads and command:
        raise GisegError(
            f"giseg {command} works in one process, and {process_count()} were started; start it without torchrun. "
            f"Several processes share giseg {', '.join(SHARED[:-1])} and {SHARED[-1]}"
        )
    if not leads:
        sys.exit(0)
    return False


def help_out(plugins: Plugins) -> None:
    """Help process 0 until it has finished; nothing is written or kept here, so signals end this process at once."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    from gisegkit.workflows.helping import help_out

    help_out(plugins, world())
    world().close()


def finish() -> None:
    """Let the other processes go, after the command."""
    if process_count() > 1 and world.cache_info().currsize:
        world().send(None)
        world().close()


def go_on(arguments: Sequence[str]) -> str:
    """What to do once the cause that ended another process is mended."""
    if next((word for word in arguments if word in SHARED), "") in ("run", "train"):
        return "Finished epochs are kept in last.pt, and --resume continues with any number of processes"
    return "Start the command again, with any number of processes"


def tell(error: GisegError, arguments: Sequence[str] = ()) -> None:
    """Print an error, once if several processes have the same; process 0 does, unless it is not among them."""
    text, prefix = str(error), ""
    if isinstance(error, PeerLost):
        text += f". {go_on(arguments)}"
    one: Any = world() if process_count() > 1 and world.cache_info().currsize else ALONE
    if one.rank:
        if isinstance(error, PeerLost) or not one.first_to_say(text):
            return
        prefix = f"process {one.rank} of {one.size}: "
    click.secho("error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(prefix + text, err=True)
    restarts = int(os.environ.get("TORCHELASTIC_RESTART_COUNT") or 0)
    if restarts and isinstance(error, RunError) and "with --resume" in text:
        click.echo(
            f"torchrun has started the processes again (restart {restarts}), and only with --resume in its command "
            "does a run go on then; start it anew with --resume. What ended it is told above",
            err=True,
        )
    if one.size > 1 and not one.rank:
        with suppress(KeyboardInterrupt):  # torchrun may stop this process already, as another one has ended
            one.first_to_say(text)
