"""An old spelling in a recipe is a mistake that names the new one: keys and values, in the file and with --set."""

from __future__ import annotations

import pytest

from gisegkit.errors import RecipeError
from gisegkit.recipe.load import load_recipe
from gisegkit.recipe.renamed import KEYS, VALUES

TEXT = """
name = "old"
dataset.name = "phantom"
model.name = "unet"
loss = [{name = "bce"}, {name = "LOSS"}]
augmentation.name = "AUGMENTATION"
batch_transform = [{name = "TRANSFORM"}]
optimizer.name = "adam"
metric = [{name = "METRIC"}]
"""
PLACES = {"train": "train", "input": "input", "augmentation": "augmentation"}
PLACES |= {"loss": "loss.1", "batch_transform": "batch_transform.0", "metric": "metric.0"}


@pytest.fixture
def mistakes(tmp_path, registries):
    def mistakes(table, name, *sets, line=""):
        chosen = {"LOSS": "dice", "AUGMENTATION": "none", "TRANSFORM": "mixup", "METRIC": "dice"}
        key = {"loss": "LOSS", "augmentation": "AUGMENTATION", "batch_transform": "TRANSFORM", "metric": "METRIC"}
        chosen |= {key[table]: name} if table in key else {}
        text = TEXT
        for old, new in chosen.items():
            text = text.replace(f'"{old}"', f'"{new}"' + (f", {line}" if key.get(table) == old and line else ""))
        text += f"{table}.{line}\n" if line and table not in key else ""
        (tmp_path / "old.toml").write_text(
            text.replace(f'augmentation.name = "{name}", ', f'augmentation.name = "{name}"\naugmentation.')
        )
        with pytest.raises(RecipeError) as caught:
            load_recipe(tmp_path / "old.toml", registries=registries, overrides=sets)
        return caught.value.mistakes

    return mistakes


RENAMED_KEYS = [(*place, old, new) for place, names in KEYS.items() for old, new in names.items()]
RENAMED_VALUES = [(*place, old, new) for place, names in VALUES.items() for old, new in names.items()]


def test_former_keys_name_the_new_ones_in_the_file_and_with_set(mistakes):
    for table, name, old, new in RENAMED_KEYS:
        for given in ({"line": f"{old} = 0.5"}, {"sets": f"{PLACES[table]}.{old}=0.5"}):
            (mistake,) = mistakes(table, name, *filter(None, [given.get("sets")]), line=given.get("line", ""))
            assert f"is now {new}" in mistake.found.replace(f"{table}.", ""), (table, name, old)
            assert mistake.remedy == f"write {new} = 0.5"
            assert ("--set" in mistake.place) == ("sets" in given)


def test_former_values_name_the_new_ones_in_the_file_and_with_set(mistakes):
    for table, name, key, old, new in RENAMED_VALUES:
        for given in ({"line": f'{key} = "{old}"'}, {"sets": f"{PLACES[table]}.{key}={old}"}):
            (mistake,) = mistakes(table, name, *filter(None, [given.get("sets")]), line=given.get("line", ""))
            assert mistake.found == f'{key} = "{old}" is now {key} = "{new}"'
            assert mistake.remedy == f'write {key} = "{new}"'


def test_every_new_name_is_valid(registries):
    from gisegkit.recipe.check import section_types

    for table, name, _, new in RENAMED_KEYS:
        valid = registries[table].get(name).signature().parameters if name else section_types(table)
        assert new in valid, (table, name, new)
