"""An image file is opened and its header read, whatever its format; what is no image or too large is refused."""

from __future__ import annotations

import os
import stat
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from gisegkit.data.files import MAX_FILE, read_bytes
from gisegkit.data.findings import FileError
from gisegkit.data.images.header import COPY, Header, sniff
from gisegkit.errors import DataError

MAX_PIXELS = 2**27
"""Pixels that a slice may have; 134 million are a square of 11,585. Masks and probabilities need several times that."""

MAX_BYTES = 2**29
"""Bytes that the pixels of a slice may take, over all channels."""


def open_file(path: Path) -> BinaryIO:
    """A file as a stream; a small one is kept in memory for its next reader.

    Raises:
        DataError: if it cannot be opened, is empty, or is no regular file but a folder, a pipe or a device.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{path}: is {kind_of(status.st_mode)}, not a file; remove it")
        if not status.st_size:
            raise DataError(f"{path}: is empty (0 bytes); {COPY}")
        return BytesIO(read_bytes(path)) if status.st_size <= MAX_FILE else path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def kind_of(mode: int) -> str:
    """What something is that is no regular file."""
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISFIFO(mode):
        return "a pipe"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"


def read_header(path: Path) -> Header:
    """What a file says of itself; decodes no pixel.

    Raises:
        DataError: if it cannot be opened or is damaged, is of a format or a form that is not read, or has more pixels
            than a slice may have.
    """
    with open_file(path) as file:
        return header_of(file, path)


def header_of(file: BinaryIO, path: Path) -> Header:
    """As ``read_header``, of an open file, which is at its start afterwards."""
    start = file.read(256)
    file.seek(0)
    form = sniff(start)
    if not form:
        if start.startswith(b"version https://git-lfs"):
            raise DataError(f"{path}: is not the image but Git's pointer to it; git lfs pull brings the file itself")
        other = foreign(start)
        if other:
            raise DataError(f"{path}: is {other}, which is not read; export it to PNG or TIFF")
        raise DataError(f"{path}: is damaged or no image that can be read (PNG, JPEG, TIFF, BMP, WebP or GIF); {COPY}")
    # Loaded when they are needed: not every command looks at images, and not every set has TIFF files.
    if form == "PNG":
        from gisegkit.data.images.png import png_facts as facts
    elif form == "TIFF":
        from gisegkit.data.images.tiff import tiff_facts as facts
    else:
        from gisegkit.data.images.pillow import pillow_facts as facts
    header = facts(file, form, path)
    file.seek(0)
    _refuse_size(header, path)
    return header


def _refuse_size(header: Header, path: Path) -> None:
    height, width = header.height, header.width
    if min(height, width) < 1:
        raise DataError(f"{path}: is {height} x {width} (height x width), which is no image; {COPY}")
    samples = height * width * header.channels
    needed = samples * max(1, int(header.dtype.lstrip("uintfloabcmpex") or 8) // 8)
    if height * width > MAX_PIXELS or needed > MAX_BYTES:
        raise FileError(
            "too large",
            f"{path}: has {height:,} x {width:,} (height x width) pixels, {needed / 2**20:,.0f} MiB; a slice may have "
            f"{MAX_PIXELS:,} pixels and {MAX_BYTES // 2**20} MiB; cut it into tiles, or make it smaller",
        )


FOREIGN = (
    (128, b"DICM", "DICOM"),
    (4, b"ftypheic", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (4, b"ftypavif", "AVIF"),
    (4, b"jP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"JXL ", "JPEG XL"),
    (0, b"\x1f\x8b", "gzip (NIfTI?)"),
    (0, b"\x93NUMPY", "NumPy"),
    (0, b"\x89HDF", "HDF5"),
    (0, b"MATLAB", "MATLAB"),
    (0, b"%PDF", "PDF"),
    (0, b"PK\x03\x04", "a ZIP archive"),
)
"""Where files that are not read have what bytes, and what they are."""


def foreign(start: bytes) -> str:
    """What a file is that is not read, as far as its first 256 bytes tell; empty if unknown."""
    for place, mark, name in FOREIGN:
        if start[place:].startswith(mark):
            return name
    return "a web page" if start.lstrip()[:5].lower() in (b"<html", b"<!doc") else ""
