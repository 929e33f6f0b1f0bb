"""The training loop on a network of two numbers: what a step is, step by step."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils._python_dispatch import TorchDispatchMode

from gisegkit.components.batch_transforms.mixup import Mixup
from gisegkit.components.losses.cross_entropy import CrossEntropy
from gisegkit.components.losses.focal import Focal
from gisegkit.components.losses.lovasz import Lovasz
from gisegkit.components.losses.ratios import BCE, DiceLoss, Jaccard, Tversky
from gisegkit.data.loaders import EpochSampler, TrainingSet, training_loader
from gisegkit.engine.averaging import Average
from gisegkit.engine.criterion import Criterion
from gisegkit.engine.device import Device, pick_device
from gisegkit.engine.fit import fit, train_epoch
from gisegkit.engine.forward import Forward
from gisegkit.engine.step import MicroBatching
from gisegkit.engine.training import HeldOut, Training
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
        average=Average(model),
        held_out=HeldOut(Points(), [[(0, 10), (0, 11)]]),
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
        micro_batching=MicroBatching(micro_batch),
        max_grad_norm=0.0,
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
    one = training(epochs=1, max_grad_norm=1e-3)
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


# --- nothing waits for the device -----------------------------------------------------------------------------------


class Late(Device):
    """A device whose losses are read every ``LOG`` steps only, as a GPU's are."""

    LOG = 1000

    @property
    def log_every(self):
        return self.LOG


class Waits(TorchDispatchMode):
    """Collects the operations whose result the host must wait for: a number, a shape, or a truth of values."""

    NAMES = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2", "unique_dim")

    def __init__(self):
        super().__init__()
        self.operations = 0
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.operations += 1
        indices = args[1] if func.overloadpacket.__name__ in ("index", "index_put", "index_put_") else ()
        by_truth = any(index is not None and index.dtype is torch.bool for index in indices)
        if func.overloadpacket.__name__ in self.NAMES or by_truth:
            self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


def test_the_watch_sees_a_wait():
    values = torch.rand(3)
    with Waits() as waits:
        float(values[0])
        bool((values > 0).all())
        values[values > 0.5]
    assert len(waits.seen) == 3


LOSSES = {
    "bce": BCE(),
    "dice": DiceLoss(),
    "jaccard": Jaccard(),
    "tversky": Tversky(ratio_over="image", empty="skip"),
    "lovasz": Lovasz(),
    "focal": Focal(),
    "ce": CrossEntropy(),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("name", LOSSES)
def test_no_step_waits_for_the_device(name, dtype):
    """In three steps of two micro-batches each, with mixup, clipping, and a fused optimizer."""
    one = training(
        criterion=Criterion([(name, 1.0, LOSSES[name])]),
        device=Late(torch.device("cpu"), dtype),
        transforms=[Mixup()],
        max_grad_norm=1.0,
        micro_batch=2,
    )
    optimizer = torch.optim.Adam(one.model.parameters(), fused=True)
    one = replace(one, optimizer=optimizer, schedule=CosineAnnealingLR(optimizer, 10))
    loader = list(training_loader(one.samples, one.sampler, workers=0, pin=False))
    scaler = one.device.scaler()
    scaler.scale(torch.zeros(()))  # its first call makes its own tensors of numbers

    def steps():
        with Waits() as waits:
            yield from loader
        assert waits.seen == [] and waits.operations > 100

    _, _, images = train_epoch(one, Forward(one.model), steps(), scaler, 1)
    assert images == 10


def test_a_bad_step_is_named_although_it_is_read_late():
    class SecondStep(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.calls = 0

        def forward(self, logits, target):
            self.calls += 1
            return logits.mean() * (math.inf if self.calls == 2 else 1.0)

    validated = []
    one = training(
        criterion=Criterion([("boom", 1.0, SecondStep())]),
        device=Late(torch.device("cpu"), torch.float32),
        validate=lambda: validated.append(1) or {"dice": 1.0},
    )
    with pytest.raises(TrainingError, match=r"epoch 1, step 2: boom (inf|nan|-inf) \(learning rate 0.25"):
        next(fit(one))
    assert validated == []


def test_a_gradient_that_overflows_in_the_last_step_spoils_no_checkpoint():
    class LastStep(torch.nn.Module):
        calls = 0

        def forward(self, logits, target):
            self.calls += 1
            broken = (logits * 0).sum().sqrt()  # is 0, and its gradient is not a number
            return logits.mean() + (broken if self.calls == len(one.sampler) else 0)

    one = training(criterion=Criterion([("boom", 1.0, LastStep())]))
    with pytest.raises(TrainingError, match=r"weights became NaN or infinite in epoch 1 .*last\.pt"):
        next(fit(one))


@pytest.mark.parametrize("log", [1, 2, 1000])
def test_how_often_losses_are_read_changes_nothing(monkeypatch, log):
    monkeypatch.setattr(Late, "LOG", log)
    late, plain = training(device=Late(torch.device("cpu"), torch.float32)), training()
    found, expected = list(fit(late)), list(fit(plain))
    assert [report.loss for report in found] == [report.loss for report in expected]
    assert torch.equal(late.model.weight, plain.model.weight)


# --- compilation ----------------------------------------------------------------------------------------------------


def test_a_compiled_run_has_the_same_state_and_can_be_continued_without(monkeypatch):
    compiled = []

    def compiler(model):
        compiled.append(model)
        return lambda images: model(images)

    monkeypatch.setattr(torch, "compile", compiler)
    one, plain = training(epochs=2, compile=True), training(epochs=2)
    first, second = next(fit(one)), next(fit(plain))
    assert compiled == [one.model]
    assert list(first.state["model"]) == list(second.state["model"])
    (last,) = fit(training(epochs=2), state=first.state)
    assert last.epoch == 2 and first.notes == ()


def test_a_compiler_that_fails_is_noted_once(monkeypatch):
    def compiler(model):
        raise RuntimeError("there is none")

    monkeypatch.setattr(torch, "compile", compiler)
    one, plain = training(epochs=2, compile=True), training(epochs=2)
    first, second = fit(one)
    assert len(first.notes) == 1 and "there is none" in first.notes[0]
    assert second.notes == ()
    list(fit(plain))
    assert torch.equal(one.model.weight, plain.model.weight)
