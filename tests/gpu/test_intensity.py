"""Intensities on a GPU are those on the CPU, and the host never waits for them; skipped if there is no GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gisegkit.components.augmentation.intensity_draws import STEPS
from gisegkit.components.batch_transforms.intensity import Intensity
from gisegkit.types import Batch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]


@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_both_devices_give_the_same_and_nothing_waits(scale):
    images = torch.rand(16, 3, 96, 128, generator=torch.Generator().manual_seed(0)) * scale - (scale - 1) / 2
    given = Batch(images.contiguous(memory_format=torch.channels_last), (), torch.arange(16))
    there = Batch(given.images.cuda(), (), given.rows)
    transform = Intensity(**{f"{name}_p": 0.7 for name in STEPS})
    transform(there, np.random.default_rng(1))  # the first call loads kernels
    torch.cuda.set_sync_debug_mode("error")
    try:
        on_gpu = transform(there, np.random.default_rng(0))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    on_cpu = transform(given, np.random.default_rng(0))
    assert on_gpu.images.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(on_gpu.images.cpu(), on_cpu.images, atol=1e-4 * scale, rtol=0)
