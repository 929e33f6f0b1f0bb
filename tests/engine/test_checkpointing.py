"""Activation checkpointing changes time and memory, and not one bit of gradients, statistics or draws."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from gisegkit.components.models.unet_family import unet, unetplusplus
from gisegkit.engine.checkpointing import disable, enable, find_blocks, frozen_statistics, is_enabled, watch_inputs

TINY = {"encoder": "tu-test_resnet", "weights": "none", "decoder_channels": (16, 16, 8, 8, 8)}


NETWORKS = {
    "unet": (unet, TINY),
    "unetplusplus": (unetplusplus, TINY),
    "efficientnet": (unet, {"encoder": "efficientnet-b0", "weights": "none"}),
    "densenet": (unet, {"encoder": "densenet121", "weights": "none"}),
    "transformer": (unet, {"encoder": "mit_b0", "weights": "none"}),
}


def train_once(model):
    """Gradients, buffers and the loss of one step under one seed."""
    torch.manual_seed(1)
    images = torch.rand(2, 1, 64, 64)
    loss = model(images).square().mean()
    loss.backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return loss.detach(), gradients, [buffer.clone() for buffer in model.buffers()]


@pytest.mark.parametrize(("build", "options"), NETWORKS.values(), ids=NETWORKS)
@pytest.mark.slow
def test_gradients_statistics_and_drop_out_are_the_same_to_the_bit(build, options):
    torch.manual_seed(0)
    plain = build(in_channels=1, classes=2, **options).train()
    spared = copy.deepcopy(plain)
    blocks = find_blocks(spared)
    assert len(blocks) >= 4
    enable(blocks)
    first, second = train_once(plain), train_once(spared)
    assert torch.equal(first[0], second[0])
    for a, b in zip(first[1], second[1], strict=True):
        assert torch.equal(a, b)
    for a, b in zip(first[2], second[2], strict=True):
        assert torch.equal(a, b)


def kept_bytes(model, images):
    """Bytes that the forward pass keeps for the backward pass, each storage once."""
    seen = {}

    def pack(tensor):
        seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(images)
    return sum(seen.values())


def test_inner_activations_are_given_up():
    model = unet(in_channels=1, classes=2, encoder="efficientnet-b0", weights="none").train()
    images = torch.rand(2, 1, 64, 64)
    before = kept_bytes(model, images)
    enable(find_blocks(model))
    assert kept_bytes(model, images) < before / 2


def test_blocks_are_found_once_and_none_lies_in_another():
    model = unet(in_channels=1, classes=2, **TINY)
    blocks = find_blocks(model)
    inner = {id(module) for block in blocks for module in list(block.modules())[1:]}
    assert not inner & {id(block) for block in blocks}
    enable(blocks)
    enable(blocks)
    assert all(map(is_enabled, blocks))
    disable(blocks)
    assert not any(map(is_enabled, blocks))


def test_the_state_dict_and_evaluation_are_untouched():
    model = unet(in_channels=1, classes=2, **TINY)
    keys = list(model.state_dict())
    images = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        before = model.eval()(images)
        enable(find_blocks(model))
        assert torch.equal(model(images), before)
    assert list(model.state_dict()) == keys


def test_frozen_statistics_normalize_as_in_training_and_stay():
    norm = nn.BatchNorm2d(3, momentum=0.3)
    images = torch.rand(4, 3, 5, 5)
    expected = copy.deepcopy(norm)(images)
    kept = copy.deepcopy(norm.state_dict())
    with frozen_statistics(norm):
        assert torch.equal(norm(images), expected)
    assert norm.momentum == 0.3
    for name, value in norm.state_dict().items():
        assert torch.equal(value, kept[name]), name


class Spoiler(nn.Module):
    """Changes its own input in place, so that it cannot be computed a second time."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)

    def forward(self, images):
        return self.second(self.first(images.mul_(2)))


class Proper(Spoiler):
    def forward(self, images):
        return self.second(self.first(images * 2).relu_())


def test_a_block_that_changes_its_input_is_found_out():
    model = nn.Sequential(Proper(), Spoiler(), Proper())
    with watch_inputs(find_blocks(model)) as spoilt, torch.no_grad():
        model(torch.rand(1, 2, 4, 4))
    assert spoilt == [model[1]]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model)


class Growing(nn.Module):
    """Hands a list over that it goes on filling, as DenseNet does."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Concatenating(2), Concatenating(4), Concatenating(6)])

    def forward(self, images):
        features = [images]
        for block in self.blocks:
            features.append(block(features))
        return features[-1]


class Concatenating(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.first, self.second = nn.Conv2d(channels, 4, 1), nn.Conv2d(4, 2, 1)

    def forward(self, features):
        return self.second(self.first(torch.cat(features, 1)).relu())


def test_a_list_that_grows_behind_the_block_is_recomputed_as_it_was():
    torch.manual_seed(0)
    plain = Growing()
    spared = copy.deepcopy(plain)
    enable(find_blocks(spared))
    images = torch.rand(1, 2, 4, 4)
    plain(images).sum().backward()
    spared(images).sum().backward()
    for a, b in zip(plain.parameters(), spared.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)
