"""A recipe's text and its data: TOML read with the line of every key, changed by overrides, and written back.

The standard library's ``tomllib`` decides what is TOML; reading statement by statement tells where each key is and
lets one report hold every mistake, those of syntax included.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, time
from typing import Any

from gisegkit.errors import Mistake
from gisegkit.recipe.syntax import syntax_remedy
from gisegkit.registry.kinds import KINDS

Path = tuple[str | int, ...]


@dataclass
class Document:
    """A parsed recipe file.

    Attributes:
        data: what the TOML says, tables of ``[[x]]`` as lists.
        lines: the line of every table and key, by path: ``("loss", 0, "weight")``.
        overrides: where a value came from that is not in the file: ``--set loss.0.weight=0.7``.
        mistakes: syntax errors and keys given twice.
        unread: keys whose line is not TOML, so that nobody misses them a second time.
        notes: what overrides made of no effect, in words.
    """

    source: str
    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[Path, int] = field(default_factory=dict)
    overrides: dict[Path, str] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    unread: set[Path] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def place(self, path: Path) -> str:
        """``file:line`` of a key (or the override that set it), or of the nearest table around it."""
        while path and path not in self.lines and path not in self.overrides:
            path = path[:-1]
        return self.overrides.get(path, f"{self.source}:{self.lines.get(path, 1)}")


def read(text: str, source: str) -> Document:
    """Parse a recipe's text; what is wrong with it is in ``mistakes``."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    document = Document(source)
    table: dict[str, Any] = document.data
    prefix: Path = ()
    for line, statement, error in _statements(text):
        if error:
            document.mistakes.append(Mistake(f"{source}:{line}", f"not TOML: {error}", syntax_remedy(statement)))
            document.unread.add((*prefix, statement.partition("=")[0].strip()))
            continue
        parsed = tomllib.loads(statement)
        if statement.lstrip().startswith("["):
            table, prefix = _open(document, parsed, line, is_list=statement.lstrip().startswith("[["))
        else:
            _merge(document, table, parsed, prefix, line)
    try:
        document.data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        if not document.mistakes:  # statements that are TOML one by one, but not together
            message, _, at = str(error).partition(" (at ")
            found = re.search(r"line (\d+)", at)
            place = f"{source}:{found[1] if found else len(text.splitlines())}"
            document.mistakes.append(Mistake(place, f"not TOML: {message}", "give every table and key once"))
    else:
        document.mistakes.clear()
    return document


def _statements(text: str) -> Iterator[tuple[int, str, str]]:
    """(first line, text, error) of each header and each ``key = value``, however many lines it spans."""
    lines = text.split("\n")  # not splitlines: a text may hold other line breaks, such as U+2028
    start = 0
    while start < len(lines):
        if not lines[start].strip() or lines[start].lstrip().startswith("#"):
            start += 1
            continue
        first_error = ""
        for end in range(start + 1, len(lines) + 1):
            statement = "\n".join(lines[start:end])
            try:
                tomllib.loads(statement)
            except RecursionError:
                yield start + 1, lines[start], "lists or tables are nested too deeply"
                start += 1
                break
            except ValueError as error:  # also a number with too many digits
                first_error = first_error or str(error).split(" (at ")[0]
                if not _may_continue(lines[start]):
                    yield start + 1, lines[start], first_error
                    start += 1
                    break
            else:
                yield start + 1, statement, ""
                start = end
                break
        else:
            yield start + 1, lines[start], first_error
            start += 1


def _may_continue(line: str) -> bool:
    """Whether a statement that is not complete at its first line may go on at the next: a list or a long text."""
    _, equals, value = line.partition("=")
    return bool(equals) and ("[" in value or '"""' in value or "'''" in value)


def _open(document: Document, parsed: dict[str, Any], line: int, *, is_list: bool) -> tuple[dict[str, Any], Path]:
    """Go into the table that a header names; returns it and its path."""
    names: list[str] = []
    node: Any = parsed
    while isinstance(node, dict) and node:
        name, node = next(iter(node.items()))
        names.append(name)
    table: Any = document.data
    path: Path = ()
    for depth, name in enumerate(names):
        last = depth == len(names) - 1
        path = (*path, name)
        fresh = name not in table
        if last and is_list:
            entries = table.setdefault(name, [])
            if not isinstance(entries, list):
                found = f"[[{name}]] is here and [{name}] is at line {document.lines.get(path, 1)}"
                document.mistakes.append(Mistake(f"{document.source}:{line}", found, "use one form"))
                return {}, (*path, "?")
            document.lines.setdefault(path, line)
            entries.append({})
        elif last and not fresh and path in document.lines and isinstance(table[name], dict | list):
            found = f"[{'.'.join(names)}] is here and at line {document.lines[path]}"
            document.mistakes.append(Mistake(f"{document.source}:{line}", found, "keep one of them"))
        table = table.setdefault(name, {})
        if isinstance(table, list) and table:
            path = (*path, len(table) - 1)
            table = table[-1]
        if not isinstance(table, dict):
            document.mistakes.append(Mistake(f"{document.source}:{line}", f"{name!r} is a value, not a table"))
            return {}, (*path, "?")
        document.lines.setdefault(path, line)
    return table, path


