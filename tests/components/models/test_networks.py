"""networks.py: each network equals the library's own, at any size, with the least batch and the momentum that fit."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gisegkit.components.models.context_family import deeplabv3, deeplabv3plus, pan, pspnet
from gisegkit.components.models.pyramid_family import dpt, fpn, segformer, upernet
from gisegkit.components.models.r2unet import r2unet
from gisegkit.components.models.unet_family import linknet, manet, unet, unetplusplus
from gisegkit.errors import ComponentError
from gisegkit.plugins import load_plugins

RESNET = {"encoder": "tu-test_resnet", "weights": "none"}
SHALLOW = {"depth": 4, "decoder_channels": (32, 16, 8, 8)}
VIT = {"encoder": "tu-test_vit", "weights": "none", "depth": 2, "decoder_fusion_channels": 8}
CASES = {  # factory, its options, the library's class, the same options in its words, the stride, the smallest image
    "unet": (unet, RESNET | SHALLOW, smp.Unet, {"encoder_depth": 4, "decoder_channels": (32, 16, 8, 8)}, 16, 16),
    "unetplusplus": (
        *(unetplusplus, RESNET | SHALLOW, smp.UnetPlusPlus),
        *({"encoder_depth": 4, "decoder_channels": (32, 16, 8, 8)}, 16, 16),
    ),
    "manet": (manet, RESNET | SHALLOW, smp.MAnet, {"encoder_depth": 4, "decoder_channels": (32, 16, 8, 8)}, 16, 16),
    "linknet": (linknet, RESNET | {"depth": 3}, smp.Linknet, {"encoder_depth": 3}, 8, 8),
    "fpn": (fpn, RESNET, smp.FPN, {}, 32, 32),
    "fpn4": (fpn, RESNET | {"depth": 4}, smp.FPN, {"encoder_depth": 4, "upsampling": 2}, 16, 16),
    "fpn3": (fpn, RESNET | {"depth": 3}, smp.FPN, {"encoder_depth": 3, "upsampling": 1}, 8, 8),
    "upernet": (upernet, RESNET | {"decoder_channels": 16}, smp.UPerNet, {"decoder_channels": 16}, 32, 32),
    "segformer": (segformer, RESNET | {"depth": 4}, smp.Segformer, {"encoder_depth": 4}, 16, 16),
    "pspnet": (pspnet, RESNET, smp.PSPNet, {}, 8, 8),
    "pspnet4": (pspnet, RESNET | {"depth": 4}, smp.PSPNet, {"encoder_depth": 4, "upsampling": 16}, 16, 16),
    "pan": (pan, RESNET, smp.PAN, {}, 16, 128),
    "deeplabv3": (deeplabv3, RESNET | {"decoder_channels": 8}, smp.DeepLabV3, {"decoder_channels": 8}, 8, 8),
    "deeplabv3_16": (
        *(deeplabv3, RESNET | {"decoder_channels": 8, "output_stride": 16, "depth": 4}, smp.DeepLabV3),
        *({"decoder_channels": 8, "encoder_output_stride": 16, "encoder_depth": 4}, 16, 16),
    ),
    "deeplabv3plus": (
        *(deeplabv3plus, RESNET | {"decoder_channels": 8}, smp.DeepLabV3Plus, {"decoder_channels": 8}, 16, 16),
    ),
    "dpt": (
        *(dpt, VIT | {"decoder_intermediate_channels": (8, 8)}, smp.DPT),
        {
            **{"encoder_depth": 2, "decoder_fusion_channels": 8, "decoder_intermediate_channels": (8, 8)},
            "dynamic_img_size": True,
        },
        *(16, 16),
    ),
    "r2unet": (r2unet, {"width": 2, "depth": 4}, None, {}, 8, 8),
    "r2unet_encoder": (r2unet, RESNET | {"width": 2, "depth": 4}, None, {}, 16, 16),
}


@pytest.mark.parametrize("case", [name for name in CASES if not name.startswith("r2unet")])
@pytest.mark.slow
def test_equals_the_library_at_sizes_that_the_library_takes(case):
    build, options, reference_class, reference_options, stride, least = CASES[case]
    encoder = options["encoder"]
    reference = reference_class(encoder, encoder_weights=None, classes=2, **reference_options).eval()
    model = build(in_channels=3, classes=2, **options).eval()
    model.load_state_dict(reference.state_dict())
    images = torch.rand(2, 3, max(least, 4 * stride), max(least, 3 * stride))
    with torch.inference_mode():
        torch.testing.assert_close(model(images), reference(images), rtol=0, atol=0)


@pytest.fixture(scope="module")
def built():
    torch.manual_seed(0)
    return {name: case[0](in_channels=1, classes=2, **case[1]).eval() for name, case in CASES.items()}


@pytest.mark.parametrize("case", CASES)
@settings(max_examples=4, deadline=None)
@given(height=st.integers(9, 50), width=st.integers(9, 50))
@pytest.mark.slow
def test_any_size_is_padded_with_its_border_and_cropped_back(built, case, height, width):
    stride, least = CASES[case][4:]
    images = torch.rand(1, 1, height, width)
    rows = torch.arange(max(least, -(-height // stride) * stride)).clamp(max=height - 1)
    columns = torch.arange(max(least, -(-width // stride) * stride)).clamp(max=width - 1)
    with torch.inference_mode():
        padded = built[case](images[:, :, rows][..., columns])
        torch.testing.assert_close(built[case](images), padded[..., :height, :width], rtol=0, atol=0)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.slow
def test_the_least_batch_trains_and_one_image_less_does_not(case):
    model = CASES[case][0](in_channels=1, classes=1, **CASES[case][1])
    least = model.min_train_batch
    assert least == (2 if case.split("_")[0] in ("upernet", "pan", "deeplabv3", "deeplabv3plus") else 1)
    model.train()(torch.rand(least, 1, 64, 64)).mean().backward()
    if least == 2:
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            model(torch.rand(1, 1, 64, 64))


def test_an_encoder_that_normalizes_what_it_pools_needs_two_images():
    assert unet(in_channels=1, classes=1, encoder="timm-skresnet18", weights="none").min_train_batch == 2


@pytest.mark.parametrize("case", CASES)
def test_encoder_decoder_and_head_hold_every_parameter(built, case):
    model = built[case]
    parts = [model.encoder, model.decoder, model.segmentation_head]
    assert sum(len(list(part.parameters())) for part in parts) == len(list(model.parameters()))


def momenta(model: nn.Module) -> set[float]:
    return {module.momentum for module in model.modules() if isinstance(module, nn.BatchNorm2d)}


def test_momentum_is_torchs_with_random_weights_and_as_given_with_any():
    options = {"in_channels": 1, "classes": 1, "encoder": "efficientnet-b0", "weights": "none"}
    own = smp.Unet("efficientnet-b0", encoder_weights=None)
    assert len(momenta(own)) == 2, "the encoder has a momentum of its own, so the test can fail"
    assert momenta(unet(**options)) == {0.1}
    assert momenta(unet(**options, batchnorm_momentum=0.03)) == {0.03}
    assert momenta(r2unet(in_channels=1, classes=1, width=2, batchnorm_momentum=0.5)) == {0.5}


@pytest.mark.slow
def test_momentum_is_the_encoders_own_with_weights_of_a_file(tmp_path):
    options = {"in_channels": 1, "classes": 1, "encoder": "efficientnet-b0"}
    own = smp.Unet("efficientnet-b0", encoder_weights=None, in_channels=1)
    torch.save(own.state_dict(), tmp_path / "own.pth")
    assert momenta(unet(**options, weights=str(tmp_path / "own.pth"))) == momenta(own)
    assert momenta(unet(**options, weights=str(tmp_path / "own.pth"), batchnorm_momentum=0.2)) == {0.2}


def test_building_leaves_the_random_numbers_and_running_statistics_alone():
    torch.manual_seed(3)
    model = deeplabv3(in_channels=1, classes=1, **RESNET)
    after = torch.rand(1)
    torch.manual_seed(3)
    smp.DeepLabV3("tu-test_resnet", encoder_weights=None, in_channels=1, classes=1)
    assert torch.equal(after, torch.rand(1))
    assert model.training
    assert all(int(value) == 0 for name, value in model.state_dict().items() if name.endswith("num_batches_tracked"))


@pytest.mark.slow
def test_the_page_has_every_network_with_its_numbers():
    """Built on no device, with the defaults: the parameters and the least batch of docs/models.md."""
    page = (Path(__file__).parents[3] / "docs" / "models.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \| ([\d.]+) \| (\d) \|", page, re.MULTILINE)
    models = load_plugins(selection="none").registries["model"]
    assert sorted(name for name, *_ in rows) == sorted(models)
    for name, millions, least in rows:
        with torch.device("meta"):
            model = models.get(name).load()(in_channels=1, classes=3, weights="none")
        count = sum(parameter.numel() for parameter in model.parameters())
        assert (f"{count / 1e6:.1f}", str(model.min_train_batch)) == (millions, least), name


@pytest.mark.slow
def test_the_one_size_of_an_encoder_is_found():
    model = unet(in_channels=1, classes=1, encoder="tu-maxvit_pico_rw_256", weights="none").eval()
    assert model.fixed_size == (256, 256)
    with pytest.raises(ComponentError, match="256"):
        model(torch.zeros(1, 1, 64, 64))


@pytest.mark.slow
def test_the_least_size_of_an_encoder_is_found():
    """Inception's convolutions without padding leave nothing of 64 pixels."""
    model = unet(in_channels=1, classes=1, encoder="tu-inception_v3", weights="none").eval()
    assert (model.fixed_size, model.least_size) == (None, 160)
    with torch.inference_mode():
        assert model(torch.rand(1, 1, 50, 200)).shape == (1, 1, 50, 200)


