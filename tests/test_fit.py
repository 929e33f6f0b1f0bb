"""The training loop on a network of two numbers: what a step is, step by step."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from gisegkit.components.batch_transforms import Mixup
from gisegkit.components.criterion import Criterion
from gisegkit.data.loaders import EpochSampler, TrainingSet
from gisegkit.engine.device import pick_device
from gisegkit.engine.fit import Standing, Training, fit
from gisegkit.engine.step import Cutting
from gisegkit.errors import TrainingError


class Points(TrainingSet):
    """Samples of 4 x 4 pixels; the mask is where the image is bright."""

    def __init__(self):
        pass

    def __getitem__(self, key):
        epoch, row = key
        image = np.random.default_rng([epoch, row]).random((1, 4, 4), dtype=np.float32)
        return image, (image > 0.5).astype(np.uint8), row


class MeanSquare(torch.nn.Module):
    def forward(self, logits, target):
        return (logits.float().sigmoid() - target).square().mean()


def training(*, epochs=2, micro_batch=4, scores=None, **changes):
    torch.manual_seed(0)
    model = torch.nn.Conv2d(1, 1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    given = iter(scores or [])
    base = Training(
        model=model,
        criterion=Criterion([("square", 1.0, MeanSquare())]),
        optimizer=optimizer,
        schedule=torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step)),
        samples=Points(),
        sampler=EpochSampler(np.arange(10), batch_size=4, seed=0),
        transforms=[],
        validate=lambda: {"dice": next(given, 0.5)},
        device=pick_device("cpu"),
        seed=0,
        epochs=epochs,
        cutting=Cutting(micro_batch),
        clip_norm=0.0,
        channels_last=False,
        workers=0,
        monitor="dice",
        higher_is_better=True,
        patience=0,
        validate_every=1,
    )
    return replace(base, **changes)


def test_first_step_is_plain_gradient_descent():
    one = training(epochs=1)
    weight = one.model.weight.detach().clone()
    one.sampler.epoch = 1
    keys = next(iter(one.sampler))
    images = torch.stack([torch.from_numpy(one.samples[key][0]) for key in keys])
    masks = torch.stack([torch.from_numpy(one.samples[key][1]) for key in keys]).float()
    copy = torch.nn.Conv2d(1, 1, 1)
    copy.load_state_dict(one.model.state_dict())
    loss = (copy(images).sigmoid() - masks).square().mean()
    loss.backward()
    expected = weight - 0.5 * copy.weight.grad
    single = replace(one, sampler=OneBatch(one.sampler))
    (report,) = fit(single)
    assert torch.allclose(one.model.weight.detach(), expected, atol=1e-7)
    assert report.loss == pytest.approx(loss.item(), abs=1e-7)
    assert report.learning_rate == pytest.approx(0.25)


class OneBatch(EpochSampler):
    def __init__(self, inner):
        super().__init__(inner.rows, batch_size=inner.batch_size, seed=inner.seed)

    def __len__(self):
        return 1


@pytest.mark.parametrize("micro_batch", [1, 2, 3, 4])
def test_accumulation_equals_the_whole_batch_for_means_over_images(micro_batch):
    whole, parts = training(), training(micro_batch=micro_batch)
    a, b = list(fit(whole)), list(fit(parts))
    assert torch.allclose(whole.model.weight, parts.model.weight, atol=1e-6)
    assert [report.loss for report in a] == pytest.approx([report.loss for report in b], abs=1e-6)


def test_micro_batches_see_the_same_mixed_images():
    whole, parts = training(transforms=[Mixup(alpha=0.4)]), training(transforms=[Mixup(alpha=0.4)], micro_batch=1)
    list(fit(whole))
    list(fit(parts))
    assert torch.allclose(whole.model.weight, parts.model.weight, atol=1e-6)


def test_clipping_bounds_the_step():
    one = training(epochs=1, clip_norm=1e-3)
    one = replace(one, sampler=OneBatch(one.sampler))
    before = torch.cat([p.detach().flatten() for p in one.model.parameters()])
    list(fit(one))
    after = torch.cat([p.detach().flatten() for p in one.model.parameters()])
    assert (after - before).norm() <= 0.5 * 1e-3 * 1.001


def test_state_continues_exactly():
    whole = training(epochs=3)
    list(fit(whole))
    first = training(epochs=3)
    for report in fit(first):
        if report.epoch == 2:
            state = {key: value for key, value in report.state.items()}
            break
    second = training(epochs=3)
    (last,) = fit(second, state=state)
    assert last.epoch == 3
    assert torch.equal(whole.model.weight, second.model.weight)


def test_best_epoch_and_patience():
    reports = list(fit(training(epochs=6, scores=[0.2, 0.5, 0.4, 0.45, 0.9], patience=2)))
    assert [report.best for report in reports] == [True, True, False, False]


def test_lower_can_be_better():
    reports = list(fit(training(epochs=3, scores=[0.5, 0.2, 0.3], higher_is_better=False)))
    assert [report.best for report in reports] == [True, True, False]


@pytest.mark.parametrize(
    ("scores", "best"),
    [([math.nan, math.nan, 0.1, 0.2], [True, False, True, True]), ([0.1, math.nan, 0.05], [True, False, False])],
)
def test_undefined_scores_are_never_best_except_at_first(scores, best):
    standing = Standing()
    assert [standing.update(score, higher=True) for score in scores] == best


def test_validate_every():
    reports = list(fit(training(epochs=5, validate_every=2)))
    assert [bool(report.scores) for report in reports] == [False, True, False, True, True]
    assert not any(report.best for report in reports if not report.scores)


def test_not_finite_names_epoch_and_step():
    class Explode(torch.nn.Module):
        def forward(self, logits, target):
            return logits.sum() * math.inf

    with pytest.raises(TrainingError, match=r"epoch 1, step 1: boom (inf|nan|-inf)"):
        list(fit(training(criterion=Criterion([("boom", 1.0, Explode())]))))
