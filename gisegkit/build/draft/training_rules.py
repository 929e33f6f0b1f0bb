"""What a recipe should say of its training: model, losses, augmentation, epochs. Each rule is in docs/init.md."""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

from gisegkit.build.draft.data_rules import Part, is_ct
from gisegkit.build.draft.facts import Facts


class Power(NamedTuple):
    """What a device can do.

    Attributes:
        name: of the device.
        side: pixels of a square that it trains on quickly.
        crop: side of a crop in pixels.
        encoder: of the U-Net.
        decoder: channels of the U-Net's decoder; empty for its own.
        batch: slices or crops of a step.
        steps: optimizer steps of a training.
    """

    name: str
    side: int
    crop: int
    encoder: str
    decoder: tuple[int, ...]
    batch: int
    steps: int


CPU = Power("a CPU", 192, 128, "resnet18", (128, 64, 32, 16, 16), 8, 1000)
GPU = Power("a GPU", 512, 512, "resnet34", (), 16, 10_000)

COMMON = 0.01
"""Share of the pixels from which a class is not rare."""

VERY_RARE = 0.001

EPOCHS = (10, 300)
VALIDATIONS = 25

SIDES = re.compile(r"(^|[^a-z])(left|right|l|r)([^a-z]|$)")


def choose_model(power: Power) -> Part:
    """``[model]``: a U-Net over an encoder that needs no download."""
    decoder = {"decoder_channels": list(power.decoder)} if power.decoder else {}
    why = (
        f"A U-Net that {power.name} trains in reasonable time, from random weights, which need no download.",
        'weights = "imagenet" usually learns faster; it is downloaded once.',
    )
    return Part("model", {"name": "unet", "encoder": power.encoder, "weights": "none", **decoder}, why)


def choose_losses(facts: Facts) -> list[Part]:
    """``[[loss]]``: cross-entropy and a ratio, the ratio by how rare the rarest class is."""
    name = next(name for name, share in facts.shares.items() if share == facts.rarest)
    share = f"{facts.rarest:.2%}" if facts.rarest >= 1e-4 else f"{facts.rarest:.4%}"
    seen = f"The rarest class, {name}, has {share} of the pixels"
    pixels = "ce" if facts.exclusive and len(facts.shares) > 1 else "bce"
    if facts.rarest >= COMMON:
        return [
            Part("loss", {"name": pixels}, (f"{seen}: cross-entropy and Dice, as in nnU-Net.",)),
            Part("loss", {"name": "dice"}),
        ]
    ratio = {"name": "tversky", "alpha": 0.3, "beta": 0.7}
    if facts.rarest >= VERY_RARE:
        why = f"{seen}: the Tversky loss makes a missed pixel cost more than a wrong one."
        return [Part("loss", {"name": pixels}, (why,)), Part("loss", ratio)]
    if pixels == "ce":
        why = f"{seen}: the Tversky loss, which makes a missed pixel cost more than a wrong one, weighs twice."
        return [Part("loss", {"name": pixels}, (why,)), Part("loss", {**ratio, "weight": 2.0})]
    why = f"{seen}: focal loss, in which easy pixels hardly count, and Tversky loss, to which missed pixels cost more."
    return [Part("loss", {"name": "focal"}, (why,)), Part("loss", ratio)]


def choose_augmentation(facts: Facts) -> list[Part]:
    """``[augmentation]`` and ``[[batch_transform]]``: moves, without a flip where classes have a side; intensities."""
    sided = [name for name in facts.shares if SIDES.search(name.lower())]
    values: dict[str, Any] = {"name": "initial"}
    why = "Flips, shifts, rotations and distortions."
    if sided:
        values["flip_p"] = 0.0
        why = f"{sided[0]} has a side, which a flip would exchange; so shifts, rotations and distortions without flips."
    rician = {} if is_ct(facts) or facts.dtype == "uint8" else {"rician_p": 0.15}
    kind = "Other exposures, contrasts and noise, with the probabilities of nnU-Net."
    return [Part("augmentation", values, (why,)), Part("batch_transform", {"name": "intensity", **rician}, (kind,))]


def choose_training(slices: int, power: Power) -> list[Part]:
    """``[optimizer]``, ``[schedule]`` and ``[train]``.

    Args:
        slices: slices, or crops, that train in an epoch.
    """
    batch = max(2, min(power.batch, slices // 4))
    steps = max(1, slices // batch)
    epochs = min(max(math.ceil(power.steps / steps), EPOCHS[0]), EPOCHS[1])
    values: dict[str, Any] = {"epochs": epochs, "batch_size": batch, "max_grad_norm": 1.0}
    if (every := epochs // VALIDATIONS) > 1:
        values["validate_every"] = every
    why = (
        f"About {slices} slices or crops per epoch, in {steps} steps: {epochs * steps} steps, as {power.name} can do.",
        "A batch that does not fit the memory is cut into micro-batches by itself."
        if power is GPU
        else 'memory = "4GiB", say, limits what a step takes.',
    )
    return [
        Part("optimizer", {"name": "adamw", "lr": 1e-3}),
        Part("schedule", {"name": "cosine", "warmup": 0.05}),
        Part("train", values, why),
    ]


def choose_metrics(dataset: str) -> list[Part]:
    """``[[metric]]``: Dice, and what the data's owners score with."""
    names = ["dice", "iou", *(["uwmgi_score"] if dataset == "uwmgi" else [])]
    return [Part("metric", {"name": name}) for name in names]
