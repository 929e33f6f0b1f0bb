"""No batch transform makes the host wait for a GPU, nor does one of a plugin; skipped if there is none."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

import numpy as np
import pytest
import torch

from gisegkit.plugins import GROUP, load_plugins
from gisegkit.types import Batch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]

# In a checkout that is not installed the plugin has no entry point; then it is the one that would be there.
FOUND = [*entry_points(group=GROUP)] or [EntryPoint("cutmix", "giseg_cutmix", GROUP)]
TRANSFORMS = [one for one in load_plugins("", FOUND).registries if one.kind == "batch_transform"]


@pytest.mark.parametrize("component", TRANSFORMS, ids=lambda component: component.name)
def test_nothing_waits(component):
    transform = component.load()()
    images = torch.rand(8, 1, 64, 96, device="cuda")
    target = (torch.rand(8, 3, 64, 96, device="cuda") > 0.5).float()
    batch = Batch(images, ((1.0, target),), torch.arange(8))
    for seed in range(4):
        transform(batch, np.random.default_rng(seed))  # loads kernels, and fills the pool of page-locked memory
    torch.cuda.set_sync_debug_mode("error")
    try:
        changed = [transform(batch, np.random.default_rng(seed)) for seed in range(4)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert any(not torch.equal(one.images, images) for one in changed), "what never changes a batch tests nothing"
