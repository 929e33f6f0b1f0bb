"""Image files, read whole or not at all: what was decoded is held against what the file says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import cv2
import numpy as np

from gisegkit.data.files import read_bytes
from gisegkit.data.findings import FileError
from gisegkit.data.images.header import COPY, Header
from gisegkit.data.images.look import header_of, open_file, read_header
from gisegkit.errors import DataError

if TYPE_CHECKING:
    from gisegkit.types import AnyArray

Alpha = Literal["refuse", "channel", "drop"]
"""What is done with the transparency of an image: refused unless it is opaque, kept as a channel, dropped."""


LARGEST_WHOLE = 2**53
"""Above it, not every whole number is a float64."""


class Pixels(NamedTuple):
    """What a file holds, upright.

    Attributes:
        values: as they are stored, ``[H, W]`` or ``[H, W, C]`` in the order red, green, blue, alpha.
        palette: the colors that the values are indices of, ``[N, 3]`` or ``[N, 4]``; None if they are none.
        header: what the file says of itself.
    """

    values: AnyArray
    palette: AnyArray | None
    header: Header


def read_image(path: Path, *, alpha: Alpha = "refuse", page: int | None = None) -> AnyArray:
    """An image as it is shown, upright, in its file's own depth: ``[H, W]``, or ``[H, W, C]`` with a channel a band.

    Colors come in the order red, green, blue; a palette gives its colors, or gray if all of them are; values of 1, 2
    or 4 bits are spread over 0 to 255; where 0 is white, values are turned round. float16 and float64 become float32.

    Args:
        alpha: what is done with transparency.
        page: which image of the file, counted from 0; None refuses a file with several.

    Raises:
        DataError: if the file cannot be opened, is damaged or cut off, is of a form that is not read, holds several
            images, or transparency that ``alpha`` refuses.
    """
    pixels = decode(path, page=page)
    image, header = pixels.values, pixels.header
    if pixels.palette is not None:
        image = _colors(pixels, path)
    elif header.bits < 8 and image.dtype == np.uint8:
        largest = np.uint8(2**header.bits - 1)
        image = np.minimum(image, largest) * np.uint8(255 // largest)  # what is opaque has 255 already
    if image.dtype.kind == "f" and image.dtype != np.float32:
        image = _single_precision(image, path)
    image = _without_alpha(image, path, alpha) if header.alpha else image
    if header.format == "WebP" and image.ndim == 3 and (image[:, :, :3] == image[:, :, :1]).all():
        image = image[:, :, 0] if image.shape[2] == 3 else image[:, :, ::3]  # the format has no gray of its own
    return image


def _single_precision(image: AnyArray, path: Path) -> AnyArray:
    """float16 or float64 as float32; what becomes infinite is refused as such, later.

    Raises:
        DataError: if all that is in the image is too small for it, so that the image would be empty.
    """
    with np.errstate(over="ignore", under="ignore"):
        made: AnyArray = image.astype(np.float32)
    if image.any() and not made.any():
        found = f"its largest value is {float(np.abs(image).max()):g}"
        raise FileError("values too small", f"{path}: {found}; multiply the values before saving")
    return made


def read_values(path: Path, *, source: Literal["values", "alpha"] = "values", page: int | None = None) -> AnyArray:
    """The values of a mask, upright: whole numbers as they are stored, ``[H, W]``, or colors ``[H, W, 3]``.

    A palette gives its indices, and a file of 1 bit 0 and 1. Fractions that are whole numbers become such.

    Args:
        source: the values, or the alpha channel of a file that has one.
        page: as of ``read_image``.

    Raises:
        DataError: as of ``read_image``; if the file has an alpha channel that is not opaque and was not asked for, or
            if 0 is white and it has more than 1 bit.
    """
    pixels = decode(path, page=page)
    values, header = pixels.values, pixels.header
    if source == "alpha":
        values = _colors(pixels, path) if pixels.palette is not None else values
        if not header.alpha or values.ndim == 2:
            raise DataError(f'{path}: has no alpha channel, which dataset.mask_from = "alpha" asks for')
        return values[:, :, -1]
    if pixels.palette is not None:
        return values
    if header.by_tifffile:
        return 1 - values
    if header.inverted and header.bits > 1:
        raise FileError(
            "white is 0 in a mask",
            f"{path}: says that 0 is white (MinIsWhite), so that its values are not those that viewers show; save the "
            "mask so that 0 is black (in ImageJ: Image > Lookup Tables > Invert LUT, twice Edit > Invert)",
        )
    if header.alpha and values.ndim == 3:
        _refuse_alpha_of_mask(values, path)
        values = values[:, :, 0] if values.shape[2] == 2 else values[:, :, :-1]
    return _whole(values) if values.dtype.kind == "f" else values


def _refuse_alpha_of_mask(values: AnyArray, path: Path) -> None:
    seen = values[:, :, -1]
    if (seen != _opaque(seen)).any():
        raise FileError(
            "alpha channel of a mask",
            f"{path}: is a mask with an alpha channel that is not opaque; if the shape is in that channel, set "
            'dataset.mask_from = "alpha"; if it is in the colors, save the mask without transparency',
        )


def _whole(values: AnyArray) -> AnyArray:
    """Fractions as whole numbers, if all of them are such; else as they are."""
    if not (np.abs(values.astype(np.float64)) < LARGEST_WHOLE).all():  # neither is NaN
        return values
    whole: AnyArray = values.astype(np.int64)
    return whole if (whole == values).all() else values


def colors_of(path: Path, *, page: int | None = None) -> AnyArray:
    """The colors of a mask, ``[H, W, 3]`` uint8, those of a palette included.

    Raises:
        DataError: as of ``read_image``, and if the values have more than 8 bits.
    """
    image = read_image(path, alpha="channel", page=page)
    if read_header(path).alpha:
        _refuse_alpha_of_mask(image, path)
        image = image[:, :, 0] if image.shape[2] == 2 else image[:, :, :-1]
    if image.dtype != np.uint8 or (image.ndim == 3 and image.shape[2] != 3):
        raise DataError(f"{path}: has no colors of 8 bits, which dataset.colors needs; save the mask as RGB")
    return image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)


def image_size(path: Path) -> tuple[int, int]:
    """Height and width in pixels of the upright image, from the file's header.

    Raises:
        DataError: as of ``read_header``.
    """
    return read_header(path).size


def decode(path: Path, *, page: int | None = None) -> Pixels:
    """What a file holds, upright; ``page`` as of ``read_image``.

    Raises:
        DataError: as of ``read_image``, but for transparency.
    """
    with open_file(path) as file:
        header = header_of(file, path)
        if header.pages > 1 and (page is None or header.format != "TIFF"):
            frames = "frames" if header.format != "TIFF" else "pages"
            remedy = 'dataset.pages = "slices" reads them as the slices of a scan' if header.format == "TIFF" else ""
            remedy = ", or ".join(filter(None, (remedy, "save every slice as a file of its own")))
            raise FileError("several pages", f"{path}: holds several {frames} ({header.pages}); {remedy}")
        if page is not None and page >= header.pages:
            raise DataError(f"{path}: has no page {page + 1}, only {header.pages}")
        palette = None
        if header.format == "TIFF":
            from gisegkit.data.images.tiff import tiff_pixels

            values, palette = tiff_pixels(file, path, page=page or 0)
        elif header.ordinary or (header.format == "PNG" and not header.palette and header.bits >= 8):
            values = _by_opencv(path, header)
        else:
            from gisegkit.data.images.pillow import pillow_pixels

            values, palette = pillow_pixels(file, header.format, path)
            if header.format == "PNG" and palette is None and 1 < header.bits < 8:
                values = values // np.uint8(255 // (2**header.bits - 1))  # Pillow spreads them over 0 to 255
    if header.clear >= 0 and values.ndim == 2:
        seen = np.where(values == header.clear, 0, np.iinfo(values.dtype).max).astype(values.dtype)
        values = np.dstack([values, seen])
    if header.inverted and (header.bits == 1 or values.dtype.kind == "u"):
        values = (2**header.bits - 1 - values).astype(values.dtype)
    _compare(values, header, path)
    return Pixels(upright(values, header.orientation), palette, header)


def upright(values: AnyArray, orientation: int) -> AnyArray:
    """Rows and columns as they are to be seen, by the EXIF or TIFF tag of orientation (1 to 8)."""
    if orientation > 4:
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):  # the first row is at the bottom
        values = values[::-1]
    if orientation in (2, 3, 6, 7):  # the first column is at the right
        values = values[:, ::-1]
    return np.ascontiguousarray(values)


def _by_opencv(path: Path, header: Header) -> AnyArray:
    content = np.frombuffer(read_bytes(path), dtype=np.uint8)
    if header.format == "JPEG":
        from gisegkit.data.images.complaints import listen

        image, damage = listen(lambda: cv2.imdecode(content, cv2.IMREAD_UNCHANGED))
        if damage:
            raise DataError(f"{path}: is a damaged JPEG file ({damage}); {COPY}")
    else:
        image = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    if image is None:
        raise DataError(f"{path}: is damaged or no image that can be read; {COPY}")
    if image.ndim == 2:
        return image
    if image.shape[2] == 4 and header.channels == 2:  # OpenCV makes gray and alpha four channels
        return image[:, :, ::3]
    return image[:, :, [2, 1, 0, 3][: image.shape[2]]]


def _compare(values: AnyArray, header: Header, path: Path) -> None:
    """Hold what was decoded against what the file says of itself."""
    channels = 1 if values.ndim == 2 else values.shape[2]
    if (*values.shape[:2], channels, values.dtype.name) != (header.height, header.width, header.channels, header.dtype):
        raise DataError(
            f"{path}: says of itself {header} of type {header.dtype}, and {values.shape[0]} x {values.shape[1]} x "
            f"{channels} of type {values.dtype} were decoded; save it as PNG or TIFF"
        )


def _colors(pixels: Pixels, path: Path) -> AnyArray:
    """What a palette makes of indices: ``[H, W]`` if all its colors are gray."""
    palette = pixels.palette
    assert palette is not None
    if int(pixels.values.max()) >= len(palette):
        raise DataError(f"{path}: has the index {pixels.values.max()}, and its palette {len(palette)} colors; {COPY}")
    gray = (palette[:, :3] == palette[:, :1]).all()
    colors = palette[:, [0, *range(3, palette.shape[1])]] if gray else palette
    image = colors[pixels.values]
    return image[:, :, 0] if image.shape[2] == 1 else image


def _opaque(alpha: AnyArray) -> float:
    return float(np.iinfo(alpha.dtype).max) if alpha.dtype.kind in "iu" else 1.0


def _without_alpha(image: AnyArray, path: Path, alpha: Alpha) -> AnyArray:
    if alpha == "channel" or image.ndim == 2:
        return image
    seen = image[:, :, -1]
    if alpha == "refuse" and (seen != _opaque(seen)).any():
        raise FileError(
            "alpha channel",
            f'{path}: has an alpha channel that is not opaque everywhere; dataset.alpha = "channel" keeps it as a '
            'channel (a fourth band), "drop" leaves it out',
        )
    return np.ascontiguousarray(image[:, :, 0] if image.shape[2] == 2 else image[:, :, :-1])
