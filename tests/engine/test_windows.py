"""Prediction by windows: every pixel is covered, seams weigh next to nothing, small images and batches too."""

from __future__ import annotations

import itertools
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from gisegkit.engine.device import pick_device
from gisegkit.engine.windows import SIGMA, WindowPredictor, gaussian, pad, windows
from gisegkit.errors import TrainingError


def network(radius: int) -> nn.Module:
    """A network whose field of view is ``radius`` pixels to each side."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 3, 3, padding=1), *(nn.Conv2d(3, 3, 3, padding=1) for _ in range(radius - 1))]
    return nn.Sequential(*layers, nn.Sigmoid()).eval()


def windowed(model, size, overlap, *, batch_size) -> WindowPredictor:
    return WindowPredictor(Plain(model), size, overlap, batch_size)


class Plain:
    """A predictor that is a network whose output are probabilities already."""

    exclusive = False
    device = pick_device("cpu")

    def __init__(self, model):
        self.model = model

    def __call__(self, images):
        return self.model(images)

    def evaluating(self):
        return nullcontext()


def share_near_seams(image, size, overlap, radius) -> torch.Tensor:
    """For each pixel the share of the weight of windows that see it within ``radius`` of a seam, ``[H, W]``."""
    weights, total, near = gaussian(size), torch.zeros(image), torch.zeros(image)
    for down, across in windows(image, size, overlap):
        total[down, across] += weights
        blind = torch.ones(size, dtype=torch.bool)
        top, bottom = (radius if down.start else 0), (radius if down.stop < image[0] else 0)
        left, right = (radius if across.start else 0), (radius if across.stop < image[1] else 0)
        blind[top : size[0] - bottom, left : size[1] - right] = False
        near[down, across] += weights * blind
    return near / total


@pytest.mark.parametrize("overlap", [0.25, 0.5])
@torch.no_grad()
def test_windows_equal_the_whole_image_but_for_the_weight_of_the_seams(overlap):
    model, image, size = network(3), torch.randn(2, 2, 150, 97), (32, 48)
    by_windows = windowed(model, size, overlap, batch_size=5)(image)
    bound = share_near_seams((150, 97), size, overlap, 3)  # probabilities differ by 1 at most
    difference = (by_windows - model(image)).abs()
    assert (difference <= bound + 1e-5).all()
    assert difference[..., bound == 0].max() < 1e-5
    assert bound.mean() < {0.25: 0.15, 0.5: 0.04}[overlap]


@torch.no_grad()
def test_a_single_window_is_the_network_itself():
    model, image = network(2), torch.randn(1, 2, 32, 32)
    torch.testing.assert_close(windowed(model, (32, 32), 0.5, batch_size=4)(image), model(image))


@torch.no_grad()
def test_a_smaller_image_is_padded_with_zeros_and_comes_back_in_its_size():
    model, image = network(2), torch.randn(1, 2, 20, 31)
    canvas, inside = pad(image, (32, 32))
    assert canvas.shape == (1, 2, 32, 32) and inside == (slice(6, 26), slice(0, 31))
    torch.testing.assert_close(canvas[(..., *inside)], image)
    assert canvas.abs().sum() == pytest.approx(image.abs().sum().item(), rel=1e-6)
    result = windowed(model, (32, 32), 0.5, batch_size=4)(image)
    torch.testing.assert_close(result, model(canvas)[(..., *inside)])


@torch.no_grad()
def test_how_many_windows_at_once_changes_nothing():
    image = torch.randn(3, 2, 40, 70)
    results = [windowed(network(2), (32, 32), 0.5, batch_size=count)(image) for count in (1, 7, 100)]
    for result in results[1:]:
        torch.testing.assert_close(result, results[0])


@pytest.mark.parametrize("image", [(32, 32), (33, 95), (100, 64), (401, 33)])
@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5, 0.9])
def test_windows_cover_the_image_evenly_and_overlap_enough(image, overlap):
    covered = torch.zeros(image)
    places = list(windows(image, (32, 32), overlap))
    for down, across in places:
        assert down.stop - down.start == across.stop - across.start == 32
        covered[down, across] += 1
    assert covered.shape == image and (covered >= 1).all()
    for axis, whole in enumerate(image):
        starts = sorted({place[axis].start for place in places})
        assert starts[0] == 0 and starts[-1] == whole - 32
        steps = [after - before for before, after in itertools.pairwise(starts)]
        assert all(step <= 32 * (1 - overlap) + 1 for step in steps)
        assert not steps or max(steps) - min(steps) <= 1


def test_weights_are_a_gaussian_around_the_middle():
    weights = gaussian((16, 40))
    assert weights.shape == (16, 40) and weights.min() > 0
    torch.testing.assert_close(weights, weights.flip(0, 1))
    row = weights[8] / weights[8].max()
    distance = (torch.arange(40) - 19.5) / (40 * SIGMA)
    torch.testing.assert_close(row, torch.exp(-0.5 * (distance**2 - 0.5**2 / (40 * SIGMA) ** 2)), rtol=1e-4, atol=1e-7)


def test_a_slice_whose_probabilities_do_not_fit_is_told_in_one_line(monkeypatch):
    def full(*size, device):
        raise torch.OutOfMemoryError("CUDA out of memory")

    predictor = windowed(network(1), (32, 32), 0.5, batch_size=4)
    monkeypatch.setattr(torch, "zeros", full)
    with pytest.raises(TrainingError, match=r"on cpu.* while a slice of 40 x 50 pixels .* input\.scale"):
        predictor(torch.randn(1, 2, 40, 50))


def test_other_errors_of_the_network_stay_what_they_are():
    def broken(images):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        windowed(broken, (32, 32), 0.5, batch_size=4)(torch.randn(1, 2, 40, 50))
