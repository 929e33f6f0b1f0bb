"""Plan files: cells are every combination, and all mistakes come in one report."""

from __future__ import annotations

import pytest

from gisegkit.errors import RecipeError
from gisegkit.recipe.load import load_recipe
from gisegkit.recipe.plan_check import as_plan
from gisegkit.recipe.text import read

HEAD = '[[run]]\nrecipe = "net.toml"\n'


def plan(text, **more):
    found = as_plan(read(text, "folder/p.toml"), **more)
    assert not found.mistakes, found.mistakes
    return found


def mistakes(text):
    return {(m.place, m.found, m.remedy) for m in as_plan(read(text, "folder/p.toml")).mistakes}


def names(found):
    return [cell.name for cell in found.cells]


def test_a_run_without_more_is_one_cell_called_like_its_recipe():
    found = plan(HEAD)
    (cell,) = found.cells
    assert (found.name, cell.name, cell.run, cell.sets) == ("p", "net", "net", ())
    assert cell.recipe.as_posix() == "folder/net.toml"


def test_what_varies_is_crossed_or_zipped():
    lists = '[run.vary]\n"optimizer.lr" = [1e-3, 1e-4]\n"input.slices" = [1, 3]\n'
    crossed = plan(f"{HEAD}{lists}")
    assert names(crossed) == [f"net-lr{lr}-slices{slices}" for lr in ("0.001", "0.0001") for slices in (1, 3)]
    assert crossed.cells[1].sets == ("optimizer.lr=0.001", "input.slices=3")
    zipped = plan(f'{HEAD}combine = "zip"\n{lists}')
    assert [cell.sets for cell in zipped.cells] == [
        ("optimizer.lr=0.001", "input.slices=1"),
        ("optimizer.lr=0.0001", "input.slices=3"),
    ]


def test_every_setting_has_all_seeds_also_where_lists_are_zipped():
    found = plan(f'{HEAD}combine = "zip"\nseeds = [3, 4, 5]\nvary = {{"optimizer.lr" = [0.1, 0.2]}}\n')
    assert names(found) == [f"net-lr{lr}-seed{seed}" for lr in (0.1, 0.2) for seed in (3, 4, 5)]
    assert [cell.setting for cell in found.cells] == ["net-lr0.1"] * 3 + ["net-lr0.2"] * 3
    assert plan(HEAD).cells[0].setting == "net"


def test_seeds_are_an_axis_and_folds_are_one_run():
    found = plan(f'{HEAD}seeds = [0, 7]\nfolds = "all"\n')
    assert names(found) == ["net-seed0", "net-seed7"]
    assert found.cells[1].sets == ('split.fold="all"', "seed=7")
    assert plan(f"{HEAD}folds = [0, 2]\n").cells[0].sets == ("split.fold=[0, 2]",)


def test_keys_may_be_quoted_dotted_or_indexed():
    text = 'set = {train.epochs = 3, "optimizer.lr" = 0.1, loss.0.weight = 0.5, evaluate.threshold = {a = 0.4}}\n'
    (cell,) = plan(HEAD + text).cells
    assert cell.sets == ("train.epochs=3", "optimizer.lr=0.1", "loss.0.weight=0.5", "evaluate.threshold={a = 0.4}")
    assert cell.places["optimizer.lr=0.1"] == "folder/p.toml:3"


def test_values_become_parts_of_names():
    text = '[run.vary]\n"train.average" = ["ema", "swa"]\n"input.size" = [[64, 64]]\n"model.encoder" = ["a/b c"]\n'
    assert names(plan(HEAD + text)) == ["net-ema-size64_64-encodera_b_c", "net-swa-size64_64-encodera_b_c"]


def test_a_demo_sets_its_own_and_leaves_out_what_demos_set():
    sets = 'set = {"train.epochs" = 9, "train.average" = "ema", "dataset.root" = "x"}'
    text = f'{HEAD}{sets}\n[demo]\n"train.epochs" = 2\n'
    found = plan(text, demo=True, small=("train.epochs",))
    assert found.cells[0].sets == ('train.average="ema"', "train.epochs=2")
    assert found.notes == ["demo: net leaves out what the plan sets of train.epochs, dataset.root"]
    assert plan(text).cells[0].sets == ("train.epochs=9", 'train.average="ema"', 'dataset.root="x"')