def test_the_step_of_an_encoder_is_found():
    """HRNet joins its branches at 1/32 of the image, also where the network stops reading at 1/8."""
    model = pspnet(in_channels=1, classes=1, encoder="tu-hrnet_w18_small", weights="none").eval()
    assert (model.stride, model.least_step) == (8, 32)
    with torch.inference_mode():
        assert model(torch.rand(1, 1, 50, 72)).shape == (1, 1, 50, 72)


@pytest.mark.slow
def test_windows_that_fit_some_sizes_only_are_one_size():
    model = pspnet(in_channels=1, classes=1, encoder="tu-maxvit_pico_rw_256", weights="none")
    assert model.fixed_size == (256, 256)


@pytest.mark.slow
def test_window_transformers_take_any_size():
    model = unet(in_channels=1, classes=1, encoder="tu-swin_tiny_patch4_window7_224", weights="none").eval()
    assert model.fixed_size is None
    with torch.inference_mode():
        assert model(torch.rand(1, 1, 50, 70)).shape == (1, 1, 50, 70)


@pytest.mark.parametrize(
    ("build", "encoder"),
    [
        (unetplusplus, "mit_b0"),
        (linknet, "mit_b0"),
        (unet, "tu-test_vit"),
        (deeplabv3, "densenet121"),
        (pan, "tu-swin_tiny_patch4_window7_224"),
        (dpt, "tu-test_resnet"),
        (r2unet, "tu-test_vit"),
    ],
)
def test_an_encoder_that_does_not_fit_the_network_is_a_clear_error(build, encoder):
    with pytest.raises(ComponentError, match=f"'{encoder}' does not work in [A-Z].*: ."):
        build(in_channels=1, classes=1, encoder=encoder, weights="none")


@pytest.mark.parametrize("encoder", ["tu-swin_tiny_patch4_window7_224", "tu-vgg11"])
def test_an_encoder_that_cannot_be_dilated_says_so(encoder):
    with pytest.raises(
        ComponentError, match=f"'{encoder}' does not work in DeepLabV3.*cannot be dilated to output_stride = 16"
    ):
        deeplabv3plus(in_channels=1, classes=1, encoder=encoder, weights="none")


@pytest.mark.slow
def test_deprecated_names_of_encoders_are_taken_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        deprecated = unet(in_channels=1, classes=1, encoder="timm-efficientnet-b0", weights="none")
        mapped = unet(in_channels=1, classes=1, encoder="tu-tf_efficientnet_b0_ap", weights="none")
    assert deprecated.eval()(torch.zeros(1, 1, 32, 32)).shape == (1, 1, 32, 32)
    current = unet(in_channels=1, classes=1, encoder="tu-tf_efficientnet_b0", weights="none").state_dict()
    assert {name: value.shape for name, value in mapped.state_dict().items()} == {
        name: value.shape for name, value in current.items()
    }
