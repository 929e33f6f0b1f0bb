"""What to do about a line that is no TOML: quotes, backslashes, words of Python."""

from __future__ import annotations

QUOTES = "\u201c\u201d\u201e\u201f\u00ab\u00bb\u2018\u2019\u201a\u201b"
"""Quotes that word processors make of plain ones."""


def syntax_remedy(statement: str) -> str:
    """The remedy for a statement that is no TOML, by what people write instead."""
    key, equals, value = statement.partition("=")
    key, value = key.strip(), value.partition("#")[0].strip()
    if any(mark in statement for mark in QUOTES):
        plain = statement.strip().translate({ord(mark): '"' for mark in QUOTES})
        return f"typographic quotes are no quotes in TOML: {plain}"
    if value.startswith('"') and "\\" in value:
        return (
            f'in a text in "quotes" a backslash begins an escape: write {key} = {value.replace(chr(92), "/")}, or '
            + (f"put it into 'single quotes', in which a backslash is one: {key} = '{value.strip(chr(34))}'")
        )
    if value in ("True", "False"):
        return f"write {key} = {value.lower()}"
    if equals and value and value[0] not in "\"'[{":
        return f'texts need quotes: {key} = "{value}"'
    return "a recipe has lines like [model], [[loss]] and name = value"
