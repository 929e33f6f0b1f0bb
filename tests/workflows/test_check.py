"""check --build: slices are looked at, every part is built, and one tiny batch goes through it."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest
import torch

from gisegkit.build.session import Session
from gisegkit.data.findings import FindingsError
from gisegkit.plugins import load_plugins
from gisegkit.recipe.load import load_recipe
from gisegkit.registry.adder import Adder
from gisegkit.registry.kinds import Owner
from gisegkit.workflows.check import smoke_test


def test_rehearse_writes_nothing(home, session, recipe):
    before = {path for path in home.iterdir() if path.name != "cache"}
    lines = smoke_test(session.experiment(recipe()))
    assert any("parameters" in line for line in lines) and any("one batch of 2" in line for line in lines)
    assert {path for path in home.iterdir() if path.name != "cache"} == before, "but the phantom, which is made once"


@pytest.mark.parametrize("store", ["off", "resized"])
def test_slices_are_looked_at_as_training_does(several, tmp_path, monkeypatch, store):
    monkeypatch.setenv("GISEG_CACHE", str(tmp_path / "cache"))
    shutil.copytree(several.folder / "t", tmp_path / "t")
    black, doubtful = (tmp_path / "t" / "images" / f"t{case}_0.png" for case in (1, 3))
    cv2.imwrite(str(black), np.zeros((24, 20), np.uint8))
    cv2.imwrite(str(doubtful), cv2.imread(str(doubtful), cv2.IMREAD_GRAYSCALE).astype(np.uint16) * 257)
    sets = ["split.fold=0", f"dataset.root={tmp_path / 't'}", f"input.store={store}", "train.micro_batch=0"]
    for _ in range(2):  # also of slices that are prepared already
        with pytest.raises(FindingsError, match=r"mask on a constant image: t1_0: the image is black"):
            smoke_test(several.experiment(*sets))
        assert [line for line in several.lines if line.startswith("warning: depth: t3_0: 1 image has uint16")]
    lines = smoke_test(several.experiment(*sets, "dataset.on_bad=skip"))
    assert any(line.startswith("left out: mask on a constant image: t1_0") for line in several.lines)
    assert "7 slices train, 4 validate" in lines


class _Half(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits, target):
        ctx.save_for_backward(logits, target)
        return torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), target)

    @staticmethod
    def backward(ctx, grad):
        logits, target = ctx.saved_tensors
        return grad * (logits.sigmoid() - target) / logits.numel() / 2, None


class WrongGradient(torch.nn.Module):
    """Cross-entropy whose backward pass is half of what it should be."""

    def forward(self, logits, target):
        return _Half.apply(logits, target)


@pytest.mark.parametrize("silenced", [False, True])
def test_a_plugin_loss_with_a_wrong_gradient_is_a_warning_that_a_recipe_can_silence(home, silenced):
    plugins = load_plugins(selection="none")
    adder = Adder(Owner("giseg-wrong", "0.1"))
    adder.loss("wrong", WrongGradient)
    for component in adder.components:
        plugins.registries[component.kind].add(component)
    said = []
    session = Session(plugins, device="cpu", say=said.append)
    overrides = ["loss.0.name=wrong", f"train.check_gradients={str(not silenced).lower()}", "train.micro_batch=0"]
    smoke_test(session.experiment(load_recipe(home / "tiny.toml", registries=plugins.registries, overrides=overrides)))
    warned = [line for line in said if "loss 'wrong' of giseg-wrong 0.1: " in line and "the gradient is wrong" in line]
    assert len(warned) == (not silenced)
