"""Mistakes that plugin authors make, one a line: found by the author's own test, and before training without any.

The list is that of a trial in which 53 were planted; what is not found stands there with the reason.
"""

from __future__ import annotations

import math
import random
import re
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gisegkit import testing
from gisegkit.build.contracts import check_contracts
from gisegkit.build.session import Session
from gisegkit.errors import GisegError
from gisegkit.plugins import Plugins, load_plugins
from gisegkit.recipe.load import load_recipe
from gisegkit.registry.kinds import KINDS, Component, Owner
from gisegkit.types import Batch

OWNER = Owner("giseg-planted", "1.0")

RECIPE = """
name = "planted"
[dataset]
name = "right"
[input]
size = [32, 48]
[split]
folds = 2
[model]
name = "unet"
encoder = "tu-test_resnet"
weights = "none"
[[loss]]
name = "bce"
[optimizer]
name = "adam"
[[metric]]
name = "dice"
"""


# --- losses ---------------------------------------------------------------------------------------------------------


class TooSteep(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return 1.1 * gradient


def bce(logits, target, **keywords):
    return F.binary_cross_entropy_with_logits(logits, target, **keywords)


def ratio(logits, target, smooth=1.0):
    p = logits.sigmoid()
    return (2 * (p * target).sum() + smooth) / (p.sum() + target.sum() + smooth)


class Steep(nn.Module):
    def forward(self, logits, target):
        return bce(TooSteep.apply(logits), target)


class NanWhereEmpty(nn.Module):
    def forward(self, logits, target):
        return bce(logits, target) + 0 * bce(logits, target) / target.sum()


class Vector(nn.Module):
    def forward(self, logits, target):
        return bce(logits, target, reduction="none").mean((1, 2, 3))


class Detached(nn.Module):
    def forward(self, logits, target):
        p = logits.sigmoid()
        return 1 - (2 * (p * target).sum() + 1) / (p.detach().sum() + target.sum() + 1)


class TargetInPlace(nn.Module):
    def forward(self, logits, target):
        return bce(logits, target.clamp_(0.1, 0.9))


class NotOneMinus(nn.Module):
    def forward(self, logits, target):
        return ratio(logits, target)


class Random(nn.Module):
    def forward(self, logits, target):
        return bce(F.dropout(logits, 0.5), target)


class Threshold(nn.Module):
    def forward(self, logits, target):
        return ((logits > 0).float() - target).abs().mean() + 0 * logits.sum()


class Summed(nn.Module):
    def forward(self, logits, target):
        return bce(logits, target, reduction="sum")


class ForgetsFirst(nn.Module):
    def forward(self, logits, target):
        return bce(logits[1:], target[1:]) if len(logits) > 1 else bce(logits, target)


class Softmax(nn.Module):
    def forward(self, logits, target):
        everything = torch.cat([torch.zeros_like(logits[:, :1]), logits], 1)
        background = (1 - target.sum(1, keepdim=True)).clamp_min(0)
        return -(torch.cat([background, target], 1) * everything.log_softmax(1)).sum(1).mean()


class Naive(nn.Module):
    def forward(self, logits, target):
        return ((1 + logits.exp()).log() - logits * target).mean()


# --- models ---------------------------------------------------------------------------------------------------------


class Model(nn.Module):
    def __init__(self, *, in_channels, classes):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, classes, 3, padding=1)

    def forward(self, images):
        return self.conv(images)


class HalfSize(Model):
    def forward(self, images):
        return self.conv(images)[..., ::2, ::2]


class ThreeChannels(Model):
    def __init__(self, *, in_channels, classes):
        super().__init__(in_channels=3, classes=classes)


class ThreeClasses(Model):
    def __init__(self, *, in_channels, classes):
        super().__init__(in_channels=in_channels, classes=3)


class Transposed(Model):
    def forward(self, images):
        return self.conv(images).transpose(2, 3)


class RandomEval(Model):
    def forward(self, images):
        return F.dropout(self.conv(images), 0.5)


class Tuple(Model):
    def forward(self, images):
        return self.conv(images), None


class Multiples(Model):
    def forward(self, images):
        assert images.shape[2] % 64 == 0, "the height must be a multiple of 64"
        return self.conv(images)


class PlainList(Model):
    def __init__(self, *, in_channels, classes):
        super().__init__(in_channels=in_channels, classes=classes)
        self.layers = [nn.Conv2d(classes, classes, 1)]

    def forward(self, images):
        return self.layers[0](self.conv(images))


class Probabilities(Model):
    def forward(self, images):
        return self.conv(images).sigmoid()


class IgnoresImage(Model):
    def forward(self, images):
        return self.conv(torch.ones_like(images))


