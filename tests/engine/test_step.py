"""One step: micro_batching a batch, and going on where memory ran out, with the same data and the same draws."""

from __future__ import annotations

import gc
import re
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from gisegkit.components.batch_transforms.mixup import Mixup
from gisegkit.components.losses.ratios import BCE, DiceLoss
from gisegkit.data.loaders import Loaded
from gisegkit.engine.checkpointing import enable, find_blocks
from gisegkit.engine.criterion import Criterion
from gisegkit.engine.device import pick_device
from gisegkit.engine.fit import train_batch
from gisegkit.engine.forward import Forward
from gisegkit.engine.step import MicroBatching, attempts, is_out_of_memory, split, to_device
from gisegkit.errors import TrainingError
from gisegkit.types import IGNORE, Batch


def test_ignored_pixels_become_nan():
    masks = torch.tensor([[[[0, 1], [IGNORE, 1]]]], dtype=torch.uint8)
    loaded = Loaded(torch.zeros(1, 1, 2, 2), masks, torch.tensor([7]))
    batch = to_device(loaded, pick_device("cpu"), channels_last=False)
    ((weight, target),) = batch.targets
    assert weight == 1.0
    assert target.flatten().nan_to_num(-1).tolist() == [0.0, 1.0, -1.0, 1.0]


def test_split_keeps_targets_with_images():
    images = torch.arange(5.0).view(5, 1, 1, 1)
    batch = Batch(images, ((0.3, images + 10), (0.7, images + 20)), torch.arange(5))
    parts = list(split(batch, 2))
    assert [share for share, _ in parts] == [0.4, 0.2, 0.4]
    for _, part in parts:
        assert torch.equal(part.targets[0][1], part.images + 10)
        assert torch.equal(part.targets[1][1], part.images + 20)
    assert torch.equal(torch.cat([part.images for _, part in parts]), images)


@pytest.mark.parametrize(
    ("count", "size", "least", "sizes"),
    [
        (4, 3, 1, [2, 2]),
        (8, 8, 1, [8]),
        (9, 4, 1, [3, 3, 3]),
        (3, 1, 1, [1, 1, 1]),
        (3, 2, 2, [3]),
        (5, 2, 2, [2, 3]),
        (1, 4, 2, [1]),
    ],
)
def test_micro_batches_are_as_equal_as_can_be_and_none_is_too_small(count, size, least, sizes):
    images = torch.zeros(count, 1, 1, 1)
    parts = split(Batch(images, ((1.0, images),), torch.arange(count)), size, least=least)
    assert [len(part.images) for _, part in parts] == sizes


# --- accumulation ---------------------------------------------------------------------------------------------------


def loaded(count=12, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.random((count, 1, 8, 8), dtype=np.float32)
    return Loaded(torch.from_numpy(images), torch.from_numpy((images > 0.6).astype(np.uint8)), torch.arange(count))


def network(*, norm=False, drop=False):
    torch.manual_seed(3)
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1)]
    if norm:
        layers.insert(1, nn.BatchNorm2d(4))
    if drop:
        layers.insert(2, nn.Dropout(0.5))
    return nn.Sequential(*layers)


class Scaler:
    """Leaves the loss as it is; ``backward`` is called in place of its own."""

    def __init__(self, backward):
        self.run = backward

    def scale(self, loss):
        self.loss = loss
        return self

    def backward(self):
        loss, self.loss = self.loss, None
        self.run(loss)


def gradients(model, micro_batching, *, criterion=None, transforms=(), backward=None, data=None, compiled=False):
    """The gradients and the terms of one accumulated batch, as train_epoch computes them."""
    device, data, forward = pick_device("cpu"), data or loaded(), Forward(model, compiled=compiled)
    training = SimpleNamespace(
        criterion=criterion or Criterion([("bce", 1.0, BCE())]),
        transforms=transforms, micro_batching=micro_batching, device=device, channels_last=False, seed=5,
    )  # fmt: skip
    scaler = Scaler(backward or (lambda loss: loss.backward()))
    for attempt in attempts(forward, micro_batching, device, images=len(data.images), epoch=2, step=7):
        with attempt:
            terms = train_batch(training, forward, scaler, data, epoch=2, step=7)
    return [parameter.grad.clone() for parameter in model.parameters()], terms


