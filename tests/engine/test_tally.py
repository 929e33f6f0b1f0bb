"""The bytes of tensors that operations create are counted while anything refers to them."""

from __future__ import annotations

import torch

from gisegkit.engine.device import Device
from gisegkit.engine.tally import BLOCK, Tally, autocast_like, size_of


def test_bytes_live_as_long_as_their_tensor():
    with Tally() as tally:
        first = torch.zeros(1000)  # 4,000 bytes: 8 blocks of 512
        second = first + 1
        del first
        third = second.view(10, 100)  # the same memory
        del second
    assert tally.peak == 2 * 8 * BLOCK
    assert tally.now == size_of(third) + 96


def test_the_workspace_is_that_of_the_largest_convolution():
    with Tally() as tally:
        small = torch.nn.functional.conv2d(torch.zeros(1, 1, 8, 8), torch.zeros(2, 1, 1, 1))
        large = torch.nn.functional.conv2d(torch.zeros(1, 1, 16, 16), torch.zeros(2, 1, 1, 1))
    assert tally.convolved == size_of(small) + size_of(large)
    assert tally.workspace == (16 * 16 + size_of(large) // 4) * 4 > size_of(small)


def test_autocast_is_that_of_a_device_that_need_not_be_here():
    values = torch.zeros(2, 3)
    for name, kept in (("cuda", torch.float32), ("cpu", torch.bfloat16)):
        with autocast_like(Device(torch.device(name), torch.bfloat16)):
            assert torch.nn.functional.linear(values, torch.zeros(3, 3)).dtype is torch.bfloat16
            assert torch.nn.functional.layer_norm(values.bfloat16(), (3,)).dtype is kept
    with autocast_like(Device(torch.device("cuda"), torch.float32)):
        assert torch.nn.functional.linear(values, torch.zeros(3, 3)).dtype is torch.float32
