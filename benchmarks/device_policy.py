"""The deck's policy on the device against kornia's nearest pipeline, for ``warp.py`` on the CPU and ``gpu_warp.py``."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import kornia.augmentation as kornia
import numpy as np
import torch
from harness import Row, by_turns, compare

from gisegkit.components.batch_transforms.device_warp import final_device
from gisegkit.types import Batch

SIDE = 224
REPETITIONS = 9


def kornias() -> kornia.AugmentationSequential:
    """Kornia's nearest pipeline: it has no distortion by a grid, and one hole of the same area instead of 5 to 8."""
    border = {"padding_mode": "reflection", "align_corners": True, "same_on_batch": False}
    return kornia.AugmentationSequential(
        kornia.RandomHorizontalFlip(p=0.5, same_on_batch=False),
        kornia.RandomAffine(degrees=10, translate=(0.0625, 0.0625), scale=(0.95, 1.05), p=0.5, **border),
        kornia.RandomElasticTransform(kernel_size=(63, 63), sigma=(50.0, 50.0), alpha=(1.0, 1.0), p=0.25, **border),
        kornia.RandomErasing(scale=(5 / 400, 8 / 400), ratio=(1.0, 1.0), p=0.5, same_on_batch=False),
        data_keys=["input", "mask"],
    )


def on_device(device: str, count: int, batches: int, *, target: float | None = None) -> Row:
    """``final_device`` against kornia's pipeline, in milliseconds a batch of image and mask."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, 1, SIDE, SIDE, generator=generator).to(device)
    masks = (torch.rand(count, 3, SIDE, SIDE, generator=generator) < 0.2).float().to(device)
    warp, pipeline, rng = final_device(), kornias(), np.random.default_rng(0)
    batch = Batch(images, ((1.0, masks),), torch.arange(count))

    def timed(call: Callable[[], Any]) -> Callable[[], float]:
        def measure() -> float:
            _wait(device)
            start = time.perf_counter()
            for _ in range(batches):
                call()
            _wait(device)
            return (time.perf_counter() - start) / batches * 1e3

        return measure

    torch.manual_seed(0)
    sides = {"final_device": timed(lambda: warp(batch, rng)), "kornia": timed(lambda: pipeline(images, masks))}
    return compare(
        f"policy final on a {'GPU' if device == 'cuda' else 'CPU'} as tensors, batches of {count}",
        by_turns(sides, repetitions=REPETITIONS, warm_up=2),
        ours="final_device",
        baseline="kornia",
        unit="ms",
        higher_is_better=False,
        target=target,
        note="kornia does less: its elastic step stands for both distortions, without an affine part and with a kernel "
        "of 63 pixels for sigma 50; its single hole has the area of 5 to 8",
    )


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
