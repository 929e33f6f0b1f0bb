"""Commands in several processes, as ``torchrun`` starts them; a program of its own, started by test_several.py.

It imports everything once, and forks instead of starting: an import takes longer than a tiny run. What it prints to is
a file for each process.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

import torch
import torch._dynamo  # an optimizer imports it at its first step

from gisegkit.cli import main
from gisegkit.components.augmentation import warp_policies
from gisegkit.components.models import encoders
from gisegkit.data.loaders import EvaluationSet
from gisegkit.engine import fit
from gisegkit.errors import DataError
from gisegkit.workflows import folds

SIZE = ("--set", "input.size=[64,64]")
"""A last batch of 2 slices has pieces of one, which batch normalization takes if more than a pixel is left of it."""

IMPORTED = (warp_policies, encoders, folds)
"""What commands import when they need it, in each process anew."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(command, count, log, *, signals=None, unreadable=None):
    """Run a command in so many processes; gives the exit status of each.

    Args:
        log: what process N prints goes to ``log``.N.
        signals: a signal that a process sends to itself when it begins the second epoch, by its number.
        unreadable: the number of a process that cannot read any slice.
    """
    port, children = free_port(), []
    for rank in range(count):
        child = os.fork()
        if not child:
            if count > 1:
                os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_RANK": str(rank)}
                os.environ |= {"LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            if rank == unreadable:
                EvaluationSet.__getitem__ = cannot_read
            work(command, Path(f"{log}.{rank}"), (signals or {}).get(rank))
        children.append(child)
    return finished(children)


def cannot_read(slices, position):
    raise DataError(f"slice {slices.rows[position]} cannot be read")


def work(command, log, number):
    """What a child does; never returns."""
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1), os.dup2(handle, 2)
    sys.stdout, sys.stderr = (os.fdopen(stream, "w", buffering=1, closefd=False) for stream in (1, 2))
    if number is not None:
        train_epoch = fit.train_epoch

        def stopped(*arguments):
            if arguments[-1] == 2:
                os.kill(os.getpid(), number)
            return train_epoch(*arguments)

        fit.train_epoch = stopped
    code = 1
    try:
        torch.set_num_threads(1)
        main([str(word) for word in command])
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException:
        traceback.print_exc()
    os._exit(code)


def finished(children):
    """The exit statuses (negative for a signal); the others are asked to stop once one has failed, as torchrun does."""
    codes, asked = {}, False
    while len(codes) < len(children):
        for child in set(children) - codes.keys():
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                codes[child] = os.waitstatus_to_exitcode(status)
        if any(codes.values()) and not asked:
            asked = True
            time.sleep(0.5)  # torchrun looks every tenth of a second; what is told until then is told
            for child in set(children) - codes.keys():
                os.kill(child, signal.SIGTERM)
        time.sleep(0.01)
    return [codes[child] for child in children]


def short(recipe, folder):
    """A run of one epoch, in one process with two pieces and in two processes; evaluated again by three."""
    settings = ["--set", "train.epochs=1", "--set", "split.folds=2", *SIZE, "--device", "cpu"]
    one = start(["run", recipe, "--out", folder / "one", *settings, "--set", "train.pieces=2"], 1, folder / "log_one")
    two = start(["run", recipe, "--out", folder / "two", *settings], 2, folder / "log_two")
    plan = start(["plan", recipe], 2, folder / "log_plan")
    return one + two + plan == [0, 0, 0, 2, 0]


def long(recipe, folder):
    """A run that is killed on 3 processes, stopped on 2, and ends on 1; and folds on 2 processes."""
    settings = ["--set", "train.epochs=2", "--set", "split.folds=2", *SIZE, "--device", "cpu"]
    run = ["run", recipe, "--out", folder / "run", *settings]
    reference = ["run", recipe, "--out", folder / "reference", *settings, "--set", "train.pieces=3"]
    codes = [
        start(reference, 1, folder / "log_reference"),
        start(run, 3, folder / "log_killed", signals={1: signal.SIGKILL}),
        start([*run, "--resume"], 2, folder / "log_stopped", signals={0: signal.SIGTERM}),
        start([*run, "--resume"], 1, folder / "log_resumed"),
        start(["evaluate", folder / "run", "--out", folder / "again", "--device", "cpu"], 3, folder / "log_again"),
    ]
    folds = ["--set", "train.epochs=1", "--set", "split.fold=all", "--set", "split.folds=2", *SIZE, "--device", "cpu"]
    codes += [
        start(["run", recipe, "--out", folder / "folds", *folds], 2, folder / "log_folds"),
        start(["run", recipe, "--out", folder / "folds_one", *folds, "--set", "train.pieces=2"], 1, folder / "log_f"),
    ]
    (folder / "codes").write_text(repr(codes))
    return True


def listed(file, folder):
    """The commands of a JSON file: for each its words, the number of processes, and more as of ``start``."""
    commands = json.loads(file.read_text())
    codes = [start(words, count, folder / f"log_{at}", **more) for at, (words, count, more) in enumerate(commands)]
    (folder / "codes").write_text(repr(codes))
    return True


if __name__ == "__main__":
    kind, recipe, folder = sys.argv[1:]
    sys.exit(0 if {"short": short, "long": long, "listed": listed}[kind](Path(recipe), Path(folder)) else 1)