def test_members_and_gate_are_cells():
    two = f'{HEAD}name = "a"\nseeds = [0, 1]\n{HEAD}name = "b"\n'
    assert plan(f"{two}[ensemble]").members == {"a-seed0": 0.5, "a-seed1": 0.5, "b": 1}
    weighted = plan(f'{two}[ensemble]\nruns = ["b", "a"]\nweights = [3, 1]\n')
    assert weighted.members == {"b": 3, "a-seed0": 0.5, "a-seed1": 0.5}
    gated = plan(f'{two}[gate]\nrun = "b"\npixels = {{x = 3}}\n')
    assert (gated.gate, gated.members) == ("b", {"a-seed0": 0.5, "a-seed1": 0.5})
    one = plan(f'{two}[ensemble]\n[gate]\nrun = "a-seed1"\n')
    assert (one.gate, one.members) == ("a-seed1", {"a-seed0": 1, "b": 1})


def test_every_mistake_is_told_with_its_line_and_the_nearest_word():
    text = """\
nam = "x"
[[run]]
recipe = "net.toml"
fold = "all"
[[run]]
name = "no good"
recipe = "net.toml"
[[run]]
recipe = 3
combine = "crossed"
[[run]]
name = "v"
recipe = "net.toml"
seeds = [1, 1]
set = {"train.epochs" = 1}
vary = {"train.epochs" = [1, 2], "input.slices" = 3}
[tune]
aply = "always"
apply = "allways"
[gate]
pixels = -1
"""
    found = mistakes(text)
    words = sorted((place, what) for place, what, _ in found)
    assert words == sorted(
        [
            ("folder/p.toml:1", "unknown key 'nam' in a plan"),
            ("folder/p.toml:4", "unknown key 'fold' in [run]"),
            ("folder/p.toml:6", '"no good" cannot name a folder'),
            ("folder/p.toml:9", "recipe = 3"),
            ("folder/p.toml:10", 'combine = "crossed"'),
            ("folder/p.toml:14", "seed = [1, 1] has a value twice"),
            ("folder/p.toml:16", "train.epochs is varied and set"),
            ("folder/p.toml:16", "vary: input.slices = 3"),
            ("folder/p.toml:18", "unknown key 'aply' in [tune]"),
            ("folder/p.toml:19", 'apply = "allways"'),
            ("folder/p.toml:20", "[gate] has no run"),
            ("folder/p.toml:21", "pixels = -1"),
        ]
    )
    remedies = {what: remedy for _, what, remedy in found}
    assert remedies["unknown key 'nam' in a plan"].startswith("did you mean 'name'?")
    assert remedies["unknown key 'fold' in [run]"].startswith("did you mean 'folds'?")
    assert remedies['apply = "allways"'].startswith("did you mean 'always'?")


def test_a_recipe_is_told_from_a_plan_and_a_plan_from_a_recipe(tmp_path, registries):
    (told,) = mistakes('name = "x"\n[model]\nname = "net"\n')
    assert told[1:] == ("this is a recipe, and a plan is asked for", "giseg run folder/p.toml")
    (tmp_path / "p.toml").write_text(HEAD)
    with pytest.raises(RecipeError, match=r"this is a plan, and a recipe is asked for\n    giseg plan .*p.toml"):
        load_recipe(tmp_path / "p.toml", registries=registries)


@pytest.mark.parametrize(
    ("text", "found", "remedy"),
    [
        ("", "the plan has no [[run]]", "write [[run]]"),
        ("[[run]]\n", "[[run]] has no recipe", "write recipe"),
        (f'{HEAD}name = "tune"\n', '"tune" is what a step after the runs is called', "another name"),
        (HEAD + HEAD, "several runs are called net", "a name of its own"),
        (f"{HEAD}{HEAD}name='b'\n[tune]\n", "[tune] of which of the 2 cells?", "write [ensemble]"),
        (f"{HEAD}{HEAD}name='b'\n[predict]\n", "[predict] of which of the 2 cells?", "write [ensemble]"),
        (f"{HEAD}[gate]\nrun = 'nett'\n", 'there is no run "nett"', "did you mean 'net'?"),
        (f"{HEAD}[gate]\nrun = 'net'\n", "the only run is the gate, and nothing is left", "add a [[run]]"),
        (f"{HEAD}seeds = [0, 1]\n[gate]\nrun = 'net'\n", '"net" has 2 cells', "name one of them: net-seed0, net-seed1"),
        (f"{HEAD}[ensemble]\nweights = [1, 2]\n", "2 weights for 1 runs", "give one for each: net"),
        (f"{HEAD}[ensemble]\nrounds = 3\n", "rounds are those of greedy = true, which is not there", "add it"),
        (f"{HEAD}[ensemble]\nruns = []\n", "[ensemble] has no runs", "name a [[run]]"),
        (
            f'{HEAD}[search]\nname = "random"\n[ensemble]\n',
            "[ensemble] has no runs",
            "trials of a search are no members",
        ),
        ('[run]\nrecipe = "net.toml"\n', "run is not written as [[run]]", "write [[run]]"),
        ('[[run]]\nrecipe = ""\n', "[[run]] has no recipe", "write recipe"),
        (f"{HEAD}[ensemble]\nweights = [1]\ngreedy = true\n", "greedy = true chooses them", "keep one"),
        (f"{HEAD}[ensemble]\nruns = ['net', 'net']\n", "net is named twice", "name it once"),
        (f"{HEAD}demo = 1\n", "unknown key 'demo' in [run]", "Valid: recipe"),
        (f"demo = 1\n{HEAD}", "demo = 1", "[demo] is a table"),
        (
            f'{HEAD}combine = "zip"\nvary = {{"a.b" = [1, 2], "a.c" = [1]}}\n',
            "a.b has 2 values, a.c has 1",
            "one length",
        ),
        (f"{HEAD}name = \n", "not TOML", ""),
    ],
)
def test_what_cannot_be_is_refused(text, found, remedy):
    told = mistakes(text)
    assert any(found in what and remedy in advice for _, what, advice in told), told


