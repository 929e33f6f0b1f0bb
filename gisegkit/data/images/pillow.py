"""What Pillow reads: the headers of JPEG, BMP, WebP and GIF files, and the pixels of palettes and of few bits."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image

from gisegkit.data.images.header import COPY, Header
from gisegkit.errors import DataError

if TYPE_CHECKING:
    from gisegkit.types import AnyArray

MODES = {"1": (1, False), "L": (1, False), "P": (1, False), "LA": (2, True), "RGB": (3, False), "RGBA": (4, True)}
"""Samples a pixel, and whether the last one is alpha, of the modes that are read."""


READERS = {
    "PNG": ("PngImagePlugin", "PngImageFile"),
    "JPEG": ("JpegImagePlugin", "JpegImageFile"),
    "BMP": ("BmpImagePlugin", "BmpImageFile"),
    "WebP": ("WebPImagePlugin", "WebPImageFile"),
    "GIF": ("GifImagePlugin", "GifImageFile"),
}
"""The modules of PIL and their readers."""


def opened(file: BinaryIO, form: str) -> Any:
    """A file by the reader of its format.

    Called by name, since ``Image.open`` also loads and tries all other readers, and has a limit of its own.
    """
    module, name = READERS[form]
    return getattr(importlib.import_module(f"PIL.{module}"), name)(file)


def pillow_facts(file: BinaryIO, form: str, path: Path) -> Header:
    """The header of an open file.

    Raises:
        DataError: if it is damaged, or of a form that is not read.
    """
    try:
        image = opened(file, form)
        pages, orientation = int(getattr(image, "n_frames", 1)), int(image.getexif().get(0x0112, 1))
    except Exception as error:  # whatever a reader makes of damage
        raise DataError(f"{path}: is a damaged {form} file ({error}), or of a kind that is not read; {COPY}") from error
    if image.mode not in MODES:
        raise DataError(f"{path}: is a {form} file of colors {image.mode}, which is not read; save it as gray or RGB")
    channels, alpha = MODES[image.mode]
    file.seek(0)
    jpeg = form == "JPEG"
    return Header(
        format=form,
        height=image.size[1],
        width=image.size[0],
        channels=channels,
        bits=1 if image.mode == "1" else 8,
        dtype="uint8",
        pages=1 if jpeg else pages,
        orientation=orientation if 1 <= orientation <= 8 else 1,
        palette=image.mode == "P",
        alpha=alpha or "transparency" in image.info,
        lossy=jpeg or (form == "WebP" and b"VP8 " in file.read(4096)),
        ordinary=jpeg,
    )


def pillow_pixels(file: BinaryIO, form: str, path: Path) -> tuple[AnyArray, AnyArray | None]:
    """The samples of a file's first image as they are stored, and its palette ``[N, 3 or 4]``, None if it has none.

    Raises:
        DataError: if it is damaged or cut off.
    """
    try:
        image = opened(file, form)
        image.load()
    except Exception as error:  # whatever a decoder makes of damage
        raise DataError(f"{path}: is a damaged {form} file ({error}); {COPY}") from error
    assert isinstance(image, Image.Image)
    pixels = np.array(image)
    if image.mode == "1":
        pixels = pixels.astype(np.uint8)
    if image.mode != "P":
        return pixels, None
    image.apply_transparency()
    colors = image.palette.mode if image.palette is not None else "RGB"
    palette = np.array(image.getpalette(colors), dtype=np.uint8).reshape(-1, len(colors))
    return pixels, palette
