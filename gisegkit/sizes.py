"""Sizes of memory as people write them: ``16GiB`` to bytes and back."""

from __future__ import annotations

import re

UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def parse_size(text: str) -> int:
    """Bytes of ``16GiB``, ``6 GB`` or ``900MiB``; upper and lower case are alike.

    Raises:
        ValueError: if it is no size above 0; the message says what is valid.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", text)
    size = int(float(found[1]) * UNITS.get(found[2].upper(), 0)) if found else 0
    if size <= 0:
        raise ValueError('a number with its unit, such as "16GiB", "900MiB" or "6GB"')
    return size


def show_size(size: float) -> str:
    """Bytes as a person reads them: ``14.20 GiB``, ``310 MiB``."""
    if size >= 2**30:
        return f"{size / 2**30:.2f} GiB"
    return f"{size / 2**20:.0f} MiB" if size >= 2**20 else f"{size / 2**10:.0f} KiB"
