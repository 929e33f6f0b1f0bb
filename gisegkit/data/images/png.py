"""PNG files: their chunks, and the pixels of those that OpenCV does not give as they are stored."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from gisegkit.data.images.header import COPY, Header
from gisegkit.errors import DataError

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples a pixel by color type: gray, RGB, palette, gray and alpha, RGB and alpha."""


def png_facts(file: BinaryIO, form: str, path: Path) -> Header:
    """The header of an open PNG file, from the names and sizes of all its chunks.

    Raises:
        DataError: if it is cut off.
    """
    chunks = _chunks(file, path)
    if "IHDR" not in chunks or "IDAT" not in chunks:
        raise DataError(f"{path}: is a PNG file without {'IDAT' if 'IHDR' in chunks else 'IHDR'}; {COPY}")
    width, height, bits, color = struct.unpack(">IIBB", chunks["IHDR"][:10])
    if color not in CHANNELS:
        raise DataError(f"{path}: is a PNG file of an unknown color type ({color}); {COPY}")
    transparent = "tRNS" in chunks or color in (4, 6)
    orientation = _orientation(file) if any(b"exif" in text or b"xmp" in text for text in _texts(chunks)) else 1
    pages = struct.unpack(">I", chunks["acTL"][:4])[0] if "acTL" in chunks else 1
    return Header(
        format=form,
        height=height,
        width=width,
        channels=CHANNELS[color] + (transparent and color in (0, 2)),
        bits=bits,
        dtype="uint16" if bits == 16 else "uint8",
        pages=pages,
        orientation=orientation,
        palette=color == 3,
        alpha=transparent,
        clear=_clear_gray(chunks["tRNS"], bits) if color == 0 and "tRNS" in chunks else -1,
        ordinary=color in (0, 2) and bits >= 8 and not transparent and pages == 1,
    )


def _clear_gray(chunk: bytes, bits: int) -> int:
    """The gray value that is transparent: the low bits of two bytes."""
    return int.from_bytes(chunk[:2], "big") % (1 << bits)


def _chunks(file: BinaryIO, path: Path) -> dict[str, bytes]:
    """The chunks of a file by name: the first 64 bytes of each."""
    file.seek(8)
    found: dict[str, bytes] = {}
    while "IEND" not in found:
        head = file.read(8)
        if len(head) < 8:
            raise DataError(f"{path}: the file is cut off; {COPY}")
        length, name = struct.unpack(">I4s", head)
        kept = file.read(min(length, 64))
        if len(kept) < min(length, 64):
            raise DataError(f"{path}: the file is cut off; {COPY}")
        found.setdefault(name.decode("latin-1"), kept)
        file.seek(length - len(kept) + 4, 1)
    return found


def _texts(chunks: dict[str, bytes]) -> list[bytes]:
    """What may hold an orientation: names of chunks, and the first words of texts, in small letters."""
    return [name.lower().encode("latin-1", "replace") + b" " + text.lower()
            for name, text in chunks.items() if name in ("eXIf", "tEXt", "zTXt", "iTXt")]  # fmt: skip


def _orientation(file: BinaryIO) -> int:
    from gisegkit.data.images.pillow import opened

    file.seek(0)
    return int(opened(file, "PNG").getexif().get(0x0112, 1))
