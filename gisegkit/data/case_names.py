"""Cases that the names of images look like, where nobody has said which images belong to one case."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from gisegkit.data.names import natural, pattern_of
from gisegkit.errors import DataError

SEPARATORS = r"[ _.\-]+"


class Cases(NamedTuple):
    """Cases that names look like, in natural order, and the regular expression that tells them."""

    names: list[str]
    pattern: str


def likely_cases(names: Sequence[str]) -> Cases | None:
    """The cases of names such as ``p00_0, p00_1, p01_0`` or ``case3_day0_slice012``; None if they look like none.

    The last part must be a number, maybe after a word that is the same in all names. The case is what comes first, up
    to the first part that holds a digit; at least two must have two names each, on average. Names may do without
    separators: ``p01s003``.
    """
    if not names:
        return None
    if not any(re.search(SEPARATORS, name) for name in names):
        return _glued(names)
    parts = [re.split(f"({SEPARATORS})", name) for name in names]  # part, separator, part ...
    shapes = {tuple(split[1::2]) for split in parts}
    if len(shapes) != 1 or len(parts[0]) < 3:
        return None
    last = [re.fullmatch(r"(\D*)\d+", split[-1]) for split in parts]
    words = {found[1] for found in last if found is not None}
    if None in last or len(words) != 1:
        return None
    heads = [split[:-2] for split in parts]
    digits = {next((place for place in range(0, len(head), 2) if re.search(r"\d", head[place])), -1) for head in heads}
    if len(digits) != 1 or (place := digits.pop()) < 0:
        return None
    cases = sorted({"".join(head[: place + 1]) for head in heads}, key=natural)
    if len(cases) < 2 or len(names) < 2 * len(cases):
        return None
    pattern = _pattern(heads[0], place) + re.escape("".join(parts[0][-2:-1])) + re.escape(words.pop())
    pattern += r"(?P<position>\d+)"
    return Cases(cases, pattern) if _tells_apart(pattern, names) else None


def _glued(names: Sequence[str]) -> Cases | None:
    """The same for names that are a number, a word and a number, maybe after another word."""
    found = [re.fullmatch(r"(\D*\d+)(\D+)(\d+)", name) for name in names]
    words = {match[2] for match in found if match is not None}
    if None in found or len(words) != 1:
        return None
    cases = sorted({match[1] for match in found if match is not None}, key=natural)
    if len(cases) < 2 or len(names) < 2 * len(cases):
        return None
    pattern = rf"(?P<case>\D*\d+){re.escape(words.pop())}(?P<position>\d+)"
    return Cases(cases, pattern) if _tells_apart(pattern, names) else None


def _pattern(head: list[str], place: int) -> str:
    """The expression for everything but the position: case, and scan where more parts follow."""
    described = [re.escape(part) if index % 2 else r"[^ _.\-]+" for index, part in enumerate(head)]
    case = "(?P<case>" + "".join(described[: place + 1]) + ")"
    rest = "".join(described[place + 1 :])
    return f"(?P<scan>{case}{rest})" if rest else case


def _tells_apart(pattern: str, names: Sequence[str]) -> bool:
    """Whether the expression gives every name its own scan and position."""
    expression = re.compile(pattern)
    found = [expression.fullmatch(name) for name in names]
    keys = {(match.groupdict().get("scan", match["case"]), int(match["position"])) for match in found if match}
    return len(keys) == len(names)


def case_notes(names: list[str], *, table: bool = False) -> tuple[str, ...]:
    """What there is to say where no pattern is given, so that each image is a case of its own.

    Args:
        table: whether the names are of a table, which has no column for the case.
    """
    likely = likely_cases(names)
    if likely is None:
        return ()
    cases = f"{len(likely.names)} cases ({likely.names[0]} ... {likely.names[-1]})"
    way = "add a column case to the table" if table else "set dataset.{} = '{}'".format(*case_key(names, likely))
    return (
        f"the names look like {cases}, but each image is a case and a scan of its own, so that images of one case may "
        f'lie on both sides of the split. If they are cases, leave split.group at "case" and {way}',
    )


def case_key(names: Sequence[str], likely: Cases) -> tuple[str, str]:
    """The key of a dataset that tells these cases, and its value: ``names`` with a template, else ``pattern``."""
    told = [match.groupdict() for name in names if (match := re.fullmatch(likely.pattern, name))]
    first = re.fullmatch(likely.pattern, names[0])
    if first is not None and "scan" not in told[0]:
        template = f"{{case}}{names[0][first.end('case') : first.start('position')]}{{slice}}"
        with suppress(DataError):  # braces in the names
            expression = re.compile(pattern_of(template))
            if told == [match.groupdict() for name in names if (match := expression.fullmatch(name))]:
                return "names", template
    return "pattern", likely.pattern
