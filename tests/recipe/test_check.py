"""Every mistake of a recipe in one report, each with its line, what was found, and what is valid."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from gisegkit.errors import RecipeError
from gisegkit.recipe.load import load_recipe
from gisegkit.registry.adder import Adder
from gisegkit.registry.kinds import Owner

TEN = """\
name = "ten"
seed = -1

[dataset]
name = "toy"

[model]
name = "net"
encodr = "resnet18"
classes = 3

[[loss]]
name = "bcee"

[[loss]]
name = "bce"
smooth = 1.5

[optimizer]
name = adam

[split]
folds = 3
fold = 3

[train]
epochs = "many"
epoch = 3

[trian]
x = 1
"""

EXPECTED = [
    (2, "seed = -1", "Valid: a whole number 0 or more."),
    (4, "dataset 'toy' needs the parameter 'root'", 'write root = ... (a text in "quotes")'),
    (
        9,
        "unknown parameter 'encodr' of model 'net'",
        "did you mean 'encoder'? Valid: encoder, depth, weights, channels.",
    ),
    (10, "'classes' of model 'net' is set by the dataset", "remove the line"),
    (13, "unknown loss 'bcee'", "did you mean 'bce'? There are: bce, tversky."),
    (17, "loss.1.smooth = 1.5", "Valid: a number between 0 and 1."),
    (20, "not TOML: Invalid value", 'texts need quotes: name = "adam"'),
    (24, "split.fold = 3", "Valid: 0 to 2, because split.folds = 3."),
    (27, 'train.epochs = "many"', "Valid: a whole number 1 or more."),
    (28, "unknown key 'epoch' in [train]", "did you mean 'epochs'? Valid: epochs, batch_size,"),
    (30, "unknown table 'trian'", "did you mean 'train'? Valid: name, seed,"),
]


@pytest.fixture
def mistakes(load):
    """The mistakes of a recipe's text as (line, found, remedy)."""

    def mistakes(text: str, *overrides: str):
        with pytest.raises(RecipeError) as caught:
            load(text, *overrides)
        return [(int(item.place.rpartition(":")[2]), item.found, item.remedy) for item in caught.value.mistakes]

    return mistakes


def test_all_mistakes_of_a_file_are_in_one_report_and_no_others(mistakes):
    found = mistakes(TEN)
    assert [item[:2] for item in found] == [item[:2] for item in EXPECTED]
    for (_, _, remedy), (_, _, expected) in zip(found, EXPECTED, strict=True):
        assert remedy.startswith(expected)


def test_the_report_reads_well(load):
    with pytest.raises(RecipeError) as caught:
        load(TEN)
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("recipe.toml: 11 mistakes")
    assert len(lines) == 1 + 2 * len(EXPECTED)
    assert lines[1].endswith("recipe.toml:2: seed = -1")
    assert lines[2] == "    Valid: a whole number 0 or more."


def test_file_mistakes_come_in_order_and_overrides_behind(load):
    with pytest.raises(RecipeError) as caught:
        load(TEN, "train.workers=x", "input.slices=2")
    places = [item.place for item in caught.value.mistakes]
    assert places[-2:] == ["--set train.workers=x", "--set input.slices=2"]
    assert len(places) == len(EXPECTED) + 2


