"""Memory is predicted without running the model, and the prediction is what the CPU's allocator then counts."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from gisegkit.components.losses.ratios import BCE, Tversky
from gisegkit.components.models.unet_family import unet, unetplusplus
from gisegkit.engine.checkpointing import disable, enable, find_blocks, is_enabled
from gisegkit.engine.criterion import Criterion
from gisegkit.engine.device import Device
from gisegkit.engine.memory import Simulation, SimulationError

CRITERION = Criterion([("bce", 0.5, BCE()), ("tversky", 0.5, Tversky())])
CPU = Device(torch.device("cpu"), torch.float32)
TINY = {"encoder": "tu-test_resnet", "weights": "none", "depth": 3, "decoder_channels": (16, 8, 8)}


def simulation(model=None, **changes):
    given = {
        "model": model or unet(in_channels=1, classes=3, **TINY),
        "criterion": CRITERION,
        "channels": 1,
        "classes": 3,
        "size": (64, 64),
        "targets": 1,
        "batch_size": 16,
        "device": CPU,
        "state_per_weight": 2.0,
    }
    return Simulation(**given | changes)


SLICES = 16
"""From so many on the CPU's convolutions are oneDNN's; those for fewer slices unfold the image in memory first."""


def measured(model, count, size, targets=1):
    """The most bytes that the allocator had handed out during a real step, beyond those at its start."""
    model.to(memory_format=torch.channels_last)
    images = torch.rand(count, 1, *size).contiguous(memory_format=torch.channels_last)
    masks = (torch.rand(count, 3, *size) < 0.3).float()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)

    def step():
        logits = model(images)
        sum(CRITERION(logits, masks) for _ in range(targets)).backward()

    step()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        step()
    events = [event for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


MODELS = {
    "unet": (unet, TINY),
    "unetplusplus": (unetplusplus, TINY),
    "efficientnet": (
        unet,
        {"encoder": "efficientnet-b0", "weights": "none", "depth": 3, "decoder_channels": (16, 16, 8)},
    ),
}


@pytest.mark.parametrize(("build", "options"), MODELS.values(), ids=MODELS)
@pytest.mark.slow
def test_the_predicted_activations_are_those_that_the_allocator_counts(build, options):
    model = build(in_channels=1, classes=3, **options).train()
    predicted = simulation(model).estimate(SLICES).activations
    assert predicted == pytest.approx(measured(model, SLICES, (64, 64)), rel=0.03)


@pytest.mark.parametrize(("build", "options"), MODELS.values(), ids=MODELS)
@pytest.mark.slow
def test_recomputed_activations_peak_inside_a_convolution_which_the_workspace_covers(build, options):
    model = build(in_channels=1, classes=3, **options).train()
    step = simulation(model)
    predicted = step.estimate(SLICES, checkpointing=True)
    plain = step.estimate(SLICES)
    blocks = step.recomputable
    enable(blocks)
    try:
        peak = measured(model, SLICES, (64, 64))
    finally:
        disable(blocks)
    assert predicted.activations < 1.03 * peak
    assert peak < predicted.activations + predicted.workspace
    assert predicted.total < plain.total


@pytest.mark.slow
def test_every_weighted_target_costs():
    one, two = (simulation(targets=count).estimate(SLICES) for count in (1, 2))
    model = unet(in_channels=1, classes=3, **TINY).train()
    assert two.activations > one.activations
    assert two.activations == pytest.approx(measured(model, SLICES, (64, 64), targets=2), rel=0.03)
    assert two.batch - one.batch == 16 * 3 * 64 * 64 * 4


def test_parts_that_are_known_by_arithmetic():
    model = nn.Conv2d(1, 3, 3, padding=1)  # 27 + 3 weights
    estimate = simulation(model, size=(32, 40), batch_size=10).estimate(2)
    assert (estimate.parameters, estimate.gradients, estimate.optimizer) == (120, 120, 240)
    pixels = 10 * 32 * 40
    assert estimate.batch == pixels * (4 + 4 + 3 + 3 * 4)  # images twice, masks in bytes, one target in float32
    assert estimate.total == sum(estimate.parts.values())
    assert estimate.context == 0
    gpu = Device(torch.device("cuda"), torch.float32)
    beside = simulation(model, size=(32, 40), batch_size=10, device=gpu).estimate(2)
    assert beside.batch == estimate.batch + pixels * (4 + 3)  # the next batch's images and masks


@pytest.mark.slow
def test_activations_grow_in_a_straight_line_with_the_micro_batch():
    step = simulation()
    four, eight, twelve = (step.estimate(count).activations for count in (4, 8, 12))
    assert twelve - eight == pytest.approx(eight - four, rel=0.01)
    assert eight > 1.8 * four


@pytest.mark.slow
def test_half_precision_takes_about_half_and_the_device_need_not_exist():
    model = unet(in_channels=1, classes=3, **TINY)
    full, half = (
        simulation(model, size=(128, 128), device=Device(torch.device("cuda"), dtype)).estimate(8)
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert 0.45 * full.activations < half.activations < 0.65 * full.activations


@pytest.mark.slow
def test_a_whole_card_also_holds_its_context():
    gpu = Device(torch.device("cuda"), torch.bfloat16)
    card, free = (simulation(device=gpu, whole_device=whole).estimate(4) for whole in (True, False))
    assert card.context > 2**28
    assert free.total == card.total - card.context


class Normalized(nn.Module):
    """What CUDA's autocast computes in float32."""

    def forward(self, images):
        return nn.functional.layer_norm(self.conv(images), images.shape[-1:])

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 1)


