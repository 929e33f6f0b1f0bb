"""TIFF files, BigTIFF and ImageJ's among them: bands, pages and values as they are stored."""

from __future__ import annotations

import logging
import math
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import imagecodecs  # noqa: F401 - what tifffile decodes compressed parts with, and would miss only then
import numpy as np
import tifffile

from gisegkit.data.images.header import COPY, Header
from gisegkit.errors import DataError

if TYPE_CHECKING:
    from gisegkit.types import AnyArray

LOSSY = {6, 7, 22610, 33003, 33004, 33005, 34712, 34892, 34934, 50001, 50002, 52546}
"""Compressions that may change values: JPEG, JPEG 2000, JPEG XR, WebP, JPEG XL."""

COLORS = {5, 8, 9, 10, 32803, 32844, 32845}
"""Photometric interpretations that are not read: CMYK, kinds of L*a*b*, the mosaic of a camera's sensor, LogLuv."""

BANDS = "SC"
"""Axes that are channels of a pixel: samples, and channels of a microscope."""


class _Heard(logging.Handler):
    """What tifffile warns of, by thread."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.__dict__.setdefault("found", []).append(record.getMessage())

    def take(self) -> list[str]:
        """What was said in this thread since the last time."""
        found: list[str] = self.lines.__dict__.pop("found", [])
        return found


_heard = _Heard()
tifffile.logger().addHandler(_heard)
tifffile.logger().propagate = False  # what matters is told with the file's name


class _Stack(NamedTuple):
    """The images of a file: their number, bands a pixel, and where they are among the axes."""

    series: Any
    pages: int
    bands: int


def tiff_facts(file: BinaryIO, form: str, path: Path) -> Header:
    """The header of an open TIFF file.

    Raises:
        DataError: if it is damaged, or of a form that is not read.
    """
    with _open(file, path) as tiff:
        stack = _stack(tiff, path)
        page = stack.series.keyframe
        alpha = any(int(sample) in (1, 2) for sample in page.extrasamples[-1:])
        orientation = page.tags.valueof(274, default=1)
        bits = page.bitspersample if isinstance(page.bitspersample, int) else max(page.bitspersample)
        if (page.photometric == 6 and int(page.compression) not in LOSSY) or page.photometric in COLORS:
            name = getattr(page.photometric, "name", page.photometric)
            raise DataError(f"{path}: is a TIFF file of colors {name}, which is not read; save it as gray or RGB")
        if stack.series.dtype is None or np.dtype(stack.series.dtype).kind not in "uifb":
            raise DataError(f"{path}: is a TIFF file of values {stack.series.dtype}, which are not read; {COPY}")
        return Header(
            format=form,
            height=page.imagelength,
            width=page.imagewidth,
            channels=stack.bands,
            bits=bits,
            dtype=np.dtype(stack.series.dtype).name.replace("bool", "uint8"),
            pages=stack.pages,
            orientation=orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1,
            palette=page.photometric == 3,
            alpha=alpha,
            lossy=int(page.compression) in LOSSY,
            inverted=page.photometric == 0,
            by_tifffile=page.photometric == 0 and bits == 1 and str(page.software).startswith("tifffile"),
        )


def _open(file: BinaryIO, path: Path) -> tifffile.TiffFile:
    _heard.take()
    try:
        tiff = tifffile.TiffFile(file)
        if tiff.is_shaped and len(tiff.series) > 1:  # written page by page, each as an array of its own
            file.seek(0)
            tiff = tifffile.TiffFile(file, is_shaped=False)
        return tiff
    except Exception as error:  # whatever it makes of damage
        raise DataError(f"{path}: is a damaged TIFF file ({error}); {COPY}") from error


def _stack(tiff: tifffile.TiffFile, path: Path) -> _Stack:
    """What the pages of a file are, if they are of one size."""
    try:
        series = tiff.series
        tiff.pages[-1]  # walks to the last one, which a file that was cut off does not have
    except Exception as error:
        raise DataError(f"{path}: is a damaged TIFF file ({error}); {COPY}") from error
    if lines := [line for line in _heard.take() if "TiffTag" not in line]:
        raise DataError(f"{path}: is a damaged TIFF file ({lines[0]}); {COPY}")
    if len(series) != 1:
        sizes = ", ".join("x".join(map(str, one.shape)) for one in series[:3])
        raise DataError(f"{path}: holds {len(series)} images of different forms ({sizes} ...); save one as a file")
    one = series[0]
    axes = dict(zip(one.axes, one.shape, strict=True))
    if one.axes.count("S") + one.axes.count("C") > 1 and axes["S"] * axes["C"] > 4:
        raise DataError(f"{path}: has the axes {one.axes} {list(one.shape)}, which are not read; save slices as files")
    pages = {axis: size for axis, size in axes.items() if axis not in BANDS + "YX" and size > 1}
    if len(pages) > 1:
        held = " x ".join(f"{size} ({axis})" for axis, size in pages.items())
        raise DataError(f"{path}: holds {held} images along {len(pages)} axes; save each stack of slices as a file")
    return _Stack(one, math.prod(pages.values()), math.prod(axes.get(axis, 1) for axis in BANDS))


def tiff_pixels(file: BinaryIO, path: Path, *, page: int = 0) -> tuple[AnyArray, AnyArray | None]:
    """The samples of a page as they are stored, ``[H, W]`` or ``[H, W, C]``, and its palette, None if it has none.

    Raises:
        DataError: if it is damaged or cut off, or the decoder warns.
    """
    with _open(file, path) as tiff:
        stack = _stack(tiff, path)
        frame = stack.series.keyframe
        _refuse_gaps(tiff, path)
        try:
            pixels = _page(tiff, stack, page)
            palette = frame.colormap if frame.photometric == 3 else None
        except Exception as error:  # whatever a codec makes of damage
            raise DataError(f"{path}: is a damaged TIFF file ({error}), or not readable; {COPY}") from error
    if lines := [line for line in _heard.take() if "TiffTag" not in line]:
        raise DataError(f"{path}: is a damaged TIFF file ({lines[0]}); {COPY}")
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8)
    if palette is None:
        return pixels, None
    return pixels, _eight_bits(palette.T)


def _eight_bits(colors: AnyArray) -> AnyArray:
    """A palette ``[N, 3]`` of 16 bits as 8 bits, if that is what it was made of: times 256, times 257, or as it was."""
    high = colors >> 8
    if not high.any():
        return colors.astype(np.uint8)
    return high.astype(np.uint8) if (colors == high * 257).all() or (colors == high * 256).all() else colors


def _refuse_gaps(tiff: tifffile.TiffFile, path: Path) -> None:
    """Parts that are not there, which tifffile would fill with zeros."""
    end = tiff.filehandle.size
    for page in tiff.pages:
        for offset, size in zip(page.dataoffsets, page.databytecounts, strict=False):
            if not size or offset + size > end:
                raise DataError(f"{path}: the file is cut off, or a part of its pixels was never written; {COPY}")


def _page(tiff: tifffile.TiffFile, stack: _Stack, page: int) -> AnyArray:
    """One page as ``[H, W]`` or ``[H, W, C]``; of a long stack only what it needs is read."""
    series = stack.series
    if stack.pages > 1 and len(series.pages) == stack.pages and not stack.bands > 1:
        alone: AnyArray = series.pages[page].asarray()
        return alone
    whole = series.asarray()
    order = [axis for axis in series.axes if axis not in BANDS + "YX"]
    last = [axis for axis in series.axes if axis in "C"] + [axis for axis in series.axes if axis in "S"]
    moved = whole.transpose([series.axes.index(axis) for axis in [*order, "Y", "X", *last]])
    height, width = moved.shape[len(order) : len(order) + 2]
    chosen: AnyArray = moved.reshape(stack.pages, height, width, stack.bands)[page]
    return np.ascontiguousarray(chosen[:, :, 0] if stack.bands == 1 else chosen)


def write_tiff(path: Path, image: AnyArray) -> None:
    """Write an image ``[H, W, C]`` as it is, every channel in full depth; ``read`` gives the same back."""
    if image.shape[2] == 1:
        tifffile.imwrite(path, image[..., 0], photometric="minisblack")
    else:
        tifffile.imwrite(path, image, photometric="minisblack", planarconfig="contig")
