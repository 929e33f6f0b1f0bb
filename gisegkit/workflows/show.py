"""``giseg show``: one batch of training, made as ``fit`` makes it, and its picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gisegkit.build.experiment import Experiment
from gisegkit.data.atomic_files import write
from gisegkit.data.loaders import Augmentation, Loaded, training_loader
from gisegkit.data.randomness import BATCH, generator
from gisegkit.engine.device import pick_device
from gisegkit.engine.step import BatchTransform, prepare_batch
from gisegkit.errors import TrainingError
from gisegkit.errors import count as counted
from gisegkit.recipe.sections import ComponentSpec
from gisegkit.registry.annotations import show
from gisegkit.report.batch import Sample, Stage, draw_batch
from gisegkit.report.preview import encode_png
from gisegkit.types import IGNORE, AnyArray, Batch, FloatArray, MaskArray

STAGES = ("before augmentation", "after augmentation", "after batch transforms")


class NotedPolicy:
    """An augmentation policy that keeps what it is handed and what it draws, for the first samples."""

    def __init__(self, policy: Augmentation, *, count: int) -> None:
        self.policy = policy
        self.count = count
        self.before: list[tuple[FloatArray, MaskArray]] = []
        self.drawn: list[list[str]] = []
        listen(policy)

    def __call__(self, image: FloatArray, mask: MaskArray, rng: np.random.Generator) -> tuple[FloatArray, MaskArray]:
        """The policy's own result."""
        if len(self.before) < self.count:
            self.before.append((image.copy(), mask.copy()))
        result = self.policy(image, mask, rng)
        self.drawn.append(list(getattr(self.policy, "drawn", [])))
        return result


