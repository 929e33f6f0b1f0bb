"""Predicted against measured peak memory of the deck's recipes on a GPU; a part of ``make gpu``.

    python benchmarks/gpu_memory.py PIXELS --record FILE [--rehearse]

Each recipe trains an epoch of 3 batches of 64 through the engine, in the micro-batches that are planned for the memory
that this GPU has free. Predicted is the plan's total; measured what torch's allocator had handed out at most, and what
it had taken from the GPU, both with weights, gradients and the optimizer's state.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from gpu_parts import RECIPES
from gpu_rig import Rig, begin, each, precision, trained


def row(rig: Rig, name: str, pixels: int) -> dict[str, Any]:
    """One recipe, in GiB and as ratios."""
    changes = {"train.memory": "8GB"} if rig.rehearse else {}
    result = trained(rig.recipe(name, pixels=pixels, changes=changes), rig.session)
    values: dict[str, Any] = {**result.cutting, "precision": precision(result.training.device)}
    if result.plan is None:
        return {**values, "failed": True, "error": "memory could not be predicted"}
    estimate = result.plan.estimate
    values |= {"predicted_gib": gib(estimate.total), "without_allowance_gib": gib(estimate.total - estimate.workspace)}
    values |= {"allocated_gib": gib(result.allocated), "reserved_gib": gib(result.reserved)}
    if result.allocated:
        values["predicted_over_allocated"] = round(estimate.total / result.allocated, 4)
        values["without_allowance_over_allocated"] = round((estimate.total - estimate.workspace) / result.allocated, 4)
        values["predicted_over_reserved"] = round(estimate.total / result.reserved, 4)
    return {**values, "repeated_steps": len(result.notes), "parts": estimate.parts}


def gib(size: int) -> float:
    """Bytes in GiB."""
    return round(size / 2**30, 3)


def main(arguments: Sequence[str]) -> None:
    """Measure every recipe that has no row yet."""
    rig, words = begin(arguments)
    pixels = int(words[0])
    rig.record.settle(pixels=pixels, batch_size=64, weights="none", data="phantom")
    each(rig, RECIPES[:1] if rig.rehearse else RECIPES, lambda name: row(rig, name, pixels))


if __name__ == "__main__":
    main(sys.argv[1:])