PER_IMAGE = {
    "bce": Criterion([("bce", 1.0, BCE())]),
    "dice by image": Criterion([("dice", 1.0, DiceLoss(ratio_over="image"))]),
    "both": Criterion([("bce", 0.3, BCE()), ("dice", 0.7, DiceLoss(ratio_over="image"))]),
}


@pytest.mark.parametrize("criterion", PER_IMAGE.values(), ids=PER_IMAGE)
@pytest.mark.parametrize("micro_batch", [1, 3, 4, 5, 8])
def test_losses_by_image_have_the_gradients_of_the_whole_batch(criterion, micro_batch):
    whole, terms = gradients(network(), MicroBatching(12), criterion=criterion)
    parts, values = gradients(network(), MicroBatching(micro_batch), criterion=criterion)
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(terms, values, rtol=1e-6, atol=1e-7)


def test_a_loss_over_the_batch_is_not_the_mean_of_its_parts():
    criterion = Criterion([("dice", 1.0, DiceLoss(ratio_over="batch"))])
    data = loaded()
    data.masks[:6] = 0  # half of the micro-batches have an empty class
    _, whole = gradients(network(), MicroBatching(12), criterion=criterion, data=data)
    _, parts = gradients(network(), MicroBatching(3), criterion=criterion, data=data)
    assert abs(float(whole - parts)) > 1e-3


def test_terms_are_those_of_the_criterion_by_name():
    criterion = PER_IMAGE["both"]
    _, terms = gradients(network(), MicroBatching(5), criterion=criterion)
    batch = to_device(loaded(), pick_device("cpu"), channels_last=False)
    logits, target = network()(batch.images), batch.targets[0][1]
    assert criterion.names == ("bce", "dice")
    expected = [float(loss(logits, target).detach()) for loss in (BCE(), DiceLoss(ratio_over="image"))]
    assert terms.tolist() == pytest.approx(expected, abs=1e-6)


# --- out of memory --------------------------------------------------------------------------------------------------


class Failing:
    """A backward pass that runs out of memory at its n-th calls; remembers each loss that it was given."""

    def __init__(self, *calls, error=None):
        self.calls = calls
        self.count = 0
        self.error = error

    def __call__(self, loss):
        self.count += 1
        loss.backward()
        if self.count in self.calls:
            raise self.error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize(("calls", "ends"), [((1,), 6), ((1, 2), 3), ((1, 3), 3), ((1, 2, 5, 8), 1)])
@pytest.mark.slow
def test_the_step_is_repeated_in_halves_as_if_it_had_begun_so(norm, calls, ends):
    """Wherever in the batch it happens: no gradient and no running statistic of the failed attempt is left."""
    model, micro_batching = network(norm=norm), MicroBatching(12)
    after, terms = gradients(model, micro_batching, transforms=[Mixup()], backward=Failing(*calls))
    assert micro_batching.size == ends
    assert len(micro_batching.notes) == len(calls)
    assert (
        "epoch 2, step 8" in micro_batching.notes[0] and "micro-batches of 6 instead of 12" in micro_batching.notes[0]
    )
    twin = network(norm=norm)
    expected, values = gradients(twin, MicroBatching(ends), transforms=[Mixup()])
    for a, b in zip(after, expected, strict=True):
        assert torch.equal(a, b)
    assert torch.equal(terms, values)
    for a, b in zip(model.buffers(), twin.buffers(), strict=True):
        assert torch.equal(a, b)


class Recording(Mixup):
    def __init__(self, **keywords):
        super().__init__(**keywords)
        self.seen = []

    def __call__(self, batch, rng):
        mixed = super().__call__(batch, rng)
        self.seen.append((mixed.images.clone(), [weight for weight, _ in mixed.targets]))
        return mixed


def test_a_repetition_sees_the_same_data_and_draws():
    transform = Recording(alpha=0.4)
    gradients(network(), MicroBatching(12), transforms=[transform], backward=Failing(1, 2))
    (first, weights), *others = transform.seen
    assert len(others) == 2
    for images, same in others:
        assert torch.equal(images, first)
        assert same == weights


