"""Components of plugins are checked with the data's own facts: what is right is let pass, all that is wrong is told."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gisegkit.build.contracts import check_contracts
from gisegkit.build.data import ExperimentData
from gisegkit.build.session import Session
from gisegkit.errors import ComponentError, DataError
from gisegkit.plugins import Plugins, load_plugins
from gisegkit.recipe.load import load_recipe
from gisegkit.registry.kinds import Component, Owner

OWNER = Owner("giseg-mine", "2.1")


class Discs:
    """Eight slices of four scans, with two classes unless told otherwise."""

    exclusive = False
    dropped = ()

    def __init__(self, *, count: int = 2, alone: bool = False, channels: int = 1, spacing: float = 0.0):
        self.classes = tuple("abcdefgh"[:count])
        self.exclusive = alone
        self.channels = channels
        rows = range(8)
        self.table = pd.DataFrame(
            {
                "id": [f"s{row}" for row in rows],
                "scan": [f"v{row // 2}" for row in rows],
                "position": [row % 2 for row in rows],
                "case": [f"v{row // 2}" for row in rows],
                "height": 40,
                "width": 30,
                "labelled": True,
                "empty": False,
            }
        )
        if spacing:
            self.table = self.table.assign(spacing_z=spacing, spacing_y=spacing, spacing_x=spacing)

    def image(self, row):
        return np.random.default_rng(row).integers(0, 255, (40, 30, self.channels)).astype(np.uint8)

    def mask(self, row):
        mask = np.zeros((40, 30, len(self.classes)), np.uint8)
        for k in range(len(self.classes)):
            mask[5 + row : 30, 2 + 3 * k : 4 + 3 * k, k] = 1
        return mask


# --- losses that are right ------------------------------------------------------------------------------------------


class Weighted(nn.Module):
    """A weight for each class: K must be that of the data."""

    def __init__(self, *, weights: list[float]):
        super().__init__()
        self.weights = torch.tensor(weights).view(1, -1, 1, 1)

    def forward(self, logits, target):
        return (self.weights * F.binary_cross_entropy_with_logits(logits, target, reduction="none")).mean()


class Window(nn.Module):
    """Compares means in windows larger than a small test image; refuses images that are smaller."""

    def forward(self, logits, target):
        p = F.avg_pool2d(logits.sigmoid(), 25, stride=4)
        return (p - F.avg_pool2d(target, 25, stride=4)).square().mean() + F.binary_cross_entropy_with_logits(
            logits, target
        )


class Crop(nn.Module):
    """Looks at the middle alone; of an image that is too small nothing is left, and the mean is NaN."""

    def forward(self, logits, target):
        middle = (..., slice(18, -4), slice(2, -2))
        return F.binary_cross_entropy_with_logits(logits[middle], target[middle])


class Hardest(nn.Module):
    """The mean over the hardest tenth."""

    def forward(self, logits, target):
        cost = F.binary_cross_entropy_with_logits(logits, target, reduction="none").flatten()
        return cost.topk(max(1, len(cost) // 10)).values.mean()


class Focal(nn.Module):
    """A focal factor that is a weight, not a part of the gradient."""

    def forward(self, logits, target):
        factor = (logits.sigmoid() - target).abs().square().detach()
        return (factor * F.binary_cross_entropy_with_logits(logits, target, reduction="none")).mean()


class Sampled(nn.Module):
    """A random tenth of the pixels."""

    def forward(self, logits, target):
        cost = F.binary_cross_entropy_with_logits(logits, target, reduction="none").flatten()
        return cost[torch.randint(len(cost), (len(cost) // 10,))].mean()


class Labels(nn.Module):
    """Cross-entropy that takes labels, and so one class a pixel."""

    exclusive_only = True
    activation = "softmax"

    def forward(self, logits, target):
        if bool((target.sum(1) > 1).any()):
            raise ValueError("two classes on one pixel")
        labels = torch.cat([1 - target.sum(1, keepdim=True), target], 1).argmax(1)
        return F.cross_entropy(torch.cat([torch.zeros_like(logits[:, :1]), logits], 1), labels)


class HardTargets(nn.Module):
    """Refuses targets that are neither 0 nor 1; without mixup there are none."""

    def forward(self, logits, target):
        if bool(((target > 0) & (target < 1)).any()):
            raise ValueError("targets must be 0 or 1")
        return F.binary_cross_entropy_with_logits(logits, target)


class NeedsValid(nn.Module):
    """Wants to know which pixels count."""

    def forward(self, logits, target, valid):
        cost = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        return torch.where(valid, cost, 0.0).sum() / valid.sum().clamp_min(1)


class FullPrecision(nn.Module):
    """Works in float32 alone, which is what training hands over."""

    def forward(self, logits, target):
        assert logits.dtype == torch.float32
        return F.binary_cross_entropy_with_logits(logits, target)


class Variation(nn.Module):
    """A second term that does not look at the target: smooth outlines."""

    def forward(self, logits, target):
        p = logits.sigmoid()
        return (p.diff(dim=2).square().mean() + p.diff(dim=3).square().mean()).add(1e-12).sqrt()


RIGHT = {
    "weighted": (["loss=[{name='weighted', weights=[1.0, 2.0]}]"], ""),
    "weighted of five": (["loss=[{name='weighted', weights=[1, 1, 1, 1, 9.0]}]", "dataset.count=5"], ""),
    "weighted of one": (["loss=[{name='weighted', weights=[3.0]}]", "dataset.count=1"], ""),
    "window": (["loss=[{name='window'}]"], ""),
    "crop": (["loss=[{name='crop'}]"], ""),
    "hardest": (["loss=[{name='hardest'}]"], ""),
    "detached": (["loss=[{name='focal_weight'}]"], "the gradient is wrong"),
    "sampled": (["loss=[{name='sampled'}]"], "random, or remembers"),
    "labels": (["loss=[{name='labels'}]", "dataset.alone=true"], ""),
    "hard targets": (["loss=[{name='hard_targets'}]"], ""),
    "valid": (["loss=[{name='needs_valid'}]"], ""),
    "float32": (["loss=[{name='full_precision'}]"], ""),
    "no target": (["loss=[{name='bce'}, {name='variation'}]"], "does not look at the target"),
}


# --- other components that are right --------------------------------------------------------------------------------


class Strided(nn.Module):
    """Wants multiples of 16, three channels, and starts with a last layer of zeros."""

    def __init__(self, *, in_channels, classes):
        super().__init__()
        assert in_channels == 3
        self.down = nn.Conv2d(in_channels, 4, 16, stride=16)
        self.norm = nn.BatchNorm2d(4)
        self.up = nn.ConvTranspose2d(4, classes, 16, stride=16)
        nn.init.zeros_(self.up.weight)

    def forward(self, images):
        assert images.shape[2] % 16 == 0 and images.shape[3] % 16 == 0
        return self.up(self.norm(self.down(images)).relu())


class FixedSize(Strided):
    """Knows one size."""

    def forward(self, images):
        if tuple(images.shape[2:]) != (48, 80):
            raise ValueError("48 x 80 alone")
        return super().forward(images)


class Fast(torch.optim.SGD):
    """A large learning rate, which a steep slope would not forgive, and two groups."""

    def __init__(self, params, *, lr: float = 5.0):
        weights = [value for value in params if value.ndim > 1]
        others = [value for value in params if value.ndim <= 1]
        super().__init__([{"params": weights, "weight_decay": 1e-4}, {"params": others}], lr=lr)


def long_warmup(optimizer, *, steps, warmup: int = 10):
    """Refuses runs that are shorter than its warmup; sets the momentum, which plain SGD has not."""
    if steps <= warmup:
        raise ValueError(f"a warmup of {warmup} steps in a run of {steps}")
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=steps + 1, pct_start=warmup / steps)


class Noise:
    """Other brightness, noise, blur and holes; the mask stays."""

    def __init__(self, *, size):
        self.size = size

    def __call__(self, image, mask, rng):
        image = image * rng.uniform(0.4, 1.6) + rng.normal(0, 0.1, image.shape)
        image = (image + np.roll(image, 1, axis=0) + np.roll(image, 1, axis=1)) / 3
        row, column = rng.integers(image.shape[0] // 2), rng.integers(image.shape[1] // 2)
        image[row : row + 16, column : column + 16] = 0
        if rng.random() < 0.5:
            image, mask = image[:, ::-1], mask[:, ::-1]
        return np.ascontiguousarray(image, dtype=np.float32), np.ascontiguousarray(mask)


class Pairs:
    """Wants an even number of images."""

    def __call__(self, batch, rng):
        if len(batch.images) % 2:
            raise ValueError("an even number")
        return batch


class Surface:
    """A score of outlines that says nothing of what lies inside, in mm."""

    convention = "share of the outline's rows that agree"
    higher_is_better = True
    spacing_columns = ("spacing_y",)

    def __call__(self, prediction, truth, *, spacing):
        assert spacing == (0.5,)
        return {"outline": (prediction.any(2) == truth.any(2)).mean(1)}

    def combine(self, means):
        return means["outline"]


OTHERS = {
    "strided model": ["model.name=strided", "dataset.channels=3"],
    "model of one size": ["model.name=fixed_size", "dataset.channels=3"],
    "fast optimizer": ["optimizer.name=fast"],
    "long warmup": ["schedule.name=long_warmup", "schedule.warmup=10"],
    "noise": ["augmentation.name=noise"],
    "pairs": ["batch_transform=[{name='pairs'}]"],
    "surface": ["metric=[{name='surface'}]", "dataset.spacing=0.5"],
}


class Loud(nn.Module):
    def forward(self, logits, target):
        raise ZeroDivisionError("by my own fault")


class Broken:
    stage = "probabilities"

    def __call__(self, scan):
        return scan[:, :, 1:]


def failing(*, in_channels, classes):
    """A factory that raises what no one expects."""
    raise AttributeError("no attribute 'depth'")


RECIPE = """
name = "contracts"
[dataset]
name = "discs"
[input]
size = [48, 80]
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
[train]
epochs = 5
batch_size = 2
[[metric]]
name = "dice"
"""

TARGETS = {
    "dataset": {"discs": Discs},
    "loss": {
        "weighted": Weighted,
        "window": Window,
        "crop": Crop,
        "hardest": Hardest,
        "focal_weight": Focal,
        "sampled": Sampled,
        "labels": Labels,
        "hard_targets": HardTargets,
        "needs_valid": NeedsValid,
        "full_precision": FullPrecision,
        "variation": Variation,
        "loud": Loud,
    },
    "model": {"strided": Strided, "fixed_size": FixedSize, "failing": failing},
    "optimizer": {"fast": Fast},
    "schedule": {"long_warmup": long_warmup},
    "augmentation": {"noise": Noise},
    "batch_transform": {"pairs": Pairs},
    "metric": {"surface": Surface},
    "postprocess": {"broken": Broken},
}


@pytest.fixture(scope="module")
def registries():
    found = load_plugins(selection="none").registries
    for kind, targets in TARGETS.items():
        for name, target in targets.items():
            found[kind].add(Component(kind, name, target, OWNER))
    return found


@pytest.fixture
def check(tmp_path, registries):
    """What is said about the recipe with these overrides."""

    def check(*overrides):
        (tmp_path / "r.toml").write_text(RECIPE)
        recipe = load_recipe(tmp_path / "r.toml", registries=registries, overrides=overrides)
        said = []
        session = Session(Plugins(registries=registries), "cpu", say=said.append)
        check_contracts(session.experiment(recipe))
        return said

    return check


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_loss_is_not_refused(check, name):
    overrides, doubt = RIGHT[name]
    said = check(*overrides)
    assert len(said) == bool(doubt)
    if doubt:
        assert said[0].startswith("warning: --set loss") or "r.toml" in said[0]
        assert "of giseg-mine 2.1: " in said[0]
        assert doubt in said[0]


@pytest.mark.parametrize("name", ["hardest", "detached", "sampled"])
def test_a_recipe_silences_the_comparison_of_gradients(check, name):
    assert check(*RIGHT[name][0], "train.check_gradients=false") == []


@pytest.mark.parametrize("name", OTHERS)
def test_other_right_components_are_not_refused(check, name):
    assert check(*OTHERS[name]) == []


def test_weights_for_other_classes_are_refused_in_words(check):
    with pytest.raises(
        ComponentError, match=r"loss 'weighted' of giseg-mine 2.1: .*it raises RuntimeError: The size of"
    ):
        check("loss=[{name='weighted', weights=[1.0, 2.0]}]", "dataset.count=3")


def test_soft_targets_are_tried_where_the_recipe_makes_them(check):
    with pytest.raises(ComponentError, match=r"soft targets.*targets must be 0 or 1"):
        check("loss=[{name='hard_targets'}]", "batch_transform=[{name='mixup'}]")


def test_a_run_shorter_than_a_warmup_is_refused(check):
    with pytest.raises(ComponentError, match=r"schedule 'long_warmup' .*a warmup of 10 steps in a run of 4"):
        check("schedule.name=long_warmup", "train.epochs=1")


def test_everything_wrong_is_told_at_once_and_the_cause_is_chained(check):
    with pytest.raises(ComponentError) as caught:
        check(
            "model.name=failing",
            "loss=[{name='bce'}, {name='loud'}, {name='hardest'}]",
            "postprocess=[{name='broken'}]",
        )
    text = str(caught.value)
    assert text.startswith("3 components break their contracts:\n")
    assert "model 'failing' of giseg-mine 2.1 cannot be built with {}: AttributeError: no attribute 'depth'" in text
    assert "loss 'loud' of giseg-mine 2.1: ordinary masks" in text
    assert "it raises ZeroDivisionError: by my own fault" in text
    assert "float32 [3, 40, 30, 2] becomes float32 [3, 40, 29, 2]" in text
    assert isinstance(caught.value.__cause__.__cause__, AttributeError)


def test_a_dataset_with_two_cases_in_a_scan_is_refused_whoever_brings_it(check, monkeypatch):
    def table(self, *arguments, **keywords):
        built(self, *arguments, **keywords)
        self.table.loc[3, "case"] = "other"

    built = Discs.__init__
    monkeypatch.setattr(Discs, "__init__", table)
    with pytest.raises(DataError, match=r"scan v1 has slices of 2 cases \(v1, other\)"):
        check()


def test_checking_leaves_the_random_generators_as_they_were(check):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    check("loss=[{name='sampled'}]", "model.name=strided", "dataset.channels=3")
    assert torch.equal(before, torch.random.get_rng_state())


# --- the verbs ------------------------------------------------------------------------------------------------------


class Bright(Discs):
    """Masks of 0 and 255; empty is where no pixel is 1, as an author writes it."""

    def __init__(self):
        super().__init__()
        self.table["empty"] = True

    def mask(self, row):
        return super().mask(row) * 255


class Misnamed(Broken):
    stage = "mask"


class LateReader(Discs):
    """One slice of many cannot be read, and no check looks at it."""

    def __init__(self):
        super().__init__()
        tables = [self.table.assign(**{c: self.table[c] + f"_{n}" for c in ("id", "scan", "case")}) for n in range(5)]
        self.table = pd.concat(tables).sort_values(["scan", "position"], ignore_index=True)

    def image(self, row):
        if self.table["id"].iat[row] == "s5_2":
            raise ValueError("no pixels")
        return super().image(row)


class LateLoss(nn.Module):
    """Right, until a batch holds what the checks do not try."""

    def forward(self, logits, target):
        if len(logits) == 3:
            raise LookupError("three")
        return F.binary_cross_entropy_with_logits(logits, target)


QUIET = ["input.store=off", "input.size=[32, 32]", "train.epochs=1", "train.micro_batch=0", "train.precision=fp32"]


@pytest.fixture
def verb(tmp_path, registries):
    """A session with the plugin, and a recipe with overrides."""
    from gisegkit.build.session import Session
    from gisegkit.plugins import Plugins

    for kind, target in (
        ("dataset", Bright),
        ("dataset", LateReader),
        ("loss", LateLoss),
        ("postprocess", Misnamed),
    ):
        if target.__name__.lower() not in registries[kind]:
            registries[kind].add(Component(kind, target.__name__.lower(), target, OWNER))
    (tmp_path / "r.toml").write_text(RECIPE)
    said: list[str] = []
    session = Session(Plugins(registries=registries), "cpu", say=said.append)
    return (
        session,
        said,
        lambda *sets: load_recipe(tmp_path / "r.toml", registries=registries, overrides=[*QUIET, *sets]),
    )


def test_masks_of_0_and_255_are_refused_alike_by_every_verb(verb, tmp_path):
    from gisegkit.workflows.check import smoke_test
    from gisegkit.workflows.train import train

    session, _, recipe = verb
    bright = recipe("dataset.name=bright")
    registries = session.plugins.registries
    texts = []
    for run in (
        lambda: train(session.experiment(bright), tmp_path / "run"),
        lambda: smoke_test(session.experiment(bright)),
        lambda: ExperimentData(bright, registries).dataset,  # giseg data, giseg prepare
        lambda: session.experiment(bright).check_data(training=False),  # giseg evaluate, giseg predict, giseg show
    ):
        with pytest.raises(ComponentError, match="its masks hold 0 and 255; gisegkit wants 0 and 1") as caught:
            run()
        texts.append(str(caught.value))
    assert len(set(texts)) == 1
    assert "dataset 'bright' of giseg-mine 2.1" in texts[0]
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_doubt_is_said_before_training_and_training_goes_on(verb, tmp_path):
    from gisegkit.workflows.train import train

    session, said, recipe = verb
    run = train(session.experiment(recipe("loss=[{name='focal_weight'}]")), tmp_path / "run")
    assert "the gradient is wrong" in said[0]
    assert "train.check_gradients = false leaves this out" in said[0]
    assert run.state()["epoch"] == 1


@pytest.mark.parametrize("workers", [0, 1])
def test_a_reader_that_raises_while_training_names_the_slice_and_the_plugin(verb, tmp_path, workers):
    from gisegkit.workflows.train import train

    session, _, recipe = verb
    wrong = r"dataset 'latereader' of giseg-mine 2.1: image\(\d+\) raised ValueError for slice s5_2: no pixels"
    with pytest.raises(ComponentError, match=wrong):
        train(
            session.experiment(recipe("dataset.name=latereader", f"train.workers={workers}", "split.fold=1")),
            tmp_path / "run",
        )


@pytest.mark.slow
def test_a_loss_that_raises_while_training_names_its_plugin(verb, tmp_path):
    from gisegkit.workflows.train import train

    session, _, recipe = verb
    with pytest.raises(LookupError, match="three") as caught:
        train(session.experiment(recipe("loss=[{name='lateloss'}]", "train.batch_size=3")), tmp_path / "run")
    assert "in the plugin giseg-mine 2.1, which brings" in caught.value.__notes__[0]
    assert "loss 'lateloss'" in caught.value.__notes__[0]


def test_an_unknown_stage_is_refused_without_training_too(verb):
    session, _, recipe = verb
    with pytest.raises(ComponentError, match=r"postprocess 'misnamed' of giseg-mine 2.1 has stage = 'mask', so it"):
        _ = session.experiment(recipe("postprocess=[{name='misnamed'}]")).decision
