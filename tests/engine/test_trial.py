"""Batch transforms and optimizers are tried for the prediction of memory; what they raise becomes a note."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gisegkit.components.batch_transforms.mixup import Mixup
from gisegkit.components.optimizers import adam, sgd
from gisegkit.engine.trial import ASSUMED_STATE, count_targets, optimizer_state, state_per_weight
from gisegkit.types import Batch

SHAPES = {"channels": 1, "classes": 2, "size": (64, 96)}


def test_mixup_makes_two_targets_and_none_makes_one():
    assert count_targets([("mixup", Mixup())], **SHAPES) == (2, "")
    assert count_targets([], **SHAPES) == (1, "")


class Crop:
    """Wants slices of at least 64 pixels a side, and doubles the targets."""

    def __call__(self, batch, rng):
        if min(batch.images.shape[-2:]) < 64:
            raise ValueError("crop 64 is larger than the slice")
        return Batch(batch.images, batch.targets * 2, batch.rows)


def test_a_transform_that_wants_larger_slices_is_tried_at_the_recipes_size():
    assert count_targets([("crop", Crop())], **SHAPES) == (2, "")


@pytest.mark.parametrize("error", [ValueError("no"), MemoryError(), AssertionError("x"), StopIteration()])
def test_a_transform_that_raises_is_named_and_one_target_assumed(error):
    def fails(batch, rng):
        raise error

    targets, note = count_targets([("mixup", Mixup()), ("batch_transform 'x' of giseg-x 1.0", fails)], **SHAPES)
    assert targets == 1
    assert note.startswith(f"batch_transform 'x' of giseg-x 1.0 raised {type(error).__name__}")
    assert "black batch of 4 x 1 x 64 x 96" in note and "assumes one" in note


def test_what_a_transform_returns_may_be_nonsense():
    targets, note = count_targets([("odd", lambda batch, rng: None)], **SHAPES)
    assert (targets, "odd raised AttributeError" in note) == (1, True)


def test_ctrl_c_stops_everything():
    def interrupted(batch, rng):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        count_targets([("slow", interrupted)], **SHAPES)


def test_no_global_generator_is_touched():
    def careless(batch, rng):
        torch.rand(1)
        return batch

    before = torch.get_rng_state()
    count_targets([("careless", careless)], **SHAPES)
    assert torch.equal(torch.get_rng_state(), before)


class Sharp(torch.optim.SGD):
    """As sharpness-aware optimizers, which call the network again."""

    def step(self, closure):
        return super().step(closure)


def test_an_optimizer_that_needs_a_closure_is_named_and_adam_assumed():
    state, note = optimizer_state("optimizer 'sam' of giseg-sam 1.0", lambda params: Sharp(params, lr=0.1))
    assert state == ASSUMED_STATE == state_per_weight(lambda params: adam(params))
    assert note.startswith("optimizer 'sam' of giseg-sam 1.0 raised TypeError") and "closure" in note
    assert optimizer_state("adam", lambda params: adam(params)) == (2, "")


def test_what_optimizers_remember_is_seen_on_a_small_weight():
    assert state_per_weight(lambda params: adam(params)) == 2
    assert state_per_weight(lambda params: sgd(params, lr=0.1, momentum=0.9)) == 1
    assert state_per_weight(lambda params: sgd(params, lr=0.1, momentum=0.0)) == 0


def test_draws_are_those_of_generators_handed_in():
    seen = []
    count_targets([("listening", lambda batch, rng: seen.append(rng) or batch)], **SHAPES)
    assert len(seen) > 8 and all(isinstance(rng, np.random.Generator) for rng in seen)
