"""Derived generators: equal for equal keys, different for different ones, and global ones stay as they were."""

from __future__ import annotations

import contextlib
import itertools

import numpy as np
import pytest
import torch

from gisegkit.data.randomness import BATCH, NETWORK, SAMPLE, generator, seeded


def test_equal_keys_equal_draws():
    assert generator(1, SAMPLE, 2, 3).random() == generator(1, SAMPLE, 2, 3).random()


def test_different_keys_different_draws():
    keys = [key for purpose in (SAMPLE, BATCH) for key in itertools.product((0, 1), (purpose,), (1, 2), (0, 1))]
    draws = {generator(*key).random() for key in keys}
    assert len(draws) == len(keys)


def test_seeded_repeats_and_restores():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with seeded(0, NETWORK, 1, 2):
        first = torch.rand(4)
    with seeded(0, NETWORK, 1, 2):
        assert torch.equal(first, torch.rand(4))
    with seeded(0, NETWORK, 1, 3):
        assert not torch.equal(first, torch.rand(4))
    assert torch.equal(torch.rand(2), expected)


def test_seeded_draws_are_those_of_torch_under_the_derived_seed():
    derived = np.random.SeedSequence([7, NETWORK, 2]).generate_state(1, np.uint64)[0]
    with seeded(7, NETWORK, 2):
        drawn = torch.rand(3), torch.randn(3), torch.randperm(9)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(derived >> np.uint64(1)))
        expected = torch.rand(3), torch.randn(3), torch.randperm(9)
    assert all(torch.equal(a, b) for a, b in zip(drawn, expected, strict=True))


@pytest.mark.parametrize("fails", [False, True])
def test_the_generator_of_mps_is_restored_too(monkeypatch, fails):
    """As torch tells of an Apple GPU; there is none here."""
    state = [torch.tensor([7])]
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: state[0])
    monkeypatch.setattr(torch.mps, "set_rng_state", lambda new: state.__setitem__(0, new))
    monkeypatch.setattr(torch.mps, "manual_seed", lambda seed: state.__setitem__(0, torch.tensor([seed])))
    with contextlib.suppress(ZeroDivisionError), seeded(0, NETWORK, 1):
        assert state[0].item() != 7
        if fails:
            raise ZeroDivisionError
    assert state[0].item() == 7
