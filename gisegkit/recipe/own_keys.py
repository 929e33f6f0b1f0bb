"""What the keys that all components of a kind have must agree on: roles of datasets, names of scores."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from gisegkit.recipe.sections import ComponentSpec
from gisegkit.recipe.split import Split
from gisegkit.recipe.text import Path
from gisegkit.registry.annotations import show

Found = tuple[Path, str, str]
"""Of a mistake: the path of its key, what is wrong, and the remedy."""

COLUMNS = ("id", "scan", "case", "class", "slices", "true_pixels", "all")
"""What the tables of an evaluation call other things than scores."""


def roles(datasets: Sequence[ComponentSpec]) -> Iterator[Found]:
    """One dataset is split into folds."""
    trained = [spec for spec in datasets if spec.of_kind("role") == "train"]
    if len(trained) != 1:
        found = f'{len(trained) or "no"} datasets have role = "train", which is the default'
        yield ("dataset",), found, 'one has, the others have role = "extra" or role = "test"'


def labels(metrics: Sequence[ComponentSpec]) -> Iterator[Found]:
    """What the scores of a metric are called is a column, a part of other names, and unique."""
    names = [spec.label for spec in metrics]
    for index, (spec, name) in enumerate(zip(metrics, names, strict=True)):
        if name in names[:index]:
            remedy = f'keep one of them, or give its scores another name, such as as = "{name}_2"'
            yield ("metric", index, "name"), f"metric {name!r} is listed twice", remedy
        elif "as" in spec.common and (not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) or name in COLUMNS):
            remedy = f"Valid: a letter, then letters, digits and underscores; not {', '.join(COLUMNS)}."
            yield ("metric", index, "as"), f"as = {show(name)} cannot name scores", remedy


def fold_remedy(split: Split) -> str:
    """What is valid in place of ``split.fold``; empty if that is."""
    folds = split.chosen
    if split.several and split.folds == 1:
        return "Valid: 0, because with split.folds = 1 the only fold trains on what it validates on."
    if not folds or len(set(folds)) < len(folds):
        return f'Valid: "all", or each of some folds once, such as [0, {split.folds - 1}].'
    if max(folds) >= split.folds:
        return f"Valid: 0 to {split.folds - 1}, because split.folds = {split.folds}."
    return ""