class Neighbors(Model):
    def forward(self, images):
        logits = self.conv(images)
        return logits - logits.mean((0, 2, 3), keepdim=True)


class Unused(Model):
    def __init__(self, *, in_channels, classes):
        super().__init__(in_channels=in_channels, classes=classes)
        self.other = nn.Conv2d(1, 1, 1)


# --- augmentation and batch transforms ------------------------------------------------------------------------------


class Policy:
    def __init__(self, *, size):
        self.size = size


class MaskShifted(Policy):
    def __call__(self, image, mask, rng):
        return image.copy(), np.roll(mask, 5, axis=1)


class ImageFlipped(Policy):
    def __call__(self, image, mask, rng):
        return (image[:, ::-1].copy() if rng.random() < 0.5 else image.copy()), mask.copy()


class GlobalGenerator(Policy):
    def __call__(self, image, mask, rng):
        return (image + np.random.random()).astype(np.float32), mask.copy()


class Interpolated(Policy):
    def __call__(self, image, mask, rng):
        between = mask[:, :, :1] * np.linspace(0, 1, mask.shape[1])[None, :, None] + 0 * mask
        return image.copy(), (between * 100).astype(np.uint8)


class ImageInPlace(Policy):
    def __call__(self, image, mask, rng):
        image *= 0.9
        return image, mask.copy()


class Bytes(Policy):
    def __call__(self, image, mask, rng):
        return (255 * image).astype(np.uint8), mask.copy()


class RowLess(Policy):
    def __call__(self, image, mask, rng):
        return image[1:].copy(), mask[1:].copy()


class GlobalMix:
    def __call__(self, batch, rng):
        return Batch(batch.images * random.random(), batch.targets, batch.rows)


class TooHeavy:
    def __call__(self, batch, rng):
        return Batch(batch.images, tuple((1.4 * w, t) for w, t in batch.targets), batch.rows)


class ImagesFlipped:
    def __call__(self, batch, rng):
        return Batch(batch.images.flip(3), batch.targets, batch.rows)


class BatchInPlace:
    def __call__(self, batch, rng):
        return Batch(batch.images.mul_(0.9), batch.targets, batch.rows)


# --- metrics, post-processing, optimizer, tracker -------------------------------------------------------------------


class Dice:
    convention = "Dice by slice, undefined where both are empty"
    higher_is_better = True

    def __call__(self, prediction, truth):
        both = (prediction & truth).sum((1, 2))
        pixels = prediction.sum((1, 2)) + truth.sum((1, 2))
        with np.errstate(invalid="ignore"):
            return {"d": 2.0 * both / pixels}

    def combine(self, means):
        return means["d"]


class Mean(Dice):
    def __call__(self, prediction, truth):
        return {"d": np.nanmean(super().__call__(prediction, truth)["d"]) if truth.any() else np.float64(0)}


class Remembers(Dice):
    def __init__(self):
        self.both, self.pixels = 0.0, 1.0

    def __call__(self, prediction, truth):
        self.both += 2.0 * (prediction & truth).sum((0, 1, 2))
        self.pixels += prediction.sum((0, 1, 2)) + truth.sum((0, 1, 2))
        return {"d": self.both / self.pixels}


class WrongWay(Dice):
    higher_is_better = False


class ZeroWhereEmpty(Dice):
    def __call__(self, prediction, truth):
        return {"d": np.nan_to_num(super().__call__(prediction, truth)["d"])}


class SkipsNothing(Dice):
    def __call__(self, prediction, truth):
        values = super().__call__(prediction, truth)["d"]
        return {"d": np.where(prediction.any((1, 2)), values, math.nan)}


class UnknownStage:
    stage = "mask"

    def __call__(self, scan):
        return scan


class NoStage:
    def __call__(self, scan):
        return scan


class Still(torch.optim.SGD):
    def __init__(self, params, *, lr=0.1):
        super().__init__(params, lr=lr)

    def step(self, closure=None):
        return None


class Raises:
    def __init__(self, *, folder):
        pass

    def start(self, recipe, run):
        pass

    def report(self, report):
        raise RuntimeError("server down")

    def finish(self, scores, outcome):
        pass


# --- datasets -------------------------------------------------------------------------------------------------------


