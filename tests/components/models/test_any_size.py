"""any_size.py: images are padded with their borders up to the network's stride, and the logits cropped back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gisegkit.components.models.any_size import AnySize
from gisegkit.errors import ComponentError


class Echo(nn.Module):
    """A network whose logits are its images, which it keeps."""

    def forward(self, images):
        self.seen = images
        return images


class Padded(AnySize, Echo):
    least_size = 6
    least_step = 4
    stride = 1


class OneSize(AnySize):
    """Takes images of one size only."""

    fixed_size = (32, 48)


@pytest.mark.parametrize(("size", "padded"), [((5, 9), (8, 12)), ((8, 4), (8, 8)), ((8, 12), (8, 12))])
def test_borders_are_repeated_up_to_size_and_step_and_cropped_off(size, padded):
    model, images = Padded(), torch.rand(2, 1, *size)
    assert torch.equal(model(images), images)
    assert model.seen.shape[-2:] == padded
    rows, columns = (torch.arange(new).clamp(max=old - 1) for new, old in zip(padded, size, strict=True))
    assert torch.equal(model.seen, images[:, :, rows][..., columns])


def test_a_network_of_one_size_says_so():
    with pytest.raises(
        ComponentError, match=r"\(32, 48\) pixels only, these have \(32, 40\); --set input.size=\[32, 48\]"
    ):
        OneSize()(torch.zeros(1, 1, 32, 40))
