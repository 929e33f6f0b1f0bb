"""Any loss, model, encoder, policy, transform, optimizer or schedule is swapped by one line, and still trains."""

from __future__ import annotations

import pytest

from gisegkit.build.session import Session
from gisegkit.components.datasets.phantom import Phantom
from gisegkit.plugins import load_plugins
from gisegkit.recipe.load import load_recipe
from gisegkit.workflows.check import smoke_test

PLUGINS = load_plugins(selection="none")

BASES = {
    "plain": """
name = "plain"

[dataset]
name = "phantom"
cases = 3
days = 1
slices = 10
test_cases = 1

[input]
size = [32, 32]

[split]
folds = 3

[model]
name = "unet"
encoder = "tu-test_resnet"
weights = "none"

[[loss]]
name = "bce"

[augmentation]
name = "baseline"

[optimizer]
name = "adam"
lr = 1e-3

[schedule]
name = "cosine"

[train]
epochs = 1
batch_size = 4
activation_checkpointing = "off"
""",
}
BASES["mixed"] = (
    BASES["plain"]
    .replace('name = "plain"', 'name = "mixed"')
    .replace("[augmentation]", '[[loss]]\nname = "dice"\nweight = 0.5\n\n[augmentation]')
    .replace("[optimizer]", '[[batch_transform]]\nname = "mixup"\n\n[optimizer]')
    .replace("size = [32, 32]", "size = [48, 64]\nslices = 3")
    .replace('name = "adam"', 'name = "adamw"')
    .replace('name = "unet"', 'name = "unetplusplus"')
)

ENCODERS = (
    "resnet18",
    "efficientnet-b0",
    "mobilenet_v2",
    "densenet121",
    "tu-regnetx_002",
    "tu-mobilenetv3_small_050",
    "tu-convnext_atto",
    "tu-test_efficientnet",
)

NOT_BY_ITS_NAME_ALONE = {
    ("model", "dpt"): "needs a transformer as its encoder: two lines",
    ("augmentation", "albumentations"): "needs its list of steps",
    ("loss", "ce"): "refused on classes that may overlap",
}


def names(kind: str) -> list[str]:
    return [name for name in PLUGINS.registries[kind] if (kind, name) not in NOT_BY_ITS_NAME_ALONE]


def swaps():
    """(base, the line, what it becomes): one line each.

    Networks and policies in both, because sizes and stacks reach them; optimizers and schedules see none of that, and
    that losses take mixed targets is in their contract.
    """
    policy = {"augmentation": 'name = "baseline"'}
    others = {"loss": 'name = "bce"', "optimizer": 'name = "adam"', "schedule": 'name = "cosine"'}
    swapped = {
        "plain": policy | others | {"model": 'name = "unet"'},
        "mixed": policy | {"model": 'name = "unetplusplus"', "batch_transform": 'name = "mixup"'},
    }
    for base, lines in swapped.items():
        assert all(BASES[base].count(line) == 1 for line in lines.values()), "each line is there once"
        for kind, line in lines.items():
            for name in names(kind):
                yield base, line, f'name = "{name}"'
    for encoder in ENCODERS:
        yield "plain", 'encoder = "tu-test_resnet"', f'encoder = "{encoder}"'


SWAPS = list(swaps())
MODELS = ('name = "unet"', 'name = "unetplusplus"')


def test_there_are_at_least_sixty():
    assert len(set(SWAPS)) >= 60


@pytest.fixture(scope="module")
def cache(tmp_path_factory, half_size):
    with pytest.MonkeyPatch.context() as patch:
        folder = str(tmp_path_factory.mktemp("cache"))
        patch.setenv("GISEG_CACHE", folder)
        with half_size():
            Phantom(cases=3, days=1, slices=10, test_cases=1, cache=folder)
        yield


@pytest.mark.parametrize(("base", "line", "swapped"), SWAPS, ids=lambda value: value.replace('"', ""))
@pytest.mark.slow
def test_one_line_swaps_a_part_and_the_recipe_trains(cache, tmp_path, base, line, swapped):
    unswapped = BASES[base]
    if line not in MODELS:  # a decoder of few channels trains as well, and in half the time
        unswapped = unswapped.replace('weights = "none"', 'weights = "none"\ndecoder_channels = [32, 16, 16, 8, 8]')
    text = unswapped.replace(line, swapped)
    changed = [pair for pair in zip(text.splitlines(), unswapped.splitlines(), strict=True) if pair[0] != pair[1]]
    assert len(changed) == (line != swapped)
    narrow = text.replace('name = "r2unet"', 'name = "r2unet"\nwidth = 8')  # it has no other decoder
    (tmp_path / "swap.toml").write_text(narrow)
    recipe = load_recipe(tmp_path / "swap.toml", registries=PLUGINS.registries)
    lines = smoke_test(Session(PLUGINS, "cpu").experiment(recipe))
    assert lines[-1].startswith("one batch of 2: loss ")
    assert "nan" not in lines[-1].split(";")[0]


@pytest.mark.parametrize(("kind", "name"), NOT_BY_ITS_NAME_ALONE)
def test_the_exceptions_exist(kind, name):
    assert name in PLUGINS.registries[kind]