def test_cuda_normalizes_in_full_precision_and_the_cpu_does_not():
    cuda, cpu = (
        simulation(Normalized(), device=Device(torch.device(kind), torch.bfloat16)).estimate(8).activations
        for kind in ("cuda", "cpu")
    )
    assert cuda > cpu


class Pooled(nn.Module):
    """A network with a branch that sees a single pixel, as DeepLabV3 and PSPNet have."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3)

    def forward(self, images):
        return images + self.norm(nn.functional.adaptive_avg_pool2d(self.conv(images), 1))


@pytest.mark.slow
def test_a_network_that_cannot_train_on_one_slice_is_found_out():
    assert simulation(Pooled()).least() == 2
    assert simulation().least() == 1


class Looks(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 1)

    def forward(self, images):
        return self.conv(images) * (2 if images.max() > 0.5 else 1)


def test_a_network_that_looks_at_values_cannot_be_predicted_and_says_why():
    with pytest.raises(SimulationError, match="DataDependent"):
        simulation(Looks()).estimate(2)


@pytest.mark.slow
def test_nothing_is_left_behind():
    model = unet(in_channels=1, classes=3, **TINY).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    generator = torch.get_rng_state()
    simulation(model).estimate(2, checkpointing=True)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.training
    assert torch.equal(torch.get_rng_state(), generator)


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("checkpointing", [True, False])
@pytest.mark.slow
def test_a_simulation_leaves_recomputation_as_it_found_it(on, checkpointing):
    """And counts what it was asked for, whichever way the network computes at the moment."""
    model = unet(in_channels=1, classes=3, **TINY)
    expected = simulation(unet(in_channels=1, classes=3, **TINY)).estimate(8, checkpointing=checkpointing)
    blocks = find_blocks(model)
    if on:
        enable(blocks)
    assert simulation(model).estimate(8, checkpointing=checkpointing) == expected
    assert [is_enabled(block) for block in blocks] == [on] * len(blocks)


@pytest.mark.parametrize("checkpointing", [True, False])
def test_a_simulation_that_fails_leaves_it_too(checkpointing):
    model = nn.Sequential(nn.Sequential(Blind()))
    enable(find_blocks(model))
    assert all(map(is_enabled, find_blocks(model)))
    with pytest.raises(SimulationError):
        simulation(model).estimate(2, checkpointing=checkpointing)
    assert find_blocks(model) and all(map(is_enabled, find_blocks(model)))


class Blind(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, images):
        return self.second(self.first(images)) * images.max().item()


# --- whatever goes wrong --------------------------------------------------------------------------------------------


class Raises(nn.Module):
    """Fails as it is told to, as a network, or as a loss."""

    def __init__(self, error):
        super().__init__()
        self.conv, self.error = nn.Conv2d(1, 3, 1), error

    def forward(self, *values):
        raise self.error


ERRORS = [KeyError("x"), IndexError("y"), AssertionError("z"), ImportError("w"), MemoryError(), StopIteration("v")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_whatever_a_simulation_raises_it_says_what_failed_and_no_more(error):
    owners = {"model": "model 'mine' of giseg-mine 1.0"}
    for call in (lambda step: step.estimate(2), lambda step: step.recomputable, lambda step: step.least()):
        with pytest.raises(SimulationError, match=f"model 'mine' of giseg-mine 1.0: {type(error).__name__}"):
            call(simulation(Raises(error), owners=owners))


def test_ctrl_c_stops_a_simulation():
    for call in (lambda step: step.estimate(2), lambda step: step.recomputable):
        with pytest.raises(KeyboardInterrupt):
            call(simulation(Raises(KeyboardInterrupt())))


class Scipy(nn.Module):
    """A distance to boundaries is often taken from scipy, which wants an array."""

    def forward(self, logits, target):
        return (logits * torch.from_numpy(target.numpy() * 2)).mean()


@pytest.mark.slow
def test_the_loss_that_cannot_be_predicted_is_named():
    mixed = Criterion([("bce", 1.0, BCE()), ("boundary", 1.0, Scipy()), ("tversky", 1.0, Tversky())])
    with pytest.raises(SimulationError, match=r"^loss 'boundary' of giseg-edge 0.1: RuntimeError: \.numpy\(\)"):
        simulation(criterion=mixed, owners={"boundary": "loss 'boundary' of giseg-edge 0.1"}).estimate(2)
    assert not any(loss._forward_pre_hooks for loss in mixed.losses)


def test_a_micro_batch_of_one_that_batch_normalization_refuses_cannot_be_predicted_either():
    with pytest.raises(SimulationError, match="more than 1 value per channel"):
        simulation(Pooled()).estimate(1)
