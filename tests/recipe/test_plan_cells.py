"""The cells of a run; how a plan file leads to them is tested in test_plan_check."""

from __future__ import annotations

from gisegkit.recipe.plan_cells import LONGEST, combined, short_key, short_name, word_of


def rows(combine, **lists):
    vary = {key: (values, f"p.toml:{at}") for at, (key, values) in enumerate(lists.items())}
    return [{key: value for key, (value, _) in row.items()} for row in combined(vary, combine)]


def test_lists_are_crossed_or_zipped_and_seeds_always_crossed():
    zipped = rows("zip", a=[1, 2], b=[3, 4], seed=[0, 1])
    assert zipped == [{"a": a, "b": b, "seed": seed} for a, b in ((1, 3), (2, 4)) for seed in (0, 1)]
    assert rows("cross", a=[1, 2], b=[3]) == [{"a": 1, "b": 3}, {"a": 2, "b": 3}]
    assert rows("zip", seed=[5]) == [{"seed": 5}] and rows("cross") == [{}]


def test_words_of_names():
    assert [short_key(key) for key in ("optimizer.lr", "augmentation.name", "seed")] == ["lr", "", "seed"]
    assert [word_of(value) for value in ([64, 64], "a/b", 1e-3)] == ["64_64", "a_b", "0.001"]


def test_a_name_that_no_folder_can_have_is_shortened_and_stays_its_own():
    long = [short_name(f"net-{'ü' * 200}{end}") for end in "ab"]
    assert long[0] != long[1] and all(len(name.encode()) <= LONGEST and name.startswith("net-ü") for name in long)
    assert short_name("x" * LONGEST) == "x" * LONGEST
