"""pyramid_models.py: options of FPN, UPerNet, SegFormer and DPT reach the library, and wrong ones are answered."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gisegkit.components.models.pyramid_family import dpt, fpn, segformer, upernet
from gisegkit.errors import ComponentError

RESNET = {"in_channels": 1, "classes": 1, "encoder": "tu-test_resnet", "weights": "none"}
VIT = {"in_channels": 1, "classes": 1, "encoder": "tu-test_vit", "weights": "none", "decoder_fusion_channels": 8}


@pytest.mark.parametrize(("policy", "channels"), [("add", 64), ("cat", 256)])
def test_options_of_fpn_reach_the_network(policy, channels):
    model = fpn(
        **RESNET,
        decoder_pyramid_channels=48,
        decoder_segmentation_channels=64,
        decoder_merge_policy=policy,
        decoder_dropout=0.4,
        decoder_interpolation="bilinear",
    )
    assert model.decoder.p5.out_channels == 48
    assert model.segmentation_head[0].in_channels == channels
    assert model.decoder.dropout.p == 0.4
    assert {model.decoder.p4.interpolation_mode, model.decoder.p2.interpolation_mode} == {"bilinear"}


def test_groups_of_fpn_must_divide_its_channels():
    with pytest.raises(ComponentError, match="= 48: give a multiple of 32"):
        fpn(**RESNET, decoder_segmentation_channels=48)


def test_options_of_upernet_reach_the_network():
    model = upernet(**RESNET, depth=4, decoder_channels=24, decoder_norm="identity").eval()
    assert model.segmentation_head[0].in_channels == 24
    assert len(model.encoder(torch.rand(1, 1, 64, 64))) == 5
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.decoder.fpn_lateral_blocks.modules())


def test_options_of_segformer_reach_the_network():
    model = segformer(**RESNET | {"encoder": "mit_b0"}, decoder_segmentation_channels=24).eval()
    assert model.segmentation_head[0].in_channels == 24
    assert model(torch.rand(1, 1, 40, 70)).shape == (1, 1, 40, 70)


@pytest.mark.parametrize("readout", ["cat", "add", "ignore"])
def test_options_of_dpt_reach_the_network(readout):
    channels = (4, 6, 8)
    model = dpt(
        **VIT, depth=3, output_indices=(0, 2, 5), decoder_readout=readout, decoder_intermediate_channels=channels
    ).eval()
    blocks = {"cat": "ReadoutConcatBlock", "add": "ReadoutAddBlock", "ignore": "ReadoutIgnoreBlock"}
    assert {type(block).__name__ for block in model.decoder.projection_blocks} == {blocks[readout]}
    assert [block.project_to_out_channel.out_channels for block in model.decoder.reassemble_blocks] == list(channels)
    assert model.encoder._output_indices == [0, 2, 5]
    assert model.segmentation_head.head[-1].in_channels == 8
    with torch.inference_mode():
        assert model(torch.rand(1, 1, 50, 70)).shape == (1, 1, 50, 70)


def test_dpt_takes_one_entry_a_layer_and_transformers_only():
    with pytest.raises(ComponentError, match="decoder_intermediate_channels has 4 entries and depth is 3"):
        dpt(**VIT, depth=3)
    with pytest.raises(ComponentError, match="output_indices has 2 entries and depth is 4"):
        dpt(**VIT, output_indices=(0, 1))
    with pytest.raises(ComponentError, match=r"\[8, 8, 8, 0\]: every entry needs 1 or more"):
        dpt(**VIT, decoder_intermediate_channels=(8, 8, 8, 0))
    with pytest.raises(ComponentError, match="vision transformers of timm only, not 'resnet18'"):
        dpt(**VIT | {"encoder": "resnet18"})


@pytest.mark.parametrize("encoder", ["tu-test_resnet", "tu-swin_tiny_patch4_window7_224"])
@pytest.mark.slow
def test_dpt_reads_plain_transformers(encoder):
    with pytest.raises(ComponentError, match=r"is no plain vision transformer: its layers have strides \[\d+, \d+"):
        dpt(**VIT | {"encoder": encoder})


def test_a_transformer_without_class_token_is_read_without():
    options = VIT | {"encoder": "tu-test_vit_relpos"}
    with pytest.raises(ComponentError, match='it has no class token; set decoder_readout = "ignore"'):
        dpt(**options, decoder_intermediate_channels=(8, 8, 8, 8), decoder_readout="add")
    model = dpt(**options, decoder_intermediate_channels=(8, 8, 8, 8), decoder_readout="ignore")
    assert not model.encoder.has_prefix_tokens
