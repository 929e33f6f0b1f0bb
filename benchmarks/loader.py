"""Samples per second into the model: gisegkit's loader from the prepared store, over what is done elsewhere.

    python benchmarks/loader.py [BATCHES]

Each side reads the same phantom slices (16-bit PNG and runs in train.csv, native 266 x 266 and 310 x 360) at 224 x 224,
batch 64, two workers, and hands over float32 images and masks of three classes. The two baselines:

*Notebook way*: what the public notebooks do for each sample (docs of the competition's best-known one): decode the PNG,
rebuild each class's mask from its text in a loop over runs, divide by the maximum, grey tiled to three channels, resize
with nearest, then albumentations one step after another.
*MONAI*: CacheDataset over dictionaries with equivalent random transforms, everything deterministic cached in memory.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations
import cv2
import numpy as np
import torch
from harness import by_turns, compare, save
from torch.utils.data import DataLoader

from gisegkit.build import build_batches, build_data
from gisegkit.components.datasets.uwmgi import UWMGI
from gisegkit.data.loaders import training_loader
from gisegkit.plugins import load_plugins
from gisegkit.recipe import load_recipe
from gisegkit.types import silent

ROOT = Path(__file__).parent.parent
SIZE, BATCH, WORKERS = 224, 64, 2
PHANTOM = {"cases": 4, "days": 1, "slices": 128}


def ours(policy: str) -> Iterator[int]:
    """Batches of gisegkit's loader, endlessly: their sizes."""
    registries = load_plugins(selection="none").registries
    sets = ['dataset.name="phantom"', *(f"dataset.{key}={value}" for key, value in PHANTOM.items())]
    sets += [
        f"input.size=[{SIZE},{SIZE}]",
        f"train.batch_size={BATCH}",
        f'augmentation.name="{policy}"',
        "split.folds=1",
    ]
    recipe = load_recipe(ROOT / "recipes" / "unet_effb1.toml", registries=registries, overrides=sets)
    batches = build_batches(recipe, registries, build_data(recipe, registries, prepare=silent))
    loader = training_loader(batches.samples, batches.sampler, workers=WORKERS, pin=False)
    for epoch in itertools.count(1):
        batches.sampler.epoch = epoch
        for loaded in loader:
            yield len(loaded.images)


