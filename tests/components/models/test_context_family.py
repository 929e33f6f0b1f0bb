"""context_models.py: options of DeepLabV3, DeepLabV3+, PSPNet and PAN reach the library; wrong ones are answered."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gisegkit.components.models.context_family import deeplabv3, deeplabv3plus, pan, pspnet
from gisegkit.errors import ComponentError

RESNET = {"in_channels": 1, "classes": 1, "encoder": "tu-test_resnet", "weights": "none"}


def dilations(model: nn.Module) -> set[int]:
    return {module.dilation[0] for module in model.decoder.modules() if isinstance(module, nn.Conv2d)}


def dropouts(model: nn.Module) -> set[float]:
    return {module.p for module in model.modules() if isinstance(module, nn.Dropout | nn.Dropout2d)} - {0.0}


@pytest.mark.parametrize("build", [deeplabv3, deeplabv3plus])
@pytest.mark.parametrize("separable", [True, False])
def test_options_of_deeplab_reach_the_network(build, separable):
    options = {"decoder_channels": 12, "decoder_atrous_rates": (2, 3, 5), "decoder_aspp_dropout": 0.25}
    model = build(**RESNET, **options, decoder_aspp_separable=separable)
    assert dilations(model) == {1, 2, 3, 5}
    assert dropouts(model) == {0.25}
    assert model.segmentation_head[0].in_channels == 12
    dilated = [module for module in model.decoder.modules() if isinstance(module, nn.Conv2d) and module.dilation[0] > 1]
    assert all((module.groups > 1) == separable for module in dilated)


@pytest.mark.parametrize("build", [deeplabv3, deeplabv3plus])
@pytest.mark.parametrize("stride", [8, 16])
def test_the_output_stride_is_the_size_of_the_encoders_last_map(build, stride):
    model = build(**RESNET, decoder_channels=8, output_stride=stride).eval()
    assert model.encoder(torch.rand(1, 1, 64, 64))[-1].shape[-1] == 64 // stride
    assert model(torch.rand(1, 1, 40, 24)).shape == (1, 1, 40, 24)


@pytest.mark.parametrize("rates", [(6, 12), (1, 2, 3, 4), (0, 1, 2)])
def test_there_are_three_dilations(rates):
    with pytest.raises(ComponentError, match="three dilations"):
        deeplabv3(**RESNET, decoder_atrous_rates=rates)


def test_options_of_pspnet_reach_the_network():
    model = pspnet(**RESNET, depth=4, psp_out_channels=24, decoder_norm="identity", psp_dropout=0.4).eval()
    assert model.segmentation_head[0].in_channels == 24
    assert dropouts(model) == {0.4}
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.decoder.modules())
    assert len(model.encoder(torch.rand(1, 1, 64, 64))) == 5


def test_instance_normalization_trains_in_pspnet():
    model = pspnet(**RESNET, decoder_norm="instancenorm")
    model(torch.rand(1, 1, 64, 64)).mean().backward()
    assert any(isinstance(module, nn.InstanceNorm2d) for module in model.decoder.modules())


def test_options_of_pan_reach_the_network():
    model = pan(**RESNET, depth=4, decoder_channels=20, decoder_interpolation="nearest").eval()
    assert model.segmentation_head[0].in_channels == 20
    assert {model.decoder.gau1.interpolation_mode, model.decoder.gau2.interpolation_mode} == {"nearest"}
    assert len(model.encoder(torch.rand(1, 1, 64, 64))) == 5


@pytest.mark.parametrize(("stride", "least"), [(16, 128), (32, 256)])
def test_pan_pads_small_images_to_what_its_attention_needs(stride, least):
    model = pan(**RESNET, output_stride=stride).eval()
    assert model.encoder(torch.rand(1, 1, 64, 64))[-1].shape[-1] == 64 // stride
    assert model.least_size == least
    assert model(torch.rand(1, 1, 20, 30)).shape == (1, 1, 20, 30)
