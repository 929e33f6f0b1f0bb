"""Test-time augmentation: a predictor around a predictor, which predicts several views of each image.

The probabilities are the mean over the image as it is and each view, brought back to the image; views are not combined
with one another. They are predicted one after another, so that the memory is that of one view and two results.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch.nn import functional

from gisegkit.engine.device import Device
from gisegkit.engine.predictor import Predictor
from gisegkit.recipe.tta import View

QUARTERS = (1, 2, 3)
"""Quarter turns of ``rot90``."""


@dataclass(frozen=True)
class Turned:
    """A view in which every pixel is as it was, at another place.

    Attributes:
        mirrored: axes that are flipped.
        quarters: turns by 90 degrees, counter-clockwise.
    """

    mirrored: tuple[int, ...] = ()
    quarters: int = 0

    def there(self, images: torch.Tensor) -> torch.Tensor:
        """Images ``[B, C, h, w]`` to their view."""
        return images.flip(self.mirrored).rot90(self.quarters, (-2, -1))

    def back(self, values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Values of the view to their places in images ``like``, equal to the last bit."""
        return values.rot90(-self.quarters, (-2, -1)).flip(self.mirrored)


@dataclass(frozen=True)
class Scaled:
    """A view of another size.

    Both ways are aligned at the outer edges of the image, so that pixel centers go to the same places and nothing is
    shifted; where the view is smaller, each of its pixels is a weighted mean of what it covers.

    Attributes:
        factor: of height and width; the view has whole pixels.
    """

    factor: float

    def there(self, images: torch.Tensor) -> torch.Tensor:
        """Images ``[B, C, h, w]`` to their view."""
        return _resized(images, View("scale", self.factor).size((images.shape[-2], images.shape[-1])))

    def back(self, values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Values of the view at the size of the images ``like``."""
        return _resized(values, (like.shape[-2], like.shape[-1]))


def _resized(values: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    smaller = size[0] < values.shape[-2] or size[1] < values.shape[-1]
    return functional.interpolate(values, size, mode="bilinear", align_corners=False, antialias=smaller)


def views_of(texts: Sequence[str]) -> list[Turned | Scaled]:
    """The views that a recipe's ``[predict] tta`` names, without the image as it is.

    Raises:
        ValueError: if a text names none.
    """
    found: list[Turned | Scaled] = []
    for view in map(View.parse, texts):
        if view.name == "rot90":
            found += [Turned(quarters=quarters) for quarters in QUARTERS]
        elif view.name == "scale":
            found.append(Scaled(view.factor))
        else:
            found.append(Turned(mirrored=(-1,) if view.name == "hflip" else (-2,)))
    return found


class MeanOfViews:
    """The mean probabilities over each image and its views.

    Args:
        inner: predicts the image and each view.
        views: without the image as it is.
    """

    def __init__(self, inner: Predictor, views: Sequence[Turned | Scaled]) -> None:
        self.inner = inner
        self.views = tuple(views)

    @property
    def device(self) -> Device:
        """Where it computes."""
        return self.inner.device

    @property
    def exclusive(self) -> bool:
        """As of the inner predictor; the mean of exclusive classes sums to 1 with the background as well."""
        return self.inner.exclusive

    def evaluating(self) -> AbstractContextManager[None]:
        """As of the inner predictor."""
        return self.inner.evaluating()

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Images ``[B, C, h, w]`` to mean probabilities ``[B, K, h, w]``."""
        with torch.inference_mode():
            total = self.inner(images).clone()
            for view in self.views:
                total += view.back(self.inner(view.there(images)), images)
            return total / (1 + len(self.views))
