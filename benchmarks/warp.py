"""The deck's policy ``final`` as one map, against its steps one after another, and on the device against kornia.

    python benchmarks/warp.py

On the CPU, one thread: a slice of 224 x 224 with 3 classes through the policy; and batches of 16 through the batch
transform ``final_device``. Writes benchmarks/results/warp-cpu.json. ``gpu_warp.py`` measures batches of 64 on a GPU.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations
import cv2
import numpy as np
import torch
from device_policy import REPETITIONS, SIDE, on_device
from harness import Row, by_turns, compare, save

from gisegkit.components.augmentation.albumentations_policy import AlbumentationsPolicy
from gisegkit.components.augmentation.warp_policies import final

SLICES = 200
HOLES = {"num_holes_range": (5, 8), "hole_height_range": (11, 11), "hole_width_range": (11, 11)}
PACKAGES = ("albumentations", "kornia", "numpy", "opencv-python-headless", "torch")


# --- the steps one after another ------------------------------------------------------------------------------------


class Step(albumentations.DualTransform):
    """A step of albumentations 1: its own map, by which image and mask are sampled."""

    def apply(self, img: np.ndarray, maps: tuple[np.ndarray, np.ndarray], **params: Any) -> np.ndarray:
        """The image, bilinear."""
        return cv2.remap(img, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101).reshape(img.shape)

    def apply_to_mask(self, mask: np.ndarray, maps: tuple[np.ndarray, np.ndarray], **params: Any) -> np.ndarray:
        """The mask, nearest."""
        return cv2.remap(mask, *maps, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101)

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """The map."""
        return {"maps": self.maps(*params["shape"][:2], self.random_generator)}


def positions(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Each pixel's own column and row."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return x, y


def affine_maps(matrix: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where positions come from under a matrix from the sample to the result."""
    back = cv2.invertAffineTransform(matrix).astype(np.float32)
    return back[0, 0] * x + back[0, 1] * y + back[0, 2], back[1, 0] * x + back[1, 1] * y + back[1, 2]


class ShiftScaleRotate(Step):
    """Shift up to 1/16, scale 0.95 to 1.05, up to 10 degrees."""

    def maps(self, height: int, width: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The map of an affine matrix about the center."""
        center = ((width - 1) / 2, (height - 1) / 2)
        matrix = cv2.getRotationMatrix2D(center, rng.uniform(-10, 10), 1 + rng.uniform(-0.05, 0.05))
        matrix[:, 2] += rng.uniform(-0.0625, 0.0625, 2) * (width, height)
        return affine_maps(
            matrix, *np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        )


class GridDistortion(Step):
    """5 x 5 cells changed by up to 5 %."""

    def maps(self, height: int, width: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Columns and rows, moved."""
        lines = []
        for length in (width, height):
            cell, position, parts = length // 5, 0.0, []
            for start in range(0, length, cell):
                stop = min(start + cell, length)
                end = position + cell * (1 + rng.uniform(-0.05, 0.05)) if stop - start == cell else float(length)
                parts.append(np.linspace(position, end, stop - start, dtype=np.float32))
                position = end
            lines.append(np.concatenate(parts))
        x, y = np.meshgrid(*lines)
        return x, y


class ElasticTransform(Step):
    """Three points moved by up to 50 pixels, and noise in every pixel, blurred with sigma 50."""

    def maps(self, height: int, width: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The affine matrix and the displacement, as one map."""
        points = np.float32([width // 2, height // 2]) + min(height, width) // 3 * np.float32(
            [[1, 1], [1, -1], [-1, -1]]
        )
        moved = points + rng.uniform(-50, 50, (3, 2)).astype(np.float32)
        noise = [rng.uniform(-1, 1, (height, width)).astype(np.float32) for _ in range(2)]
        blurred = [cv2.GaussianBlur(one, (0, 0), 50, borderType=cv2.BORDER_REFLECT) for one in noise]
        x, y = positions(height, width)
        return affine_maps(cv2.getAffineTransform(points, moved), x + blurred[0], y + blurred[1])


def in_steps() -> AlbumentationsPolicy:
    """The policy as albumentations 1 took it, a sampling a step."""
    return AlbumentationsPolicy(
        lambda: [
            albumentations.HorizontalFlip(p=0.5),
            ShiftScaleRotate(p=0.5),
            albumentations.OneOf([GridDistortion(p=1), ElasticTransform(p=1)], p=0.25),
            albumentations.CoarseDropout(**HOLES, fill=0, fill_mask=0, p=0.5),
        ]
    )


def in_version_2() -> AlbumentationsPolicy:
    """The policy of albumentations 2's own steps, which has no alpha_affine."""
    border = {"border_mode": cv2.BORDER_REFLECT_101}
    return AlbumentationsPolicy(
        lambda: [
            albumentations.HorizontalFlip(p=0.5),
            albumentations.Affine(
                scale=(0.95, 1.05), translate_percent=(-0.0625, 0.0625), rotate=(-10, 10), balanced_scale=False, p=0.5,
                **border,
            ),
            albumentations.OneOf(
                [
                    albumentations.GridDistortion(num_steps=5, distort_limit=0.05, p=1),
                    albumentations.ElasticTransform(alpha=1, sigma=50, p=1),
                ],
                p=0.25,
            ),
            albumentations.CoarseDropout(**HOLES, fill=0, fill_mask=0, p=0.5),
        ]
    )  # fmt: skip


def time_per_slice(policy: Callable[..., Any]) -> Callable[[], float]:
    """Microseconds that the policy takes on average; the samples' generators are made outside the clock."""
    rng = np.random.default_rng(0)
    image = rng.random((SIDE, SIDE, 1), dtype=np.float32)
    mask = (rng.random((SIDE, SIDE, 3)) < 0.2).astype(np.uint8)

    def measure() -> float:
        generators = [np.random.default_rng(seed) for seed in range(SLICES)]
        start = time.perf_counter()
        for generator in generators:
            policy(image, mask, generator)
        return (time.perf_counter() - start) / SLICES * 1e6

    return measure


def policies() -> list[Row]:
    """The CPU policy against the steps."""
    sides = {
        "one map": final(size=(SIDE, SIDE)),
        "a sampling a step": in_steps(),
        "albumentations 2": in_version_2(),
    }
    measured = by_turns({name: time_per_slice(policy) for name, policy in sides.items()}, repetitions=REPETITIONS)
    what = f"policy final on the CPU, a slice of {SIDE} x {SIDE}"
    note = "the steps as albumentations 1 meant them"
    shared = {"ours": "one map", "unit": "µs", "higher_is_better": False}
    return [
        compare(what, measured, baseline="a sampling a step", note=note, **shared),
        compare(
            f"{what}, the library's own steps",
            measured,
            baseline="albumentations 2",
            note="its elastic step leaves the affine map out",
            **shared,
        ),
    ]


def main() -> None:
    """Measure on the CPU, and write the results."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    rows = [*policies(), on_device("cpu", 16, 4)]
    save(
        "warp",
        "The deck's policy final composes its steps into one map, by which image and mask are sampled once.",
        rows,
        packages=PACKAGES,
        settings={"device": "cpu", "threads": 1, "slices": SLICES, "repetitions": REPETITIONS, "seed": 0},
    )


if __name__ == "__main__":
    main()
