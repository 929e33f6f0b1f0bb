"""The loss of slices that do not train: which network, which slices, which losses, and nothing else is touched."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from gisegkit.components.losses.ratios import BCE, DiceLoss
from gisegkit.data.loaders import EpochSampler, TrainingSet
from gisegkit.engine.averaging import Average, Ema
from gisegkit.engine.criterion import Criterion
from gisegkit.engine.device import pick_device
from gisegkit.engine.fit import fit
from gisegkit.engine.step import MicroBatching
from gisegkit.engine.training import HeldOut, Training
from gisegkit.engine.validation_loss import mean_loss
from gisegkit.types import IGNORE


class Anything(TrainingSet):
    """Samples that train."""

    def __init__(self):
        pass

    def __getitem__(self, key):
        image = np.random.default_rng(key).random((1, 4, 4), dtype=np.float32)
        return image, (image > 0.5).astype(np.uint8), key[1]


class Brighter(TrainingSet):
    """Samples of 4 x 4 pixels that depend on their row alone; the first pixel of row 2 is ignored."""

    def __init__(self):
        pass

    def __getitem__(self, key):
        epoch, row = key
        assert epoch == 0, "held-out slices are the same at each validation"
        image = np.random.default_rng(row).random((1, 4, 4), dtype=np.float32)
        mask = (image > 0.3).astype(np.uint8)
        if row == 2:
            mask[0, 0, 0] = IGNORE
        return image, mask, row


def training(**changes) -> Training:
    torch.manual_seed(0)
    model = changes.get("model") or torch.nn.Conv2d(1, 1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    base = Training(
        model=model,
        average=Average(model),
        held_out=HeldOut(Brighter(), KEYS),
        criterion=Criterion([("bce", 1.0, BCE())]),
        optimizer=optimizer,
        schedule=torch.optim.lr_scheduler.ConstantLR(optimizer),
        samples=Anything(),
        sampler=EpochSampler(np.arange(4), batch_size=2, seed=0),
        transforms=[],
        validate=lambda: {"dice": 0.5},
        device=pick_device("cpu"),
        seed=0,
        epochs=2,
        micro_batching=MicroBatching(2),
        max_grad_norm=0.0,
        channels_last=False,
        workers=0,
        monitor="dice",
        higher_is_better=True,
        patience=0,
        validate_every=1,
    )
    return replace(base, **changes)


KEYS = [[(0, 0), (0, 1)], [(0, 2)]]


def by_hand(model, losses, batches) -> float:
    total = 0.0
    for batch in batches:
        samples = [Brighter()[key] for key in batch]
        images = torch.from_numpy(np.stack([sample[0] for sample in samples]))
        masks = torch.from_numpy(np.stack([sample[1] for sample in samples])).float()
        masks[masks == IGNORE] = math.nan
        with torch.no_grad():
            total += len(batch) * float(Criterion(losses)(model(images), masks))
    return total / sum(map(len, batches))


@pytest.mark.parametrize("losses", [[("bce", 1.0, BCE())], [("bce", 0.3, BCE()), ("dice", 2.0, DiceLoss())]])
def test_it_is_the_weighted_mean_over_slices(losses):
    one = training(criterion=Criterion(losses))
    assert mean_loss(one) == pytest.approx(by_hand(one.model, losses, KEYS), rel=1e-5)


def test_micro_batches_and_workers_change_nothing():
    one = training()
    whole = mean_loss(one)
    assert mean_loss(replace(one, micro_batching=MicroBatching(1))) == pytest.approx(whole, rel=1e-6)
    assert mean_loss(replace(one, workers=1)) == whole


def test_the_network_is_evaluated_and_left_as_it_was():
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(1), torch.nn.Dropout(0.5), torch.nn.Conv2d(1, 1, 1))
    one = training(model=model.train())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert mean_loss(one) == mean_loss(one)
    assert model.training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_only_losses_of_the_epoch_count():
    losses = [("bce", 1.0, BCE()), ("dice", 1.0, DiceLoss())]
    criterion = Criterion(losses, epochs=[(1, 1), (2, 0)])
    one = training(criterion=criterion)
    values = [report.validation_loss for report in fit(replace(one, epochs=2, optimizer=one.optimizer))]
    criterion.epoch = 2
    assert values[1] == pytest.approx(by_hand(one.model, losses[1:], KEYS), rel=1e-5)


def test_epochs_without_validation_and_runs_without_slices_have_none():
    losses = [report.validation_loss for report in fit(training(epochs=3, validate_every=2))]
    assert [math.isnan(loss) for loss in losses] == [True, False, False]
    assert math.isnan(mean_loss(training(held_out=HeldOut(Brighter(), []))))


def test_it_is_of_the_weights_that_are_deployed():
    one = training()
    one.average = Ema(one.model, decay=0.9)
    *_, last = fit(one)
    live = mean_loss(one)
    with one.average.applied():
        assert mean_loss(one) == last.validation_loss != live
