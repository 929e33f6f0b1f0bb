"""Views of an image come back to the pixel they came from; the mean over them is what test-time augmentation gives."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from gisegkit.engine.device import pick_device
from gisegkit.engine.predictor import NetworkPredictor
from gisegkit.engine.tta import MeanOfViews, Scaled, Turned, views_of

TOLERANCE = 0.02
"""Pixels by which a scale may shift what it shows, as the page says."""


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("text", ["hflip", "vflip", "rot90"])
@pytest.mark.parametrize("size", [(6, 6), (5, 5), (32, 32)])
def test_flips_and_turns_come_back_to_the_last_bit(text, size):
    images = noise(2, 3, *size)
    for view in views_of([text]):
        there = view.there(images)
        assert not torch.equal(there, images)
        assert torch.equal(there.flatten().sort().values, images.flatten().sort().values)
        assert torch.equal(view.back(there, images), images)


def test_flips_and_turns_are_those_of_numpy():
    images = noise(1, 1, 4, 4)
    plane = images[0, 0].numpy()
    expected = [np.fliplr(plane), np.flipud(plane), *(np.rot90(plane, k) for k in (1, 2, 3))]
    views = views_of(["hflip", "vflip", "rot90"])
    assert len(views) == 5
    for view, plane in zip(views, expected, strict=True):
        assert np.array_equal(view.there(images)[0, 0].numpy(), plane)


def blob(size, center, width):
    """A smooth spot, ``[1, 1, h, w]``."""
    rows, columns = torch.meshgrid(*(torch.arange(side, dtype=torch.float64) for side in size), indexing="ij")
    spot = torch.exp(-((rows - center[0]) ** 2 + (columns - center[1]) ** 2) / (2 * width**2))
    return spot[None, None].float()


def centroid(image):
    """The center of mass in pixels."""
    plane = image[0, 0].double()
    rows, columns = (torch.arange(side, dtype=torch.float64) for side in plane.shape)
    return [float((plane.sum(1) * rows).sum() / plane.sum()), float((plane.sum(0) * columns).sum() / plane.sum())]


@pytest.mark.parametrize("factor", [0.5, 0.77, 0.9, 1.1, 1.25, 2.0])
@pytest.mark.parametrize("size", [(64, 64), (63, 90), (97, 61)])
def test_scales_shift_nothing_there_and_back(factor, size):
    """The center of pixel i of the image is at (i + 0.5) * view / image - 0.5 of the view."""
    view = Scaled(factor)
    for share in (0.3, 0.5, 0.62):
        image = blob(size, [side * share for side in size], 4.0)
        there = view.there(image)
        expected = [
            (at + 0.5) * after / before - 0.5
            for at, before, after in zip(centroid(image), size, there.shape[-2:], strict=True)
        ]
        assert there.shape[-2:] == tuple(round(side * factor) for side in size)
        assert centroid(there) == pytest.approx(expected, abs=TOLERANCE)
        back = view.back(there, image)
        assert back.shape == image.shape and centroid(back) == pytest.approx(centroid(image), abs=TOLERANCE)
        assert float(back.sum()) == pytest.approx(float(image.sum()), rel=1e-3)


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.1, 2.0])
def test_scales_keep_the_range_and_what_is_constant(factor):
    view, images = Scaled(factor), noise(1, 2, 33, 40)
    constant = torch.full((1, 2, 33, 40), 0.25)
    assert torch.allclose(view.back(view.there(constant), constant), constant, atol=1e-6)
    back = view.back(view.there(images), images)
    assert back.min() >= images.min() - 1e-6 and back.max() <= images.max() + 1e-6


class Network(torch.nn.Module):
    """A convolution without symmetry, so that each view is predicted otherwise; records the sizes of its images."""

    def __init__(self, classes=3):
        super().__init__()
        torch.manual_seed(3)
        self.convolution = torch.nn.Conv2d(2, classes, 3, padding=1)
        self.seen = []

    def forward(self, images):
        self.seen.append(tuple(images.shape))
        return 5 * self.convolution(images)


@pytest.mark.parametrize("exclusive", [False, True])
def test_the_mean_is_over_the_image_and_each_view_by_itself(exclusive):
    network = Network()
    plain = NetworkPredictor(network, pick_device("cpu"), exclusive=exclusive)
    images = noise(4, 2, 20, 20)
    predictor = MeanOfViews(plain, views_of(["hflip", "rot90", "scale:0.8"]))
    network.seen.clear()
    found = predictor(images)
    assert network.seen == [(4, 2, 20, 20)] * 5 + [(4, 2, 16, 16)]  # as many slices at once, one view after another
    expected = [plain(images), plain(images.flip(-1)).flip(-1)]
    expected += [torch.rot90(plain(torch.rot90(images, k, (2, 3))), -k, (2, 3)) for k in (1, 2, 3)]
    small = torch.nn.functional.interpolate(images, (16, 16), mode="bilinear", antialias=True)
    expected += [torch.nn.functional.interpolate(plain(small), (20, 20), mode="bilinear")]
    assert torch.allclose(found, torch.stack(expected).mean(0), atol=1e-6)
    assert not torch.allclose(found, expected[0], atol=1e-2)
    assert found.dtype == torch.float32 and predictor.exclusive == exclusive and predictor.device is plain.device
    if exclusive:
        assert (found.sum(1) <= 1 + 1e-6).all()


def test_what_a_network_does_alike_to_each_view_is_its_own_result():
    class Square(torch.nn.Module):
        def forward(self, images):
            return images**2

    images = noise(2, 1, 12, 12)
    plain = NetworkPredictor(Square(), pick_device("cpu"))
    found = MeanOfViews(plain, views_of(["hflip", "vflip", "rot90"]))(images)
    assert torch.allclose(found, plain(images), atol=1e-6)
    assert torch.equal(MeanOfViews(plain, views_of(["hflip"]))(images), plain(images))  # (p + p) / 2


def test_views_nest_and_prepare_what_is_inside():
    entered = []

    class Inner:
        device, exclusive = pick_device("cpu"), False

        def __call__(self, images):
            return images.sigmoid()

        @contextmanager
        def evaluating(self):
            entered.append("in")
            yield
            entered.append("out")

    predictor = MeanOfViews(MeanOfViews(Inner(), [Turned((-1,))]), [Turned((-2,))])
    with predictor.evaluating():
        assert entered == ["in"] and torch.equal(predictor(noise(1, 1, 4, 6)), noise(1, 1, 4, 6).sigmoid())
    assert entered == ["in", "out"]
