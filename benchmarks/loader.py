"""Samples per second into the model: gisegkit's loader from the prepared store, over what is done elsewhere.

    python benchmarks/loader.py [BATCHES]

Each side reads the same phantom slices (16-bit PNG and runs in train.csv, native 266 x 266 and 310 x 360) at 224 x 224,
in shuffled batches of 64 with two worker processes, and hands over tensors of images and of masks of three classes. All
load without an end to the epoch, so that none waits for one, and the batches that are ready before the clock starts do
not count. The two baselines:

*Notebook way*: what the public notebooks do for each sample: decode the PNG, rebuild each class's mask from its text in
a loop over runs, tile the grey image to three channels, divide by its maximum, resize with nearest, then albumentations
one step after another. Images and masks are float32.
*MONAI*: CacheDataset over dictionaries, everything that is not random in memory (decoded, divided, resized), then the
equivalent random transforms. Images of one channel and masks are float32.

gisegkit's images are of one channel in float32, its masks uint8. "No policy on the CPU" is what the loader does when
the policy is a batch transform on the device: the loader's side alone. So that nobody takes it for more, two rows stand
beside it: over the notebook's loader without its policy, and with ``final_device`` working on this CPU instead of on a
GPU. MONAI is measured as it comes, and without the metadata that its tensors carry unless told otherwise.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations
import cv2
import monai.data
import monai.transforms as steps
import numpy as np
import torch
from harness import by_turns, compare, save
from torch.utils.data import DataLoader, RandomSampler

from gisegkit.build.experiment import Experiment
from gisegkit.components.batch_transforms.device_warp import DeviceWarp, final_device
from gisegkit.components.datasets.phantom import Phantom
from gisegkit.data.loaders import training_loader
from gisegkit.engine.device import pick_device
from gisegkit.engine.step import to_device
from gisegkit.plugins import load_plugins
from gisegkit.recipe.load import load_recipe

T = TypeVar("T")

ROOT = Path(__file__).parent.parent
SIZE, BATCH, WORKERS = 224, 64, 2
PHANTOM = {"cases": 4, "days": 1, "slices": 128, "test_cases": 0}
REPETITIONS = 7
AHEAD = 2 * WORKERS + 1
"""Batches before and behind those that count: what the workers fetch before they are asked for, and one."""


def ours(policy: str, count: int, transform: DeviceWarp | None = None) -> Iterator[int]:
    """So many batches of gisegkit's loader, perhaps transformed: their sizes."""
    registries = load_plugins(selection="none").registries
    sets = ['dataset.name="phantom"', *(f"dataset.{key}={value}" for key, value in PHANTOM.items())]
    sets += [
        f"input.size=[{SIZE},{SIZE}]",
        f"train.batch_size={BATCH}",
        f'augmentation.name="{policy}"',
        "split.folds=1",
    ]
    recipe = load_recipe(ROOT / "recipes" / "unet_effb1.toml", registries=registries, overrides=sets)
    made = Experiment(recipe, registries)
    made.prepare()
    keys = []
    for epoch in range(1, 2 + count // len(made.sampler)):
        made.sampler.epoch = epoch
        keys += list(made.sampler)
    rng, device = np.random.default_rng(0), pick_device("cpu")
    for loaded in training_loader(made.samples, keys[:count], workers=WORKERS, pin=False):
        if transform is not None:
            transform(to_device(loaded, device, channels_last=True), rng)
        yield len(loaded.images)


class Notebook(torch.utils.data.Dataset):
    """The notebook way, sample by sample."""

    def __init__(self, data: Phantom, *, policy: bool = True) -> None:
        self.paths = [str(data.root / path) for path in data._paths]
        self.runs = data._runs
        resize = albumentations.Resize(SIZE, SIZE, interpolation=cv2.INTER_NEAREST)
        self.steps = albumentations.Compose(
            [
                resize,
                albumentations.HorizontalFlip(p=0.5),
                albumentations.Affine(
                    translate_percent=(-0.0625, 0.0625),
                    scale=(0.95, 1.05),
                    rotate=(-10, 10),
                    balanced_scale=False,
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
            if policy
            else [resize]
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


def monai_samples(data: Phantom) -> monai.data.CacheDataset:
    """Decoded and resized slices in memory, random dictionary transforms for each sample."""
    keys = ["image", "mask"]
    border: dict[str, Any] = {"mode": ["bilinear", "nearest"], "padding_mode": "reflection"}
    items = []
    for row in range(len(data.table)):
        image, mask = data.image(row).astype(np.float32), data.mask(row).transpose(2, 0, 1).astype(np.float32)
        items.append({"image": (image / (image.max() or 1))[None], "mask": mask})
    policy = steps.Compose(
        [
            steps.Resized(keys, (SIZE, SIZE), mode="nearest"),
            steps.RandFlipd(keys, prob=0.5, spatial_axis=1),
            steps.RandAffined(
                keys, prob=0.5, rotate_range=np.pi / 18, scale_range=0.05, translate_range=SIZE * 0.0625, **border
            ),
            steps.RandGridDistortiond(keys, num_cells=5, prob=0.125, distort_limit=0.05, **border),
            steps.Rand2DElasticd(keys, spacing=(50, 50), magnitude_range=(0, 1), prob=0.125, **border),
            steps.RandCoarseDropoutd(keys, holes=5, max_holes=8, spatial_size=SIZE // 20, fill_value=0, prob=0.5),
        ]
    )
    return monai.data.CacheDataset(items, policy, progress=False)


def theirs(samples: Any, count: int, loader: type[DataLoader] = DataLoader) -> Iterator[int]:
    """So many batches of a plain loader: their sizes."""
    batches = loader(
        samples,
        batch_size=BATCH,
        sampler=RandomSampler(samples, replacement=True, num_samples=count * BATCH),
        num_workers=WORKERS,
        worker_init_fn=lambda number: cv2.setNumThreads(0),
    )
    for batch in batches:
        yield len(batch["image"] if isinstance(batch, dict) else batch[0])


def without_metadata(call: Callable[[], T]) -> T:
    """What a call gives while MONAI's tensors carry none."""
    monai.data.set_track_meta(False)
    try:
        return call()
    finally:
        monai.data.set_track_meta(True)


def rate(batches: Iterator[int], count: int) -> float:
    """Samples per second over so many batches; there are AHEAD before and AHEAD behind them."""
    for _ in itertools.islice(batches, AHEAD):
        pass
    start = time.perf_counter()
    samples = sum(itertools.islice(batches, count))
    seconds = time.perf_counter() - start
    for _ in batches:  # the workers end by themselves
        pass
    return samples / seconds


def main(count: int) -> None:
    """Measure by turns and save; only one side's workers are alive at a time."""
    torch.set_num_threads(1)
    data = Phantom(**PHANTOM)
    notebook, plain, cached = Notebook(data), Notebook(data, policy=False), monai_samples(data)
    bare = without_metadata(lambda: monai_samples(data))
    few = count // 4
    sides: dict[str, Callable[[], float]] = {
        "store, policy final": lambda: rate(ours("final", count + 2 * AHEAD), count),
        "store, no policy on the CPU": lambda: rate(ours("none", 4 * count + 2 * AHEAD), 4 * count),
        "store, final_device on this CPU": lambda: rate(ours("none", count + 2 * AHEAD, final_device()), count),
        "notebook way": lambda: rate(theirs(notebook, few + 2 * AHEAD), few),
        "notebook way, no policy": lambda: rate(theirs(plain, few + 2 * AHEAD), few),
        "MONAI CacheDataset": lambda: rate(theirs(cached, few + 2 * AHEAD, monai.data.DataLoader), few),
        "MONAI CacheDataset, no metadata": lambda: without_metadata(
            lambda: rate(theirs(bare, few + 2 * AHEAD, monai.data.DataLoader), few)
        ),
    }
    measured = by_turns(sides, repetitions=REPETITIONS, warm_up=0)
    rows = [
        compare(
            f"{what}, {SIZE} px, batch {BATCH}, {WORKERS} workers",
            measured,
            ours=ours_,
            baseline=baseline,
            unit="samples/s",
            higher_is_better=True,
            target=target,
        )
        for what, ours_, baseline, target in (
            ("policy final on the CPU", "store, policy final", "notebook way", 4),
            ("policy final on the CPU", "store, policy final", "MONAI CacheDataset", 10),
            ("policy final on the CPU", "store, policy final", "MONAI CacheDataset, no metadata", None),
            ("the loader alone, the policy being on the device", "store, no policy on the CPU", "notebook way", 20),
            ("the loader alone", "store, no policy on the CPU", "notebook way, no policy", None),
            ("policy final_device on the CPU", "store, final_device on this CPU", "notebook way", None),
        )
    ]
    save(
        "loader",
        "Samples per second into the model, from the prepared store.",
        rows,
        packages=("torch", "albumentations", "opencv-python-headless", "monai", "numpy"),
        settings={"slices": len(data.table), "batches": count, "repetitions": REPETITIONS},
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 48)
