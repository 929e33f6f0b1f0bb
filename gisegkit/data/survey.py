"""What a dataset holds, slice by slice: sizes, intensity ranges, class shares, empty slices, overlaps, findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations

from gisegkit.data.doctor.diagnosis import diagnose
from gisegkit.data.doctor.facts import SliceFacts, facts_of
from gisegkit.data.doctor.look import unreadable, unusable
from gisegkit.data.doctor.seen import Seen
from gisegkit.data.findings import findings_of
from gisegkit.data.intensities import Intensities, Normalization, keeps_zero, problem, scale_of
from gisegkit.data.reading import check_size, id_of, image_name, largest, not_finite, read_mask, read_slice
from gisegkit.errors import Finding, GisegError, count
from gisegkit.types import IGNORE, AnyArray, Dataset, MaskArray, Progress, silent

REFUSED = "values that the normalization does not take"


@dataclass
class Survey:
    """Counts over every readable slice of a dataset.

    Attributes:
        ranges: smallest and largest scan maximum by (height, width, dtype); scanners differ in range.
        slices_with, pixels_with: labelled slices and pixels of each class.
        overlaps: labelled slices in which two classes share pixels, by pair.
        ignored: pixels that count in neither loss nor score.
        labelled_pixels: all pixels of labelled slices.
        facts: the doctor's, by row.
        findings: what makes training wrong, and what is doubtful.
    """

    ranges: dict[tuple[int, int, str], tuple[float, float]] = field(default_factory=dict)
    slices_with: Counter[str] = field(default_factory=Counter)
    pixels_with: Counter[str] = field(default_factory=Counter)
    overlaps: Counter[tuple[str, str]] = field(default_factory=Counter)
    ignored: int = 0
    labelled_pixels: int = 0
    facts: dict[int, SliceFacts] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def survey(
    dataset: Dataset,
    *,
    normalization: Normalization | None = None,
    parts: Mapping[int, str] | None = None,
    progress: Progress = silent,
) -> Survey:
    """Read every slice once, holding one at a time, and find what is wrong or doubtful.

    A slice that cannot be read becomes a finding; the others are counted.

    Args:
        normalization: values that it does not take are errors.
        parts: train, validation or test by row, if the data are split.
        progress: shown slice by slice.
    """
    found = Survey()
    table = dataset.table
    own = findings_of(dataset)
    told = {name for finding in own if finding.severity == "error" for name in finding.ids}
    maxima: dict[str, tuple[tuple[int, int, str], float]] = {}
    for row in progress(range(len(table)), "read slices", len(table)):
        image, mask, problems = _read(dataset, row)
        found.findings += () if id_of(dataset, row) in told else problems  # the dataset knows why
        if mask is not None:
            _count(found, mask, dataset.classes)
        if image is None:
            continue
        if mask is not None or not bool(table["labelled"].iat[row]):
            found.facts[row] = facts_of(image, mask)
        if not_finite(image):
            found.findings.append(unusable(dataset, row))
            continue
        if image.any() and normalization is not None and (line := _refused(normalization, image)):
            name = id_of(dataset, row)
            found.findings.append(Finding(REFUSED, "error", image_name(dataset, row), line, ids=(name,)))
        scan, key = str(table["scan"].iat[row]), (image.shape[0], image.shape[1], str(image.dtype))
        top = float(image.max())
        maxima[scan] = (key, max(top, maxima.get(scan, (key, top))[1]))
    for key, top in maxima.values():
        low, high = found.ranges.get(key, (top, top))
        found.ranges[key] = (min(low, top), max(high, top))
    seen = Seen(table, tuple(dataset.classes), found.facts, lambda row: read_mask(dataset, row), parts or {})
    found.findings += [*diagnose(seen), *own]
    return found


def _read(dataset: Dataset, row: int) -> tuple[AnyArray | None, MaskArray | None, list[Finding]]:
    """Image and mask of a row, None for what cannot be read and for no mask, and why they cannot be read."""
    name, problems = id_of(dataset, row), list[Finding]()
    image = mask = None
    try:
        image = read_slice(dataset, row)
        check_size(dataset, row, image=image)
    except GisegError as error:
        problems += unreadable(name, error)
    if bool(dataset.table["labelled"].iat[row]):
        try:
            mask = read_mask(dataset, row)
            check_size(dataset, row, mask=mask)
        except GisegError as error:
            problems += unreadable(name, error)
            mask = None
    return image, mask, problems


def _refused(normalization: Normalization, image: AnyArray) -> str:
    """Why a normalization does not take an image, as far as the image alone tells; empty if it does."""
    low, high = float(image.min()), float(image.max())
    images = () if keeps_zero(normalization) else (image,)
    return problem(
        normalization, low, high, scale_of(normalization, Intensities(low, high, largest(image.dtype), images))
    )


def _count(found: Survey, mask: MaskArray, classes: tuple[str, ...]) -> None:
    inside = mask == 1  # [H, W, K]
    counts = inside.sum(axis=(0, 1))
    for k, name in enumerate(classes):
        found.slices_with[name] += int(counts[k] > 0)
        found.pixels_with[name] += int(counts[k])
    for a, b in combinations(range(len(classes)), 2):
        if counts[a] and counts[b] and (inside[:, :, a] & inside[:, :, b]).any():
            found.overlaps[classes[a], classes[b]] += 1
    found.ignored += int((mask == IGNORE).any(axis=2).sum())
    found.labelled_pixels += mask.shape[0] * mask.shape[1]


def describe(dataset: Dataset, found: Survey | None) -> Iterator[str]:
    """The lines that ``giseg data`` prints; without a survey only what the table tells."""
    table = dataset.table
    labelled = table["labelled"].to_numpy(dtype=bool)
    empty = table["empty"].to_numpy(dtype=bool) & labelled
    yield (
        f"{count(table['case'].nunique(), 'case')}, {count(table['scan'].nunique(), 'scan')}, "
        f"{count(len(table), 'slice')}: "
        f"{int(labelled.sum())} labelled, {int((~labelled).sum())} not"
    )
    lengths = table.groupby("scan").size()
    yield f"slices per scan: {_spread([int(length) for length in lengths])}"
    sizes = Counter(zip(table["height"].tolist(), table["width"].tolist(), strict=True))
    yield "sizes (height x width): " + ", ".join(f"{h} x {w}: {times}" for (h, w), times in sorted(sizes.items()))
    for dropped in dataset.dropped:
        yield f"left out: {count(dropped.slices, 'slice')} ({dropped.reason})"
    if labelled.any():
        yield f"labelled slices without any class: {int(empty.sum())} ({empty.sum() / labelled.sum():.1%})"
    yield f"classes: {', '.join(dataset.classes)} ({'exclude one another' if dataset.exclusive else 'may overlap'})"
    if found is None:
        return
    for (height, width, dtype), (low, high) in sorted(found.ranges.items()):
        yield f"largest value of a scan, {height} x {width} {dtype}: {low:g} to {high:g}"
    total = max(1, int(labelled.sum()))
    for name in dataset.classes if labelled.any() else ():
        slices, pixels = found.slices_with[name], found.pixels_with[name]
        share = pixels / max(1, found.labelled_pixels)
        yield f"{name}: in {count(slices, 'slice')} ({slices / total:.1%}), {share:.2%} of all pixels"
    for (a, b), shared in found.overlaps.items():
        yield f"overlap of {a} and {b}: in {count(shared, 'slice')}"
    if found.ignored:
        yield f"ignored pixels: {found.ignored} ({found.ignored / max(1, found.labelled_pixels):.2%})"


def _spread(values: list[int]) -> str:
    counts = Counter(values)
    if len(counts) <= 4:
        return ", ".join(f"{value} ({count(scans, 'scan')})" for value, scans in sorted(counts.items()))
    return f"{min(values)} to {max(values)}"
