"""The plan: the largest micro-batch that fits, checkpointing where a healthy one needs it, and what would help."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gisegkit.components.losses.ratios import BCE
from gisegkit.components.models.unet_family import unet
from gisegkit.engine.criterion import Criterion
from gisegkit.engine.device import Device
from gisegkit.engine.memory import Estimate, Simulation
from gisegkit.engine.plan import HEALTHY, choose, even, ways_out
from gisegkit.errors import TrainingError

FIXED = 1000


class Straight(Simulation):
    """A step whose memory is a straight line: 100 bytes a slice, 40 with checkpointing."""

    def estimate(self, micro_batch, *, checkpointing=False):
        slice_ = (40 if checkpointing else 100) * self.size[0] // 256
        return Estimate(micro_batch, checkpointing, FIXED, 0, 0, 0, slice_ * micro_batch, 0, 0)

    def least(self):
        return 1


def straight(**changes):
    given = {
        "model": torch.nn.Identity(),
        "criterion": torch.nn.Identity(),
        "channels": 1,
        "classes": 1,
        "size": (256, 256),
        "targets": 1,
        "batch_size": 64,
        "device": Device(torch.device("cpu"), torch.float32),
        "state_per_weight": 2.0,
    }
    return Straight(**given | changes)


@pytest.mark.parametrize(
    ("budget", "micro_batch", "checkpointing"),
    [
        (FIXED + 6400, 64, False),  # everything fits
        (FIXED + 6399, 32, False),  # 63 would fit, and 2 passes of 32 need no more than 2 passes
        (FIXED + 1600, 16, False),
        (FIXED + 1599, 13, False),  # 15 fit: 5 passes, of at most 13
        (FIXED + 799, 16, True),  # 7 fit plain, fewer than 8; recomputed 19: 4 passes of 16
        (FIXED + 320, 8, True),
        (FIXED + 99, 2, True),
        (FIXED + 40, 1, True),
    ],
)
def test_the_largest_that_fits_cut_evenly(budget, micro_batch, checkpointing):
    plan = choose(straight(), budget)
    assert (plan.micro_batch, plan.checkpointing, plan.fits) == (micro_batch, checkpointing, True)
    assert plan.estimate.total <= budget


def test_nothing_fits():
    plan = choose(straight(), FIXED + 39)
    assert (plan.micro_batch, plan.fits) == (1, False)


def test_the_recipe_may_decide_on_checkpointing():
    assert choose(straight(), FIXED + 799, checkpointing="off").micro_batch == 7
    on = choose(straight(), FIXED + 6400, checkpointing="on")
    assert (on.micro_batch, on.checkpointing) == (64, True)


def test_a_small_batch_is_healthy_whole():
    plan = choose(straight(batch_size=4), FIXED + 400)
    assert (plan.micro_batch, plan.checkpointing) == (4, False)
    assert HEALTHY == 8


@settings(max_examples=200, deadline=None)
@given(batch=st.integers(1, 200), size=st.integers(1, 200))
def test_even_passes(batch, size):
    size = min(size, batch)
    cut = even(batch, size)
    passes = -(-batch // size)
    assert cut <= size
    assert -(-batch // cut) == passes
    assert cut - batch / passes < 1


class Two(Straight):
    def least(self):
        return 2


def test_no_micro_batch_is_smaller_than_batch_normalization_allows():
    given = vars(straight())
    plan = choose(Two(**given), FIXED + 85)
    assert (plan.micro_batch, plan.least, plan.fits) == (2, 2, True)
    assert not choose(Two(**given), FIXED + 79).fits


def test_what_would_help_is_predicted_too():
    step = straight(device=Device(torch.device("cuda"), torch.float32))
    plan = choose(step, FIXED + 160)
    assert (plan.micro_batch, plan.checkpointing) == (4, True)
    offers = list(ways_out(step, plan))
    assert offers[0].startswith("--set train.precision=bf16: micro-batch 4")
    # 8 slices of 40 bytes at 256 pixels are 320: half of that fits, so half the height (128) is the first to do.
    assert offers[1] == "--set input.size=[128,128]: micro-batch 8, 1 KiB"
    assert "encoder" in offers[-1]
    plain = list(ways_out(step, choose(step, FIXED + 799, checkpointing="off")))
    assert plain[0] == "--set train.activation_checkpointing=on: micro-batch 16, 2 KiB"


@pytest.mark.parametrize("share", [0.15, 0.4, 0.8])
@pytest.mark.slow
def test_a_real_network_is_planned_close_to_its_budget(share):
    shallow = {"depth": 3, "decoder_channels": (16, 8, 8)}  # few layers, which are simulated sooner
    model = unet(in_channels=1, classes=2, encoder="tu-test_resnet", weights="none", **shallow)
    step = Simulation(**{**vars(straight()), "model": model, "criterion": Criterion([("bce", 1.0, BCE())])})
    step = replace(step, size=(64, 64), classes=2)
    whole, one = step.estimate(64), step.estimate(1)
    budget = int(one.total + share * (whole.total - one.total))
    plan = choose(step, budget, checkpointing="off")
    assert plan.fits
    larger = -(-64 // (-(-64 // plan.micro_batch) - 1))  # with one pass less
    assert step.estimate(larger).total > budget


def test_a_batch_smaller_than_batch_normalization_allows_is_refused():
    with pytest.raises(TrainingError, match=r"needs 2 slices or more: raise train\.batch_size \(it is 1\)"):
        choose(Two(**{**vars(straight()), "batch_size": 1}), FIXED + 6400)


def test_the_least_is_kept_where_everything_fits():
    assert choose(Two(**vars(straight())), FIXED + 6400).least == 2
