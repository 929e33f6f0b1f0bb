"""The prepared store: every slice decoded once, kept in memory-mapped files that all workers and processes share.

The files are keyed by content. A shard holds a scan (or a few small ones) and knows what it was made of: the slices'
files, the text of their masks, how they were resized, and the code that read them. What no longer agrees is made again,
and nothing else.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from gisegkit.data.doctor.facts import SliceFacts, facts_of
from gisegkit.data.doctor.look import refuse_slices, unreadable, unusable
from gisegkit.data.files import cache_home
from gisegkit.data.findings import FindingsError
from gisegkit.data.geometry import make_geometry, resized
from gisegkit.data.reading import check_size, id_of, largest, read_mask, read_slice
from gisegkit.data.store.disk_space import DO_WITHOUT, check_room, needed, remove_left_behind, used
from gisegkit.data.store.layout import Layout, Prepared
from gisegkit.data.store.shards import Content, DamagedError, Shard, read_shard, rewrite_sources, write_shard
from gisegkit.data.store.sources import Known, Sources, code_of, digest
from gisegkit.errors import DataError, Finding, GisegError
from gisegkit.machine import usable_cores
from gisegkit.types import Dataset, Progress, silent

if TYPE_CHECKING:
    from gisegkit.types import AnyArray, MaskArray

T = TypeVar("T")

WHOLE, POOLS = 16, 64
"""Slices from which a scan has a shard of its own, and the shards for smaller ones, chosen by a scan's name alone."""


