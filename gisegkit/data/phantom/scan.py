"""Draws the slices of one synthetic scan, image and masks, from the tables of ``phantom_anatomy``.

A case owns the build of the body and its tissues' brightness, a day moves, fills and resizes the organs, a slice owns
its noise; each draws from its own generator, so that no scan depends on how many others there are.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import cv2
import numpy as np

from gisegkit.data.phantom.anatomy import (
    ASCENDING,
    BACKGROUND,
    BRIGHTNESS,
    CLASSES,
    DESCENDING,
    GRAIN,
    HAUSTRA,
    LOOPS,
    SIZES,
    SPECK_LEVELS,
    SPECKS,
    STOMACH,
    TRANSVERSE,
    Ellipse,
    cut,
)
from gisegkit.data.phantom.lesions import MARGIN, place_lesions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gisegkit.types import BoolArray

    Float: TypeAlias = NDArray[np.floating[Any]]  # float32 throughout

Window: TypeAlias = tuple[slice, slice]
LARGE, SMALL, STOMACH_CLASS = range(len(CLASSES))


def generator(seed: int, *path: int) -> np.random.Generator:
    """The generator of a case, of its day or of that day's slice; the path (1) is not the path (1, 0)."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=path))


def smooth(rng: np.random.Generator, shape: tuple[int, int], cells: tuple[int, int]) -> Float:
    """``[H, W]`` normal noise that varies over the given number of cells."""
    coarse = rng.standard_normal(cells, dtype=np.float32)
    return np.asarray(cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC), dtype=np.float32)


class Case:
    """The build of one body: size of the image, place and tilt in it, brightness of the tissues."""

    def __init__(self, seed: int, case: int) -> None:
        rng = generator(seed, case)
        size = SIZES[(case - 1) % len(SIZES)]
        self.width, self.height = size.width, size.height
        self.half_width = size.half_width * rng.uniform(0.92, 1.08)  # pixels
        self.depth = rng.uniform(0.93, 1.07)  # of the body from front to back, 1 the average
        self.cavity = rng.uniform(0.95, 1.02)
        self.center = rng.uniform(-1, 1, 2) * size.wander + (size.width / 2, size.height / 2)
        self.tilt = math.radians(rng.uniform(-6, 6))
        self.stretch = rng.uniform(0.95, 1.0)  # of the organs' part of the scan
        self.shift = rng.uniform(-0.03, 0.03)
        self.brightness = {name: float(rng.uniform(*span)) for name, span in BRIGHTNESS.items()}
        self.ceiling = float(rng.uniform(*size.ceiling))
        self.noise = float(rng.uniform(0.010, 0.028))
        self.arm = bool(rng.random() < 0.5) and size.room_for_arm
        self.organ_scale = rng.uniform(0.92, 1.1, len(CLASSES))

    def grid(self) -> tuple[Float, Float]:
        """Body coordinates x, y of every pixel, each ``[H, W]``."""
        row, column = np.mgrid[: self.height, : self.width].astype(np.float32)
        across, down = column - self.center[0], row - self.center[1]
        cos, sin = math.cos(self.tilt), math.sin(self.tilt)
        x = (across * cos + down * sin) / self.half_width
        y = (down * cos - across * sin) / (self.half_width * self.depth)
        return x.astype(np.float32), y.astype(np.float32)

    def window(self, x: float, y: float, reach: float) -> Window:
        """The pixels that can lie within ``reach`` of a point of the body."""
        cos, sin = math.cos(self.tilt), math.sin(self.tilt)
        down = y * self.depth
        column = self.center[0] + self.half_width * (x * cos - down * sin)
        row = self.center[1] + self.half_width * (x * sin + down * cos)
        radius = self.half_width * (reach * max(1.0, self.depth) + 0.1)  # the warp moves things by less than 0.1
        top, left = max(0, int(row - radius)), max(0, int(column - radius))
        return slice(top, max(top, int(row + radius) + 1)), slice(left, max(left, int(column + radius) + 1))


