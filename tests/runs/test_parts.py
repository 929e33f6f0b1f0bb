"""The slices that are scored are called what they are, and counted against those that should be there."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gisegkit.errors import DataError, RunError
from gisegkit.runs.parts import Seen, held_out_part, joint_parts, listed, named_part, part_for_tests, scored_part


def table(*ids, unlabelled=()):
    return pd.DataFrame({"id": list(ids), "labelled": [name not in unlabelled for name in ids]})


def split(**parts):
    return pd.DataFrame({"id": list(parts), "part": [part.replace("_", "+") for part in parts.values()]})


SPLIT = split(a="train", b="train", c="validation", d="validation", e="unlabelled", f="unused")


def test_all_validation_slices():
    part = scored_part(SPLIT, table(*"abcdef", unlabelled="e"))
    assert (part.name, part.rows.tolist(), part.expected, part.trained) == ("validation", [2, 3], 2, 0)
    assert part.whole
    assert list(part.lines()) == []


@pytest.mark.parametrize(("ids", "unlabelled"), [("abc", ""), ("abcd", "d")])
def test_some_are_missing_or_have_lost_their_labels(ids, unlabelled):
    part = scored_part(SPLIT, table(*ids, unlabelled=unlabelled))
    assert (part.name, len(part.rows), part.expected, part.missing, part.whole) == ("validation", 1, 2, ("d",), False)
    (line,) = part.lines()
    assert "only 1 of the run's 2 validation slices are in these data with labels" in line and line.endswith(": d")


def test_slices_that_the_split_does_not_know_are_left_out_and_told():
    part = scored_part(SPLIT, table(*"cdxy", unlabelled="y"))
    assert part.rows.tolist() == [0, 1] and part.unknown == ("x",) and part.whole
    assert "1 labelled slice of these data are not in the run's split.csv" in next(part.lines())


def test_folds_of_one():
    part = scored_part(split(a="train_validation", b="train_validation"), table(*"ab"))
    assert (part.name, part.expected, part.trained, part.whole) == ("train+validation", 2, 2, True)
    assert "2 of these 2 slices were trained on" in next(part.lines())


def test_none_is_here():
    part = scored_part(SPLIT, table(*"xyz", unlabelled="z"))
    assert (part.name, part.rows.tolist(), part.expected, part.trained, part.whole) == (
        "all labelled", [0, 1], 2, 0, False
    )  # fmt: skip
    assert "none of the run's 2 validation slices is in these data" in next(part.lines())
    mixed = scored_part(SPLIT, table(*"axf"))
    assert (mixed.name, mixed.trained) == ("all labelled", 1)
    assert scored_part(SPLIT, table(*"ab")).name == "train"


def test_nothing_is_labelled():
    with pytest.raises(DataError, match="use giseg predict"):
        scored_part(SPLIT, table(*"ab", unlabelled="ab"))


def test_ids_that_look_like_gaps_or_numbers_are_names():
    names = split(NA="validation", null="validation", **{"001": "train"})
    part = scored_part(names, table("NA", "null", "001"))
    assert part.rows.tolist() == [0, 1] and part.whole


def test_a_part_of_todays_data_knows_what_was_trained_on():
    part = named_part(SPLIT, table(*"abce"), "all", np.arange(4))
    assert (part.name, part.trained, part.whole) == ("all", 2, True)
    assert len(list(part.lines())) == 1


def test_words():
    assert listed(tuple("abc")) == "a, b, c" and listed(tuple("abcdefg")) == "a, b, c, d, e and 2 more"


ROLES = split(a="train", b="validation", c="extra", d="test", e="test")


def test_slices_for_tests_are_those_of_the_run():
    part = part_for_tests(ROLES, table(*"abcde"), np.array([3, 4]))
    assert (part.name, part.rows.tolist(), part.expected, part.whole) == ("test", [3, 4], 2, True)
    fewer = part_for_tests(ROLES, table(*"abcdx"), np.array([3, 4]))
    assert (fewer.rows.tolist(), fewer.missing, fewer.unknown, fewer.whole) == ([3], ("e",), ("x",), False)
    missing, left_out = fewer.lines()
    assert "only 1 of the run's 2 test slices are in these data" in missing
    assert "1 labelled slice of these data are not in the run's split.csv and are left out: x" in left_out


def test_a_run_without_test_slices_takes_all_and_says_what_it_trained_on():
    part = part_for_tests(split(a="train", c="extra"), table(*"acx"), np.array([0, 1, 2]))
    assert (part.rows.tolist(), part.expected, part.trained) == ([0, 1, 2], 3, 2)
    assert "2 of these 3 slices were trained on" in next(part.lines())


# --- several networks -----------------------------------------------------------------------------------------------

FOLDS = (
    split(a="train", b="validation", u="unlabelled", t="test"),
    split(a="validation", b="train", u="unlabelled", t="test"),
)


def parts(*members):
    return dict(joint_parts([Seen.of(member) for member in members]).itertuples(index=False))


def test_a_slice_is_held_out_where_every_member_has_a_network_that_has_not_seen_it():
    assert parts(FOLDS) == {"a": "validation", "b": "validation", "u": "unlabelled", "t": "test"}
    plain = (split(a="train", b="validation", u="unlabelled", t="test"),)
    assert parts(FOLDS, plain) == {"a": "train", "b": "validation", "u": "unlabelled", "t": "test"}


@pytest.mark.parametrize(
    ("other", "part"),
    [
        ("train", "train"),
        ("train_validation", "train"),
        ("extra", "train"),
        ("unused", "unused"),
        ("unlabelled", "unused"),
    ],
)
def test_what_one_member_holds_out_another_may_have_seen(other, part):
    found = parts((split(a="validation"),), (split(a=other),))
    assert found == {"a": part}


def held_out(joint, data):
    return held_out_part(scored_part(joint, data), joint, data, "runs/e")


def test_slices_that_were_trained_on_are_left_out_and_counted():
    joint = joint_parts([Seen.of(FOLDS), Seen.of((split(a="train", b="validation"),))])
    part = held_out(joint, table(*"abut", unlabelled="ut"))
    assert (part.name, part.rows.tolist(), part.expected, part.trained, part.left_out) == ("out-of-fold", [1], 1, 0, 1)
    assert list(part.lines()) == [
        "1 labelled slice of these data are not taken, because a member has no network that validated on them: they "
        "trained its networks, or its run left them out"
    ]


def test_without_a_slice_that_is_left_scoring_is_refused():
    joint = joint_parts([Seen.of((split(a="train", b="validation"),)), Seen.of((split(a="validation", b="train"),))])
    with pytest.raises(RunError, match="runs/e: 2 of the 2 labelled slices of these data trained every network"):
        held_out(joint, table(*"ab"))


def test_data_that_nobody_knows_are_taken_whole():
    part = held_out(joint_parts([Seen.of(FOLDS)]), table(*"xyz"))
    assert (part.name, part.rows.tolist(), part.instead) == ("all labelled", [0, 1, 2], True)
