"""[split] fold: one, some or all of the folds, and what cannot be meant."""

from __future__ import annotations

import pytest

from gisegkit.errors import RecipeError
from gisegkit.recipe.split import Split


@pytest.mark.parametrize(
    ("fold", "chosen", "several"), [(2, (2,), False), ("all", (0, 1, 2, 3, 4), True), ((4, 0), (4, 0), True)]
)
def test_the_folds_that_are_chosen(fold, chosen, several):
    split = Split(fold=fold)
    assert (split.chosen, split.several) == (chosen, several)


@pytest.mark.parametrize("fold", ['"all"', "[0, 2]", "3"])
def test_every_way_to_write_them_is_written_and_read_again(load, tmp_path, toys, fold):
    from gisegkit.recipe.load import load_recipe

    recipe = load(load.minimal, f"split.fold={fold}")
    (tmp_path / "again.toml").write_text(recipe.text())
    assert load_recipe(tmp_path / "again.toml", registries=toys).split == recipe.split


@pytest.mark.parametrize(
    ("overrides", "found"),
    [
        (["split.fold=7"], r"split\.fold = 7\n.*Valid: 0 to 4, because split\.folds = 5"),
        (["split.fold=[0, 5]"], r"split\.fold = \[0, 5\]\n.*Valid: 0 to 4"),
        (
            ["split.fold=[0, 0]"],
            r'split\.fold = \[0, 0\]\n.*Valid: "all", or each of some folds once, such as \[0, 4\]',
        ),
        (["split.fold=[]"], r'split\.fold = \[\]\n.*Valid: "all", or'),
        (["split.fold=al"], r'split\.fold = "al"\n.*[Dd]id you mean.*all'),
        (["split.fold=-1"], r"split\.fold = -1\n.*Valid: a whole number 0 or more or one of \"all\" or a list"),
        (["split.fold=1.5"], r"split\.fold = 1\.5\n.*Valid"),
        (["split.fold=all", "split.folds=1"], r'split\.fold = "all"\n.*Valid: 0, because with split\.folds = 1'),
    ],
)
def test_what_cannot_be_meant_is_one_mistake_with_a_remedy(load, overrides, found):
    with pytest.raises(RecipeError, match=found) as caught:
        load(load.minimal, *overrides)
    assert len(caught.value.mistakes) == 1