def test_drop_out_draws_again_from_the_same_seed():
    once, _ = gradients(network(drop=True), MicroBatching(6))
    again, _ = gradients(network(drop=True), MicroBatching(12), backward=Failing(1))
    for a, b in zip(once, again, strict=True):
        assert torch.equal(a, b)


def test_memory_that_runs_out_in_a_transform_or_in_the_forward_pass_is_met_alike():
    class Once(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network()
            self.failed = False

        def forward(self, images):
            if not self.failed:
                self.failed = True
                raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to ...")
            return self.inner(images)

    micro_batching = MicroBatching(12)
    after, _ = gradients(Once(), micro_batching)
    expected, _ = gradients(network(), MicroBatching(6))
    assert micro_batching.size == 6
    for a, b in zip(after, expected, strict=True):
        assert torch.equal(a, b)


def test_checkpointing_comes_before_an_unhealthy_micro_batch():
    model = nn.Sequential(nn.Sequential(Block(1, 4), Block(4, 1)))
    blocks = find_blocks(model)
    assert len(blocks) == 2
    micro_batching = MicroBatching(12, blocks=blocks)
    after, _ = gradients(model, micro_batching, backward=Failing(1))
    assert micro_batching.recomputing and micro_batching.size == 12
    assert "recomputing activations" in micro_batching.notes[0]
    fresh = nn.Sequential(nn.Sequential(Block(1, 4), Block(4, 1)))
    expected, _ = gradients(fresh, MicroBatching(12))
    for a, b in zip(after, expected, strict=True):
        assert torch.equal(a, b)


class Block(nn.Module):
    def __init__(self, channels, out):
        super().__init__()
        torch.manual_seed(channels)
        self.first, self.second = nn.Conv2d(channels, 4, 3, padding=1), nn.Conv2d(4, out, 3, padding=1)

    def forward(self, images):
        return self.second(self.first(images).relu())


def test_a_large_micro_batch_is_halved_before_anything_is_recomputed():
    blocks = find_blocks(nn.Sequential(nn.Sequential(Block(1, 4), Block(4, 1))))
    micro_batching = MicroBatching(64, blocks=blocks)
    for expected in (32, 16, 8):
        micro_batching.reduce_memory(64, "epoch 1, step 1")
        assert (micro_batching.size, micro_batching.recomputing) == (expected, False)
    micro_batching.reduce_memory(64, "epoch 1, step 1")
    assert (micro_batching.size, micro_batching.recomputing) == (8, True)
    for expected in (4, 2, 1):
        micro_batching.reduce_memory(64, "epoch 1, step 1")
        assert micro_batching.size == expected
    with pytest.raises(TrainingError, match="activations recomputed"):
        micro_batching.reduce_memory(64, "epoch 1, step 1")


@pytest.mark.parametrize(("least", "attempts"), [(1, 5), (2, 4)])
@pytest.mark.slow
def test_when_nothing_is_left_the_error_says_what_to_do(least, attempts):
    failing = Failing(*range(1, 100))
    with pytest.raises(TrainingError, match=rf"epoch 2, step 8 with a micro-batch of {least}.*input\.size.*--memory"):
        gradients(network(), MicroBatching(12, least=least), backward=failing)
    assert failing.count == attempts  # 12, 6, 3, 2, 1


def test_other_errors_pass_through():
    with pytest.raises(RuntimeError, match="shapes"):
        gradients(network(), MicroBatching(12), backward=Failing(1, error=RuntimeError("shapes cannot be multiplied")))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (MemoryError(), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 17 GB"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("GET was unable to find an engine to execute this computation after trying 9 plans."), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_memory_run_out(error, expected):
    assert is_out_of_memory(error) is expected


def test_a_real_allocation_that_cannot_be_had_is_recognized():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_the_attempt_that_failed_keeps_nothing():
    """What the failed attempt made is gone before the repetition begins."""
    model, seen = network(), []

    class Watching(Failing):
        def __call__(self, loss):
            if self.count == 1:
                gc.collect()
                assert seen[0]() is None, "the failed attempt's logits are still alive"
            super().__call__(loss)

    model.register_forward_hook(lambda module, args, output: seen.append(weakref.ref(output)))
    gradients(model, MicroBatching(12), backward=Watching(1))
    assert len(seen) == 3


# --- compilation ----------------------------------------------------------------------------------------------------


def refuses(model):
    raise RuntimeError("Python 9 is not supported")


def fails_when_called(model):
    def call(images):
        model(images)  # as far as it gets: running statistics have changed
        raise ValueError("no C++ compiler")

    return call


class Spoilt(torch.autograd.Function):
    @staticmethod
    def forward(context, logits):
        return logits.clone()

    @staticmethod
    def backward(context, gradient):
        raise AssertionError("the backward pass cannot be compiled")


def fails_in_backward(model):
    return lambda images: Spoilt.apply(model(images))


@pytest.mark.parametrize(
    ("compiler", "cause"),
    [
        (refuses, "RuntimeError: Python 9 is not supported"),
        (fails_when_called, "ValueError: no C\\+\\+ compiler"),
        (fails_in_backward, "AssertionError: the backward pass"),
    ],
)
def test_where_compilation_fails_the_step_is_that_of_the_plain_network(monkeypatch, compiler, cause):
    monkeypatch.setattr(torch, "compile", compiler)
    model, twin, micro_batching = network(norm=True, drop=True), network(norm=True, drop=True), MicroBatching(4)
    found, terms = gradients(model, micro_batching, transforms=[Mixup()], compiled=True)
    expected, values = gradients(twin, MicroBatching(4), transforms=[Mixup()])
    for a, b in zip([*found, terms, *model.buffers()], [*expected, values, *twin.buffers()], strict=True):
        assert torch.equal(a, b)
    (note,) = micro_batching.notes
    assert re.search(f"without compilation, because it failed with {cause}", note)
    assert micro_batching.size == 4


def test_memory_that_runs_out_does_not_end_compilation(monkeypatch):
    calls = []
    monkeypatch.setattr(torch, "compile", lambda model: lambda images: calls.append(len(images)) or model(images))
    micro_batching = MicroBatching(12)
    gradients(network(), micro_batching, backward=Failing(1), compiled=True)
    assert calls == [12, 6, 6]
    assert len(micro_batching.notes) == 1 and "memory ran out" in micro_batching.notes[0]


def test_an_error_that_is_not_the_compilers_is_raised(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda model: model)
    failing = Failing(1, 2, error=RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        gradients(network(), MicroBatching(12), backward=failing, compiled=True)


class Odd(nn.Module):
    """A loss that fails at its first call."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, logits, target):
        self.calls += 1
        if self.calls == 1:
            raise ValueError("no boundary in this slice")
        return (logits - target).square().mean()


@pytest.mark.parametrize("memory", [False, True])
def test_an_error_of_a_loss_is_not_put_down_to_the_compiler(monkeypatch, memory):
    """Nor after memory ran out in the compiled network."""
    monkeypatch.setattr(torch, "compile", lambda model: model)
    loss, micro_batching = Odd(), MicroBatching(12)
    loss.calls = -1 if memory else 0
    with pytest.raises(ValueError, match="no boundary in this slice"):
        gradients(
            network(),
            micro_batching,
            criterion=Criterion([("odd", 1.0, loss)]),
            backward=Failing(1) if memory else None,
            compiled=True,
        )
    assert len(micro_batching.notes) == memory and not any("compil" in note for note in micro_batching.notes)


def test_an_error_of_a_batch_transform_is_not_put_down_to_the_compiler(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda model: model)
    calls, micro_batching = [], MicroBatching(12)

    def fails_once(batch, rng):
        calls.append(1)
        if len(calls) == 1:
            raise KeyError("case")
        return batch

    with pytest.raises(KeyError, match="case"):
        gradients(network(), micro_batching, transforms=[fails_once], compiled=True)
    assert (len(calls), micro_batching.notes) == (1, [])


@pytest.mark.slow
def test_a_network_that_is_recomputed_trains_without_compilation(monkeypatch):
    plain = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model: plain(model, backend=lambda graph, inputs: graph.forward))
    model, twin = (nn.Sequential(nn.Sequential(Block(1, 4), Block(4, 1))) for _ in range(2))
    enable(find_blocks(model))
    micro_batching = MicroBatching(12)
    found, _ = gradients(model, micro_batching, compiled=True)
    expected, _ = gradients(twin, MicroBatching(12))
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)
    assert len(micro_batching.notes) == 1 and "without compilation" in micro_batching.notes[0]
