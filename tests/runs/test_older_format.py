"""A run folder made at revision 974b299, before formats had numbers: refused in one line by whatever reads a run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gisegkit.cli import main

MADE = Path(__file__).parent / "made_at_974b299"
RECIPE = """
name = "today"
input.size = [32, 32]
split.folds = 2
dataset = {name = "phantom", cases = 2, days = 1, slices = 8, test_cases = 1}
model = {name = "r2unet", width = 2, depth = 2, steps = 1}
loss = [{name = "dice"}]
optimizer = {name = "sgd", lr = 0.01}
train = {epochs = 1, batch_size = 4, micro_batch = 0, workers = 0}
"""


@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "RUN"],
        ["predict", "RUN"],
        ["evaluate", "RUN", "--set", "evaluate.threshold=0.4"],
        ["compare", "RUN", "RUN"],
        ["train", "RECIPE", "--resume", "--out", "RUN"],
        ["run", "RECIPE", "--resume", "--out", "RUN"],
        ["train", "RECIPE", "--set", "train.init_from=RUN", "--out", "NEW"],
    ],
    ids=" ".join,
)
@pytest.mark.slow
def test_a_folder_without_a_format_is_refused_in_one_line(command, tmp_path, capsys):
    old = shutil.copytree(MADE, tmp_path / "old")
    recipe = tmp_path / "today.toml"
    recipe.write_text(RECIPE)
    places = {"RUN": str(old), "RECIPE": str(recipe), "NEW": str(tmp_path / "new")}
    before = {file: file.read_bytes() for file in old.rglob("*") if file.is_file()}
    arguments = [places.get(word, word.replace("RUN", str(old))) for word in command]
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert f"{old} was made by gisegkit 0.1.0 in format 1, and this gisegkit reads format 3" in line
    assert "train again" in line
    assert {file: file.read_bytes() for file in old.rglob("*") if file.is_file()} == before
