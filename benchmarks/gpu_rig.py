"""What the parts of ``make gpu`` share: their arguments, a recipe on phantoms, one training, and its memory."""

from __future__ import annotations

import argparse
import gc
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from gpu_parts import ROOT, Record

from gisegkit.build.session import Session
from gisegkit.engine.device import Device
from gisegkit.engine.fit import fit
from gisegkit.engine.plan import Plan
from gisegkit.engine.training import Training
from gisegkit.plugins import load_plugins
from gisegkit.recipe.load import load_recipe, read_document
from gisegkit.recipe.sections import Recipe

ORIGIN = "make gpu"
DATA = {"name": "phantom", "cases": 9, "days": 1, "slices": 32, "test_cases": 0}
"""192 slices train in the first of 3 folds: 3 batches of 64."""

SMALL = {"encoder": "tu-test_resnet", "width": 4}
"""Of the networks in the rehearsal."""

TINY = {"name": "phantom", "cases": 3, "days": 1, "slices": 8, "test_cases": 0}


@dataclass(frozen=True)
class Rig:
    """Where a part runs.

    Attributes:
        rehearse: whether it is the rehearsal on the CPU: the same code, tiny.
    """

    record: Record
    session: Session
    rehearse: bool

    @property
    def on_gpu(self) -> bool:
        """Whether there is something to measure."""
        return not self.rehearse

    def recipe(self, name: str, *, pixels: int, changes: Mapping[str, Any]) -> Recipe:
        """One of the project's recipes on phantoms for one epoch, from random weights, without a policy on the CPU."""
        path = ROOT / "recipes" / f"{name}.toml"
        registries = self.session.plugins.registries
        model = read_document(path).data["model"]["name"]
        parameters = registries["model"].get(model).signature().parameters
        settings: dict[str, Any] = {
            "dataset": TINY if self.rehearse else DATA,
            "split.folds": 3,
            "split.fold": 0,
            "input.size": [pixels, pixels],
            "augmentation": {"name": "none"},
            "train.epochs": 1,
            "train.batch_size": 8 if self.rehearse else 64,
            "train.workers": 0 if self.rehearse else 2,
        }
        settings |= {"model.weights": "none"} if "weights" in parameters else {}
        settings |= changes
        if self.rehearse and "model" not in changes:
            settings |= {f"model.{key}": value for key, value in SMALL.items() if key in parameters}
        settings |= {"input.size": [32, 32]} if self.rehearse else {}
        preset = [(key, value, ORIGIN) for key, value in settings.items()]
        return load_recipe(path, registries=registries, preset=preset)

    def release(self) -> None:
        """Give back what the last row left on the device."""
        gc.collect()
        if self.on_gpu:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()


def begin(arguments: Sequence[str], *choices: str) -> tuple[Rig, list[str]]:
    """The rig that a part's command line asks for, and the words beside it.

    Raises:
        SystemExit: if there is no GPU.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("words", nargs="*", choices=choices or None)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--rehearse", action="store_true")
    options = parser.parse_args(arguments)
    script = Path(sys.argv[0]).stem
    if not options.rehearse and not torch.cuda.is_available():
        sys.exit(f"{script}: needs a CUDA GPU, and this machine has none")
    session = Session(load_plugins(), "cpu" if options.rehearse else "cuda", say=lambda line: print(line, flush=True))
    return Rig(Record(options.record), session, options.rehearse), options.words


def each(rig: Rig, names: Sequence[str], measure: Callable[[str], dict[str, Any]]) -> None:
    """A row for each name that has none yet; one that fails is a row that says why, and the next is measured."""
    for name in rig.record.missing(list(names)):
        start = time.perf_counter()
        try:
            row = measure(name)
        except Exception as error:
            traceback.print_exc()
            row = {"failed": True, "error": in_short(error)}
        rig.record.add({"name": name, **row, "seconds": round(time.perf_counter() - start, 1)})
        rig.release()


def in_short(error: Exception) -> str:
    """An error in one line for a result that is committed: without this machine's paths."""
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no reason given'}".replace(f"{ROOT}/", "")[:400]


@dataclass
class Trained:
    """One training, over.

    Attributes:
        plan: by which batches were cut; None where the recipe settles that itself, or memory could not be predicted.
        losses: of each epoch.
        notes: what an epoch had to change, such as a step that was repeated because memory ran out.
        allocated, reserved: bytes that the allocator had handed out, and taken from the device, at most; 0 on a CPU.
        seconds: of the epochs.
    """

    training: Training
    plan: Plan | None
    losses: list[float]
    notes: list[str]
    allocated: int
    reserved: int
    seconds: float

    @property
    def cutting(self) -> dict[str, Any]:
        """How the batches were cut at the end."""
        micro_batching = self.training.micro_batching
        return {"micro_batch": micro_batching.size, "recomputed": micro_batching.recomputing}


def trained(recipe: Recipe, session: Session) -> Trained:
    """Train a recipe through the engine, without validation."""
    training, plan = unvalidated(recipe, session)
    cuda = training.device.device.type == "cuda"
    losses, notes, allocated, seconds = [], [], 0, 0.0
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    for report in fit(training):
        losses.append(report.loss)
        notes += report.notes
        seconds += report.seconds
        allocated = max(allocated, report.peak_memory if cuda else 0)
    reserved = torch.cuda.max_memory_reserved() if cuda else 0
    return Trained(training, plan, losses, notes, allocated, reserved, seconds)


def unvalidated(recipe: Recipe, session: Session) -> tuple[Training, Plan | None]:
    """Everything that ``fit`` needs, with a validation that costs nothing."""
    experiment = session.experiment(recipe)
    experiment.prepare()
    training, plan = experiment.assembled
    return replace(training, validate=lambda: {training.monitor: 0.0}, patience=0), plan


def precision(device: Device) -> str:
    """The type of the forward pass, in words."""
    return str(device.dtype).removeprefix("torch.")
