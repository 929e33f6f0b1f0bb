"""The demo: any recipe on phantoms, without downloads, and every value that it changes is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from gisegkit.build.demo import MODEL, ORIGIN, SMALL, demo_settings, load_demo, overridden
from gisegkit.errors import RecipeError
from gisegkit.recipe.load import load_recipe, read_document
from gisegkit.registry.kinds import Component, Owner
from gisegkit.workflows.check import smoke_test

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))
PHANTOM = '"""Toys."""\n\ndef f(*, cases: int = 1, days: int = 1, slices: int = 8): ...\n'


@pytest.fixture
def demo(toys, make_module, write_recipe):
    """Loads a recipe as ``--demo`` does; gives the recipe and the lines."""
    toys["dataset"].add(Component("dataset", "phantom", f"{make_module(PHANTOM)}:f", Owner("toys", "1.0")))

    def demo(text: str, *overrides: str):
        path = write_recipe(text)
        document = read_document(path)
        settings = demo_settings(document, toys, overrides)
        lines = overridden(document, settings)
        return load_recipe(path, registries=toys, overrides=overrides, preset=settings), lines

    return demo


def test_the_demo_replaces_data_weights_and_size_and_says_so(load, demo):
    recipe, lines = demo(load.minimal + "[train]\nepochs = 50\nbatch_size = 8\nmax_grad_norm = 0.5\n")
    assert recipe.demo
    assert recipe.dataset.as_dict() == {
        "role": "train",
        **{key.removeprefix("dataset."): value for key, value in SMALL.items() if key.startswith("dataset.")},
    }
    assert recipe.model.params["weights"] == "none"
    assert (recipe.input.size, recipe.train.epochs) == (tuple(SMALL["input.size"]), SMALL["train.epochs"])
    assert recipe.train.max_grad_norm == 0.5
    assert 'demo: dataset.name = "phantom" (the recipe says "toy")' in lines
    assert f"demo: train.epochs = {SMALL['train.epochs']} (the recipe says 50)" in lines
    assert 'demo: model.weights = "none"' in lines
    assert not [line for line in lines if "batch_size = 8" in line and "train" in line], "it is what the recipe says"
    changed = {line.split()[1] for line in lines}
    assert changed == {*SMALL, "demo", "model.weights"} - {"train.batch_size", "train.max_grad_norm"}, (
        "what the recipe says stays"
    )


def test_what_the_user_sets_wins(load, demo):
    recipe, _ = demo(load.minimal, "train.epochs=2", "dataset.cases=3", "model.weights=imagenet")
    assert (recipe.train.epochs, recipe.dataset.params["cases"]) == (2, 3)
    assert recipe.model.params["weights"] == "imagenet"


def test_another_model_starts_from_random_weights_too(load, demo):
    text = load.minimal.replace('name = "net"', 'name = "other"')
    assert "weights" not in demo(text)[0].model.params
    assert demo(text, "model.name=net")[0].model.params["weights"] == "none"
    assert demo(text, 'model.name = "net"', "model.depth=3")[0].model.params["weights"] == "none"
    assert demo(load.minimal, "model.name=other")[0].model.as_dict() == {"name": "other", "width": MODEL["width"]}


def test_a_demo_never_runs_on_other_data(load, demo):
    with pytest.raises(RecipeError) as caught:
        demo(load.minimal, "dataset.name=toy", "dataset.root=x")
    assert {mistake.place for mistake in caught.value.mistakes} == {ORIGIN}


@pytest.mark.parametrize(
    "text", ["", "model = 3\n", "[model]\n", '[model]\nname = "nothing"\n', "dataset = 3\n", "[[model]]\n"]
)
def test_a_recipe_with_mistakes_is_refused_as_usual(demo, text):
    with pytest.raises(RecipeError):
        demo(text)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_of_the_project_has_its_demo(path, registries, monkeypatch):
    text = path.read_text()
    if "cutmix" in path.stem:
        module = "giseg_cutmix.transform:CutMix"
        monkeypatch.syspath_prepend(Path(__file__).parents[2] / "plugins" / "giseg-cutmix")
        monkeypatch.setattr("gisegkit.recipe.check.unmet", lambda requirements: [])
        cutmix = Component("batch_transform", "cutmix", module, Owner("giseg-cutmix", "?"))
        monkeypatch.setitem(registries["batch_transform"]._components, "cutmix", cutmix)
    assert 'weights = "imagenet"' in text or path.stem == "r2unet", "the paper's own encoder has none"
    document = read_document(path)
    recipe = load_recipe(path, registries=registries, preset=demo_settings(document, registries))
    assert (recipe.demo, recipe.dataset.name, recipe.model.params["weights"]) == (True, "phantom", "none")
    assert recipe.name == path.stem


@pytest.mark.parametrize(
    ("spans", "overrides", "moved"),
    [
        ([(1, 56), (57, 0)], (), [(1, 5), (6, 0)]),
        ([(1, 1), (2, 0)], (), [(1, 1), (1, 0)]),  # no share is so small that it means "to the last"
        ([(1, 34), (35, 36), (37, 0)], (), [(1, 3), (4, 4), (4, 0)]),
        ([(1, 56), (57, 0)], ("train.epochs=2",), [(1, 2), (2, 0)]),
        ([(1, 35), (36, 0)], ("train.epochs=1",), [(1, 1), (1, 0)]),
        ([(1, 56), (57, 0)], ("train.epochs=10", "loss.0.end_epoch=4", "loss.1.start_epoch=5"), [(1, 4), (5, 0)]),
        ([(1, 56), (57, 0)], ("loss.1.name=tversky", "loss.1.alpha=0.3"), [(1, 5), (6, 0)]),
    ],
)
def test_losses_that_begin_or_end_at_an_epoch_keep_their_share_of_the_epochs(load, demo, spans, overrides, moved):
    losses = "".join(f'[[loss]]\nname = "bce"\nstart_epoch = {start}\nend_epoch = {end}\n' for start, end in spans)
    text = load.minimal.replace('[[loss]]\nname = "bce"\n', losses) + "[train]\nepochs = 70\n"
    recipe, lines = demo(text, *overrides)
    assert [(loss.start_epoch, loss.end_epoch) for loss in recipe.loss] == moved
    if not overrides and spans[0] == (1, 56):
        assert "demo: loss.0.end_epoch = 5 (the recipe says 56)" in lines


def test_the_default_number_of_epochs_counts_too(load, demo):
    losses = '[[loss]]\nname = "bce"\nend_epoch = 10\n[[loss]]\nname = "bce"\nstart_epoch = 11\n'
    recipe, _ = demo(load.minimal.replace('[[loss]]\nname = "bce"\n', losses))
    assert [(loss.start_epoch, loss.end_epoch) for loss in recipe.loss] == [(1, 4), (5, 0)]  # of 15, and of 6


@pytest.mark.parametrize(
    "sets", [("dataset.root=real",), ("dataset.name=toy",), ("dataset.name=phantom", "dataset.root=real")]
)
def test_a_demo_names_the_override_that_would_leave_the_phantoms(demo, load, sets):
    with pytest.raises(RecipeError, match="a demo runs on phantoms of its own"):
        demo(load.minimal, *sets)


# --- every recipe has a demo: with the built-in components -----------------------------------------------------------

BASE = """
name = "mine"