@pytest.mark.parametrize(
    ("added", "line", "found", "remedy"),
    [
        ("[input]\nslices = 4", 16, "input.slices = 4", "Valid: an odd number, so that one is central."),
        ("[input]\nsize = [8, 32]", 16, "input.size = [8, 32]", "Valid: a list of 2, each a whole number 16 or more."),
        (
            "[input]\nresize = 'strech'",
            16,
            'input.resize = "strech"',
            'did you mean \'stretch\'? Valid: one of "stretch", "fit".',
        ),
        (
            "[train]\nmicro_batch = 128",
            16,
            "train.micro_batch = 128",
            "Valid: up to train.batch_size = 64; 0 is the whole",
        ),
        (
            "[train]\nmemory = '16'",
            16,
            'train.memory = "16"',
            'Valid: "auto" or a number with its unit, such as "16GiB"',
        ),
        (
            "[train]\nmicro_batch = 'all'",
            16,
            'train.micro_batch = "all"',
            'Valid: one of "auto" or a whole number 0 or more',
        ),
        (
            "[train]\nmax_grad_norm = nan",
            16,
            "train.max_grad_norm = nan",
            "It must be finite. Valid: a number 0 or more.",
        ),
        (
            "[train]\nmax_grad_norm = inf",
            16,
            "train.max_grad_norm = inf",
            "It must be finite. Valid: a number 0 or more.",
        ),
        ("[train]\nmonitor = 'iou'", 16, 'train.monitor = "iou" is no metric', "Valid: dice."),
        ("[[metric]]\nname = 'iou'\n[[metric]]\nname = 'iou'", 18, "metric 'iou' is listed twice", "keep one"),
        (
            "[[metric]]\nname = 'iou'\n[[metric]]\nname = 'dice'\nas = 'iou'",
            18,
            "metric 'iou' is listed twice",
            'keep one of them, or give its scores another name, such as as = "iou_2"',
        ),
        (
            "[[metric]]\nname = 'iou'\nas = 'a/b'",
            17,
            'as = "a/b" cannot name scores',
            "Valid: a letter, then letters, digits and underscores; not id, scan,",
        ),
        ("[[metric]]\nname = 'iou'\nas = 'scan'", 17, 'as = "scan" cannot name scores', "Valid: a letter"),
        ("[[metric]]\nname = 'iou'\nas = 3", 17, "metric.0.as = 3", 'Valid: a text in "quotes".'),
        (
            "[[loss]]\nname = 'bce'\nas = 'x'",
            17,
            "unknown parameter 'as' of loss 'bce'",
            "Valid: smooth, reduce, weight",
        ),
        ("[[metric]]", 15, "[[metric]] has no name", "There are: dice, iou."),
        ("[metric]\nname = 'iou'", 15, "metric is not written as [[metric]]", "write [[metric]] above its lines"),
        (
            "[[schedule]]\nname = 'constant'",
            15,
            "schedule is not written as [schedule]",
            "write [schedule] above its lines",
        ),
        ("[schedule]\nname = 3", 16, "schedule.name = 3", "There are: constant."),
        (
            "[schedule]\nname = 'constant'\nsteps = 3",
            17,
            "'steps' of schedule 'constant' is set by [train] epochs",
            "",
        ),
        ("[input]\nsize = [32, 32]\n[input]\nslices = 3", 17, "[input] is here and at line 15", "keep one of them"),
        ("lr = 0.1\nlr = 0.2", 16, "'lr' is given here and at line 15", "keep one of them"),
        ("lr = 0", 15, "optimizer.lr = 0", "Valid: a number more than 0."),
        ("[[loss]]\nname = 'bce'\nweight = -1", 17, "loss.1.weight = -1", "Valid: a number 0 or more."),
        (
            "[[loss]]\nname = 'bce'\nwieght = 1",
            17,
            "unknown parameter 'wieght' of loss 'bce'",
            "did you mean 'weight'?",
        ),
        (
            "[[loss]]\nname = 'tversky'",
            15,
            "loss 'tversky' needs the parameter 'alpha'",
            "write alpha = ... (a number)",
        ),
        (
            "[[tracker]]\nname = 'anything'\nfolder = 'x'",
            17,
            "'folder' of tracker 'anything' is set by the run folder",
            "",
        ),
    ],
)
def test_one_mistake(load, mistakes, added, line, found, remedy):
    text = load.minimal + added
    assert len(load.minimal.splitlines()) == 14
    ((at, what, advice),) = mistakes(text)
    assert (at, what[: len(found)]) == (line, found)
    assert advice.startswith(remedy)


