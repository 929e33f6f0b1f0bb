"""The dataset phantom reads what the generator drew, and makes it once."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from gisegkit.components.datasets.exclusions import EXCLUSIONS
from gisegkit.components.datasets.phantom import Phantom
from gisegkit.components.datasets.uwmgi import UWMGI
from gisegkit.data.phantom import writer as phantom
from gisegkit.data.phantom.writer import KNOWN_BAD, day_number, write_phantom
from gisegkit.data.store.layout import Layout
from gisegkit.data.store.store import Store

CLASSES = ("large_bowel", "small_bowel", "stomach")


@pytest.mark.slow
def test_the_cache_is_made_once_even_by_two_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GISEG_CACHE", str(tmp_path))
    both_began = threading.Barrier(2, timeout=60)
    publish = phantom._publish

    def at_once(building: Path, out: Path) -> None:
        both_began.wait()
        publish(building, out)

    monkeypatch.setattr(phantom, "_publish", at_once)
    made: list[Phantom] = []
    threads = [threading.Thread(target=lambda: made.append(Phantom(cases=1, days=1, slices=8))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 2
    (root,) = tmp_path.iterdir()  # nothing half-made beside it
    before = root.stat().st_mtime_ns
    Phantom(cases=1, days=1, slices=8)  # would wait at the barrier if it were made again
    assert root.stat().st_mtime_ns == before


def test_no_scan_has_a_name_that_recipes_leave_out() -> None:
    assert {scan for scans in EXCLUSIONS.values() for scan in scans} == KNOWN_BAD
    for case in range(1, 150):
        days = [day_number(0, case, day) for day in range(12)]
        assert days == sorted(set(days)), "every scan has its own day, in order"
        assert not {f"case{case}_day{day}" for day in days} & KNOWN_BAD


@pytest.mark.slow
def test_every_scan_made_is_used_by_a_recipe_of_the_competition(tmp_path: Path) -> None:
    write_phantom(tmp_path / "ph", cases=13, days=1, slices=8, seed=0)
    for exclude in EXCLUSIONS:
        dataset = UWMGI(root=str(tmp_path / "ph"), exclude=exclude)
        assert (dataset.table["scan"].nunique(), dataset.dropped) == (13, ())


@pytest.mark.slow
def test_exclusive_classes_are_the_same_but_for_pixels_of_several_and_are_prepared_anew() -> None:
    settings = {"cases": 2, "days": 1, "slices": 12, "test_cases": 0}
    plain, exclusive = Phantom(**settings), Phantom(**settings, exclusive=True)
    assert (plain.exclusive, exclusive.exclusive) == (False, True)
    overlaps = 0
    for row in range(len(plain.table)):
        before, after = plain.mask(row), exclusive.mask(row)
        several = before.sum(axis=2) > 1
        overlaps += int(several.sum())
        assert after.dtype == before.dtype and after.sum(axis=2).max() <= 1
        assert (after[~several] == before[~several]).all()
        assert (after[several].argmax(axis=1) == before[several].argmax(axis=1)).all()
    assert overlaps > 0
    rows = range(len(plain.table))
    for dataset in (plain, exclusive):  # one after the other, in the same folder of prepared slices
        store = Store(dataset, name="phantom", layout=Layout())
        assert store.prepare(rows).made == len(plain.table)
        assert all((store.mask(row, "native") == dataset.mask(row)).all() for row in rows)
