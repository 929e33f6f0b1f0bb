"""The datasets of a recipe: built, checked, without the slices that are to be left out, and as one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from gisegkit.build.dataset import build_component, verify_dataset
from gisegkit.data.findings import FindingsError, errors_of, findings_of, grouped
from gisegkit.data.joined import JoinedDataset
from gisegkit.data.left_out import Without, absent_ids, read_exclusions
from gisegkit.errors import DataError, Finding, count, listed
from gisegkit.recipe.sections import ComponentSpec, Recipe
from gisegkit.registry.kinds import Registries

if TYPE_CHECKING:
    from gisegkit.types import Dataset

SKIPPED = 'on_bad = "skip"'


class Made(NamedTuple):
    """A dataset of the recipe as its factory made it, without the slices of its exclusion list."""

    spec: ComponentSpec
    dataset: Dataset

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.spec.place}: dataset {self.spec.name!r}"

    @property
    def skips(self) -> bool:
        """Whether slices with errors are left out; else they stop the command."""
        return bool(self.spec.of_kind("on_bad") == "skip")


def build_datasets(recipe: Recipe, registries: Registries, *, say: Callable[[str], None]) -> list[Made]:
    """The datasets, the one that is split first; says what is doubtful, and ids of a list that there are not.

    Raises:
        DataError, ComponentError: as of ``verify_dataset``; DataError if an exclusion list cannot be read, or leaves no
            slice.
    """
    trained = recipe.dataset
    made = []
    for spec in sorted(recipe.tables["dataset"], key=lambda spec: spec is not trained):
        dataset: Dataset = build_component(spec, registries)
        verify_dataset(dataset, spec, registries[spec.kind].get(spec.name).owner, say=say)
        if file := spec.of_kind("exclusions"):
            written = read_exclusions(str(file))
            here = {*dataset.table["id"].astype(str)}
            here |= {*absent_ids(dataset, [name for one in written for name in (one, one.strip())])}
            listed_ids = {name if name in here else name.strip(): reason for name, reason in written.items()}
            if gone := [name for name in listed_ids if name not in here]:
                of_them = f"{count(len(gone), 'id')} of {len(listed_ids)}"
                say(f"warning: {of_them} in {file} are not in the data: {listed(gone, shown=3)}")
            dataset = Without(dataset, listed_ids)
            if not len(dataset.table):
                raise DataError(f"{spec.place}: {file} leaves out all slices, so that none is left")
        made.append(Made(spec, dataset))
    return made


def assemble(made: Sequence[Made], skipped: Collection[str]) -> tuple[Dataset, tuple[str, ...]]:
    """The datasets as one, and the ids that ``on_bad = "skip"`` leaves out of it.

    Args:
        skipped: ids whose slices were found to be bad when they were read.

    Raises:
        FindingsError: if no slice of a dataset is left.
    """
    parts, gone = [], []
    for one in made:
        dataset = one.dataset
        if one.skips:
            reasons = {name: f"{SKIPPED}: {kind}" for name, kind in bad_ids(findings_of(dataset))}
            reasons |= {name: f"{SKIPPED}: found when they were read" for name in skipped if name not in reasons}
            view = Without(dataset, reasons)
            before = getattr(dataset, "left_out", ())
            gone += [name for name in view.left_out if name not in before]
            dataset = view if len(view.left_out) > len(before) else dataset
            if not len(dataset.table):
                raise _nothing_left(one)
        parts.append((one.name, str(one.spec.of_kind("role")), dataset))
    return JoinedDataset(parts) if len(parts) > 1 else parts[0][2], tuple(gone)


def _nothing_left(one: Made) -> FindingsError:
    found = findings_of(one.dataset)
    lines = [str(group) for group in grouped(errors_of(found))]
    return FindingsError(
        "\n".join([f"{one.name}: {SKIPPED} leaves out all slices, so that none is left", *lines]), found
    )


def bad_ids(findings: Collection[Finding]) -> Iterator[tuple[str, str]]:
    """Ids of the slices that errors would be rid of without, with the kinds of the errors."""
    for finding in errors_of(findings):
        for name in finding.ids:
            yield name, finding.kind
