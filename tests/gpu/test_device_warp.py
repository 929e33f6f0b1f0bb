"""The warp on a GPU is the warp on the CPU, and the host never waits for it; skipped if there is no GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gisegkit.components.batch_transforms.device_warp import DeviceWarp
from gisegkit.types import Batch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]


def test_both_devices_give_the_same_and_nothing_waits():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(16, 3, 96, 128, generator=generator).contiguous(memory_format=torch.channels_last)
    target = (torch.rand(16, 3, 96, 128, generator=generator) > 0.5).float()
    target[:, 0, :20] = torch.nan
    given = Batch(images, ((0.4, target), (0.6, target.flip(0))), torch.arange(16))
    there = Batch(images.cuda(), tuple((weight, one.cuda()) for weight, one in given.targets), given.rows)
    warp = DeviceWarp(distort_p=0.7, alpha=50.0, sigma=6.0, cutout_p=0.5)
    warp(there, np.random.default_rng(1))  # the first call loads kernels
    torch.cuda.set_sync_debug_mode("error")
    try:
        on_gpu = warp(there, np.random.default_rng(0))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    on_cpu = warp(given, np.random.default_rng(0))
    assert on_gpu.images.is_contiguous(memory_format=torch.channels_last)
    # Noise from pixel to pixel: a position that is off by 1e-4 pixels changes a value by as much.
    torch.testing.assert_close(on_gpu.images.cpu(), on_cpu.images, atol=2e-3, rtol=0)
    for (weight, ours), (other, theirs) in zip(on_gpu.targets, on_cpu.targets, strict=True):
        assert weight == other
        differs = ours.cpu().nan_to_num(-1) != theirs.nan_to_num(-1)
        assert differs.float().mean() < 1e-4, "all but pixels whose position lies between two"