class Store:
    """The prepared slices of a dataset in one layout; slices that are not prepared are read from their files.

    Args:
        dataset: must have ``root`` and ``sources``, see Dataset.
        name: of the dataset in the recipe; part of the folder's name.
        layout: how the slices are kept.
        home: the folder of all stores; default ``$GISEG_CACHE`` or ``~/.cache/gisegkit``, and ``store`` in it.
        limit: bytes that all prepared files of the dataset may take, those of other layouts and recipes included; None
            for what the disk has free, less 1 GiB.
    """

    def __init__(
        self, dataset: Dataset, *, name: str, layout: Layout, home: Path | None = None, limit: int | None = None
    ) -> None:
        self.dataset = dataset
        self.layout = layout
        self.limit = limit
        self._sources = Sources(dataset)
        self.folder = (home or cache_home()) / "store" / f"{name}-{digest(self._sources.root)[:8]}" / str(layout)
        self._labelled: list[bool] = dataset.table["labelled"].to_numpy(dtype=bool).tolist()
        self._blocks = _blocks(dataset)
        self._names = [self._name(rows) for rows in self._blocks]
        self._shards: list[Shard | None] = [None] * len(self._blocks)
        self._cause: Exception | None = None  # why the first slice could not be read
        self._given_up: set[int] = set()  # damaged shards that cannot be made again
        self._places = np.empty((len(dataset.table), 2), dtype=np.int64)  # a row's block, and its place in that
        for number, rows in enumerate(self._blocks):
            self._places[rows] = np.stack([np.full(len(rows), number), np.arange(len(rows))], axis=1)

    def prepare(self, rows: Sequence[int] | AnyArray, *, build: bool = True, progress: Progress = silent) -> Prepared:
        """See which shards of these rows are there and as they should be, and make the others.

        If interrupted, it continues where it stopped: each shard appears whole or not at all.

        Args:
            build: whether missing shards are made; else their slices are read from the files.
            progress: shown slice by slice.

        Raises:
            FindingsError: if slices cannot be read, or have values that are not finite; holds all of them.
            DataError: if there is no room for them, or the folder cannot be written.
        """
        wanted = sorted(set(self._places[np.asarray(rows, dtype=np.int64), 0].tolist()))
        self._cause, known = None, Known()
        for number in wanted:
            self._shards[number] = self._valid(number, known)
        missing = [number for number in wanted if self._shards[number] is None] if build else []
        findings = self._make_all(missing, known, progress) if missing else []
        if build:
            spoilt = sorted(set(rows) & self._not_finite(wanted))
            refuse_slices(findings, [unusable(self.dataset, row) for row in spoilt], cause=self._cause)
        there = [(rows, shard) for rows, shard in zip(self._blocks, self._shards, strict=True) if shard is not None]
        return Prepared(
            made=sum(len(self._blocks[number]) for number in missing),
            slices=sum(len(rows) for rows, _ in there),
            size=sum(shard.on_disk for _, shard in there),
        )

    def _not_finite(self, numbers: list[int]) -> set[int]:
        """The rows whose images have values that are not finite, out of these shards."""
        there = [(self._blocks[number], shard) for number in numbers if (shard := self._shards[number]) is not None]
        return {int(rows[place]) for rows, shard in there for place in shard.not_finite}

    def facts(self, rows: Sequence[int] | AnyArray) -> dict[int, SliceFacts]:
        """The doctor's facts of those of the rows that are prepared, and of what is kept together with them."""
        found: dict[int, SliceFacts] = {}
        for number in np.unique(self._places[np.asarray(rows, dtype=np.int64), 0]).tolist():
            if (shard := self._shards[number]) is not None:
                found |= dict(zip(self._blocks[number].tolist(), shard.facts, strict=True))
        return found

    def others(self) -> int:
        """Bytes under the dataset's folder besides what ``prepare`` found or made: whoever may need them."""
        there = {name for name, shard in zip(self._names, self._shards, strict=True) if shard is not None}
        return used(self.folder.parent, without=there)

    def _make_all(self, missing: list[int], known: Known, progress: Progress) -> list[Finding]:
        """Make shards; what was found in slices that cannot be read, whose shards are not made."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            remove_left_behind(self.folder.parent)
            self._check_room(missing)
        except OSError as error:
            raise self._unwritable(error) from error
        found: list[Finding] = []
        total = sum(len(self._blocks[number]) for number in missing)
        with ThreadPoolExecutor(usable_cores()) as pool:
            futures = {pool.submit(self._make, number, known): number for number in missing}

            def slices_done() -> Iterator[None]:
                for future in as_completed(futures):
                    try:
                        self._shards[futures[future]] = future.result()
                    except FindingsError as error:
                        found.extend(error.findings)
                    except OSError as error:
                        raise self._unwritable(error) from error
                    yield from [None] * len(self._blocks[futures[future]])

            try:
                for _ in progress(slices_done(), "prepare slices", total):
                    pass
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return found

    def _unwritable(self, error: OSError) -> DataError:
        return DataError(
            f"{self.folder}: slices cannot be kept there ({error.strerror or error}); let $GISEG_CACHE name a folder "
            f"that can be written and has room, {DO_WITHOUT}"
        )

    def _make(self, number: int, known: Known) -> Shard:
        """A shard anew; FindingsError if slices cannot be read, OSError if it cannot be written."""
        notes: Known = {}
        findings: list[Finding] = []

        def contents() -> Iterator[Content]:
            for row in self._blocks[number]:
                try:
                    notes.update((file, self._sources.note(file, known)) for file in self._sources.of(int(row))[0])
                    yield self._content(row)
                except GisegError as error:
                    findings.extend(unreadable(id_of(self.dataset, int(row)), error))
                    self._cause = self._cause or error
            if findings:
                raise FindingsError("slices cannot be read", findings)

        return write_shard(self.folder, self._names[number], contents(), notes.values())

    def _content(self, row: int) -> Content:
        """What is kept of a slice, from its files."""
        image = read_slice(self.dataset, row)
        mask = read_mask(self.dataset, row) if self._labelled[row] else None
        check_size(self.dataset, row, image=image, mask=mask)
        low, high = float(image.min()), float(image.max())
        facts = facts_of(image, mask, extremes=(low, high))
        masks = {} if mask is None else {"native": mask}
        limits = low, high, largest(image.dtype)
        if self.layout.size is not None:
            geometry = make_geometry(self.layout.resize, image.shape[:2], self.layout.size, self.layout.interpolation)
            image = resized(image, geometry)
            masks |= {} if mask is None else {"sized": geometry.mask(mask)}
        return Content(image, limits, masks, facts)

    def _check_room(self, missing: list[int]) -> None:
        """Refuse to begin what cannot end, going by the first slice that can be read."""
        rows = np.concatenate([self._blocks[number] for number in missing])
        for row in rows:
            with contextlib.suppress(GisegError):  # is named with all others that cannot be read
                first = self._content(row)
                break
        else:
            return
        need = needed(
            first,
            self.dataset.table.iloc[rows],
            size=self.layout.size,
            classes=len(self.dataset.classes),
            may_ignore=getattr(self.dataset, "may_ignore", True),
        )
        replaced = {self._names[number] for number in missing}
        check_room(self.folder, need, slices=len(rows), limit=self.limit, replaced=replaced)

    # --- keys ---

    def _name(self, rows: AnyArray) -> str:
        """Everything that settles a shard besides the content of files."""
        ids = self.dataset.table["id"].to_numpy()
        code, version = (getattr(self.dataset, "read_by", type(self.dataset)), getattr(self.dataset, "version", ""))
        parts = [str(self.layout), code_of(code), str(version), *self.dataset.classes]
        for row in rows.tolist():
            files, text = self._sources.of(row)
            parts += [str(ids[row]), "labelled" if self._labelled[row] else "", *files, text]
        return digest("\0".join(parts))

    def _valid(self, number: int, known: Known) -> Shard | None:
        """The shard, where it is there and its files, whose paths make its name, are what they were."""
        shard = read_shard(self.folder, self._names[number])
        if shard is None:
            return None
        before = shard.sources
        try:
            now = self._sources.now(before, known)
        except DataError:  # which is told when it is made again
            return None
        if now is not None and now != before:
            with contextlib.suppress(OSError):  # where nothing can be written they are read again next time
                rewrite_sources(self.folder, self._names[number], now)
        return None if now is None else shard

    # --- reading ---

    def has(self, row: int) -> bool:
        """Whether a slice is prepared; the other methods are for those that are."""
        return self._shards[self._places[row, 0]] is not None

    def release(self, row: int) -> None:
        """Let go of the file that holds a slice; reading maps it again."""
        if (shard := self._shards[self._places[row, 0]]) is not None:
            shard.release()

    def image(self, row: int) -> AnyArray:
        """``[h, w, C]`` in the store's layout: the file's type, or float32 where it was interpolated."""
        return self._read(row, lambda shard, place: shard.image(place), lambda content: content.image)

    def limits(self, row: int) -> tuple[float, float, float]:
        """Smallest and largest value of the image as its file has it, and the largest that its type can hold."""
        return self._read(row, lambda shard, place: shard.limits(place), lambda content: content.limits)

    def mask(self, row: int, name: str) -> MaskArray:
        """``[h, w, K]`` uint8, ``native`` or, where the layout has a size, ``sized``; DataError if not labelled."""
        read = self._read(row, lambda shard, place: shard.mask(place, name), lambda content: content.masks.get(name))
        return self._there(row, read)

    def planes(self, row: int, name: str) -> MaskArray:
        """As ``mask``, but ``[K, h, w]``, the form in which it is kept."""
        read = self._read(row, lambda shard, place: shard.planes(place, name), lambda content: content.planes(name))
        return self._there(row, read)

    def _there(self, row: int, mask: MaskArray | None) -> MaskArray:
        if mask is None:
            raise DataError(f"{self.dataset.table['id'].iat[row]}: has no labels; it is for prediction")
        return mask

    def _read(self, row: int, take: Callable[[Shard, int], T], decoded: Callable[[Content], T]) -> T:
        """From the shard, made again if it is damaged; from the slice's files where that cannot be done."""
        number, place = self._places[row].tolist()
        if (shard := self._shards[number]) is None:
            raise KeyError(row)
        try:
            return take(shard, place)
        except DamagedError:
            if number not in self._given_up:
                with contextlib.suppress(OSError, GisegError, DamagedError):
                    made = self._shards[number] = self._make(number, {})
                    return take(made, place)
                self._given_up.add(number)
            return decoded(self._content(row))


def _blocks(dataset: Dataset) -> list[AnyArray]:
    """The rows of each shard. Which rows share one never depends on what other scans there are."""
    scans = dataset.table["scan"].to_numpy(dtype=str)
    edges = [0, *(np.flatnonzero(scans[1:] != scans[:-1]) + 1).tolist(), len(scans)]
    blocks: list[AnyArray] = []
    pooled: dict[int, list[AnyArray]] = {}
    for start, stop in itertools.pairwise(edges):
        rows = np.arange(start, stop)
        if len(rows) >= WHOLE:
            blocks.append(rows)
        else:
            pooled.setdefault(int(digest(scans[start]), 16) % POOLS, []).append(rows)
    return blocks + [np.concatenate(pooled[number]) for number in sorted(pooled)]
