"""The numbers of a decision that are searched: what a decision says of them, and the steps that a state makes."""

from __future__ import annotations

import pytest

from gisegkit.build.knobs import KNOWN, NO_LIMIT, TRIED, Knobs
from gisegkit.errors import DataError
from gisegkit.plugins import load_plugins

CLASSES = ("liver", "spleen")


def knobs(*steps, **given):
    return Knobs(CLASSES, **{"threshold": (0.5, 0.4), "presence": (0.0, 0.0)} | given, steps=steps)


def with_values(found, **values):
    """The start of the search with other values of some numbers, ``min_area__pixels=(5, 1)``."""
    state = [list(settings) for settings in found.start]
    for name, given in values.items():
        at = [knob.name for knob in found.knobs].index(name.replace("__", "."))
        for k, value in enumerate(given):
            state[k][at] = value
    return tuple(map(tuple, state))


def test_what_is_tried_is_what_the_components_take():
    registries = load_plugins(selection="none").registries
    for name, keys in KNOWN.items():
        parameters = registries["postprocess"].get(name).signature().parameters
        for key, (neutral, values) in keys.items():
            assert key in parameters
            for value in (neutral, *values):
                registries["postprocess"].get(name).load()(**{key: value}, classes=CLASSES)
    assert all(0 <= value <= 1 for values in TRIED.values() for value in values)
    assert 0.5 in TRIED["threshold"] and 0.0 in TRIED["presence"]


def test_the_start_is_the_decision():
    found = knobs({"name": "min_area", "pixels": {"liver": 7, "default": 3}, "unit": "scan"})
    assert found.tables(found.start) == [{"name": "min_area", "pixels": {"liver": 7, "default": 3}, "unit": "scan"}]
    assert found.values_of(found.start, "threshold") == (0.5, 0.4)
    assert found.differences(found.start, found.start) == []


def test_min_pixels_is_searched_where_the_decision_has_it():
    assert not any(knob.name.startswith("min_pixels") for knob in knobs().knobs)
    found = knobs({"name": "min_pixels", "pixels": {"liver": 30, "default": 10}, "unit": "scan"})
    assert found.all_known
    assert found.tables(found.start) == [{"name": "min_pixels", "pixels": {"liver": 30, "default": 10}, "unit": "scan"}]
    state = with_values(found, min_pixels__pixels=(30, 200))
    assert found.tables(state) == [{"name": "min_pixels", "pixels": {"liver": 30, "spleen": 200}, "unit": "scan"}]
    assert found.differences(found.start, state) == ["min_pixels.pixels of spleen: 10 -> 200"]
    only = knobs({"name": "min_pixels", "pixels": 5}, only=("min_pixels.pixels",))
    assert [knob.name for knob in only.knobs] == ["min_pixels.pixels"]


def test_a_state_changes_the_steps_that_there_are_and_adds_others_behind_them():
    found = knobs({"name": "mine", "x": 1}, {"name": "min_area", "pixels": 3, "unit": "scan"})
    state = with_values(found, min_area__pixels=(3, 50), continuity__remove=(0, 2), threshold=(0.3, 0.4))
    assert found.tables(state) == [
        {"name": "mine", "x": 1},
        {"name": "min_area", "pixels": {"liver": 3, "spleen": 50}, "unit": "scan"},
        {"name": "continuity", "fill": 0, "remove": {"liver": 0, "spleen": 2}},
    ]
    assert found.differences(found.start, state) == [
        "threshold of liver: 0.5 -> 0.3",
        "min_area.pixels of spleen: 3 -> 50",
        "continuity.remove of spleen: 0 -> 2",
    ]
    assert not found.all_known
    assert knobs().all_known


def test_a_hole_without_limit_is_a_number_too():
    found = knobs({"name": "fill_holes"})
    assert with_values(found, fill_holes__largest=(NO_LIMIT, NO_LIMIT)) == found.start
    assert found.tables(found.start) == [{"name": "fill_holes"}]
    state = with_values(found, fill_holes__largest=(0, NO_LIMIT))
    assert found.tables(state) == [{"name": "fill_holes", "largest": {"liver": 0, "spleen": NO_LIMIT}}]
    assert found.differences(found.start, state) == ["fill_holes.largest of liver: no limit -> 0"]


def test_a_step_that_is_there_twice_is_searched_once():
    found = knobs({"name": "min_area", "pixels": 3}, {"name": "min_area", "pixels": 9, "unit": "scan"})
    state = with_values(found, min_area__pixels=(5, 5))
    assert found.tables(state) == [
        {"name": "min_area", "pixels": 5},
        {"name": "min_area", "pixels": 9, "unit": "scan"},
    ]


def test_some_numbers_alone_leave_the_others_as_they_are():
    found = knobs({"name": "min_area", "pixels": 3}, only=("presence",))
    assert [knob.name for knob in found.knobs] == ["presence"]
    state = ((0.7,), (0.0,))
    assert found.values_of(state, "threshold") == (0.5, 0.4)
    assert found.values_of(state, "presence") == (0.7, 0.0)
    assert found.tables(state) == [{"name": "min_area", "pixels": 3}]


@pytest.mark.parametrize(
    ("only", "hint"),
    [("treshold", "'threshold'"), ("min_area", "min_area.pixels"), ("x", "there are: threshold, presence")],
)
def test_an_unknown_number_is_told(only, hint):
    with pytest.raises(DataError, match=f"--only {only}: there is no such number of a decision; .*{hint}"):
        knobs(only=(only,))


def test_scans_of_one_slice_have_no_continuity():
    assert not [knob for knob in knobs(along=False).knobs if knob.step >= 0 and "continuity" in knob.name]
    own = knobs({"name": "continuity", "fill": 1, "remove": 0}, along=False)
    assert [knob.name for knob in own.knobs if "continuity" in knob.name] == ["continuity.fill", "continuity.remove"]
