"""batch_transforms.py: mixup mixes losses, draws from Beta, and leaves what it is given alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional

from gisegkit.components.batch_transforms import Mixup
from gisegkit.types import Batch


def batch(count: int = 4, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 2, 6, 5, generator=generator)
    target = (torch.rand(count, 3, 6, 5, generator=generator) > 0.6).float()
    return Batch(images=images, targets=((1.0, target),), rows=torch.arange(count))


def dice(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    shown = logits.sigmoid()
    return 1 - 2 * (shown * target).sum() / (shown.sum() + target.sum())


def expected_draws(seed: int, count: int, alpha: float) -> tuple[float, torch.Tensor]:
    """lam and partners recovered from what the transform did to images that show their own number."""
    numbers = torch.arange(count, dtype=torch.float64).pow(2)[:, None, None, None].expand(-1, 1, 1, 1)
    told = Batch(images=numbers, targets=((1.0, numbers),), rows=torch.arange(count))
    mixed = Mixup(alpha=alpha)(told, np.random.default_rng(seed))
    partner = mixed.targets[1][1].flatten().sqrt().round().long()
    return mixed.targets[0][0], partner


@pytest.mark.parametrize("criterion", [dice, functional.binary_cross_entropy_with_logits])
@pytest.mark.parametrize("seed", range(5))
def test_the_losses_are_mixed(criterion, seed):
    given = batch()
    target = given.targets[0][1]
    lam, partner = expected_draws(seed, 4, 0.4)
    assert 0 < lam < 1
    mixed = Mixup(alpha=0.4)(given, np.random.default_rng(seed))
    logits = torch.randn(4, 3, 6, 5, generator=torch.Generator().manual_seed(seed))
    loss = sum(weight * criterion(logits, one) for weight, one in mixed.targets)
    torch.testing.assert_close(loss, lam * criterion(logits, target) + (1 - lam) * criterion(logits, target[partner]))
    torch.testing.assert_close(mixed.images, lam * given.images + (1 - lam) * given.images[partner])
    assert mixed.images.dtype == torch.float32
    assert mixed.rows is given.rows


def test_lambda_follows_beta():
    mixup = Mixup(alpha=0.3)
    rng = np.random.default_rng(0)
    pair = Batch(torch.zeros(2, 1, 1, 1), ((1.0, torch.zeros(2, 1, 1, 1)),), torch.arange(2))
    lams = [mixup(pair, rng).targets[0][0] for _ in range(10_000)]
    assert stats.kstest(lams, stats.beta(0.3, 0.3).cdf).pvalue > 0.01
    assert stats.kstest(lams, stats.beta(0.5, 0.5).cdf).pvalue < 1e-6


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
