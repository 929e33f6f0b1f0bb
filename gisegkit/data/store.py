"""The prepared store: every slice decoded once, kept in memory-mapped files that all workers and processes share.

The files are keyed by content. A shard holds a scan (or a few small ones) and knows what it was made of: the slices'
files, the text of their masks, how they were resized, and the code that read them. What no longer agrees is made again,
and nothing else.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from gisegkit.cores import usable_cores
from gisegkit.data.files import cache_home
from gisegkit.data.geometry import make_geometry
from gisegkit.data.shards import ALIGN, Content, DamagedError, Shard, read_shard, rewrite_sources, write_shard
from gisegkit.data.slices import largest
from gisegkit.data.sources import code_of, digest, stamp, stamped
from gisegkit.errors import DataError
from gisegkit.sizes import show_size
from gisegkit.types import Dataset, Progress, silent

if TYPE_CHECKING:
    from gisegkit.types import AnyArray, MaskArray

T = TypeVar("T")

WHOLE, POOLS = 16, 64
"""Slices from which a scan has a shard of its own, and the shards for smaller ones, chosen by a scan's name alone."""

RESERVE = 1 << 30
"""Bytes of the disk that are left free."""


class Layout(NamedTuple):
    """The form in which slices are kept: native, or as the network sees them but for normalisation.

    Attributes:
        size: height and width in pixels; None for native.
        resize, interpolation: as in ``[input]``; empty for native.
    """

    size: tuple[int, int] | None = None
    resize: str = ""
    interpolation: str = ""

    def __str__(self) -> str:
        return "native" if self.size is None else f"{self.size[0]}x{self.size[1]}-{self.resize}-{self.interpolation}"


@dataclass(frozen=True)
class Prepared:
    """What ``Store.prepare`` did: slices that were decoded now, slices that are there, and their bytes on the disk."""

    made: int
    slices: int
    size: int

    def __str__(self) -> str:
        return f"{self.slices} slices, {self.made} of them now, {show_size(self.size)}"