class Notebook(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """The notebook way, sample by sample."""

    def __init__(self, data: UWMGI) -> None:
        self.paths = [str(data.root / path) for path in data._paths]
        self.runs = data._runs
        self.steps = albumentations.Compose(
            [
                albumentations.Resize(SIZE, SIZE, interpolation=cv2.INTER_NEAREST),
                albumentations.HorizontalFlip(p=0.5),
                albumentations.Affine(
                    translate_percent=0.0625,
                    scale=(0.95, 1.05),
                    rotate=(-10, 10),
                    border_mode=cv2.BORDER_REFLECT_101,
                    p=0.5,
                ),
                albumentations.OneOf(
                    [
                        albumentations.GridDistortion(num_steps=5, distort_limit=0.05, p=1.0),
                        albumentations.ElasticTransform(alpha=1, sigma=50, p=1.0),
                    ],
                    p=0.25,
                ),
                albumentations.CoarseDropout(
                    num_holes_range=(5, 8),
                    hole_height_range=(11, 11),
                    hole_width_range=(11, 11),
                    fill=0,
                    fill_mask=0,
                    p=0.5,
                ),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image = cv2.imread(self.paths[index], cv2.IMREAD_UNCHANGED)
        mask = np.zeros((*image.shape, len(self.runs[index])), dtype=np.float32)
        for k, text in enumerate(self.runs[index]):
            mask[..., k] = decode(text, image.shape)
        image = np.tile(image[..., None], [1, 1, 3]).astype(np.float32)
        image /= image.max() or 1
        done = self.steps(image=image, mask=mask)
        return torch.tensor(done["image"].transpose(2, 0, 1)), torch.tensor(done["mask"].transpose(2, 0, 1))


def decode(text: str, shape: tuple[int, ...]) -> Any:
    """A mask from its runs, one after another."""
    numbers = text.split()
    flat = np.zeros(shape[0] * shape[1], dtype=np.uint8)
    for start, length in zip(map(int, numbers[::2]), map(int, numbers[1::2]), strict=True):
        flat[start - 1 : start - 1 + length] = 1
    return flat.reshape(shape)


def monai_samples(data: UWMGI) -> Any:
    """MONAI's CacheDataset: decoded and resized slices in memory, random dictionary transforms for each sample."""
    from monai.data import CacheDataset
    from monai.transforms import (
        Compose,
        Rand2DElasticd,
        RandAffined,
        RandCoarseDropoutd,
        RandFlipd,
        RandGridDistortiond,
        Resized,
        ToTensord,
    )

    keys = ["image", "mask"]
    modes = ["bilinear", "nearest"]
    items = []
    for row in range(len(data.table)):
        image = data.image(row).astype(np.float32)
        items.append(
            {"image": (image / (image.max() or 1))[None], "mask": data.mask(row).transpose(2, 0, 1).astype(np.float32)}
        )
    side = SIZE // 20
    steps = [
        Resized(keys, (SIZE, SIZE), mode=["nearest", "nearest"]),
        RandFlipd(keys, prob=0.5, spatial_axis=1),
        RandAffined(
            keys, prob=0.5, rotate_range=0.175, scale_range=0.05, translate_range=SIZE * 0.0625, mode=modes,
            padding_mode="reflection",
        ),
        RandGridDistortiond(keys, num_cells=5, prob=0.125, distort_limit=0.05, mode=modes, padding_mode="reflection"),
        Rand2DElasticd(
            keys, spacing=(50, 50), magnitude_range=(0, 1), prob=0.125, mode=modes, padding_mode="reflection"
        ),
        RandCoarseDropoutd(keys, holes=5, max_holes=8, spatial_size=side, fill_value=0, prob=0.5),
        ToTensord(keys),
    ]  # fmt: skip
    return CacheDataset(items, Compose(steps), progress=False)


def endless(samples: Any) -> Iterator[int]:
    """Batches of a plain torch loader, endlessly: their sizes."""
    loader = DataLoader(
        samples, batch_size=BATCH, shuffle=True, num_workers=WORKERS, drop_last=True, persistent_workers=True,
        worker_init_fn=lambda number: cv2.setNumThreads(0),
    )  # fmt: skip
    while True:
        for batch in loader:
            yield len(batch["image"] if isinstance(batch, dict) else batch[0])


def rate(batches: Iterator[int], count: int) -> float:
    """Samples per second over so many batches."""
    start = time.perf_counter()
    return sum(itertools.islice(batches, count)) / (time.perf_counter() - start)


def main(count: int) -> None:
    """Measure by turns and save; only one side's workers are alive at a time."""
    from gisegkit.components.datasets.phantom import Phantom

    torch.set_num_threads(1)
    data = Phantom(**PHANTOM)
    sides: dict[str, Callable[[], Iterator[int]]] = {
        "store, policy final": lambda: ours("final"),
        "store, no policy on the CPU": lambda: ours("none"),
        "notebook way": lambda: endless(Notebook(data)),
        "MONAI CacheDataset": lambda: endless(cached),
    }
    cached = monai_samples(data)

    def measure(side: Callable[[], Iterator[int]], batches: int) -> float:
        running = side()
        try:
            rate(running, 2 * WORKERS + 1)  # what the workers fetch ahead while they start does not count
            return rate(running, batches)
        finally:
            running.close()  # type: ignore[attr-defined]

    counts = {"store, policy final": count, "store, no policy on the CPU": 4 * count, "notebook way": count // 2}
    measured = by_turns(
        {name: lambda name=name: measure(sides[name], counts.get(name, count // 4)) for name in sides},
        repetitions=5,
        warm_up=0,
    )
    rows = [
        compare(
            f"{what}, 224 px, batch {BATCH}, {WORKERS} workers", measured, ours=ours_, baseline=baseline,
            unit="samples/s", higher_is_better=True, target=target,
        )
        for what, ours_, baseline, target in (
            ("policy final on the CPU", "store, policy final", "notebook way", 4),
            ("policy final on the CPU", "store, policy final", "MONAI CacheDataset", 10),
            ("the loader alone, the policy being on the device", "store, no policy on the CPU", "notebook way", 20),
        )
    ]  # fmt: skip
    save(
        "loader",
        "Samples per second into the model, from the prepared store.",
        rows,
        packages=("torch", "albumentations", "opencv-python-headless", "monai", "numpy"),
        settings={"slices": len(data.table), "batches": count, "repetitions": 5},
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 24)