@pytest.mark.parametrize(
    ("old", "new", "line", "found"),
    [
        ('name = "small"', "", 1, "the recipe has no name"),
        ('name = "small"', 'name = "a/b"', 1, '"a/b" cannot name a folder'),
        ('name = "small"', 'name = ".."', 1, '".." cannot name a folder'),
        ('name = "small"', "name = 3", 1, "name = 3"),
        ('name = "small"', 'name = "small"\nrequires = "x"', 2, 'requires = "x"'),
        ('name = "small"', 'name = "small"\ndemo = 1', 2, "demo = 1"),
        ('name = "small"', 'name = "small"\nmodle = 1', 2, "unknown key 'modle'"),
        ('name = "net"', 'name = "net"\nname = "other"', 9, "'name' is given here and at line 8"),
        ('name = "net"', "name = net", 8, "not TOML: Invalid value"),
        ('root = "data"', "root = data", 5, "not TOML: Invalid value"),
        ('[model]\nname = "net"', "", 1, "the recipe has no [model]"),
        ('[[loss]]\nname = "bce"', "loss = [3]", 10, "dataset.loss"),
    ],
)
def test_one_mistake_in_place_of_a_line(load, mistakes, old, new, line, found):
    if found == "dataset.loss":  # a key under [model] by accident, so that the recipe has no loss either
        found_there = mistakes(load.minimal.replace(old, new))
        assert [item[:2] for item in found_there] == [
            (1, "the recipe has no [[loss]]"),
            (line, "unknown parameter 'loss' of model 'net'"),
        ]
        return
    assert [item[:2] for item in mistakes(load.minimal.replace(old, new))] == [(line, found)]


def test_a_mistake_causes_no_second_one(load, mistakes):
    """What is compared with a value that is itself wrong would be compared with its default."""
    wrong = "[split]\nfolds = 'x'\nfold = 7\n[[metric]]\nname = 'iuo'\n"
    wrong += "[train]\nbatch_size = 'x'\nmicro_batch = 128\nmonitor = 'iou'\n"
    found = mistakes(load.minimal + wrong)
    assert [what for _, what, _ in found] == ['split.folds = "x"', "unknown metric 'iuo'", 'train.batch_size = "x"']


def test_lists_of_inline_tables_are_components_too(load):
    text = 'loss = [{name = "bce"}, {name = "tversky", alpha = 0.3}]\n' + load.minimal.replace(
        '[[loss]]\nname = "bce"', ""
    )
    assert [spec.name for spec in load(text).loss] == ["bce", "tversky"]
    mistaken = text.replace('{name = "bce"}', "3")
    with pytest.raises(RecipeError, match=r"recipe\.toml:1: loss = \[3, "):
        load(mistaken)


def test_whatever_keywords_are_taken_and_kept(load):
    recipe = load(load.minimal + '[[tracker]]\nname = "anything"\nx = 1\ny = {z = [1.5]}\n')
    assert recipe.tracker[0].params == {"x": 1, "y": {"z": [1.5]}}


@pytest.mark.parametrize(
    ("requirement", "found"),
    [
        ("giseg-nowhere", "'giseg-nowhere' is not installed; pip install 'giseg-nowhere'"),
        (
            "pluggy>=999",
            f"'pluggy>=999' is not met by the installed version {version('pluggy')}; pip install --upgrade",
        ),
        ("no requirement at all", "'no requirement at all' is no requirement; write for example"),
    ],
)
def test_requirements(load, mistakes, requirement, found):
    text = load.minimal.replace(
        'name = "small"', f'name = "small"\nrequires = ["pluggy", "{requirement}", "pytest>=1"]'
    )
    ((line, what, _),) = mistakes(text)
    assert line == 2
    assert what.startswith(found)


def add(registries, make_module, text: str, name: str = "odd") -> None:
    adder = Adder(Owner("giseg-odd", "0.1"))
    adder.loss(name, f"{make_module(text)}:Odd")
    registries["loss"].add(adder.components[0])


@pytest.mark.parametrize("parameter", ["weight", "name"])
def test_a_parameter_that_recipes_use_otherwise_is_refused(load, toys, make_module, mistakes, parameter):
    add(toys, make_module, f"class Odd:\n    def __init__(self, *, {parameter}=2.0): ...\n")
    ((line, found, remedy),) = mistakes(load.minimal.replace('"bce"', '"odd"'))
    assert (line, found) == (11, f"loss 'odd' of giseg-odd 0.1 has a parameter {parameter!r}")
    assert "the plugin must rename it" in remedy


def test_a_component_that_cannot_be_read_is_a_mistake(load, toys, make_module, mistakes):
    add(toys, make_module, "class Odd(:")
    ((line, found, remedy),) = mistakes(load.minimal.replace('"bce"', '"odd"'))
    assert (line, remedy) == (11, "its plugin is defective")
    assert found.startswith("loss 'odd' of giseg-odd 0.1: ")


