"""Names become objects: data and their split, networks, losses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from gisegkit.build.dataset import build_dataset
from gisegkit.build.parts import build_data, build_model
from gisegkit.errors import ComponentError, DataError
from gisegkit.plugins import load_plugins
from gisegkit.recipe.load import load_recipe
from gisegkit.registry.kinds import Component, Owner

OWNER = Owner("giseg-test", "1.2")

RECIPE = """
name = "build"
[dataset]
name = "table"
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


class Table:
    """Six slices of three cases."""

    classes = ("a", "b")
    exclusive = False
    dropped = ()

    def __init__(self, *, labelled: int = 6, sizes: str = "equal", column: str = "empty"):
        rows = range(6)
        height = [20 if sizes == "equal" or row % 2 else 24 for row in rows]
        columns = {
            "id": [f"s{row}" for row in rows],
            "scan": [f"v{row // 2}" for row in rows],
            "position": [row % 2 for row in rows],
            "case": [f"g{row // 2}" for row in rows],
            "height": height,
            "width": 16,
            "labelled": [row < labelled for row in rows],
            "empty": False,
        }
        self.table = pd.DataFrame(
            {name: values for name, values in columns.items() if name != column or column == "empty"}
        )

    def image(self, row):
        return np.full((20, 16), row, np.uint8)

    def mask(self, row):
        return np.zeros((20, 16, 2), np.uint8)


@pytest.fixture
def registries():
    found = load_plugins(selection="none").registries
    found["dataset"].add(Component("dataset", "table", Table, OWNER))
    return found


@pytest.fixture
def recipe(tmp_path, registries):
    (tmp_path / "r.toml").write_text(RECIPE)
    return lambda *sets: load_recipe(tmp_path / "r.toml", registries=registries, overrides=sets)


def test_data(recipe, registries):
    data = build_data(recipe(), registries)
    assert data.channels == 3
    assert sorted([*data.train, *data.validation]) == list(range(6))
    groups = data.dataset.table["case"]
    assert not set(groups[data.train]) & set(groups[data.validation])
    assert len(data.unlabelled) == 0


def test_folds_derive_from_the_seed_of_the_split_alone(recipe, registries):
    def folds(*sets):
        data = build_data(recipe("dataset.labelled=6", *sets), registries)
        return tuple(data.validation)

    assert len({folds(f"seed={seed}") for seed in range(8)}) == 1
    assert len({folds(f"split.seed={seed}") for seed in range(8)}) > 1


def test_unlabelled_rows(recipe, registries):
    data = build_data(recipe("dataset.labelled=4"), registries)
    assert data.unlabelled.tolist() == [4, 5]
    assert sorted([*data.train, *data.validation]) == [0, 1, 2, 3]


def test_nothing_labelled_cannot_train_but_can_predict(recipe, registries):
    with pytest.raises(DataError, match="no slice is labelled"):
        build_data(recipe("dataset.labelled=0"), registries)
    assert len(build_data(recipe("dataset.labelled=0"), registries, training=False).unlabelled) == 6


def test_sizes_within_a_scan_must_agree(recipe, registries):
    with pytest.raises(DataError, match="scan v0 has slices of different sizes"):
        build_dataset(recipe("dataset.sizes=mixed"), registries)


def test_a_table_without_a_column_is_a_component_error(recipe, registries):
    with pytest.raises(ComponentError, match="no column case"):
        build_dataset(recipe("dataset.column=case"), registries)


def test_initial_weights_derive_from_the_seed(recipe, registries):
    def first(*sets):
        model = build_model(recipe(*sets), registries, channels=3, classes=2)
        return next(model.parameters())

    torch.manual_seed(0)
    one = first()
    torch.manual_seed(1)
    assert torch.equal(one, first())
    assert not torch.equal(one, first("seed=1"))


def test_trained_weights_need_no_download(recipe, registries):
    model = build_model(recipe("model.weights=imagenet"), registries, channels=3, classes=2, trained=True)
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
def test_a_resumed_network_normalises_with_the_momentum_that_it_began_with(
    tmp_path, registries, overrides, trained, momentum
):
    text = RECIPE.replace('"table"', '"phantom"').replace("tu-test_resnet", "efficientnet-b0")
    (tmp_path / "momentum.toml").write_text(text)
    recipe = load_recipe(tmp_path / "momentum.toml", registries=registries, overrides=overrides)
    model = build_model(recipe, registries, channels=1, classes=2, trained=trained)
    norms = [module for module in model.encoder.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert [norm.momentum for norm in norms] == pytest.approx([momentum] * len(norms))


def test_a_metric_in_mm_is_refused_where_the_data_do_not_tell(recipe, registries):
    with pytest.raises(
        DataError, match=r"r.toml:\d+: metric 'hd95' measures in mm, but .* spacing_z, spacing_y, spacing_x"
    ):
        build_data(recipe("metric=[{name='hd95'}]"), registries)
