"""Networks are built from the seed; weights that follow need no download."""

from __future__ import annotations

import pytest
import torch

from gisegkit.build.experiment import Experiment
from gisegkit.build.network import build_network
from gisegkit.recipe.load import load_recipe

RECIPE = """
name = "build"
[dataset]
name = "phantom"
[input]
size = [32, 32]
slices = 3
[split]
folds = 2
[model]
name = "unet"
encoder = "tu-test_resnet"
weights = "none"
[[loss]]
name = "bce"
[optimizer]
name = "adam"
"""


@pytest.fixture
def recipe(tmp_path, registries):
    (tmp_path / "r.toml").write_text(RECIPE)
    return lambda *sets: load_recipe(tmp_path / "r.toml", registries=registries, overrides=sets)


def test_initial_weights_derive_from_the_seed(recipe, registries):
    def first(*sets):
        model = build_network(Experiment(recipe(*sets), registries), channels=3, classes=2)
        return next(model.parameters())

    torch.manual_seed(0)
    one = first()
    torch.manual_seed(1)
    assert torch.equal(one, first())
    assert not torch.equal(one, first("seed=1"))


def test_trained_weights_need_no_download(recipe, registries):
    model = build_network(Experiment(recipe("model.weights=imagenet"), registries), channels=3, classes=2, trained=True)
    assert sum(parameter.numel() for parameter in model.parameters()) > 1000


@pytest.mark.parametrize(
    ("overrides", "trained", "momentum"),
    [
        (("model.weights=none",), False, 0.1),
        (("model.weights=none",), True, 0.1),
        (("model.weights=imagenet",), True, 0.01),  # resumed: as it was when the pretrained weights were loaded
        (("model.weights=none", "train.init_from=runs/a"), True, 0.01),
        (("model.weights=imagenet", "model.batchnorm_momentum=0.05"), True, 0.05),
    ],
)
def test_a_resumed_network_normalizes_with_the_momentum_that_it_began_with(
    tmp_path, registries, overrides, trained, momentum
):
    text = RECIPE.replace("tu-test_resnet", "efficientnet-b0")
    (tmp_path / "momentum.toml").write_text(text)
    recipe = load_recipe(tmp_path / "momentum.toml", registries=registries, overrides=overrides)
    model = build_network(Experiment(recipe, registries), channels=1, classes=2, trained=trained)
    norms = [module for module in model.encoder.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert [norm.momentum for norm in norms] == pytest.approx([momentum] * len(norms))