class Right:
    """Twelve slices of four scans of four cases, with discs of three classes."""

    classes = ("a", "b", "c")
    exclusive = False
    dropped = ()
    height, width = 40, 56

    def __init__(self):
        rows = range(12)
        self.table = pd.DataFrame(
            {
                "id": [f"p{row // 3}_{row % 3}" for row in rows],
                "scan": [f"p{row // 3}" for row in rows],
                "position": [row % 3 for row in rows],
                "case": [f"p{row // 3}" for row in rows],
                "height": self.height,
                "width": self.width,
                "labelled": True,
                "empty": [row % 3 == 0 for row in rows],
            }
        )

    def image(self, row):
        return np.random.default_rng(row).integers(0, 255, (self.height, self.width)).astype(np.uint8)

    def mask(self, row):
        mask = np.zeros((self.height, self.width, 3), np.uint8)
        if row % 3:
            mask[5 + row : 20, 8:30, 0] = mask[10:25, 20:40, 1] = mask[15:30, 30:50, 2] = 1
        return mask


class AxesSwapped(Right):
    def image(self, row):
        return super().image(row).T

    def mask(self, row):
        return super().mask(row).transpose(1, 0, 2)


class MaskSwapped(Right):
    def mask(self, row):
        return super().mask(row).transpose(1, 0, 2)


class ClassesFirst(Right):
    def mask(self, row):
        return super().mask(row).transpose(2, 0, 1)


class Unsorted(Right):
    def __init__(self):
        super().__init__()
        self.table = self.table.iloc[::-1].reset_index(drop=True)


class NoCase(Right):
    def __init__(self):
        super().__init__()
        self.table = self.table.drop(columns="case")


class SquareMaskSwapped(MaskSwapped):
    height = width = 56


class Bright(Right):
    def mask(self, row):
        return super().mask(row) * 255


class RandomReader(Right):
    def image(self, row):
        return np.random.randint(0, 255, (self.height, self.width)).astype(np.uint8)


class CaseBySlice(Right):
    def __init__(self):
        super().__init__()
        self.table["case"] = self.table["id"]


@dataclass(frozen=True)
class Planted:
    """A mistake, its kind, and what finds it: part of the message, or an empty text if nothing does."""

    target: type
    kind: str
    contract: str
    auto: str = "same"

    @property
    def by_gisegkit(self):
        return self.contract if self.auto == "same" else self.auto


PLANTED = [
    Planted(Steep, "loss", "the gradient is wrong"),
    Planted(NanWhereEmpty, "loss", "empty masks: the loss is nan"),
    Planted(Vector, "loss", r"no scalar but float32 \[2\]"),
    Planted(Detached, "loss", "the gradient is wrong"),
    Planted(TargetInPlace, "loss", "changes its target in place"),
    Planted(NotOneMinus, "loss", "a right prediction costs"),
    Planted(Random, "loss", "the loss is random, or remembers"),
    Planted(Threshold, "loss", "the gradient of a wrong prediction is 0 everywhere"),
    Planted(Summed, "loss", "a sum instead of a mean"),
    Planted(ForgetsFirst, "loss", "image 1 of a batch of 4 does not count"),
    Planted(Softmax, "loss", "two classes on one pixel"),
    Planted(Naive, "loss", "very confident logits"),
    Planted(HalfSize, "model", r"logits are \[2, \d, 32, 48\], not \[2, \d, 64, 96\]", r"logits are \[2, 3, 16, 24\]"),
    Planted(ThreeChannels, "model", "in_channels = 1, classes = 3: it raises RuntimeError"),
    Planted(ThreeClasses, "model", r"logits are \[2, 3, 64, 96\]", ""),  # the data have three classes: it is right here
    Planted(Transposed, "model", r"logits are \[2, 3, 96, 64\]", r"logits are \[2, 3, 48, 32\]"),
    Planted(RandomEval, "model", "the same input gives two outputs"),
    Planted(Tuple, "model", "it returns a tuple; a model returns a tensor"),
    Planted(Multiples, "model", "", "raises AssertionError: the height must be a multiple of 64"),  # 64 rows are tried
    Planted(PlainList, "model", "the state dict does not restore the model"),
    Planted(Probabilities, "model", r"all its outputs lie in \[0, 1\]"),
    Planted(IgnoresImage, "model", "the model ignores the image"),
    Planted(Neighbors, "model", "depend on the other slices of its batch"),
    Planted(Unused, "model", "2 parameters receive no gradient.*other.weight"),
    Planted(MaskShifted, "augmentation", "do not move together: the image lies 0 rows and 5 columns beside the mask"),
    Planted(ImageFlipped, "augmentation", "do not move together: the image is mirrored left to right"),
    Planted(GlobalGenerator, "augmentation", "equal generators give two results"),
    Planted(Interpolated, "augmentation", r"the mask has values 0, .* and \d+ more"),
    Planted(ImageInPlace, "augmentation", "changes its input image in place"),
    Planted(Bytes, "augmentation", "the image becomes uint8 .*; its type must stay float32"),
    Planted(
        RowLess, "augmentation", r"the image becomes float32 \[47, 64, 1\]", r"the image becomes float32 \[31, 48, 1\]"
    ),
    Planted(GlobalMix, "batch_transform", "equal generators give two batches"),
    Planted(TooHeavy, "batch_transform", r"sum to 1\.4"),
    Planted(ImagesFlipped, "batch_transform", "images and targets do not move together"),
    Planted(BatchInPlace, "batch_transform", "changes its input in place"),
    Planted(Mean, "metric", r"part 'd' has shape \(\)"),
    Planted(Remembers, "metric", "asked again"),
    Planted(WrongWay, "metric", "is higher_is_better right?"),
    Planted(ZeroWhereEmpty, "metric", ""),  # a convention; it says itself what it does where both are empty
    Planted(SkipsNothing, "metric", "undefined wherever the prediction is empty"),
    Planted(AxesSwapped, "dataset", r"the image of slice p0_0 is \[56, 40\]"),
    Planted(MaskSwapped, "dataset", r"the mask of slice p0_0 is \[56, 40, 3\]"),
    Planted(ClassesFirst, "dataset", r"the mask of slice p0_0 is \[3, 40, 56\]; gisegkit wants \[H, W, K\]"),
    Planted(Unsorted, "dataset", "not sorted by scan and position"),
    Planted(NoCase, "dataset", "no column case"),
    Planted(SquareMaskSwapped, "dataset", ""),  # nothing but the picture tells; giseg show draws it
    Planted(Bright, "dataset", "its masks hold 0 and 255; gisegkit wants 0 and 1, and 255 means 'ignore this pixel'"),
    Planted(RandomReader, "dataset", "is another one when it is read again"),
    Planted(CaseBySlice, "dataset", r"scan p0 has slices of 3 cases \(p0_0, p0_1, p0_2\)"),
    Planted(Raises, "tracker", "report of epoch 1: it raises RuntimeError: server down", ""),  # may write to a server
    Planted(Still, "optimizer", "20 steps change no parameter"),
    Planted(UnknownStage, "postprocess", "stage is 'mask', not 'probabilities' or 'masks'"),
    Planted(NoStage, "postprocess", "stage is None"),
]


