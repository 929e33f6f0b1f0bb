"""Slices kept on a GPU: the CPU's batches to the last bit, and an epoch that moves only their numbers; else skipped."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gisegkit.build.session import Session
from gisegkit.engine.device import pick_device
from gisegkit.engine.device_cache import Resident
from gisegkit.engine.fit import make_loader, train_epoch
from gisegkit.engine.forward import Forward
from gisegkit.types import silent

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]


class Copies(TorchDispatchMode):
    """The bytes of every copy from main memory to the GPU."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        if "copy" in func.__name__ and isinstance(output, torch.Tensor) and output.is_cuda:
            self.sizes += [tensor.numel() * tensor.element_size() for tensor in given if not tensor.is_cuda]
        return output


@pytest.fixture
def training(session, recipe):
    """The tiny recipe's parts on the GPU, its slices to be kept there."""

    def make(*sets):
        on_gpu = Session(session.plugins, device="cuda")
        chosen = recipe("augmentation.name=none", "batch_transform=[]", *sets)
        experiment = on_gpu.experiment(chosen)
        experiment.prepare()
        return experiment.assembled.training

    return make


def test_an_epoch_moves_only_the_numbers_of_its_slices(training):
    for store, moves in (("device", False), ("resized", True)):
        one = training(f"input.store={store}", "train.workers=0")
        loader = make_loader(one, silent)
        one.sampler.epoch = 1
        with Copies() as copies:
            train_epoch(one, Forward(one.model), loader, one.device.scaler(), 1)
        numbers = one.sampler.batch_size * 8
        assert copies.sizes, "what is counted is there to be counted"
        assert (max(copies.sizes) > numbers) is moves


@pytest.mark.parametrize("normalization", ["maximum", "percentile", "zscore"])
@pytest.mark.parametrize("over", ["slice", "stack"])
@pytest.mark.parametrize("interpolation", ["nearest", "linear"])
def test_batches_are_those_of_the_cpu_and_nothing_waits(training, normalization, over, interpolation):
    chosen = (f"normalization.name={normalization}", f"normalization.over={over}")
    one = training("input.store=device", *chosen, f"input.interpolation={interpolation}")
    there = one.resident.load(one.device, one.sampler)
    here = Resident(one.samples.source, one.sampler.rows).load(pick_device("cpu"), one.sampler)
    one.sampler.epoch = 1
    keys = [[row for _, row in batch] for batch in one.sampler]
    there.gather(keys[0])  # the first call loads kernels
    for rows in keys:
        torch.cuda.set_sync_debug_mode("error")
        try:
            on_gpu = there.gather(rows)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        on_cpu = here.gather(rows)
        assert torch.equal(on_gpu.images.cpu(), on_cpu.images)
        assert torch.equal(on_gpu.masks.cpu(), on_cpu.masks)
