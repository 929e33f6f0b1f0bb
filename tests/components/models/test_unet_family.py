"""models.py: options of the U-shaped networks reach the library, and wrong ones are answered."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gisegkit.components.models.unet_family import linknet, manet, unet, unetplusplus
from gisegkit.errors import ComponentError

SMALL = {"encoder": "tu-test_resnet", "weights": "none", "depth": 4, "decoder_channels": (32, 16, 8, 8)}
BUILDERS = [unet, unetplusplus]


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_logits_have_the_images_size(build, channels):
    model = build(in_channels=channels, classes=2, **SMALL).eval()
    assert model(torch.rand(2, channels, 32, 48)).shape == (2, 2, 32, 48)


@pytest.mark.parametrize("build", BUILDERS)
def test_options_reach_the_network(build):
    options = {"decoder_norm": "identity", "decoder_attention": "scse", "decoder_interpolation": "bilinear"}
    model = build(in_channels=3, classes=1, **SMALL | {"decoder_channels": (64, 32, 16, 16)}, **options)
    kinds = {type(module).__name__ for module in model.decoder.modules()}
    assert "SCSEModule" in kinds
    assert "BatchNorm2d" not in kinds
    assert all(getattr(module, "interpolation_mode", "bilinear") == "bilinear" for module in model.decoder.modules())


def test_options_of_manet_and_linknet_reach_the_network():
    model = manet(in_channels=1, classes=1, **SMALL, decoder_pab_channels=7, decoder_interpolation="bilinear")
    assert model.decoder.center.top_conv.out_channels == 7
    assert {block.interpolation_mode for block in model.decoder.blocks} == {"bilinear"}
    model = linknet(in_channels=1, classes=1, encoder="tu-test_resnet", weights="none", depth=3)
    assert len(model.decoder.blocks) == 3


@pytest.mark.parametrize("build", [unet, unetplusplus, manet, linknet])
def test_instance_normalization_trains(build):
    options = {name: value for name, value in SMALL.items() if build is not linknet or name != "decoder_channels"}
    model = build(in_channels=1, classes=1, **options, decoder_norm="instancenorm")
    norms = [module for module in model.decoder.modules() if isinstance(module, nn.InstanceNorm2d)]
    assert norms
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.decoder.modules())
    model(torch.rand(1, 1, 64, 64)).mean().backward()
    assert all(norm.weight.grad is not None for norm in norms)


@pytest.mark.parametrize("build", BUILDERS)
def test_library_encoders_train(build):
    model = build(in_channels=5, classes=3, encoder="efficientnet-b0", weights="none")
    model(torch.rand(2, 5, 64, 64)).mean().backward()
    assert all(parameter.grad is not None for parameter in model.decoder.parameters())
    assert next(model.encoder.parameters()).grad is not None


@pytest.mark.parametrize("build", [unet, unetplusplus, manet])
def test_depth_and_decoder_channels_must_fit(build):
    with pytest.raises(ComponentError, match=r"5 entries and depth is 4.*\[128, 64, 32, 16\]"):
        build(in_channels=1, classes=1, encoder="resnet18", weights="none", depth=4)
    with pytest.raises(ComponentError, match=r"decoder_channels = \[8, 4, 0\]: every level needs 1 or more"):
        build(in_channels=1, classes=1, encoder="resnet18", weights="none", depth=3, decoder_channels=(8, 4, 0))


def test_attention_needs_channels():
    with pytest.raises(ComponentError, match=r"\[32, 16, 8, 8\]: every level needs 16 or more.*scse"):
        unet(in_channels=1, classes=1, **SMALL, decoder_attention="scse")