def test_what_is_no_toml_is_told_and_nothing_that_follows_from_it():
    assert len(mistakes("[[run]\n")) == 1


def test_folds_of_one_cell_each_are_one_setting_unless_a_cell_has_several():
    found = plan(f"{HEAD}seeds = [3]\n[run.vary]\nsplit.fold = [0, 1]\noptimizer.lr = [0.1]\n")
    assert names(found) == ["net-fold0-lr0.1-seed3", "net-fold1-lr0.1-seed3"]
    assert {cell.setting for cell in found.cells} == {"net-lr0.1"}
    assert len({cell.setting for cell in plan(f'{HEAD}vary = {{split.fold = [0, "all"]}}\n').cells}) == 2


def test_rows_of_zipped_lists_may_share_values_but_not_be_the_same():
    lists = '[run.vary]\n"optimizer.lr" = [1e-3, 1e-3]\n"input.slices" = '
    assert len(plan(f'{HEAD}combine = "zip"\n{lists}[1, 3]\n').cells) == 2
    (same,) = mistakes(f'{HEAD}combine = "zip"\n{lists}[1, 1]\n')
    assert same[1] == "two rows of the zipped lists are the same"
    (seeds,) = mistakes(f'{HEAD}combine = "zip"\nseeds = [0, 0]\nvary = {{"optimizer.lr" = [0.1, 0.2]}}\n')
    assert seeds[1] == "seed = [0, 0] has a value twice"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('set = {"train.epochs" = 3, train.epochs = 4}', "train.epochs is there twice"),
        ('vary = {"seed" = [1], "train.epochs" = [3], train = {epochs = [4]}}', "train.epochs is there twice"),
        ('folds = "all"\nset = {"split.fold" = 1}', "folds is given, and split.fold in set"),
        ('seeds = [0, 1]\nvary = {"seed" = [2, 3]}', "seeds is given, and seed in vary"),
        (
            'set = {"loss.0.weight" = 0.5, "loss" = [{name = "bce"}]}',
            "loss replaces loss.0.weight, which is given as well",
        ),
        (
            'set = {"loss.0.weight" = 0.5}\nvary = {"loss" = [[{name = "bce"}]]}',
            "loss replaces loss.0.weight, which is given as well",
        ),
    ],
)
def test_nothing_that_a_plan_says_is_dropped(text, found):
    assert found in {told for _, told, _ in mistakes(HEAD + text + "\n")}


def test_a_demo_does_not_replace_what_is_varied():
    text = f'{HEAD}[run.vary]\n"optimizer.lr" = [0.1, 0.2]\n[demo]\n"optimizer.lr" = 0.3\n'
    (told,) = as_plan(read(text, "p.toml"), demo=True).mistakes
    assert (told.place, told.found) == ("p.toml:6", "optimizer.lr in [demo] replaces optimizer.lr, which is varied")
    plan(text)  # without the demo, its table does not count


def test_what_is_set_before_and_refined_later_counts_both():
    text = 'set = {"loss" = [{name = "bce"}]}\nvary = {"loss.0.weight" = [0.5, 1.0]}\n'
    assert [cell.sets[1] for cell in plan(HEAD + text).cells] == ["loss.0.weight=0.5", "loss.0.weight=1.0"]
