"""batch_transforms.py: mixup mixes losses, draws from Beta, and leaves what it is given alone."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional

from gisegkit.build.dataset import build_component
from gisegkit.components.batch_transforms.mixup import Mixup
from gisegkit.components.losses.ratios import BCE, DiceLoss
from gisegkit.data.loaders import EpochSampler, TrainingSet
from gisegkit.data.randomness import BATCH, generator
from gisegkit.engine.averaging import Average
from gisegkit.engine.criterion import Criterion
from gisegkit.engine.device import pick_device
from gisegkit.engine.fit import fit
from gisegkit.engine.step import MicroBatching
from gisegkit.engine.training import HeldOut, Training
from gisegkit.recipe.load import load_recipe
from gisegkit.types import Batch

RECIPES = Path(__file__).parents[3] / "recipes"


def batch(count: int = 4, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 2, 6, 5, generator=generator)
    target = (torch.rand(count, 3, 6, 5, generator=generator) > 0.6).float()
    return Batch(images=images, targets=((1.0, target),), rows=torch.arange(count))


def dice(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    shown = logits.sigmoid()
    return 1 - 2 * (shown * target).sum() / (shown.sum() + target.sum())


def expected_draws(rng: np.random.Generator, count: int, alpha: float) -> tuple[float, torch.Tensor]:
    """lam and partners recovered from what the transform did to images that show their own number."""
    numbers = torch.arange(count, dtype=torch.float64).pow(2)[:, None, None, None].expand(-1, 1, 1, 1)
    told = Batch(images=numbers, targets=((1.0, numbers),), rows=torch.arange(count))
    mixed = Mixup(alpha=alpha)(told, rng)
    partner = mixed.targets[1][1].flatten().sqrt().round().long()
    return mixed.targets[0][0], partner


@pytest.mark.parametrize("criterion", [dice, functional.binary_cross_entropy_with_logits])
@pytest.mark.parametrize("seed", range(5))
def test_the_losses_are_mixed(criterion, seed):
    given = batch()
    target = given.targets[0][1]
    lam, partner = expected_draws(np.random.default_rng(seed), 4, 0.4)
    assert 0 < lam < 1
    mixed = Mixup(alpha=0.4)(given, np.random.default_rng(seed))
    logits = torch.randn(4, 3, 6, 5, generator=torch.Generator().manual_seed(seed))
    loss = sum(weight * criterion(logits, one) for weight, one in mixed.targets)
    torch.testing.assert_close(loss, lam * criterion(logits, target) + (1 - lam) * criterion(logits, target[partner]))
    torch.testing.assert_close(mixed.images, lam * given.images + (1 - lam) * given.images[partner])
    assert mixed.images.dtype == torch.float32
    assert mixed.rows is given.rows


class Samples(TrainingSet):
    """Four images of three channels; each class is where a channel is bright."""

    def __init__(self):
        pass

    def __getitem__(self, key):
        image = np.random.default_rng(key[1]).random((3, 6, 5), dtype=np.float32)
        return image, (image > 0.6).astype(np.uint8), key[1]


CRITERIA = {
    "dice": Criterion([("dice", 1.0, DiceLoss())]),
    "bce": Criterion([("bce", 1.0, BCE())]),
    "the deck's 0.6 BCE + 0.4 Dice": Criterion([("bce", 0.6, BCE()), ("dice", 0.4, DiceLoss())]),
}


def trained_once(criterion, alpha: float) -> tuple[float, torch.nn.Module, list[int]]:
    """What ``fit`` says the loss of its only batch is, the network as it was, and the rows in their order."""
    torch.manual_seed(0)
    model = torch.nn.Conv2d(3, 3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    sampler = EpochSampler(np.arange(4), batch_size=4, seed=7)
    training = Training(
        model=model,
        average=Average(model),
        held_out=HeldOut(Samples(), []),
        criterion=criterion,
        optimizer=optimizer,
        schedule=torch.optim.lr_scheduler.ConstantLR(optimizer),
        samples=Samples(),
        sampler=sampler,
        transforms=[Mixup(alpha=alpha)],
        validate=lambda: {"dice": 0.5},
        device=pick_device("cpu"),
        seed=7,
        epochs=1,
        micro_batching=MicroBatching(4),
        max_grad_norm=0.0,
        channels_last=False,
        workers=0,
        monitor="dice",
        higher_is_better=True,
        patience=0,
        validate_every=1,
    )
    (report,) = fit(training)
    (keys,) = sampler
    return report.loss, model, [row for _, row in keys]


@pytest.mark.parametrize("criterion", CRITERIA.values(), ids=CRITERIA)
@pytest.mark.parametrize("alpha", [0.4, 5.0])
def test_training_minimizes_the_mix_of_the_losses(criterion, alpha):
    loss, model, rows = trained_once(criterion, alpha)
    images = torch.stack([torch.from_numpy(Samples()[1, row][0]) for row in rows])
    masks = torch.stack([torch.from_numpy(Samples()[1, row][1]) for row in rows]).float()
    lam, partner = expected_draws(generator(7, BATCH, 1, 0), 4, alpha)
    assert 0.01 < lam < 0.99 and partner.tolist() != [0, 1, 2, 3]
    with torch.no_grad():
        out = model(lam * images + (1 - lam) * images[partner])
        expected = lam * criterion(out, masks) + (1 - lam) * criterion(out, masks[partner])
    assert loss == pytest.approx(float(expected), abs=1e-6)


def test_mixing_masks_would_be_another_loss_for_dice_and_the_same_for_bce():
    """For Dice by image, and by micro-batch; over the very batch that was shuffled each class has the same pixels."""
    rng = torch.Generator().manual_seed(0)
    out = torch.randn(4, 3, 6, 5, generator=rng)
    one = (torch.rand(4, 3, 6, 5, generator=rng) < torch.tensor([0.1, 0.3, 0.5, 0.7])[:, None, None, None]).float()
    other, lam = one[[2, 0, 3, 1]], 0.6

    def difference(loss, size=4):
        """Between the mixed losses and the loss of mixed masks, in micro-batches of ``size``."""
        total = 0.0
        for logits, a, b in zip(out.split(size), one.split(size), other.split(size), strict=True):
            mixed = lam * loss(logits, a) + (1 - lam) * loss(logits, b)
            total += float(mixed - loss(logits, lam * a + (1 - lam) * b)) * size / 4
        return abs(total)

    assert difference(BCE()) < 1e-6 > difference(BCE(), size=2)
    assert difference(DiceLoss(ratio_over="image")) > 1e-3
    assert difference(DiceLoss(ratio_over="batch"), size=2) > 1e-3
    assert difference(DiceLoss(ratio_over="batch")) < 1e-6


@pytest.mark.parametrize("alpha", [0.1, 0.4, 1.0, 3.0])
@pytest.mark.slow
def test_lambda_follows_beta(alpha):
    """10,000 batches, each with the generator that training gives it; lam is read from the batch."""
    mixup = Mixup(alpha=alpha)
    pair = Batch(torch.zeros(2, 1, 1, 1), ((1.0, torch.zeros(2, 1, 1, 1)),), torch.arange(2))
    lams = [mixup(pair, generator(3, BATCH, 1 + n // 100, n % 100)).targets[0][0] for n in range(10_000)]
    assert stats.kstest(lams, stats.beta(alpha, alpha).cdf).pvalue > 0.01
    assert stats.kstest(lams, stats.beta(1.5 * alpha, 1.5 * alpha).cdf).pvalue < 1e-6, "the test can tell"


def test_what_is_handed_in_is_not_changed():
    given, untouched = batch(), batch()
    Mixup(alpha=1.0)(given, np.random.default_rng(3))
    assert torch.equal(given.images, untouched.images)
    assert torch.equal(given.targets[0][1], untouched.targets[0][1])


def test_mixing_twice_keeps_the_sum_of_weights():
    rng = np.random.default_rng(1)
    twice = Mixup(alpha=1.0)(Mixup(alpha=1.0)(batch(), rng), rng)
    assert len(twice.targets) == 4
    assert sum(weight for weight, _ in twice.targets) == pytest.approx(1.0)


def test_ignored_pixels_keep_to_their_own_target():
    given = batch(2)
    target = given.targets[0][1].clone()
    target[0, :, 0, 0] = torch.nan
    ignored = Batch(given.images, ((1.0, target),), given.rows)
    draws = (Mixup()(ignored, np.random.default_rng(seed)).targets for seed in range(20))
    own, other = next((one, two) for (_, one), (_, two) in draws if torch.isnan(two[1]).any())  # changed places
    assert torch.isnan(own).any(dim=(1, 2, 3)).tolist() == [True, False]
    assert torch.isnan(other).any(dim=(1, 2, 3)).tolist() == [False, True]


def test_a_batch_of_one_stays_as_it_is():
    single = batch(1)
    assert Mixup()(single, np.random.default_rng(0)) is single


def test_p_is_the_share_of_mixed_batches():
    rng = np.random.default_rng(0)
    given = batch(2)
    mixed = sum(Mixup(p=0.3)(given, rng) is not given for _ in range(1000))
    assert mixed == pytest.approx(300, abs=4 * np.sqrt(1000 * 0.3 * 0.7))  # four standard deviations


def test_the_generator_alone_decides():
    one = Mixup()(batch(), np.random.default_rng(5))
    two = Mixup()(batch(), np.random.default_rng(5))
    assert torch.equal(one.images, two.images)
    assert one.targets[0][0] == two.targets[0][0] != Mixup()(batch(), np.random.default_rng(6)).targets[0][0]


# --- what was drawn, in words ---------------------------------------------------------------------------------------


def test_what_is_drawn_is_said_when_asked_for_and_asking_changes_nothing():
    silent, asked = Mixup(alpha=1.0, p=0.5), Mixup(alpha=1.0, p=0.5)
    asked.record = True
    spoken = 0
    for seed in range(20):
        one, two = (mixup(batch(), np.random.default_rng(seed)) for mixup in (silent, asked))
        assert torch.equal(one.images, two.images)
        assert not silent.drawn
        assert bool(asked.drawn) is (len(two.targets) == 2)
        if asked.drawn:
            spoken += 1
            (line,) = asked.drawn
            lam, partners = re.fullmatch(r"lambda (\S+); partners of slices 1 to 4: (.+)", line).groups()
            assert float(lam) == pytest.approx(two.targets[0][0], rel=1e-3)
            order = torch.tensor([int(number) - 1 for number in partners.split()])
            assert torch.equal(two.targets[1][1], two.targets[0][1][order])
    assert 0 < spoken < 20


# --- two in one recipe ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chances", [(1 / 3, 1 / 3), (0.5, 1 / 3), (1.0, 0.25)])
@pytest.mark.slow
def test_mixup_and_cutmix_in_one_recipe_each_draw_for_themselves(shipped, monkeypatch, chances):
    """Over 3,000 batches: neither, only mixup, only cutmix, and both, one after the other."""
    monkeypatch.setattr("gisegkit.recipe.check.unmet", lambda requirements: [])  # the plugin may not be installed
    overrides = [f"batch_transform.{place}.p={chance}" for place, chance in enumerate(chances)]
    recipe = load_recipe(RECIPES / "unet_effb1_mixup_cutmix.toml", registries=shipped, overrides=overrides)
    assert [spec.name for spec in recipe.batch_transform] == ["mixup", "cutmix"]
    mixup, cutmix = (build_component(spec, shipped) for spec in recipe.batch_transform)
    given, total = batch(), 3000
    counts = np.zeros((2, 2), dtype=int)
    for step in range(total):
        rng = generator(recipe.seed, BATCH, 1, step)
        first = mixup(given, rng)
        second = cutmix(first, rng)
        assert len(second.targets) == len(first.targets) == (2 if first is not given else 1)
        counts[int(first is not given), int(second is not first)] += 1
    one, two = chances
    expected = np.outer([1 - one, one], [1 - two, two])
    deviation = np.sqrt(total * expected * (1 - expected))
    assert (np.abs(counts - total * expected) <= 4 * deviation).all(), counts
