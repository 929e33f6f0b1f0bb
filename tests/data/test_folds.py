"""Folds: no case on both sides, every labelled slice validated once, alike in empty slices, the same every time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gisegkit.data.folds import (
    PARTS,
    assign_folds,
    assigned_folds,
    folds_table,
    is_fold,
    refuse_changes,
    rows_of_fold,
    rows_of_split,
    split_digest,
    split_rows,
    split_table,
)
from gisegkit.errors import DataError, RunError


def make_table(cases, slices, *, seed=0, unlabelled=0, empty=0.57):
    rng = np.random.default_rng(seed)
    rows = []
    for case in range(cases):
        for day in range(1 + int(rng.integers(3))):
            rows += [(f"case{case}", f"case{case}_day{day}", n, True) for n in range(slices)]
    rows += [("hidden", "hidden_day0", n, False) for n in range(unlabelled)]
    table = pd.DataFrame(rows, columns=["case", "scan", "position", "labelled"])
    table["id"] = table["scan"] + "_" + table["position"].astype(str)
    table["empty"] = table["labelled"] & (rng.random(len(table)) < empty)
    return table


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 9), st.integers(1, 7), st.integers(2, 5), st.integers(0, 9), st.floats(0, 1),
    st.sampled_from(["empty", "none"]), st.sampled_from(["case", "scan", "slice"]),
)  # fmt: skip
@pytest.mark.slow
def test_no_group_on_both_sides_and_every_slice_validated_once(cases, slices, folds, seed, empty, stratify, group):
    table = make_table(cases, slices, seed=seed, unlabelled=3, empty=empty)
    column = "id" if group == "slice" else group
    assume(table.loc[table["labelled"], column].nunique() >= folds)
    validated = []
    for fold in range(folds):
        train, validation = split_rows(
            table, folds=folds, fold=fold, group=group, stratify=stratify, subset="all", seed=seed
        )
        assert len(train)
        assert len(validation)
        assert not set(table[column].iloc[train]) & set(table[column].iloc[validation])
        assert sorted([*train, *validation]) == np.flatnonzero(table["labelled"]).tolist()
        validated += validation.tolist()
    assert sorted(validated) == np.flatnonzero(table["labelled"]).tolist()


@pytest.mark.parametrize("group", ["case", "scan", "slice"])
@pytest.mark.parametrize("stratify", ["empty", "none"])
def test_deterministic_and_seeded(group, stratify):
    table = make_table(12, 6)
    first, second, other = (
        assign_folds(table, folds=4, group=group, stratify=stratify, seed=seed) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_stratified_by_empty_slices():
    """Half of the cases are all empty: groups alone put them anywhere, stratified folds share them."""
    table = make_table(20, 10)
    table["empty"] = table["case"].isin([f"case{n}" for n in range(10)])

    def spread(stratify):
        shares = []
        for seed in range(5):
            fold = assign_folds(table, folds=5, group="case", stratify=stratify, seed=seed)
            by_fold = [table["empty"][fold == number].mean() for number in range(5)]
            shares.append(np.ptp(by_fold))
        return np.mean(shares)

    assert spread("empty") < 0.2 < spread("none")


def test_slices_as_groups_are_stratified_to_the_slice():
    table = make_table(4, 25, empty=0.4)
    fold = assign_folds(table, folds=5, group="slice", stratify="empty", seed=0)
    counts = [int(table["empty"][fold == number].sum()) for number in range(5)]
    assert max(counts) - min(counts) <= 1


def test_folds_are_about_equally_large():
    table = make_table(30, 8)
    for stratify in ("empty", "none"):
        sizes = np.bincount(assign_folds(table, folds=5, group="case", stratify=stratify, seed=3))
        assert sizes.max() < 1.5 * sizes.min()


def test_one_fold_trains_and_validates_on_all_labelled():
    table = make_table(1, 5, unlabelled=4)
    everything = {"folds": 1, "fold": 0, "group": "case", "stratify": "empty", "seed": 0}
    train, validation = split_rows(table, subset="all", **everything)
    assert train.tolist() == validation.tolist() == np.flatnonzero(table["labelled"]).tolist()
    assert assign_folds(table, folds=1, group="case", stratify="empty", seed=0).tolist()[-4:] == [-1] * 4


def test_annotated_concerns_training_alone():
    table = make_table(6, 10, unlabelled=2)
    options = {"folds": 3, "fold": 1, "group": "case", "stratify": "empty", "seed": 0}
    train, validation = split_rows(table, subset="all", **options)
    annotated, same = split_rows(table, subset="annotated", **options)
    assert validation.tolist() == same.tolist()
    assert annotated.tolist() == [row for row in train if not table["empty"][row]]
    assert table["empty"].iloc[same].any()


def test_fewer_groups_than_folds_says_how_many_and_what_to_do():
    table = make_table(3, 4, unlabelled=2)  # the unlabelled case is no group to split
    with pytest.raises(
        DataError,
        match=r"at least 5 cases, but .* have 3 \(split.group = .case.\): set split\.folds = 3, .*folds = 1",
    ):
        split_rows(table, folds=5, fold=0, group="case", stratify="empty", subset="all", seed=0)


def test_no_label_at_all():
    table = make_table(2, 3)
    table["labelled"] = table["empty"] = False
    with pytest.raises(DataError, match="have 0"):
        assign_folds(table, folds=2, group="case", stratify="empty", seed=0)


def test_fold_out_of_range():
    with pytest.raises(DataError, match=r"split\.fold = 3.*0 to 2"):
        split_rows(make_table(4, 3), folds=3, fold=3, group="case", stratify="none", subset="all", seed=0)


# --- a split that was drawn before ----------------------------------------------------------------------------------


def drawn(table, **changed):
    options = {"folds": 3, "fold": 0, "group": "case", "stratify": "none", "subset": "all", "seed": 0} | changed
    return split_rows(table, **options)


@pytest.mark.parametrize("options", [{}, {"folds": 1}, {"subset": "annotated"}])
def test_a_split_gives_its_rows_back_whatever_the_order_of_the_slices(options):
    table = make_table(6, 4, unlabelled=3)
    train, validation = drawn(table, **options)
    split = split_table(table, train, validation)
    assert set(split["part"]) <= set(PARTS)
    again = rows_of_split(table, split)
    assert np.array_equal(again[0], train) and np.array_equal(again[1], validation)
    mixed = table.sample(frac=1, random_state=1).reset_index(drop=True)
    rows = rows_of_split(mixed, split)
    assert set(mixed["id"].iloc[rows[0]]) == set(table["id"].iloc[train])
    assert set(mixed["id"].iloc[rows[1]]) == set(table["id"].iloc[validation])


def test_the_digest_of_a_split_sees_content_and_not_order():
    table = make_table(6, 4, unlabelled=3)
    split = split_table(table, *drawn(table))
    assert split_digest(split) == split_digest(split[::-1])
    moved = split.copy()
    moved.loc[0, "part"] = "unused"
    assert split_digest(moved) != split_digest(split)
    renamed = split.copy()
    renamed.loc[0, "id"] += "x"
    assert split_digest(renamed) != split_digest(split)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.assign(labelled=True), "3 slices are labelled now, but not when the run began: hidden"),
        (lambda table: table.assign(labelled=False), "labelled when the run began, but not now"),
        (lambda table: table.assign(id="new" + table["id"]), "not in split.csv"),
        (lambda table: table[1:], "1 slice is in split.csv, but not in the data: case0_day0_0"),
    ],
)
def test_slices_that_are_not_those_of_the_split_are_named(change, said):
    table = make_table(6, 4, unlabelled=3)
    split = split_table(table, *drawn(table))
    with pytest.raises(RunError) as error:
        rows_of_split(change(table), split)
    assert said in str(error.value)


def test_slices_of_extra_and_test_datasets_have_parts_of_their_own():
    labelled = np.array([True, True, True, True, False, True])
    table = pd.DataFrame({"id": list("abcdef"), "labelled": labelled})
    roles = np.array(["train", "train", "extra", "test", "extra", "extra"], dtype=object)
    split = split_table(table, np.array([0, 2, 5]), np.array([1]), roles=roles)
    assert split["part"].tolist() == ["train", "validation", "extra", "test", "unlabelled", "extra"]
    train, validation = rows_of_split(table, split)
    assert (train.tolist(), validation.tolist()) == ([0, 2, 5], [1])


# --- several folds --------------------------------------------------------------------------------------------------


def test_the_folds_of_one_drawing_are_noted_and_read_again():
    table = make_table(7, 4, unlabelled=3)
    assigned = assign_folds(table, folds=3, group="case", stratify="empty", seed=1)
    noted = folds_table(table, assigned)
    assert set(noted["part"]) == {"fold0", "fold1", "fold2", "unlabelled"}
    shuffled = noted.sample(frac=1, random_state=0)
    assert np.array_equal(assigned_folds(table, shuffled), assigned)
    for fold in range(3):
        drawn = split_rows(table, folds=3, fold=fold, group="case", stratify="empty", subset="annotated", seed=1)
        taken = rows_of_fold(table, assigned, folds=3, fold=fold, subset="annotated")
        assert all(np.array_equal(one, other) for one, other in zip(drawn, taken, strict=True))


def test_roles_stay_beside_folds():
    table = make_table(2, 2, unlabelled=1)
    roles = np.where(table["case"] == "case1", "extra", "train").astype(object)
    assigned = np.where((table["case"] == "case0"), 0, -1)
    noted = folds_table(table, assigned, roles=roles)
    assert dict(zip(table["case"], noted["part"], strict=True)) == {
        "case0": "fold0", "case1": "extra", "hidden": "unlabelled"
    }  # fmt: skip
    assert np.array_equal(assigned_folds(table, noted), assigned)


def test_folds_of_other_data_are_refused():
    table = make_table(3, 2)
    noted = folds_table(table, assign_folds(table, folds=3, group="case", stratify="none", seed=0))
    with pytest.raises(RunError, match=r"1 slice is not in split\.csv"):
        assigned_folds(table, noted.iloc[1:])


@pytest.mark.parametrize(("part", "found"), [("fold0", True), ("fold12", True), ("fold", False), ("folds", False)])
def test_what_is_a_fold(part, found):
    assert is_fold(part) is found and part not in PARTS


def test_other_images_and_other_masks_are_told_together():
    split = pd.DataFrame({"id": ["a", "b", "c"], "digest": ["1", "2", ""], "pixels": ["5", "6", "7"]})
    told = r"another image than when it began: b; 2 slices have another mask .* differs\): a, c\n"
    with pytest.raises(RunError, match=told):
        refuse_changes(split, digests={"a": "1", "b": "9", "c": "9"}, pixels={"a": "4", "b": "6", "c": "0"})
    refuse_changes(split[["id"]], digests={"a": "0"}, pixels={"a": "0"})  # an older run has noted nothing
