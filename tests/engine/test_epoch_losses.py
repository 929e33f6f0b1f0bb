"""Losses are read at log points; the first that is not finite is named, however late that is."""

from __future__ import annotations

import pytest
import torch

from gisegkit.engine.device import Device
from gisegkit.engine.epoch_losses import Ledger
from gisegkit.errors import TrainingError


class Late(Device):
    """A device whose losses are read every third step."""

    @property
    def log_every(self):
        return 3


def ledger(kind=Late):
    return Ledger(("bce", "dice"), device=kind(torch.device("cpu"), torch.float32), epoch=4)


def add(book, step, bce, dice=0.5, images=2):
    book.add(torch.tensor([bce, dice]), images=images, step=step, rate=0.1 / (1 + step))


@pytest.mark.parametrize("kind", [Device, Late])
def test_means_are_those_of_images(kind):
    book = ledger(kind)
    for step, (bce, images) in enumerate([(1.0, 4), (2.0, 4), (3.0, 4), (4.0, 4), (10.0, 1)]):
        add(book, step, bce, images=images)
    assert book.means().tolist() == pytest.approx([(4 * (1 + 2 + 3 + 4) + 10) / 17, 0.5])
    assert book.images == 17


def test_a_cpu_is_read_at_every_step():
    book = ledger(Device)
    with pytest.raises(TrainingError, match=r"epoch 4, step 1: bce nan, dice 0\.5"):
        add(book, 0, float("nan"))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_elsewhere_the_first_bad_step_is_named_at_the_next_log_point(bad):
    book = ledger()
    for step in range(3):
        add(book, step, 1.0)
    add(book, 3, 1.0)
    add(book, 4, bad)
    with pytest.raises(TrainingError, match=rf"epoch 4, step 5: bce {bad:g}, dice 0.5 \(learning rate 0.02, cpu"):
        add(book, 5, float("nan"), dice=7.0)


def test_what_no_log_point_saw_is_read_at_the_end():
    book = ledger()
    add(book, 0, 1.0)
    add(book, 1, 1.0, dice=float("inf"))
    with pytest.raises(TrainingError, match="step 2: bce 1, dice inf"):
        book.means()


def test_nothing_is_read_between_log_points():
    """The values are looked at no earlier: they may still be computed."""
    book = ledger()
    values = torch.tensor([float("nan"), 1.0])
    book.add(values, images=2, step=0, rate=0.1)
    values[0] = 1.0
    assert book.means().tolist() == [1.0, 1.0]
