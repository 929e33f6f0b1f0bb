"""What a warp draws: flip, shift-scale-rotate, grid and elastic distortion as one map of positions, and holes.

The CPU policies and the batch transform ``warp`` draw here, with numpy and from the generator that is handed in: so
they mean the same, and the device changes no draw. The map says for each pixel of the result where in the sample it
comes from, the steps taken one after another. All of them but the elastic displacement are affine or move whole columns
and rows, so the map is a sum of a part by column, a part by row, and a few waves.

The steps are those of albumentations 1, which the deck's policies were written for. Its successor leaves
``alpha_affine`` out, rounds shifts to whole pixels, and squeezes the last pixels of a grid whose cells do not fill the
image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np

from gisegkit.errors import ComponentError
from gisegkit.types import Above, AtLeast, Between

if TYPE_CHECKING:
    from gisegkit.types import AnyArray, FloatArray

FAINTEST = 1e-3
"""Waves of which the blur leaves a smaller share are left out."""

FARTHEST = 1e9
"""The largest part of a position, in pixels, so that float32 holds the sums; it means nothing far earlier."""


@dataclass(kw_only=True)
class WarpSettings:
    """Probabilities and limits of the steps: the parameters of ``warp``. The defaults are those of ``initial``.

    Args:
        flip_p: probability of the horizontal flip.
        shift_scale_rotate_p: probability of shift, scale and rotation about the center, which come together.
        shift_limit: largest shift along each axis, as a share of height and width.
        scale_limit: largest deviation from a scale of 1.
        rotate_limit: largest angle in degrees.
        distort_p: probability of a distortion, either elastic or a grid.
        elastic_share: how many of the distortions are elastic.
        num_steps: cells of the grid along each axis.
        distort_limit: largest change of a cell's width or height, as a share of it.
        alpha: what the elastic step's smoothed noise, uniform in [-1, 1] before, is multiplied by, in pixels.
        sigma: of the Gaussian that smooths it, in pixels.
        alpha_affine: largest displacement along each axis, in pixels, of three points around the center, a third of the
            shorter side away from it along both axes, that the elastic step's affine map moves.
        cutout_p: probability of holes, black and without any class.
        min_holes: fewest holes.
        max_holes: most holes.
        hole_size: height and width of a hole as a share of the image's, at least a pixel; 0 makes no holes.

    Raises:
        ComponentError: if there are more holes at least than at most.
    """

    flip_p: Annotated[float, Between(0, 1)] = 0.5
    shift_scale_rotate_p: Annotated[float, Between(0, 1)] = 0.5
    shift_limit: Annotated[float, Between(0, 1)] = 0.0625
    scale_limit: Annotated[float, Between(0, 0.9)] = 0.05
    rotate_limit: Annotated[float, Between(0, 180)] = 10.0
    distort_p: Annotated[float, Between(0, 1)] = 0.25
    elastic_share: Annotated[float, Between(0, 1)] = 0.5
    num_steps: Annotated[int, AtLeast(1)] = 5
    distort_limit: Annotated[float, Between(0, 1)] = 0.05
    alpha: Annotated[float, AtLeast(0)] = 1.0
    sigma: Annotated[float, Above(0)] = 50.0
    alpha_affine: Annotated[float, AtLeast(0)] = 50.0
    cutout_p: Annotated[float, Between(0, 1)] = 0.0
    min_holes: Annotated[int, AtLeast(1)] = 5
    max_holes: Annotated[int, AtLeast(1)] = 8
    hole_size: Annotated[float, Between(0, 1)] = 0.05

    def __post_init__(self) -> None:
        if self.min_holes > self.max_holes:
            holes = f"min_holes = {self.min_holes} is more than max_holes = {self.max_holes}"
            raise ComponentError(f"warp: {holes}; exchange them")


class Field(NamedTuple):
    """Where the pixels of M samples come from, in pixels, x before y.

    For the pixel in row i and column j of sample m it is ``columns[m, :, j] + rows[m, :, i]``; for the first E samples,
    the elastic ones, ``sum over v, u of waves[m, :, v, u] * wave_v(i) * wave_u(j)`` is added, with the waves of
    ``blurred_waves``.

    Attributes:
        samples: ``[M]`` int, which samples of the batch.
        columns, rows: ``[M, 2, W]`` and ``[M, 2, H]`` float32.
        waves: ``[E, 2, V, U]`` float32.
    """

    samples: AnyArray
    columns: FloatArray
    rows: FloatArray
    waves: FloatArray


class Draws:
    """The draws of B samples.

    Attributes:
        flip, similarity, grid, elastic, dropout: ``[B]`` bool, which steps each sample gets.
        angle, scale: ``[B]`` of the rotation in degrees, and of the scaling.
        shift: ``[B, 2]`` along x and y in pixels.
        cells: changes of the grid's columns and of its rows as shares of their sizes, each ``[B, cells]``.
        points: ``[B, 3, 2]`` by how much the elastic step moves its three points, in pixels.
        noise: ``[E, 2, V, U]`` float32 strengths of the waves, for the elastic samples alone.
        hole_count: ``[B]``, 0 if there is no dropout.
    """

    def __init__(self, settings: WarpSettings, size: tuple[int, int], count: int, rng: np.random.Generator) -> None:
        """Draw.

        Args:
            settings: of the steps.
            size: height and width of the samples in pixels.
            count: B.
            rng: every draw comes from it.
        """
        self.settings, self.size = settings, size
        height, width = size
        across, down = (side // cell_size(side, settings.num_steps) for side in (width, height))
        widths = (6, 4, 6, across, down, 2 * settings.max_holes)
        table = rng.random((count, sum(widths)))  # a row a sample
        edges = accumulate(widths, initial=0)
        chance, similar, points, *cells, places = (table[:, start:stop] for start, stop in pairwise(edges))
        self.flip = chance[:, 0] < settings.flip_p
        self.similarity = chance[:, 1] < settings.shift_scale_rotate_p
        distorted = chance[:, 2] < settings.distort_p
        self.elastic = distorted & (chance[:, 3] < settings.elastic_share)
        self.grid = distorted & ~self.elastic
        self.dropout = (chance[:, 4] < settings.cutout_p) & (settings.hole_size > 0)
        spread = settings.max_holes - settings.min_holes + 1
        self.hole_count = np.where(self.dropout, settings.min_holes + (chance[:, 5] * spread).astype(int), 0)
        signed = self.similarity[:, None] * (2 * similar - 1)
        self.angle = signed[:, 0] * settings.rotate_limit
        self.scale = 1 + signed[:, 1] * settings.scale_limit
        self.shift = signed[:, 2:] * settings.shift_limit * (width, height)
        self.points = (2 * points - 1).reshape(count, 3, 2) * settings.alpha_affine
        self.cells = tuple((2 * part - 1) * settings.distort_limit for part in cells)
        self._places = places.reshape(count, settings.max_holes, 2)
        shape = (int(self.elastic.sum()), 2, *(blurred_waves(side, settings.sigma).shape[1] for side in size))
        self.noise = rng.standard_normal(shape, dtype=np.float32)

    def field(self) -> Field:
        """Where the pixels come from of each sample that is more than flipped; flips are part of it."""
        elastic = np.flatnonzero(self.elastic)
        samples = np.concatenate([elastic, np.flatnonzero(~self.elastic & (self.similarity | self.grid))])
        height, width = self.size
        matrix = self._matrices(samples, len(elastic))  # [M, 2, 3]
        x, y = self._lines(samples, 0, width), self._lines(samples, 1, height)
        columns = matrix[:, :, 0, None] * x[:, None]
        rows = matrix[:, :, 1, None] * y[:, None] + matrix[:, :, 2, None]
        # Noise uniform in [-1, 1] has a variance of 1/3, and so has each of its waves.
        turned = np.einsum("eij,ejvu->eivu", matrix[: len(elastic), :, :2], self.noise)
        waves = self.settings.alpha / math.sqrt(3) * turned
        parts = (np.clip(part, -FARTHEST, FARTHEST).astype(np.float32) for part in (columns, rows, waves))
        return Field(samples, *parts)

    def _matrices(self, samples: AnyArray, elastic: int) -> FloatArray:
        """``[M, 2, 3]``: from a position of the (distorted) result to one of the sample."""
        height, width = self.size
        angle = np.radians(self.angle[samples])
        cos, sin = np.cos(angle) / self.scale[samples], np.sin(angle) / self.scale[samples]
        matrix = np.zeros((len(samples), 2, 3))
        matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 0], matrix[:, 1, 1] = cos, -sin, sin, cos
        center = np.array([(width - 1) / 2, (height - 1) / 2])
        matrix[:, :, 2] = center - (matrix[:, :, :2] @ (center + self.shift[samples])[:, :, None])[:, :, 0]
        flipped = self.flip[samples]
        matrix[flipped, 0] *= -1
        matrix[flipped, 0, 2] += width - 1
        if elastic:
            middle, reach = np.array([width // 2, height // 2]), max(1, min(height, width) // 3)
            points = middle + reach * np.array([[1, 1], [1, -1], [-1, -1]])
            before, after = np.ones((3, 3)), np.ones((elastic, 3, 3))  # a column a point
            before[:2] = points.T
            after[:, :2] = (points + self.points[samples[:elastic]]).transpose(0, 2, 1)
            back = before @ np.linalg.inv(after)
            matrix[:elastic] = matrix[:elastic] @ back
        return matrix

    def _lines(self, samples: AnyArray, axis: int, length: int) -> FloatArray:
        """``[M, length]``: which column (axis 0) or row (axis 1) each comes from before the affine maps."""
        lines = np.tile(np.arange(length, dtype=float), (len(samples), 1))
        grid = self.grid[samples]
        if grid.any():
            lines[grid] = grid_lines(length, self.cells[axis][samples[grid]], self.settings.num_steps)
        return lines

    def hole_size(self) -> tuple[int, int]:
        """Height and width of a hole in pixels, at least 1."""
        height, width = (max(1, int(side * self.settings.hole_size)) for side in self.size)
        return height, width

    def holes(self) -> AnyArray:
        """``[B, N, 2]`` int: top row and left column; a hole that is not drawn is above the image."""
        sizes = np.array(self.hole_size())
        places: AnyArray = (self._places * (np.array(self.size) - sizes + 1)).astype(int)
        places[np.arange(places.shape[1]) >= self.hole_count[:, None], 0] = -sizes[0]
        return places

    def words(self) -> list[list[str]]:
        """For each sample its steps and their numbers, in the order in which they are applied."""
        lines = []
        for index in range(len(self.flip)):
            said = ["HorizontalFlip"] if self.flip[index] else []
            if self.similarity[index]:
                x, y = self.shift[index]
                numbers = f"scale {self.scale[index]:.3g}, rotate {self.angle[index]:.3g}"
                said.append(f"ShiftScaleRotate: shift x {x:.3g} px, shift y {y:.3g} px, {numbers}")
            if self.grid[index]:
                x, y = (
                    np.abs(self._lines(np.array([index]), axis, side) - np.arange(side)).max()
                    for axis, side in enumerate(reversed(self.size))
                )
                said.append(f"GridDistortion: moves x {x:.3g} px, moves y {y:.3g} px")
            if self.elastic[index]:
                said.append(f"ElasticTransform: affine moves up to {np.abs(self.points[index]).max():.3g} px")
            if self.dropout[index]:
                said.append(f"CoarseDropout: {self.hole_count[index]} holes")
            lines.append(said)
        return lines


def cell_size(length: int, num_steps: int) -> int:
    """Pixels of a grid's cell; what the cells leave at the end is less than one."""
    return max(1, length // num_steps)


def grid_lines(length: int, factors: FloatArray, num_steps: int) -> FloatArray:
    """``[G, length]``: where each pixel along one axis comes from when cells change by ``factors [G, cells]``.

    Cells are sampled from their first position to their end, and what they leave runs to the image's end.
    """
    cell = cell_size(length, num_steps)
    ends = np.cumsum(cell * (1 + factors), axis=1)
    edges = np.pad(ends, ((0, 0), (1, 0)))
    if length % cell:
        edges = np.pad(edges, ((0, 0), (0, 1)), constant_values=length)
    pixels = np.arange(length)
    index = pixels // cell
    spans = np.minimum(cell, length - index * cell)
    share = (pixels - index * cell) / np.maximum(spans - 1, 1)
    lines: FloatArray = edges[:, index] + share * (edges[:, index + 1] - edges[:, index])
    return lines


@lru_cache
def blurred_waves(length: int, sigma: float) -> FloatArray:
    """The waves of which blurred noise consists along one axis, ``[length, V]`` float32.

    Under a border that is mirrored about the image's edge (OpenCV's BORDER_REFLECT) cosines of k half periods are the
    eigenvectors of a blur, and exp(-(pi k sigma / length)² / 2) is what a Gaussian of ``sigma`` pixels leaves of each.
    So white noise with a variance of 1 in every pixel, blurred, is their sum with independent strengths of variance 1:
    for a large sigma a few of them, instead of noise in every pixel and a blur.
    """
    most = length / (math.pi * sigma) * math.sqrt(-2 * math.log(FAINTEST))  # infinite for the tiniest sigma
    k = np.arange(math.floor(min(length - 1, most)) + 1)
    left = np.exp(-((np.pi * k * sigma / length) ** 2) / 2)
    norm = np.sqrt(np.where(k == 0, 1, 2) / length)
    waves: FloatArray = norm * left * np.cos(np.pi * k * (np.arange(length)[:, None] + 0.5) / length)
    waves = waves.astype(np.float32)
    waves.flags.writeable = False  # the cache hands out the same array again
    return waves
