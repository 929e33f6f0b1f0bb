"""Names become objects: data and their split, networks, losses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gisegkit.build.experiment import Experiment
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
    data = Experiment(recipe(), registries)
    train, validation = data.split
    assert data.channels == 3
    assert sorted([*train, *validation]) == list(range(6))
    cases = data.dataset.table["case"]
    assert not set(cases[train]) & set(cases[validation])
    assert len(data.unlabelled) == 0


def test_folds_derive_from_the_seed_of_the_split_alone(recipe, registries):
    def folds(*sets):
        return tuple(Experiment(recipe("dataset.labelled=6", *sets), registries).split.validation)

    assert len({folds(f"seed={seed}") for seed in range(8)}) == 1
    assert len({folds(f"split.seed={seed}") for seed in range(8)}) > 1


def test_unlabelled_rows(recipe, registries):
    data = Experiment(recipe("dataset.labelled=4"), registries)
    assert data.unlabelled.tolist() == [4, 5]
    assert sorted(np.concatenate(data.split)) == [0, 1, 2, 3]


def test_nothing_labelled_cannot_train_but_can_predict(recipe, registries):
    with pytest.raises(DataError, match="no slice is labelled"):
        Experiment(recipe("dataset.labelled=0"), registries).check_data(training=True)
    data = Experiment(recipe("dataset.labelled=0"), registries)
    data.check_data(training=False)
    assert len(data.unlabelled) == 6


def test_sizes_within_a_scan_must_agree(recipe, registries):
    with pytest.raises(DataError, match="scan v0 has slices of different sizes"):
        _ = Experiment(recipe("dataset.sizes=mixed"), registries).dataset


def test_a_table_without_a_column_is_a_component_error(recipe, registries):
    with pytest.raises(ComponentError, match="no column case"):
        _ = Experiment(recipe("dataset.column=case"), registries).dataset


def test_a_metric_in_mm_is_refused_where_the_data_do_not_tell(recipe, registries):
    with pytest.raises(
        DataError, match=r"r.toml:\d+: metric 'hd95' measures in mm, but .* spacing_z, spacing_y, spacing_x"
    ):
        Experiment(recipe("metric=[{name='hd95'}]"), registries).check_data(training=False)
