"""The command line ``giseg``: one small file a command; importing them imports neither torch nor numpy."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from gisegkit import __version__
from gisegkit.cli import check, compare, components, data, evaluate, phantom, predict, prepare, run, score, show, train
from gisegkit.cli.output import warn
from gisegkit.culprit import name_culprit
from gisegkit.errors import GisegError, did_you_mean
from gisegkit.machine import refuse_windows
from gisegkit.plugins import Plugins, installed

COMMANDS: tuple[click.Command, ...] = (
    run.command,
    train.command,
    evaluate.command,
    predict.command,
    compare.command,
    check.command,
    data.command,
    prepare.command,
    show.command,
    phantom.command,
    score.command,
    components.list_components,
    components.describe,
)


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
    """Run ``giseg``; a user's mistake is printed without a traceback and exits with 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    try:
        refuse_windows()
        return cli.main(args=arguments, prog_name="giseg", standalone_mode=True)
    except GisegError as error:
        if "--debug" in arguments:
            raise
        click.secho("error: ", fg="red", bold=True, nl=False, err=True)
        click.echo(str(error), err=True)
        sys.exit(2)
    except Exception as error:
        name_culprit(error, installed().registries)
        raise
