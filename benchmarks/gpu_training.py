"""How much of a GPU's speed training through ``fit`` reaches: over the same step on one batch that stays on the device.

    python benchmarks/gpu_training.py --record FILE [--rehearse]

A part of ``make gpu``. U-Net with EfficientNet-B1 at 224 pixels and batches of 64, the deck's ``unet_effb1.toml``, from
random weights on phantoms, with the deck's final policy on the device. ``fit`` reads, copies and augments every batch,
from the prepared files with workers, and from the GPU's own memory (``input.store = "device"``); the other side repeats
its step (forward, loss, backward, optimizer, schedule) on a batch that was read before, without augmentation. All in
the precision that the recipe chooses here, by turns, an epoch each; an epoch takes every slice several times, so that
it is long enough to be measured although the phantom is small.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace

import numpy as np
import torch
from gpu_rig import Rig, begin, precision, unvalidated
from harness import by_turns, compare

from gisegkit.data.loaders import EpochSampler, Loaded, training_loader
from gisegkit.engine.fit import fit, train_epoch
from gisegkit.engine.forward import Forward
from gisegkit.engine.training import Training

POLICY = "final_device"
WARM_UP = 1
REPETITIONS = 6
"""Fewest for which the range of the ratios is an interval of 95 % confidence."""

TIMES = 4
"""How often an epoch takes each slice."""

SIDES = {"fit, slices in files": "resized", "fit, slices on the device": "device"}
FIXED = "a fixed batch"


def made(rig: Rig, store: str) -> Training:
    """Everything that training needs, its slices kept in files or on the device."""
    data = {"name": "phantom", "cases": 8, "days": 2, "slices": 144, "test_cases": 0}
    changes = {
        **({} if rig.rehearse else {"dataset": data, "split.folds": 5}),
        "input.store": store,
        "batch_transform": [{"name": POLICY}],
        "train.epochs": (WARM_UP + REPETITIONS) * TIMES,  # the schedule's length
        "train.workers": 0 if rig.rehearse else "auto",
        "train.micro_batch": 0,
    }
    training, _ = unvalidated(rig.recipe("unet_effb1", pixels=224, changes=changes), rig.session)
    sampler = training.sampler
    rows = np.tile(sampler.rows, 1 if rig.rehearse else TIMES)
    again = EpochSampler(rows, batch_size=sampler.batch_size, seed=sampler.seed)
    return replace(training, sampler=again, epochs=WARM_UP + REPETITIONS)


def fixed(training: Training) -> Iterator[float]:
    """Images per second of an epoch of the same steps on one batch on the device, at each ``next``."""
    device = training.device
    loader = training_loader(training.samples, training.sampler, workers=0, pin=device.pin)
    read: Loaded = next(iter(loader))
    images, masks = device.take(read.images, read.masks)
    batches = [Loaded(images, masks, read.rows)] * len(training.sampler)
    bare, forward, scaler = replace(training, transforms=[]), Forward(training.model), device.scaler()
    for epoch in range(1, training.epochs + 1):
        wait(training)
        start = time.perf_counter()
        _, _, count = train_epoch(bare, forward, batches, scaler, epoch)  # reads the losses at its end, so it is over
        wait(training)
        yield count / (time.perf_counter() - start)


def fitted(training: Training) -> Iterator[float]:
    """Images per second of an epoch through ``fit``, at each ``next``."""
    for report in fit(training):
        yield report.images_per_second


def wait(training: Training) -> None:
    """Until the GPU has nothing left to do."""
    if training.device.device.type == "cuda":
        torch.cuda.synchronize()


def main(arguments: Sequence[str]) -> None:
    """Measure the rows: fed from files, and from the device's own memory."""
    rig, _ = begin(arguments)
    first = made(rig, "resized")
    sides: dict[str, Iterator[float]] = {
        name: fitted(first if store == "resized" else made(rig, store)) for name, store in SIDES.items()
    }
    sides[FIXED] = fixed(made(rig, "resized"))
    calls: dict[str, Callable[[], float | None]] = {name: one.__next__ for name, one in sides.items()}
    measured = by_turns(calls, repetitions=REPETITIONS, warm_up=WARM_UP)
    rig.record.settle(
        precision=precision(first.device),
        policy=POLICY,
        workers=first.workers,
        batches=len(first.sampler),
        slices=len(np.unique(first.sampler.rows)),
        repetitions=REPETITIONS,
    )
    for name in SIDES:
        what = f"training U-Net EfficientNet-B1, 224 px, batch 64, device policy; {name}"
        row = compare(
            what, measured, ours=name, baseline=FIXED, unit="images/s", higher_is_better=True, target=0.95
        )  # fmt: skip
        rig.record.add({"name": what} | asdict(row) | {"met": row.met, "verdict": row.verdict})


if __name__ == "__main__":
    main(sys.argv[1:])