class Canvas:
    """One slice while it is painted: ``values`` ``[H, W]`` float32 and ``masks`` ``[H, W, K]`` bool."""

    def __init__(self, case: Case, x: Float, y: Float, rng: np.random.Generator, *, classes: int) -> None:
        self.case, self.x, self.y = case, x, y
        shape = (case.height, case.width)
        self.values = np.full(shape, 0.005, dtype=np.float32)
        self.masks = np.zeros((*shape, classes), dtype=np.bool_)
        self.mottle = smooth(rng, shape, (case.height // 5, case.width // 5))

    def locate(self, shape: Ellipse) -> tuple[Window, Float, Float, Float]:
        """Window, depth below the outline in pixels, and place along both axes (-1 to 1 inside), over the window."""
        window = self.case.window(shape.x, shape.y, max(shape.rx, shape.ry) * 1.25)
        dx, dy = self.x[window] - shape.x, self.y[window] - shape.y
        cos, sin = math.cos(math.radians(shape.degrees)), math.sin(math.radians(shape.degrees))
        along = (dx * cos + dy * sin) / shape.rx
        across = (dy * cos - dx * sin) / shape.ry
        if shape.bend:
            across = across - shape.bend * (along * along - 0.4)
        radius = np.sqrt(along * along + across * across)
        if shape.lobes:
            angle = np.arctan2(across, along)
            radius *= 1 + 0.05 * (np.cos(shape.lobes * angle + shape.phase) + np.cos(2 * angle - shape.phase))
        depth = (1 - radius) * (min(shape.rx, shape.ry) * self.case.half_width)
        return window, depth, along, across

    def paint(self, window: Window, cover: Float, value: Float | float) -> None:
        """Lay ``value`` over the window where ``cover`` is 1, mixed with what is there where it is less."""
        under = self.values[window]
        under += cover * (value - under)

    def tissue(self, shape: Ellipse, value: float, texture: float) -> None:
        """Paint something that no mask shows."""
        window, depth, _, _ = self.locate(shape)
        self.paint(window, np.clip(depth + 0.5, 0, 1), value * (1 + texture * self.mottle[window]))

    def organ(self, window: Window, depth: Float, value: Float, index: int) -> None:
        """Paint an organ and mark its mask; half and half where there is another organ already."""
        others = np.delete(self.masks[window], index, axis=2).any(axis=2)
        self.paint(window, np.clip(depth + 0.5, 0, 1) * np.where(others, np.float32(0.5), np.float32(1)), value)
        self.masks[(*window, index)] |= depth > 0


class Scan:
    """One case on one day.

    Args:
        seed: of the whole phantom.
        case: number of the case, from 1.
        day: index of the scan within its case, from 0.
        slices: number of slices from chest to pelvis.
        lesions: the most that a slice of the liver has; above 0 they are one class more.
    """

    def __init__(self, *, seed: int, case: int, day: int, slices: int, lesions: int = 0) -> None:
        self.seed, self.number, self.day, self.slices, self.lesions = seed, case, day, slices, lesions
        self.case = Case(seed, case)
        rng = generator(seed, case, day)
        shape = (self.case.height, self.case.width)
        self.x, self.y = self.case.grid()
        self.warp = [0.016 * smooth(rng, shape, (5, 6)) for _ in range(4)]
        self.gain = np.exp(0.17 * smooth(rng, shape, (3, 4)))
        self.shift = rng.uniform(-0.03, 0.03)
        self.move = rng.normal(0, 0.022, (len(CLASSES), 2)).clip(-0.05, 0.05).tolist()
        self.scale = (self.case.organ_scale * rng.uniform(0.92, 1.08, len(CLASSES))).tolist()
        self.stomach_content, self.stomach_wall = rng.uniform(0.32, 0.75), rng.uniform(0.26, 0.38)
        self.air = rng.uniform(-1.0, -0.1)
        self.gas = rng.uniform(-0.9, 0.9, 2 + len(HAUSTRA)).tolist()
        self.stool = rng.uniform(0.34, 0.56, 2 + len(HAUSTRA)).tolist()
        self.bowel_wall = rng.uniform(0.34, 0.5)
        self.lumen, self.loop_wall = rng.uniform(0.36, 0.62), rng.uniform(0.22, 0.34)
        self.loops = rng.uniform(-1, 1, (len(LOOPS), 7)).tolist()
        self.specks = rng.uniform(0, 1, (SPECKS, 6)).tolist()
        self.arm_side = int(rng.choice([-1, 1]))

    def level(self, position: int) -> float:
        """Where the slice (from 0) cuts the body: 0 to 1 over the part with organs."""
        margin = float(np.interp(self.slices, (24, 80), (0.30, 0.55)))
        shown = (1 - margin) * self.case.stretch
        return float((position / (self.slices - 1) - 0.5 + self.case.shift + self.shift) / shown + 0.5)

    def draw(self, position: int) -> tuple[NDArray[np.uint16], BoolArray]:
        """The slice at a position from 0: image ``[H, W]`` uint16 and masks ``[H, W, K]``."""
        rng = generator(self.seed, self.number, self.day, position)
        level = self.level(position)
        x = self.x + self.warp[0] + (level - 0.5) * self.warp[1]
        y = self.y + self.warp[2] + (level - 0.5) * self.warp[3]
        canvas = Canvas(self.case, x, y, rng, classes=len(CLASSES) + (self.lesions > 0))
        self._background(canvas, level)
        self._stomach(canvas, level)
        self._small_bowel(canvas, level)
        self._large_bowel(canvas, level)
        if self.lesions:
            self._lesions(canvas, level, generator(self.seed, self.number, self.day, position, 0))
        return self._expose(canvas, rng), canvas.masks

    def _background(self, canvas: Canvas, level: float) -> None:
        brightness, cavity = self.case.brightness, self.case.cavity
        taper = float(np.interp(level, (-0.4, 0.1, 0.9, 1.3), (0.95, 1.0, 1.0, 1.05)))
        if self.case.arm and level < 0.7:
            arm = Ellipse(1.22 * self.arm_side, 0.3, 0.10, 0.22, 10 * self.arm_side)
            canvas.tissue(arm, brightness["fat"] * 1.2, 0.1)
        canvas.tissue(Ellipse(0, 0, 1.0 * taper, 0.77 * taper), brightness["fat"], 0.02)
        canvas.tissue(Ellipse(0, -0.01, 0.865 * cavity, 0.625 * cavity), brightness["muscle"], 0.25)
        canvas.tissue(Ellipse(0, -0.01, 0.82 * cavity, 0.58 * cavity), brightness["mesentery"], 0.10)
        for name, texture, frames in BACKGROUND:
            shape = cut(frames, level)
            if shape is not None:
                canvas.tissue(shape, brightness[name], texture)
        for turn, size, center, x, y, value in self.specks:
            if SPECK_LEVELS[0] < level < SPECK_LEVELS[1] and abs(level - center * 1.2) < 0.12 + 0.2 * size:
                place = (0.9 * (x - 0.5), 0.55 * (y - 0.6))
                shape = Ellipse(*place, 0.025 + 0.03 * size, 0.02 + 0.02 * turn, 180 * turn)
                canvas.tissue(shape, 0.15 + 0.4 * value, GRAIN)

    def _stomach(self, canvas: Canvas, level: float) -> None:
        shape = cut(STOMACH, level, move=self.move[STOMACH_CLASS], scale=self.scale[STOMACH_CLASS], bend=0.35 * level)
        if shape is None:
            return
        window, depth, along, across = canvas.locate(shape)
        content = self.stomach_content * (1 + 0.16 * across + 0.8 * 0.09 * canvas.mottle[window])
        content = np.where((canvas.y[window] - shape.y) / shape.ry < self.air, np.float32(0.08), content)
        rugae = 0.10 * np.sin(9 * along + self.loops[0][0]) * (depth < 7)
        wall = np.clip((4.2 - depth) / 1.5, 0, 1)
        canvas.organ(window, depth, content + rugae + wall * (self.stomach_wall - content), STOMACH_CLASS)

    def _small_bowel(self, canvas: Canvas, level: float) -> None:
        move, scale = self.move[SMALL], self.scale[SMALL]
        for (first, last, x, y), (dx, dy, turn, size, phase, fill, slim) in zip(LOOPS, self.loops, strict=True):
            if not first <= level <= last:
                continue
            sway = 0.03 * math.sin(9 * level + 3 * phase)
            size = scale * (1 + 0.12 * size)
            degrees = 70 * turn + 40 * math.sin(5 * level + 3 * phase)
            place = (x + move[0] + 0.035 * dx + sway, y + move[1] + 0.03 * dy - sway)
            radii = ((0.128 + 0.02 * slim) * size, (0.088 - 0.01 * slim) * size)
            shape = Ellipse(*place, *radii, degrees, lobes=3, bend=0.25 * turn, phase=3 * fill)
            window, depth, along, across = canvas.locate(shape)
            folds = np.sin(10 * along + 2.5 * across * across + 3 * phase) * (0.09 + 0.04 * turn)
            lumen = self.lumen * (1 + 0.2 * fill + 0.12 * canvas.mottle[window]) + folds
            wall = np.clip((3.0 - depth) / 1.5, 0, 1)
            canvas.organ(window, depth, lumen + wall * (self.loop_wall - lumen), SMALL)
        # Annotators outline loops that touch as one, with the narrow gaps between them.
        loops = canvas.masks[..., SMALL].astype(np.uint8)
        canvas.masks[..., SMALL] = cv2.morphologyEx(loops, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8)) > 0

    def _large_bowel(self, canvas: Canvas, level: float) -> None:
        move, scale = self.move[LARGE], self.scale[LARGE]
        outline = {"move": move, "scale": scale, "lobes": 4, "phase": 5 * level}
        parts = [cut(ASCENDING, level, **outline), cut(DESCENDING, level, **outline)]
        inside = TRANSVERSE[0] <= level <= TRANSVERSE[1]
        for index, x in enumerate(HAUSTRA):
            size = scale * (1 + 0.12 * math.sin(5 * index + self.loops[1][1] * 3))
            place = (x + move[0], -0.45 + 0.42 * x * x + move[1])
            haustrum = Ellipse(*place, 0.115 * size, 0.08 * size, 46 * x, lobes=3, phase=index)
            parts.append(haustrum if inside else None)
        for shape, gas, stool in zip(parts, self.gas, self.stool, strict=True):
            if shape is None:
                continue
            window, depth, _, _ = canvas.locate(shape)
            height = (canvas.y[window] - shape.y) / shape.ry
            content = stool * (1 + 0.28 * canvas.mottle[window])
            content = np.where(height < gas, np.float32(0.07), content)
            wall = np.clip((2.4 - depth) / 1.3, 0, 1)
            canvas.organ(window, depth, content + wall * (self.bowel_wall - content), LARGE)

    def _lesions(self, canvas: Canvas, level: float, rng: np.random.Generator) -> None:
        """Lesions in the liver's largest part, beside the organs; their generator is their own."""
        liver = next(frames for name, _, frames in BACKGROUND if name == "liver")
        shape = cut(liver, level)
        if shape is None:
            return
        window, depth, _, _ = canvas.locate(shape)
        free = np.zeros(canvas.values.shape, dtype=np.bool_)
        organs = np.asarray(canvas.masks.any(axis=2), dtype=np.uint8)
        near_organs = cv2.dilate(organs, np.ones((2 * MARGIN + 1, 2 * MARGIN + 1), dtype=np.uint8)) > 0
        free[window] = (depth >= MARGIN) & ~near_organs[window]
        for lesion in place_lesions(free, rng, most=self.lesions):
            inside = lesion.depth(free.shape)
            brightness = lesion.contrast * self.case.brightness["liver"]
            canvas.paint((slice(None), slice(None)), np.clip(inside + 0.5, 0, 1), brightness)
            canvas.masks[..., -1] |= inside > 0

    def _expose(self, canvas: Canvas, rng: np.random.Generator) -> NDArray[np.uint16]:
        """What the scanner makes of the tissue: blur, bias field, noise and its own range."""
        grain = smooth(rng, (self.case.height, self.case.width), (self.case.height // 2, self.case.width // 2))
        image = cv2.GaussianBlur(canvas.values * (1 + GRAIN * grain), (0, 0), 0.7) * self.gain
        real, imaginary = rng.standard_normal((2, *image.shape), dtype=np.float32) * np.float32(self.case.noise)
        image = np.hypot(image + real, imaginary)
        top = self.case.ceiling * rng.uniform(0.93, 1.0)
        return np.asarray(np.rint(image * (top / float(image.max()))), dtype=np.uint16)
