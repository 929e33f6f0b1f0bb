"""Numbers in sentences: the right plural, and a size that says something."""

from __future__ import annotations


def count(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: ``1 scan``, ``2 scans``.

    Args:
        noun: for one.
        plural: for any other number; empty adds an s.
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def parameters(number: int) -> str:
    """The size of a network: ``3,075 parameters``, ``7.79 million parameters``."""
    return (
        f"{number / 1e6:.2f} million parameters" if number >= 100_000 else f"{number:,} parameter{'s' * (number != 1)}"
    )


def in_a_sentence(text: str) -> str:
    """A sentence of its own as it goes on after a semicolon."""
    return text[:1].lower() + text[1:]
