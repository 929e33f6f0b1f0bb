"""The named lists of bad scans, and what is refused as one."""

from __future__ import annotations

import pytest

from gisegkit.components.datasets.exclusions import EXCLUSIONS, SCAN, excluded_scans
from gisegkit.errors import DataError


def test_the_named_lists():
    assert set(EXCLUSIONS["standard"]) == {"case7_day0", "case81_day30"}
    assert len(set(EXCLUSIONS["third_place"])) == 5
    assert len(set(EXCLUSIONS["host"])) == 12
    assert set(EXCLUSIONS["standard"]) < set(EXCLUSIONS["third_place"]) < set(EXCLUSIONS["host"])


def test_every_listed_scan_is_one():
    assert all(SCAN.fullmatch(scan) for scans in EXCLUSIONS.values() for scan in scans)


def test_each_scan_has_its_reason():
    assert excluded_scans("none") == {}
    assert all("list 'host'" in reason and scan in reason for scan, reason in excluded_scans("host").items())
    assert excluded_scans(["case1_day2"]) == {"case1_day2": "named in dataset.exclude: scan case1_day2"}


def test_a_misspelt_list_is_answered_with_the_nearest():
    with pytest.raises(DataError, match="did you mean 'third_place'"):
        excluded_scans("thrid_place")