class NotedTransform:
    """A batch transform that keeps what it draws, for the batch and for each of its slices."""

    def __init__(self, transform: BatchTransform) -> None:
        self.transform = transform
        self.said = "not this batch"
        self.said_by_slice: list[list[str]] = []
        listen(transform)

    def __call__(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """The transform's own result."""
        result = self.transform(batch, rng)
        if result is not batch:
            self.said_by_slice = list(getattr(self.transform, "drawn_by_slice", []))
            other = "each slice has its own draws" if self.said_by_slice else "applied"
            self.said = "; ".join(getattr(self.transform, "drawn", [])) or other
        return result


def listen(component: Any) -> None:
    """Ask a policy or transform to keep what it draws, where it can."""
    if hasattr(component, "record"):
        component.record = True


@dataclass(frozen=True)
class ShownBatch:
    """A batch of training: its first slices as the picture shows them.

    Attributes:
        title: which batch.
        samples: the slices.
        notes: what holds for all of them.
        classes: names of the K classes.
    """

    title: str
    samples: tuple[Sample, ...]
    notes: tuple[str, ...]
    classes: tuple[str, ...]


def see_batch(experiment: Experiment, *, epoch: int, batch: int, count: int) -> ShownBatch:
    """Make one batch of training exactly as training makes it, on the CPU, without building the network.

    Args:
        epoch, batch: which one, both counted from 1.
        count: how many of its slices to keep at most.

    Raises:
        TrainingError: if training has no such epoch or batch.
    """
    _within("epoch", epoch, experiment.recipe.train.epochs, "training")
    recipe, sampler, samples = experiment.recipe, experiment.sampler, experiment.samples
    experiment.check_data(training=True)
    experiment.look_at_store()
    _within("batch", batch, len(sampler), "an epoch of these data")
    policy = NotedPolicy(experiment.augmentation, count=count)
    transforms = [NotedTransform(transform) for transform in experiment.transforms]
    samples.augmentation = policy
    sampler.epoch = epoch
    keys = list(sampler)[batch - 1]
    (loaded,) = training_loader(samples, [keys], workers=0, pin=False)
    rng = generator(recipe.seed, BATCH, epoch, batch - 1)
    fed = prepare_batch(loaded, transforms, pick_device("cpu"), rng, channels_last=recipe.train.channels_last)
    size = len(keys)
    shown = "" if size <= count else ", the first shown" if count == 1 else f", the first {count} shown"
    return ShownBatch(
        title=f"{recipe.name}: epoch {epoch}, batch {batch} of {len(sampler)}, {counted(size, 'slice')}{shown}",
        samples=tuple(_samples(experiment, policy, loaded, fed if transforms else None, transforms)),
        notes=tuple(_notes(experiment, [transform.said for transform in transforms])),
        classes=experiment.classes,
    )


def show_batch(experiment: Experiment, out: Path, *, epoch: int, batch: int, count: int) -> ShownBatch:
    """Write the picture of one batch of training as a PNG file.

    Raises:
        TrainingError: if training has no such epoch or batch.
        RunError: if the file cannot be written.
    """
    seen = see_batch(experiment, epoch=epoch, batch=batch, count=count)
    picture = encode_png(
        draw_batch(seen.samples, seen.classes, demo=experiment.recipe.demo, heading=seen.title, notes=seen.notes)
    )
    write(out, lambda file: file.write(picture))
    return seen


def _within(option: str, number: int, last: int, whole: str) -> None:
    if not 1 <= number <= last:
        there = counted(last, option, "batches" if option == "batch" else "")
        raise TrainingError(f"--{option} {number}: {whole} has {there}; give 1 to {last}")


# --- what is shown --------------------------------------------------------------------------------------------------


def _samples(
    experiment: Experiment,
    policy: NotedPolicy,
    loaded: Loaded,
    fed: Batch | None,
    transforms: Sequence[NotedTransform],
) -> list[Sample]:
    """The first slices of the batch at every stage."""
    recipe, ids = experiment.recipe, experiment.dataset.table["id"]
    middle = _middle(experiment)
    samples = []
    for index, ((image, mask), drawn) in enumerate(zip(policy.before, policy.drawn, strict=False)):
        augmented = loaded.images[index].numpy().transpose(1, 2, 0)
        stages = [
            Stage(STAGES[0], view(image, middle), ((1.0, mask),)),
            Stage(STAGES[1], view(augmented, middle), ((1.0, loaded.masks[index].numpy().transpose(1, 2, 0)),)),
        ]
        if fed is not None:
            final = fed.images[index].numpy().transpose(1, 2, 0)
            targets = tuple((weight, as_mask(target[index])) for weight, target in fed.targets)
            stages.append(Stage(STAGES[2], view(final, middle), targets))
        speaks = hasattr(policy.policy, "drawn")
        lines = drawn if drawn or not speaks else ["augmentation: nothing drawn for this slice"]
        for spec, transform in zip(recipe.batch_transform, transforms, strict=True):
            if transform.said_by_slice:
                said = transform.said_by_slice[index] or ["nothing drawn for this slice"]
                lines = [*lines, *(f"{spec.name}: {line}" for line in said)]
        title = f"{index + 1}  {ids.iloc[int(loaded.rows[index])]}"
        samples.append(Sample(title, tuple(stages), tuple(lines)))
    return samples


def _middle(experiment: Experiment) -> slice:
    """The channels of the slice itself, without those of its neighbors."""
    recipe = experiment.recipe
    each = experiment.channels // recipe.input.slices
    start = recipe.input.slices // 2 * each
    return slice(start, start + each)


def view(image: AnyArray, channels: slice) -> AnyArray:
    """``[H, W, C]`` to ``[H, W, 3]`` where three channels are chosen (a color image), else ``[H, W]``, the first."""
    chosen = image[..., channels]
    picture: AnyArray = chosen if chosen.shape[2] == 3 else chosen[..., 0]
    return picture


def as_mask(target: torch.Tensor) -> MaskArray:
    """A target ``[K, H, W]`` in [0, 1], NaN where ignored, to a mask ``[H, W, K]``; soft borders lie at 0.5."""
    values = target.numpy().transpose(1, 2, 0)
    mask: MaskArray = np.where(np.isnan(values), IGNORE, values >= 0.5).astype(np.uint8)
    return mask


def _notes(experiment: Experiment, said: Sequence[str]) -> list[str]:
    recipe, channels = experiment.recipe, experiment.channels
    height, width = recipe.input.size
    size = f"at the network's size, {height} x {width} pixels (height x width), {counted(channels, 'channel')}"
    if recipe.input.slices > 1:
        middle = _middle(experiment)
        each = f"channel {middle.start + 1}" if middle.stop - middle.start == 1 else "the middle image"
        size += f", of which {each}, the slice itself, is shown; the others are its neighbors"
    lines = [size, f"augmentation: {_named(recipe.augmentation)}"]
    if recipe.split.several:
        lines.append(f"the run of fold {recipe.split.chosen[0]}; those of the other folds train on other slices")
    if not recipe.batch_transform:
        return [*lines, "batch transforms: none"]
    return lines + [
        f"batch transform {_named(spec)}: {line}" for spec, line in zip(recipe.batch_transform, said, strict=True)
    ]


def _named(spec: ComponentSpec) -> str:
    params = ", ".join(f"{key} = {show(value)}" for key, value in spec.params.items())
    return f"{spec.name} ({params})" if params else spec.name