def test_defaults_are_written_as_a_recipe_would_give_them_or_left_to_the_factory(load, toys, make_module, write_recipe):
    parameters = "a=(1, 2), b: tuple[int, int] = (3, 4), c: float = 1, d: int = 1.5, e=LIMIT, f: int = None"
    text = f"class Odd:\n    def __init__(self, *, {parameters}): ...\n"
    add(toys, make_module, text)
    recipe = load(load.minimal.replace('"bce"', '"odd"'))
    assert recipe.loss[0].params == {"a": [1, 2], "b": (3, 4), "c": 1.0}
    again = load_recipe(write_recipe(recipe.text()), registries=toys)
    assert again.loss[0].params == recipe.loss[0].params


# --- losses by epoch ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("added", "found", "remedy"),
    [
        ("start_epoch = 5\nend_epoch = 3", "loss 'bce' ends in epoch 3, before it starts in 5", "5 or more"),
        ("start_epoch = 99", "loss 'bce' starts in epoch 99, and train.epochs = 15", "Valid: 1 to 15."),
        ("start_epoch = 0", "loss.0.start_epoch = 0", "Valid: a whole number 1 or more."),
        ("end_epoch = 10", "no loss counts in epoch 11 and 4 others", "cover every epoch"),
        ("start_epoch = 2", "no loss counts in epoch 1", "cover every epoch"),
        ("start_epochs = 2", "unknown parameter 'start_epochs' of loss 'bce'", "did you mean 'start_epoch'?"),
    ],
)
def test_every_epoch_has_a_loss_and_every_loss_an_epoch(load, added, found, remedy):
    text = load.minimal.replace('name = "bce"\n', f'name = "bce"\n{added}\n')
    with pytest.raises(RecipeError) as caught:
        load(text)
    (mistake,) = caught.value.mistakes
    assert found in mistake.found
    assert remedy in mistake.remedy


def test_cross_entropy_first_and_then_another_is_two_lines(load):
    text = load.minimal.replace('name = "bce"\n', 'name = "bce"\nend_epoch = 10\n')
    text += '[[loss]]\nname = "tversky"\nalpha = 0.3\nstart_epoch = 11\n'
    first, second = load(text).loss
    assert [first.counts_in(epoch) for epoch in (1, 10, 11)] == [True, True, False]
    assert [second.counts_in(epoch) for epoch in (1, 10, 11, 15)] == [False, False, True, True]
    assert "start_epoch" not in second.params


@pytest.mark.parametrize("kept", ["start_epoch = 11\n", "start_epoch = 11\nend_epoch = 15\nweight = 0.25\n"])
def test_another_loss_takes_over_the_epochs_and_the_weight(load, kept):
    text = load.minimal.replace('name = "bce"\n', 'name = "bce"\nend_epoch = 10\n')
    text += f'[[loss]]\nname = "tversky"\nalpha = 0.3\n{kept}'
    before, after = load(text).loss[1], load(text, "loss.1.name=bce")
    swapped = after.loss[1]
    assert swapped.name == "bce"
    assert [(spec.weight, spec.start_epoch, spec.end_epoch) for spec in (before, swapped)] == [
        (before.weight, 11, before.end_epoch)
    ] * 2
    assert after.notes == ("--set loss.1.name=bce: left out, because they belong to loss 'tversky': alpha",)


def test_any_number_of_epochs_is_checked_at_once(load):
    recipe = load(load.minimal, f"train.epochs={'9' * 30}")
    assert recipe.train.epochs > 10**29
    with pytest.raises(RecipeError, match=r"no loss counts in epoch 11 and 9{5,}\d+ others"):
        load(load.minimal, f"train.epochs={'9' * 30}", "loss.0.end_epoch=10")


def test_a_name_must_fit_a_folder(load):
    assert load(load.minimal.replace('"small"', f'"{"a" * 100}"')).name == "a" * 100
    with pytest.raises(RecipeError, match="the name has 300 characters"):
        load(load.minimal.replace('"small"', f'"{"a" * 300}"'))