def _merge(document: Document, table: dict[str, Any], parsed: Mapping[str, Any], prefix: Path, line: int) -> None:
    for key, value in parsed.items():
        path = (*prefix, key)
        if key in table and not (isinstance(value, dict) and isinstance(table[key], dict)):
            found = f"{key!r} is given here and at line {document.lines.get(path, line)}"
            document.mistakes.append(Mistake(f"{document.source}:{line}", found, "keep one of them"))
        elif isinstance(value, dict):
            document.lines.setdefault(path, line)
            _merge(document, table.setdefault(key, {}), value, path, line)
        else:
            document.lines[path] = line
            table[key] = value


def parse_value(text: str) -> Any:
    """The value of ``--set key=value``: TOML where it is TOML (3, 2e-3, true, [1, 2], "x"), else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def override(document: Document, key: str, value: Any, origin: str) -> None:
    """Set one value in a document.

    A component whose name changes loses the old one's parameters in the file, and a note names them; what a recipe
    says of every component of its kind stays.
    """
    parts: Path = tuple(int(part) if part.isdecimal() and len(part) < 10 else part for part in key.split("."))
    parts = _of_trained(document, parts)
    node: Any = document.data
    for depth, part in enumerate(parts[:-1]):
        child: Any = [] if isinstance(parts[depth + 1], int) else {}
        node = _enter(node, part, child)
        if node is child:
            document.overrides[parts[: depth + 1]] = origin
        if node is None:
            found = f"{'.'.join(map(str, parts[: depth + 1]))} cannot be reached"
            document.mistakes.append(Mistake(origin, found, "indices count from 0; the next free one appends"))
            return
    last = parts[-1]
    if not isinstance(node, dict) or isinstance(last, int):
        remedy = "write section.key=value"
        if isinstance(node, list) and isinstance(last, str):
            remedy = f"write {'.'.join(map(str, parts[:-1]))}.0.{last}=value"
        document.mistakes.append(Mistake(origin, f"{key} names no value", remedy))
        return
    if last == "name" and parts[0] in KINDS and len(parts) <= 3 and node.get("name", value) != value:
        _drop_parameters(document, node, parts[:-1], origin)
    node[str(last)] = value
    for known in [path for path in (*document.lines, *document.overrides) if path[: len(parts)] == parts]:
        document.lines.pop(known, None)
        document.overrides.pop(known, None)
    document.overrides[parts] = origin


def _of_trained(document: Document, parts: Path) -> Path:
    """``dataset.root`` with several datasets is that of the one that trains, whose index goes between."""
    tables = document.data.get(str(parts[0]))
    kind = KINDS.get(str(parts[0]))
    if kind is None or not kind.several or not isinstance(tables, list) or len(parts) < 2 or isinstance(parts[1], int):
        return parts
    trained = [index for index, table in enumerate(tables) if dict(table).get("role", "train") == "train"]
    return (parts[0], trained[0], *parts[1:]) if trained else parts


def _drop_parameters(document: Document, table: dict[str, Any], path: Path, origin: str) -> None:
    """Take out of a component's table what belongs to its old name alone, and note what that was."""
    keys = KINDS[str(path[0])].keys
    kept = ("name", *(key for key in keys if keys[key].outlives))
    dropped = [key for key in table if key not in kept and (*path, key) not in document.overrides]
    for key in dropped:
        del table[key]
        document.lines.pop((*path, key), None)
    if dropped:
        those = ", ".join(dropped)
        document.notes.append(f"{origin}: left out, because they belong to {path[0]} {table['name']!r}: {those}")


def _enter(node: Any, part: str | int, child: Any) -> Any:
    if isinstance(part, int):
        if not isinstance(node, list) or part > len(node):
            return None
        if part == len(node):
            node.append(child)
        return node[part]
    return node.setdefault(part, child) if isinstance(node, dict) else None


def dump(data: Mapping[str, Any]) -> str:
    """The data as a recipe's text: plain values, then ``[tables]`` and ``[[lists of tables]]``; None is left out."""
    lines = _pairs({key: value for key, value in data.items() if not _is_table(value)})
    for key, value in data.items():
        if isinstance(value, Mapping):
            lines += ["", f"[{_key(key)}]", *_pairs(value)]
        elif _is_table(value):
            for entry in value:
                lines += ["", f"[[{_key(key)}]]", *_pairs(entry)]
    return "\n".join(lines) + "\n"


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, list | tuple) and len(value) > 0 and all(isinstance(entry, Mapping) for entry in value)
    )


def _pairs(table: Mapping[str, Any]) -> list[str]:
    return [f"{_key(key)} = {value_text(value)}" for key, value in table.items() if value is not None]


def _key(key: str) -> str:
    plain = key.replace("-", "").replace("_", "")
    return key if plain.isascii() and plain.isalnum() else value_text(key)


def value_text(value: Any) -> str:
    """A value as TOML on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(value_text, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(_pairs(value)) + "}"
    return value.isoformat() if isinstance(value, date | time) else repr(value)


def header_of(source: str) -> str:
    """The comment lines that the recipe's file opens with."""
    lines = []
    with open(source, encoding="utf-8-sig") as file:
        for line in file:
            if not line.startswith("#"):
                break
            lines.append(line.rstrip())
    return "\n".join(lines)