def found_by_author(planted, tmp_path):
    """What the author's own test says."""
    check = getattr(testing, f"check_{planted.kind}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", testing.ContractWarning)
        try:
            if planted.kind == "tracker":
                check(planted.target, tmp_path)
            else:
                takes_factory = planted.kind in ("model", "augmentation", "optimizer")
                check(planted.target if takes_factory else planted.target())
        except testing.ContractError as error:
            return str(error)
    return "\n".join(str(item.message) for item in caught if item.category is testing.ContractWarning)


@pytest.fixture(scope="module")
def registries():
    found = load_plugins(selection="none").registries
    for kind, target in [("dataset", Right), *((planted.kind, planted.target) for planted in PLANTED)]:
        found[kind].add(Component(kind, target.__name__.lower(), target, OWNER))
    return found


def found_before_training(planted, registries, tmp_path):
    """What training says before its first step."""
    name = planted.target.__name__.lower()
    many = KINDS[planted.kind].many
    change = f"{planted.kind}=[{{name='{name}'}}]" if many else f"{planted.kind}.name={name}"
    (tmp_path / "r.toml").write_text(RECIPE)
    recipe = load_recipe(tmp_path / "r.toml", registries=registries, overrides=[change])
    said = []
    try:
        session = Session(Plugins(registries=registries), "cpu", say=said.append)
        check_contracts(session.experiment(recipe))
    except GisegError as error:
        said.append(str(error))
    return "\n".join(said)


SAYS = "r.toml:|--set"
"""The place that training names: here the recipe's line, or the override."""


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: f"{planted.kind}-{planted.target.__name__}")
def test_a_planted_mistake_is_found(planted, registries, tmp_path):
    before = found_before_training(planted, registries, tmp_path)
    for message, found in ((planted.contract, found_by_author(planted, tmp_path)), (planted.by_gisegkit, before)):
        if message:
            assert re.search(message, found), found
        else:
            assert found == ""
    if before:
        assert re.search(SAYS, before)
        assert f"{planted.kind} '{planted.target.__name__.lower()}'" in before
        assert "giseg-planted 1.0" in before or planted.target is CaseBySlice  # which is the data's own contradiction


def test_the_counts():
    """As the trial counted: 53 mistakes, of which an author's tests found 34, and training 19."""
    assert len(PLANTED) == 53
    assert sum(bool(planted.contract) for planted in PLANTED) == 50
    assert sum(bool(planted.by_gisegkit) for planted in PLANTED) == 49
