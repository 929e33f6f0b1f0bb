"""r2unet.py: the recurrence by hand, shared weights, the count of parameters, and the decoder over other encoders."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from gisegkit.components.models.r2unet import R2UNet, RecurrentConv, RecurrentResidualUnit, r2unet
from gisegkit.errors import ComponentError


def centered(layer: nn.Conv2d, value: float, bias: float | None = None) -> None:
    """A convolution that multiplies each pixel."""
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 0, 1, 1] = value
        if bias is not None:
            layer.bias.fill_(bias)


@pytest.mark.parametrize(
    ("steps", "recurrent", "pixel", "expected"),
    [
        (0, 0.5, 3.0, 7.0),  # O(0) = 2 * 3 + 1
        (1, 0.5, 3.0, 10.5),  # 7 + 0.5 * 7
        (2, 0.5, 3.0, 12.25),  # 7 + 0.5 * 10.5
        (3, 0.5, 3.0, 13.125),  # 7 + 0.5 * 12.25
        (1, -2.0, 3.0, 0.0),  # 7 - 2 * 7 < 0
        (2, -2.0, 3.0, 7.0),  # 7 - 2 * 0: the state that comes back has passed the ReLU
        (2, 0.5, -3.0, 0.0),  # -5, and a state of 0 brings nothing back
    ],
)
def test_the_recurrence_by_hand(steps, recurrent, pixel, expected):
    layer = RecurrentConv(1, 1, steps).eval()
    centered(layer.forward_conv, 2.0, bias=1.0)
    if steps:
        centered(layer.recurrent_conv, recurrent)
    for norm in layer.norms:
        norm.eps = 0.0  # with running mean 0 and variance 1 the normalization is then the identity
    result = layer(torch.full((1, 1, 3, 3), pixel))
    torch.testing.assert_close(result, torch.full((1, 1, 3, 3), expected))


def test_a_recurrent_step_sees_neighbors():
    """Each step widens what a pixel sees by one: 1 + (steps + 1) * 2 pixels."""
    for steps in (0, 1, 2):
        layer = RecurrentConv(1, 1, steps).eval()
        for parameter in layer.parameters():
            nn.init.constant_(parameter, 1.0)
        image = torch.zeros(1, 1, 11, 11)
        image[0, 0, 5, 5] = 1.0
        reached = (layer(image) - layer(torch.zeros_like(image))).abs()[0, 0] > 0
        assert int(reached.any(0).sum()) == 1 + 2 * (steps + 1)


def test_weights_are_shared_and_normalizations_are_not():
    layers = {steps: RecurrentConv(4, 4, steps) for steps in (1, 2, 5)}
    shapes = {
        steps: sorted(tuple(p.shape) for name, p in layer.named_parameters() if "norms" not in name)
        for steps, layer in layers.items()
    }
    assert shapes[1] == shapes[2] == shapes[5] == [(4,), (4, 4, 3, 3), (4, 4, 3, 3)]
    assert [len(layer.norms) for layer in layers.values()] == [2, 3, 6]


def test_the_gradient_of_shared_weights_is_the_sum_over_the_steps():
    torch.manual_seed(0)
    layer = RecurrentConv(2, 3, 2)
    images = torch.rand(2, 2, 6, 6)
    copies = [layer.recurrent_conv.weight.detach().clone().requires_grad_() for _ in range(2)]
    driven = layer.forward_conv(images)
    state = functional.relu(functional.batch_norm(driven, None, None, training=True))
    for weight in copies:
        step = driven + functional.conv2d(state, weight, padding=1)
        state = functional.relu(functional.batch_norm(step, None, None, training=True))
    state.square().sum().backward()
    result = layer(images)
    torch.testing.assert_close(result, state)
    result.square().sum().backward()
    torch.testing.assert_close(layer.recurrent_conv.weight.grad, copies[0].grad + copies[1].grad)


def test_no_steps_are_a_plain_residual_unit():
    torch.manual_seed(0)
    unit = RecurrentResidualUnit(3, 4, 0)
    first, second = unit.layers
    images = torch.rand(2, 3, 8, 8)
    projected = functional.conv2d(images, unit.project.weight, unit.project.bias)
    expected = projected
    for layer in (first, second):
        plain = functional.conv2d(expected, layer.forward_conv.weight, layer.forward_conv.bias, padding=1)
        expected = functional.relu(functional.batch_norm(plain, None, None, training=True))
    torch.testing.assert_close(unit(images), projected + expected)
    assert not any("recurrent" in name for name, _ in unit.named_parameters())


def unit_parameters(before: int, channels: int, steps: int) -> int:
    projection = before * channels + channels
    layer = 9 * channels**2 + channels + (9 * channels**2 if steps else 0) + (steps + 1) * 2 * channels
    return projection + 2 * layer


@pytest.mark.parametrize("steps", [0, 2, 3])
@pytest.mark.parametrize(("width", "depth"), [(16, 4), (64, 5)])
def test_the_count_of_parameters(width, depth, steps):
    with torch.device("meta"):
        model = R2UNet(in_channels=1, classes=1, depth=depth, width=width, steps=steps)
    levels = [width * 2**level for level in range(depth)]
    expected = sum(unit_parameters(a, b, steps) for a, b in zip([1, *levels[:-1]], levels, strict=True))
    for channels in levels[:-1]:
        expected += 4 * 2 * channels * channels + channels  # the transposed convolution, 2 x 2
        expected += unit_parameters(2 * channels, channels, steps)
    expected += width + 1
    assert sum(parameter.numel() for parameter in model.parameters()) == expected
    if (width, depth, steps) == (16, 4, 2):
        assert expected == 1_046_833  # the number in docs/models.md
    if (width, depth, steps) == (64, 5, 2):
        assert expected == 67_039_425


def test_levels_of_the_papers_network():
    model = r2unet(in_channels=1, classes=3, width=4).eval()
    maps = model.encoder(torch.rand(1, 1, 64, 32))
    assert [tuple(value.shape[1:]) for value in maps] == [
        *((4, 64, 32), (8, 32, 16), (16, 16, 8), (32, 8, 4), (64, 4, 2)),
    ]
    assert [block.unit.project.out_channels for block in model.decoder.blocks] == [32, 16, 8, 4]
    assert [block.unit.project.in_channels for block in model.decoder.blocks] == [64, 32, 16, 8], "twice: concatenation"
    assert model(torch.rand(1, 1, 50, 70)).shape == (1, 3, 50, 70)


@pytest.mark.parametrize("encoder", ["resnet18", "efficientnet-b1", "mit_b0", "tu-test_convnext"])
@pytest.mark.slow
def test_the_decoder_over_another_encoder(encoder):
    model = r2unet(in_channels=2, classes=3, encoder=encoder, weights="none", width=2, steps=1)
    assert [block.unit.project.out_channels for block in model.decoder.blocks] == [32, 16, 8, 4, 2]
    assert {len(layer.norms) for layer in model.modules() if isinstance(layer, RecurrentConv)} == {2}
    logits = model(torch.rand(2, 2, 50, 70))
    assert logits.shape == (2, 3, 50, 70)
    logits.mean().backward()
    assert all(parameter.grad is not None for parameter in model.decoder.parameters())


def test_the_encoders_own_maps_are_beside_the_doubled_ones():
    model = r2unet(in_channels=1, classes=1, encoder="resnet18", weights="none", width=2)
    skips = model.encoder.out_channels[-2:0:-1]
    assert [block.unit.project.in_channels for block in model.decoder.blocks] == [
        *(channels + skip for channels, skip in zip([32, 16, 8, 4], skips, strict=True)),
        2,
    ]


def test_weights_and_depth_must_fit_the_encoder():
    with pytest.raises(ComponentError, match="weights = 'imagenet', and the paper's own encoder has no pretrained"):
        r2unet(in_channels=1, classes=1, width=2, weights="imagenet")
    with pytest.raises(
        ComponentError, match="depth = 6 with encoder 'resnet18': encoders halve the image 3 to 5 times"
    ):
        r2unet(in_channels=1, classes=1, encoder="resnet18", depth=6)


@pytest.mark.slow
def test_its_own_weights_come_out_of_a_file(tmp_path):
    model = r2unet(in_channels=1, classes=1, width=2)
    torch.save(model.state_dict(), tmp_path / "r2.pth")
    again = r2unet(in_channels=1, classes=1, width=2, weights=str(tmp_path / "r2.pth"))
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    assert "encoder" in again.loading_report