class Store:
    """The prepared slices of a dataset in one layout; slices that are not prepared are read from their files.

    Args:
        dataset: must have ``root`` and ``sources``, see Dataset.
        name: of the dataset in the recipe; part of the folder's name.
        layout: how the slices are kept.
        home: the folder of all stores; default ``$GISEG_CACHE`` or ``~/.cache/gisegkit``, and ``store`` in it.
        limit: bytes that the store may take; None for what the disk has free, less 1 GiB.
    """

    def __init__(
        self, dataset: Dataset, *, name: str, layout: Layout, home: Path | None = None, limit: int | None = None
    ) -> None:
        self.dataset = dataset
        self.layout = layout
        self.limit = limit
        root = digest(str(Path(dataset.root).resolve()))[:8]  # type: ignore[attr-defined]
        self.folder = (home or cache_home()) / "store" / f"{name}-{root}" / str(layout)
        self._blocks = _blocks(dataset)
        self._names = [self._name(rows) for rows in self._blocks]
        self._shards: list[Shard | None] = [None] * len(self._blocks)
        self._places = np.empty((len(dataset.table), 2), dtype=np.int64)  # a row's block, and its place in that
        for number, rows in enumerate(self._blocks):
            self._places[rows] = np.stack([np.full(len(rows), number), np.arange(len(rows))], axis=1)

    # --- making ---

    def prepare(self, rows: Sequence[int] | AnyArray, *, build: bool = True, progress: Progress = silent) -> Prepared:
        """See which shards of these rows are there and as they should be, and make the others.

        Interrupted, it goes on where it stopped: each shard appears whole or not at all.

        Args:
            build: whether missing shards are made; else their slices are read from the files.
            progress: shown slice by slice.

        Raises:
            DataError: if slices cannot be read (all that cannot are named), or there is no room for them.
        """
        wanted = sorted(set(self._places[np.asarray(rows, dtype=np.int64), 0].tolist()))
        for number in wanted:
            self._shards[number] = self._valid(number)
        missing = [number for number in wanted if self._shards[number] is None] if build else []
        if missing:
            self._make_all(missing, progress)
        there = [shard for shard in self._shards if shard is not None]
        return Prepared(
            made=sum(len(self._blocks[number]) for number in missing),
            slices=sum(len(rows) for rows, shard in zip(self._blocks, self._shards, strict=True) if shard is not None),
            size=sum(shard.size for shard in there),
        )

    def _make_all(self, missing: list[int], progress: Progress) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._check_room(missing)
        problems: list[str] = []
        total = sum(len(self._blocks[number]) for number in missing)
        with ThreadPoolExecutor(usable_cores()) as pool:
            futures = {pool.submit(self._make, number): number for number in missing}

            def slices_done() -> Iterator[None]:
                for future in as_completed(futures):
                    try:
                        self._shards[futures[future]] = future.result()
                    except DataError as error:
                        problems.extend(str(error).splitlines())
                    yield from [None] * len(self._blocks[futures[future]])

            try:
                for _ in progress(slices_done(), "prepare slices", total):
                    pass
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        if problems:
            more = f"\n... and {len(problems) - 20} more" if len(problems) > 20 else ""
            last = f"\n{len(problems)} problems while slices were read; scans without one are prepared"
            raise DataError("\n".join(problems[:20]) + more + last)

    def _make(self, number: int) -> Shard:
        rows, sources, problems = self._blocks[number], list[list[Any]](), list[str]()

        def contents() -> Iterator[Content]:
            for row in rows:
                files, _ = self.dataset.sources(int(row))  # type: ignore[attr-defined]
                sources.extend(stamped(str(file)) for file in files)
                try:
                    yield self._content(row)
                except DataError as error:
                    problems.extend(str(error).splitlines())
            if problems:
                raise DataError("\n".join(problems))

        return write_shard(self.folder, self._names[number], contents(), sources)

    def _content(self, row: int) -> Content:
        """What is kept of a slice, from its files."""
        image = self.dataset.image(row)
        image = image[:, :, None] if image.ndim == 2 else image
        limits = float(image.min()), float(image.max()), largest(image.dtype)
        labelled = bool(self.dataset.table["labelled"].iat[row])
        masks = {"native": self.dataset.mask(row)} if labelled else {}
        if self.layout.size is not None:
            geometry = make_geometry(self.layout.resize, image.shape[:2], self.layout.size, self.layout.interpolation)
            resized = geometry.image(image)
            image = resized.astype(image.dtype) if self.layout.interpolation == "nearest" else resized
            masks |= {"sized": geometry.mask(masks["native"])} if labelled else {}
        return Content(image, limits, masks)

    def _check_room(self, missing: list[int]) -> None:
        """Refuse to begin what cannot end, going by the first slice."""
        rows = np.concatenate([self._blocks[number] for number in missing])
        table = self.dataset.table.iloc[rows]
        first = self._content(int(rows[0]))
        native = (table["height"] * table["width"]).to_numpy(dtype=np.float64)
        sized = native if self.layout.size is None else np.full(len(rows), self.layout.size[0] * self.layout.size[1])
        masked = native + (sized if self.layout.size is not None else 0)
        bits = len(self.dataset.classes) * masked[table["labelled"].to_numpy(dtype=bool)].sum()
        needed = int(sized.sum() * first.image.shape[2] * first.image.itemsize + bits / 8 + len(rows) * ALIGN)
        free = shutil.disk_usage(self.folder).free - RESERVE
        ways = "; make room, let $GISEG_CACHE name a folder on a larger disk, or do without: --set input.store=off"
        if needed > free:
            raise DataError(
                f"{self.folder}: {len(rows)} slices need about {show_size(needed)}, and the disk has {show_size(free)} "
                f"free besides the {show_size(RESERVE)} that are left alone{ways}"
            )
        taken = needed + sum(shard.size for shard in self._shards if shard is not None)
        if self.limit is not None and taken > self.limit:
            raise DataError(
                f"{self.folder}: the store would take about {show_size(taken)}, more than input.store_limit = "
                f"{show_size(self.limit)}; raise it, or do without: --set input.store=off"
            )

    # --- keys ---

    def _name(self, rows: AnyArray) -> str:
        """Everything that settles a shard besides the content of files."""
        ids = self.dataset.table["id"].to_numpy()
        parts = [str(self.layout), code_of(type(self.dataset)), *self.dataset.classes]
        for row in rows:
            files, text = self.dataset.sources(int(row))  # type: ignore[attr-defined]
            parts += [str(ids[row]), *map(str, files), text]
        return digest("\0".join(parts))

    def _valid(self, number: int) -> Shard | None:
        """The shard, where it is there and its files, whose paths its name stands for, are what they were."""
        shard = read_shard(self.folder, self._names[number])
        if shard is None:
            return None
        sources = shard.sources
        now = [source if stamp(source[0]) == source[1:4] else stamped(source[0]) for source in sources]
        if [source[4] for source in now] != [source[4] for source in sources]:
            return None
        if now != sources:
            rewrite_sources(self.folder, self._names[number], now)
        return shard

    # --- reading ---

    def has(self, row: int) -> bool:
        """Whether a slice is prepared; the other methods are for those that are."""
        return self._shards[self._places[row, 0]] is not None

    def release(self, row: int) -> None:
        """Let go of the file that holds a slice; reading maps it again."""
        shard = self._shards[self._places[row, 0]]
        if shard is not None:
            shard.release()

    def image(self, row: int) -> AnyArray:
        """``[h, w, C]`` in the store's layout: the file's type, or float32 where it was interpolated."""
        return self._read(row, lambda shard, place: shard.image(place))

    def limits(self, row: int) -> tuple[float, float, float]:
        """Smallest and largest value of the image as its file has it, and the largest that its type can hold."""
        return self._read(row, lambda shard, place: shard.limits(place))

    def mask(self, row: int, name: str) -> MaskArray:
        """``[h, w, K]`` uint8, ``native`` or, where the layout has a size, ``sized``; DataError if not labelled."""
        found = self._read(row, lambda shard, place: shard.mask(place, name))
        return self.dataset.mask(row) if found is None else found  # which says that there is none

    def planes(self, row: int, name: str) -> MaskArray:
        """As ``mask``, but ``[K, h, w]``, the form in which it is kept."""
        found = self._read(row, lambda shard, place: shard.planes(place, name))
        return self.dataset.mask(row).transpose(2, 0, 1) if found is None else found

    def _read(self, row: int, take: Callable[[Shard, int], T]) -> T:
        number, place = self._places[row].tolist()
        shard = self._shards[number]
        if shard is None:
            raise KeyError(row)
        try:
            return take(shard, place)
        except DamagedError:
            made = self._shards[number] = self._make(number)
            return take(made, place)


def _blocks(dataset: Dataset) -> list[AnyArray]:
    """The rows of each shard. Which rows share one never depends on what other scans there are."""
    volumes = dataset.table["volume"].to_numpy(dtype=str)
    edges = [0, *(np.flatnonzero(volumes[1:] != volumes[:-1]) + 1).tolist(), len(volumes)]
    blocks: list[AnyArray] = []
    pooled: dict[int, list[AnyArray]] = {}
    for start, stop in itertools.pairwise(edges):
        rows = np.arange(start, stop)
        if len(rows) >= WHOLE:
            blocks.append(rows)
        else:
            pooled.setdefault(int(digest(volumes[start]), 16) % POOLS, []).append(rows)
    return blocks + [np.concatenate(pooled[number]) for number in sorted(pooled)]
