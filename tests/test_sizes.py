"""sizes.py: what people write as a size of memory."""

from __future__ import annotations

import pytest

from gisegkit.sizes import parse_size, show_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("16GiB", 16 * 1024**3),
        ("16 gib", 16 * 1024**3),
        ("6GB", 6_000_000_000),
        ("1.5 MiB", 3 * 2**19),
        ("900KB", 900_000),
        ("12B", 12),
    ],
)
def test_sizes_are_read(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "16", "GiB", "16 GiBs", "-1GiB", "0GiB", "1e3MiB", "sixteen GiB"])
def test_anything_else_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match='such as "16GiB"'):
        parse_size(text)


def test_sizes_are_shown():
    assert show_size(16 * 1024**3) == "16.00 GiB"
    assert show_size(310 * 2**20) == "310 MiB"
    assert show_size(200_000) == "195 KiB"
