"""The deck's recipes train an epoch of effective batch 64 inside a small GPU's memory; a part of ``make gpu``.

    python benchmarks/gpu_budget.py BUDGET RECIPE ... --record FILE [--rehearse]

The process is capped: torch's allocator gets the budget less what the process itself takes on the GPU (its context
and the libraries' kernels, measured) less a margin for kernels that are loaded later. It cannot have more than that,
however much the GPU has free. At the end the GPU is asked how much of it is in use, by whomever; a recipe passes if its
epoch ends with a finite loss and that is within the budget.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import torch
from gpu_memory import gib
from gpu_rig import Rig, begin, each, precision, trained
from torch.nn import functional

from gisegkit.machine import parse_size

PIXELS = 224
MARGIN = 256 * 2**20
"""Bytes for kernels that are loaded while a network trains."""


def cap(budget: int) -> tuple[int, int]:
    """Cap this process on the GPU; returns the bytes that its tensors may take, and those of the process itself."""
    _load_libraries()
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info()
    own = total - free - torch.cuda.memory_reserved()
    allowed = budget - own - MARGIN
    if allowed <= 0:
        raise RuntimeError(f"{gib(own)} GiB of the GPU are in use before the first tensor: no budget is left")
    torch.cuda.set_per_process_memory_fraction(min(1.0, allowed / total))
    return allowed, own


def _load_libraries() -> None:
    """A convolution and a product, forward and backward, so that the libraries take what they keep."""
    for dtype in (torch.float32, torch.bfloat16):
        images = torch.rand(2, 8, 32, 32, device="cuda", dtype=dtype, requires_grad=True)
        weight = torch.rand(8, 8, 3, 3, device="cuda", dtype=dtype, requires_grad=True)
        functional.conv2d(images, weight).sum().backward()
        (images.flatten(1) @ images.flatten(1).T).sum().backward()
    torch.cuda.synchronize()


def taken() -> int:
    """Bytes of the GPU that are taken now, by whomever."""
    free, total = torch.cuda.mem_get_info()
    return total - free


def row(rig: Rig, name: str, budget: int, *, allowed: int, own: int) -> dict[str, Any]:
    """One recipe's epoch; allowed and own as ``cap`` returned them."""
    changes = {"train.memory": f"{allowed // 2**20}MiB"}
    result = trained(rig.recipe(name, pixels=PIXELS, changes=changes), rig.session)
    used = max(taken(), own + result.reserved) if rig.on_gpu else 0
    values: dict[str, Any] = {**result.cutting, "precision": precision(result.training.device)}
    values |= {"allocated_gib": gib(result.allocated), "reserved_gib": gib(result.reserved), "taken_gib": gib(used)}
    if result.plan is not None:
        values["predicted_gib"] = gib(result.plan.estimate.total)
    values |= {"repeated_steps": len(result.notes), "epoch_seconds": round(result.seconds, 2)}
    values["loss"] = round(result.losses[-1], 5) if math.isfinite(result.losses[-1]) else None
    passed = values["loss"] is not None and used <= budget
    return {**values, "passed": passed} if passed else {**values, "passed": False, "failed": True}


def main(arguments: Sequence[str]) -> None:
    """Train every recipe that has no row yet."""
    rig, (text, *names) = begin(arguments)
    budget = parse_size(text)
    allowed, own = cap(budget) if rig.on_gpu else (budget, 0)
    rig.record.settle(
        budget=text,
        pixels=PIXELS,
        batch_size=64,
        batches=3,
        weights="none",
        data="phantom",
        allocator_gib=gib(allowed),
        process_gib=gib(own),
        margin_gib=gib(MARGIN),
        capped=rig.on_gpu,
    )
    each(rig, names[:1] if rig.rehearse else names, lambda name: row(rig, name, budget, allowed=allowed, own=own))


if __name__ == "__main__":
    main(sys.argv[1:])