[dataset]
name = "folder"
root = "nowhere"
labels = {liver = 1, spleen = 2}
spacing = [3.0, 1.5, 1.5]

[model]
name = "unet"
encoder = "tu-test_resnet"
weights = "none"
depth = 3
decoder_channels = [16, 8, 8]

[[loss]]
name = "bce"

[optimizer]
name = "adam"
"""
QUICK = (
    "dataset.cases=6",
    "split.folds=6",
    "dataset.slices=8",
    "dataset.test_cases=0",
    "input.size=[32,32]",
    "train.micro_batch=0",
    "train.epochs=2",
)
VARIANTS = {
    "ce": ('name = "bce"', 'name = "ce"'),
    "ce first": ('name = "bce"', 'name = "ce"\nend_epoch = 10\n[[loss]]\nname = "lovasz"\nstart_epoch = 11'),
    "a class of the data": ("[[loss]]", '[[metric]]\nname = "dice"\n[[loss]]'),
    "mm": ("[[loss]]", '[[metric]]\nname = "hd95"\n[[metric]]\nname = "nsd"\n[[loss]]'),
    "2.5D": ("[optimizer]", "[input]\nslices = 5\nstride = 2\n[optimizer]"),
    "on the device": (
        "[optimizer]",
        '[input]\nstore = "device"\n[[batch_transform]]\nname = "final_device"\n[optimizer]',
    ),
    "another fold": ("[optimizer]", "[split]\nfolds = 4\nfold = 3\n[optimizer]"),
    "by scan": ("[optimizer]", '[split]\ngroup = "scan"\nsubset = "annotated"\n[optimizer]'),
    "another run's weights": ("[optimizer]", '[train]\ninit_from = "runs/nowhere"\n[optimizer]'),
    "keys of the dataset": ("labels = {liver = 1, spleen = 2}", 'classes = ["liver"]\npattern = "(?P<case>.+)"'),
    "unlabelled": ("[optimizer]", '[predict]\npart = "validation"\n[optimizer]'),
}


@pytest.fixture
def run_demo(tmp_path, registries, session):
    """Loads a recipe as a demo, pushes a batch through it, and gives recipe and lines."""

    def run(text: str, *overrides: str):
        (tmp_path / "mine.toml").write_text(text)
        recipe, lines = load_demo(tmp_path / "mine.toml", registries, (*QUICK, *overrides))
        assert smoke_test(session.experiment(recipe))[-1].startswith("one batch of 2: loss ")
        return recipe, lines

    return run


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.slow
def test_every_kind_of_recipe_has_a_demo_that_runs(run_demo, variant):
    old, new = VARIANTS[variant]
    assert BASE.count(old) == 1
    recipe, lines = run_demo(BASE.replace(old, new))
    assert recipe.dataset.params.get("exclusive", False) is variant.startswith("ce")
    said = "demo: dataset.exclusive = true (a loss of the recipe needs classes that exclude one another)"
    assert (said in lines) is variant.startswith("ce")
    assert any("--demo: left out, because they belong to dataset 'folder': root" in line for line in lines)


@pytest.mark.slow
def test_another_fold_and_an_exclusive_loss_may_be_set_too(run_demo):
    recipe, lines = run_demo(BASE, "split.fold=3", "loss.0.name=ce")
    assert (recipe.split.fold, recipe.dataset.params["exclusive"]) == (3, True)
    assert not any("softmax" in line for line in lines)


@pytest.mark.parametrize(
    ("monitor", "kept"),
    [("dice/liver", "dice"), ("dice/stomach", "dice/stomach"), ("uwmgi_score/hausdorff", "uwmgi_score/hausdorff")],
)
@pytest.mark.slow
def test_a_class_that_phantoms_lack_is_not_monitored_and_that_is_said(run_demo, monitor, kept):
    metrics = '[[metric]]\nname = "dice"\n[[metric]]\nname = "uwmgi_score"\n'
    recipe, lines = run_demo(f'{BASE}\n[train]\nmonitor = "{monitor}"\n{metrics}')
    assert recipe.monitor == kept
    told = [line for line in lines if line.startswith("demo: train.monitor")]
    assert told == (
        [
            f'demo: train.monitor = "{kept}" (the recipe says "{monitor}", and the phantom\'s classes are '
            "large_bowel, small_bowel, stomach)"
        ]
        if kept != monitor
        else []
    )


def test_a_recipe_on_phantoms_elsewhere_has_its_demo_on_its_own(tmp_path, registries):
    text = BASE.replace('"folder"', '"phantom"').replace(
        "labels = {liver = 1, spleen = 2}\nspacing = [3.0, 1.5, 1.5]\n", ""
    )
    (tmp_path / "mine.toml").write_text(text)
    recipe, lines = load_demo(tmp_path / "mine.toml", registries)
    assert recipe.dataset.params["root"] == ""
    assert 'demo: dataset.root = "" (the recipe says "nowhere")' in lines


PLUGIN = '''
"""What plugins bring that a demo must get along with."""


def network(*, in_channels: int, classes: int, weights: bool = True, width: list[int] = (8, 16)): ...


class Exclusive:
    exclusive_only = True
'''


def test_plugins_may_mean_something_else_and_need_exclusive_classes(load, demo, toys, make_module):
    module, owner = make_module(PLUGIN), Owner("plugin", "1.0")
    toys["model"].add(Component("model", "plugged", f"{module}:network", owner))
    toys["loss"].add(Component("loss", "exclusive", f"{module}:Exclusive", owner))
    toys["dataset"]._components["phantom"] = Component(
        "dataset", "phantom", f"{make_module(PHANTOM.replace('= 8', '= 8, exclusive: bool = False'))}:f", owner
    )
    recipe, _ = demo(load.minimal, "model.name=plugged", "loss.0.name=exclusive")
    assert recipe.model.params == {"weights": True, "width": [8, 16]}
    assert recipe.dataset.params["exclusive"] is True


TABLES = """
[evaluate]
threshold = { liver = 0.3, spleen = 0.6 }
presence = { stomach = 0.2, default = 0.1 }

