"""How much of a GPU's speed training through ``fit`` reaches: over the same step on one batch that stays on the device.

    python benchmarks/gpu_training.py [CASES]

U-Net with EfficientNet-B1 at 224 pixels and batches of 64, the deck's ``unet_effb1.toml``, from random weights on
phantoms (by default 20 cases of 2 scans with 144 slices), with the deck's final policy on the device. ``fit`` reads,
copies and augments every batch; the other side repeats its step (forward, loss, backward, optimizer, schedule) on a
batch that was read before, without augmentation. Both run in the precision that the recipe chooses here. By turns, an
epoch each; without a GPU the script ends with a line that says so.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import torch
from harness import ROOT, by_turns, compare, save

from gisegkit.data.loaders import Loaded, training_loader
from gisegkit.engine.device import pick_device
from gisegkit.engine.fit import Training, fit, train_epoch
from gisegkit.engine.forward import Forward
from gisegkit.plugins import load_plugins
from gisegkit.recipe import Recipe, load_recipe
from gisegkit.registry import Registries
from gisegkit.run import assemble
from gisegkit.session import Session, get_ready

POLICY = "final_device"
WARM_UP = 1
REPETITIONS = 5


def settings(registries: Registries, cases: int) -> Recipe:
    """The deck's recipe on phantoms, augmented on the device, each batch in one piece."""
    origin = "benchmarks/gpu_training.py"
    preset = [
        ("dataset", {"name": "phantom", "cases": cases, "days": 2, "slices": 144}, origin),
        ("model.weights", "none", origin),
        ("augmentation", {"name": "none"}, origin),
        ("batch_transform", [{"name": POLICY}], origin),
        ("train.epochs", WARM_UP + REPETITIONS, origin),
        ("train.micro_batch", 0, origin),
    ]
    return load_recipe(ROOT / "recipes" / "unet_effb1.toml", registries=registries, preset=preset)


def made(recipe: Recipe, session: Session) -> Training:
    """Everything that training needs, without validation."""
    training, _ = assemble(get_ready(recipe, session, training=True), session)
    return replace(training, validate=dict, patience=0)


def fixed(training: Training) -> Iterator[float]:
    """Images per second of an epoch of the same steps on one batch on the device, at each ``next``."""
    device = training.device
    loader = training_loader(training.samples, training.sampler, workers=0, pin=device.pin)
    read: Loaded = next(iter(loader))
    images, masks = device.take(read.images, read.masks)
    batches = [Loaded(images, masks, read.rows)] * len(training.sampler)
    bare, forward, scaler = replace(training, transforms=[]), Forward(training.model), device.scaler()
    for epoch in range(1, training.epochs + 1):
        torch.cuda.synchronize()
        start = time.perf_counter()
        _, _, count = train_epoch(bare, forward, batches, scaler, epoch)  # reads the losses at its end, so it is over
        torch.cuda.synchronize()
        yield count / (time.perf_counter() - start)


def main(cases: int) -> None:
    """Measure and save."""
    if not torch.cuda.is_available():
        sys.exit("gpu_training: needs a CUDA GPU, and this machine has none")
    session = Session(load_plugins(), "cuda", say=print)
    recipe = settings(session.plugins.registries, cases)
    reports, repeated = fit(made(recipe, session)), fixed(made(recipe, session))
    measured = by_turns(
        {"fit": lambda: next(reports).images_per_second, "fixed batch": lambda: next(repeated)},
        repetitions=REPETITIONS,
        warm_up=WARM_UP,
    )
    device = pick_device(session.device, recipe.train.precision)
    row = compare(
        "training U-Net EfficientNet-B1, 224 px, batch 64, device policy",
        measured,
        ours="fit",
        baseline="fixed batch",
        unit="images/s",
        higher_is_better=True,
        target=0.95,
    )
    save(
        "gpu_training",
        "Training reads, copies and augments without making the GPU wait.",
        [row],
        packages=("torch", "segmentation-models-pytorch", "timm", "numpy"),
        settings={"device": "cuda", "precision": str(device.dtype), "cases": cases, "policy": POLICY}
        | {"workers": device.workers(recipe.train.workers), "repetitions": REPETITIONS},
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
