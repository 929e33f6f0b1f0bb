"""Steps that albumentations 2 no longer has as the deck used them: images and masks moved by one map of positions.

Albumentations 1 is what the deck's policies were written for. Its successor leaves ``alpha_affine`` out, rounds shifts
to whole pixels, and squeezes the last pixels of a grid whose cells do not fill the image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import albumentations
import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from gisegkit.types import AnyArray

Map = NDArray[np.float32]
CHUNK = 4
"""Channels that OpenCV moves at once."""


class Warp(albumentations.DualTransform):  # type: ignore[misc]
    """Moves image and mask by the same map; the border is reflected, masks take the nearest pixel.

    A child gives the map: for each pixel of the result, the position in the sample that it comes from, in pixels.
    """

    def apply(self, img: AnyArray, map_x: Map, map_y: Map, **params: Any) -> AnyArray:
        """The image, bilinear."""
        return move(img, map_x, map_y, cv2.INTER_LINEAR)

    def apply_to_mask(self, mask: AnyArray, map_x: Map, map_y: Map, **params: Any) -> AnyArray:
        """The mask, nearest."""
        return move(mask, map_x, map_y, cv2.INTER_NEAREST)


def move(values: AnyArray, map_x: Map, map_y: Map, interpolation: int) -> AnyArray:
    """``[H, W, C]`` sampled at the maps' positions, any number of channels."""
    parts = [
        cv2.remap(values[..., start : start + CHUNK], map_x, map_y, interpolation, borderMode=cv2.BORDER_REFLECT_101)
        for start in range(0, values.shape[2], CHUNK)
    ]
    return np.concatenate([part.reshape(*values.shape[:2], -1) for part in parts], axis=2)


def positions(height: int, width: int) -> tuple[Map, Map]:
    """The maps that move nothing: each pixel's own column and row."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return x, y


def affine_maps(matrix: AnyArray, x: AnyArray, y: AnyArray) -> tuple[Map, Map]:
    """Where the positions come from under a 2 x 3 matrix that takes a position of the sample to one of the result."""
    inverse = cv2.invertAffineTransform(matrix)
    map_x = inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2]
    map_y = inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2]
    return map_x.astype(np.float32), map_y.astype(np.float32)


class ShiftScaleRotate(Warp):
    """Shift, scale and rotation about the centre, each drawn uniformly.

    Args:
        shift: largest shift along each axis, as a share of height and width.
        scale: largest deviation from a scale of 1.
        rotate: largest angle in degrees.
        p: probability.
    """

    def __init__(self, *, shift: float, scale: float, rotate: float, p: float) -> None:
        super().__init__(p=p)
        self.shift = shift
        self.scale = scale
        self.rotate = rotate

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """The maps, and what they were drawn from."""
        height, width = params["shape"][:2]
        angle = self.py_random.uniform(-self.rotate, self.rotate)
        scale = 1 + self.py_random.uniform(-self.scale, self.scale)
        shift_x = self.py_random.uniform(-self.shift, self.shift) * width
        shift_y = self.py_random.uniform(-self.shift, self.shift) * height
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, scale)
        matrix[:, 2] += shift_x, shift_y
        map_x, map_y = affine_maps(matrix, *positions(height, width))
        drawn = {"shift_x_px": shift_x, "shift_y_px": shift_y, "scale": scale, "rotate": angle}
        return {"map_x": map_x, "map_y": map_y, **drawn}


class GridDistortion(Warp):
    """Columns and rows of cells, each made wider or narrower.

    Args:
        num_steps: cells along each axis.
        distort_limit: largest change of a cell's width or height, as a share of it.
        p: probability.
    """

    def __init__(self, *, num_steps: int, distort_limit: float, p: float) -> None:
        super().__init__(p=p)
        self.num_steps = num_steps
        self.distort_limit = distort_limit

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """The maps, and the largest displacement along each axis."""
        height, width = params["shape"][:2]
        line_x, line_y = self._line(width), self._line(height)
        map_x, map_y = np.meshgrid(line_x, line_y)
        most = {
            "moves_x_px": float(np.abs(line_x - np.arange(width)).max()),
            "moves_y_px": float(np.abs(line_y - np.arange(height)).max()),
        }
        return {"map_x": map_x, "map_y": map_y, **most}

    def _line(self, length: int) -> Map:
        """Where each pixel along one axis comes from; what the cells leave at the end runs to the image's end."""
        cell = length // self.num_steps
        line = np.zeros(length, np.float32)
        position = 0.0
        for start in range(0, length, cell):
            stop = min(start + cell, length)
            step = cell * (1 + self.py_random.uniform(-self.distort_limit, self.distort_limit))
            end = position + step if start + cell <= length else float(length)
            line[start:stop] = np.linspace(position, end, stop - start)
            position = end
        return line


class ElasticTransform(Warp):
    """A random affine map, then a smooth displacement of every pixel.

    The affine map takes three points around the centre, a third of the shorter side away from it along both axes, to
    places drawn around them. The displacement is noise, uniform in [-1, 1], smoothed by a Gaussian.

    Args:
        alpha: what the smoothed noise is multiplied by, in pixels.
        sigma: of the Gaussian in pixels.
        alpha_affine: largest displacement of each of the three points along each axis, in pixels.
        p: probability.
    """

    def __init__(self, *, alpha: float, sigma: float, alpha_affine: float, p: float) -> None:
        super().__init__(p=p)
        self.alpha = alpha
        self.sigma = sigma
        self.alpha_affine = alpha_affine

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """The maps, and how far the three points were moved."""
        height, width = params["shape"][:2]
        rng = self.random_generator
        reach = min(height, width) // 3
        centre = np.array([width // 2, height // 2])
        points = (centre + reach * np.array([[1, 1], [1, -1], [-1, -1]])).astype(np.float32)
        moved = rng.uniform(-self.alpha_affine, self.alpha_affine, points.shape).astype(np.float32)
        noise = rng.uniform(-1, 1, (2, height, width)).astype(np.float32)
        x, y = positions(height, width)
        x += self.alpha * cv2.GaussianBlur(noise[0], (0, 0), self.sigma, borderType=cv2.BORDER_REFLECT)
        y += self.alpha * cv2.GaussianBlur(noise[1], (0, 0), self.sigma, borderType=cv2.BORDER_REFLECT)
        # The displacement comes second, so it says where in the affine map's result a pixel comes from. Both are one
        # map here, so that the sample is interpolated once.
        map_x, map_y = affine_maps(cv2.getAffineTransform(points, points + moved), x, y)
        return {"map_x": map_x, "map_y": map_y, "affine_moves_up_to_px": float(np.abs(moved).max())}
