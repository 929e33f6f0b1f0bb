"""The command line ``giseg``: one small file a command; importing them imports neither torch nor numpy."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

from gisegkit import __version__
from gisegkit.cli import (
    check,
    compare,
    components,
    data,
    ensemble,
    evaluate,
    init,
    phantom,
    plan,
    predict,
    prepare,
    run,
    score,
    several,
    show,
    train,
    tune,
)
from gisegkit.cli.output import warn
from gisegkit.errors import GisegError, Interrupted, did_you_mean
from gisegkit.machine import refuse_windows
from gisegkit.plugins import Plugins, installed
from gisegkit.registry.culprit import name_culprit

COMMANDS: tuple[click.Command, ...] = (
    init.command,
    run.command,
    train.command,
    evaluate.command,
    predict.command,
    tune.command,
    compare.command,
    ensemble.command,
    plan.command,
    check.command,
    data.command,
    prepare.command,
    show.command,
    phantom.command,
    score.command,
    components.list_components,
    components.describe,
)

KEPT = {
    "run": "interrupted before the first epoch; no epoch was begun, and what a run had before is as it was",
    "train": "interrupted before the first epoch; no epoch was begun, and what a run had before is as it was",
    "plan": "interrupted; what is finished is kept: run the same command again to continue",
    "prepare": "interrupted; the scans that were prepared are kept; run the same command again to continue",
}
"""What is true of a command that was interrupted; of the others, that nothing was written."""


class Giseg(click.Group):
    """The group: plugins may add commands; a mistyped command is answered with the nearest one."""

    def plugins(self, ctx: click.Context) -> Plugins:
        """The installed plugins, loaded once; warnings about them are printed once."""
        if ctx.obj is None:
            ctx.obj = installed()
            ctx.obj.register_commands(self)
            for line in ctx.obj.warnings():
                warn(line)
        plugins: Plugins = ctx.obj
        return plugins

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of a day's work, then those of plugins."""
        self.plugins(ctx)
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, of gisegkit or of a plugin."""
        self.plugins(ctx)
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command.

        Raises:
            click.UsageError: if there is none of that name; says the nearest.
        """
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            nearest = did_you_mean(args[0], self.commands)
            those = f"{'There' if nearest else 'there'} are: {', '.join(self.commands)}."
            raise click.UsageError(" ".join(filter(None, [f"no command {args[0]!r};", nearest, those])), ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=Giseg, commands={str(command.name): command for command in COMMANDS})
@click.version_option(__version__, prog_name="giseg")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Segment slices of medical scans: a recipe in, a trained and evaluated model and a submission out."""


def main(arguments: list[str] | None = None) -> Any:
    """Run ``giseg``; a user's mistake is printed without a traceback and exits with 2, an interruption with 128 + n."""
    arguments = sys.argv[1:] if arguments is None else arguments
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    with stopped_by_signals():
        try:
            refuse_windows()
            if several.joins(arguments, list(cli.commands)):
                several.help_out(installed())
                sys.exit(0)
            code = cli.main(args=arguments, prog_name="giseg", standalone_mode=False)
            several.finish()
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except (click.Abort, KeyboardInterrupt) as stop:
            cause = stop.__cause__ if isinstance(stop, click.Abort) else stop
            sys.exit(tell_interruption(cause, arguments))
        except GisegError as error:
            if "--debug" in arguments:
                raise
            several.tell(error, arguments)
            sys.exit(2)
        except Exception as error:
            name_culprit(error, installed().registries)
            raise
    sys.exit(code if isinstance(code, int) else 0)


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP stop a command as Ctrl-C does, so that it can say what is kept; ignored ones stay ignored."""

    def stop(number: int, _: Any) -> None:
        raise Interrupted(signum=number)

    here = threading.current_thread() is threading.main_thread()
    found = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    taken = [number for number in found if here and signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, stop)
    _taken.extend(taken)
    try:
        yield
    finally:
        _leave_signals()


_taken: list[int] = []
"""The signals that are handled just now."""


def _leave_signals() -> None:
    """Signals do again what the system does; forked workers are stopped at once."""
    with suppress(ValueError):  # not in the main thread
        while _taken:
            signal.signal(_taken.pop(), signal.SIG_DFL)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_signals)


def tell_interruption(stop: BaseException | None, arguments: list[str]) -> int:
    """One line: what is kept after an interruption, and the command that resumes; returns the exit code."""
    text, folder, number = "", "", int(signal.SIGINT)
    if isinstance(stop, Interrupted):
        text, folder, number = str(stop), stop.folder, stop.signum
    command = next((word for word in arguments if word in cli.commands), "")
    if not text:
        text = KEPT.get(command, "interrupted; nothing was written")
    if folder:
        again = [word for word in arguments if word != "--resume"]
        if not any(word == "--out" or word.startswith("--out=") for word in again):
            again += ["--out", folder]
        giseg = "giseg" if several.process_count() == 1 else "torchrun ... -m gisegkit"
        text += f"; resume: {giseg} {shlex.join([*again, '--resume'])}"
    click.echo(text, err=True)
    return 128 + number