[[postprocess]]
name = "min_area"
pixels = { liver = 20, default = 5 }

[[postprocess]]
name = "continuity"
fill = { large_bowel = 1, small_bowel = 2, stomach = 3 }

[predict]
tta = ["rot90"]
"""


def test_tables_for_other_classes_become_those_of_the_phantom_which_is_said(session, tmp_path):
    text = (RECIPES[0].parent / "unet_resnet34.toml").read_text()
    assert "[evaluate]" in text and "[[postprocess]]" not in text and "[predict]" not in text
    (tmp_path / "mine.toml").write_text(text[: text.index("[evaluate]")] + TABLES)
    few = ("dataset.cases=1", "dataset.days=1", "dataset.slices=8")
    recipe, lines = load_demo(tmp_path / "mine.toml", session.plugins.registries, few)
    experiment = session.experiment(recipe)
    assert experiment.thresholds == (0.3,) * 3 and experiment.presence == (0.1, 0.1, 0.2)
    areas, continuity = experiment.postprocess
    assert [areas.pixels(k) for k in range(3)] == [5, 5, 5] and [continuity.fill(k) for k in range(3)] == [1, 2, 3]
    assert [line for line in lines if "for other classes" in line] == [
        "demo: evaluate.threshold = {default = 0.3} (the recipe says {liver = 0.3, spleen = 0.6}, for other classes)",
        "demo: postprocess.0.pixels = {default = 5} (the recipe says {liver = 20, default = 5}, for other classes)",
    ]


@pytest.mark.slow
def test_a_window_of_hounsfield_units_is_none_of_phantoms(run_demo):
    recipe, lines = run_demo(BASE + '\n[normalization]\nname = "window"\nlevel = 40\nwidth = 400\n')
    assert recipe.normalization.as_dict() == {"name": "maximum", "over": "slice"}
    assert 'demo: normalization.name = "maximum" (the recipe says "window")' in lines
    assert any("they belong to normalization 'window': level, width" in line for line in lines)
    assert run_demo(BASE + '\n[normalization]\nname = "zscore"\n')[0].normalization.name == "zscore"


@pytest.mark.parametrize(
    ("text", "overrides"), [('fold = "all"', ()), ("fold = [0, 2]", ()), ("", ("split.fold=all",))]
)
def test_a_recipe_of_several_folds_is_shown_with_three(load, demo, text, overrides):
    recipe, lines = demo(load.minimal + f"[split]\nfolds = 5\n{text}\n", *overrides)
    assert (recipe.split.folds, recipe.split.chosen) == (3, (0, 1, 2))
    assert "demo: split.folds = 3 (the recipe says 5)" in lines
    assert any(line.startswith('demo: split.fold = "all"') for line in lines) == (text != 'fold = "all"')
