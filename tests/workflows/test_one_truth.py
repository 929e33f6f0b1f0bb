"""``giseg evaluate`` and ``giseg score`` judge one truth alike: a run's masks, written and read back, score the same.

Some rows are empty, in the submission and in the truth.
"""

from __future__ import annotations

import math
import shutil

import numpy as np
import pandas as pd
import pytest

from gisegkit.components.metrics.overlap_metrics import Dice, UWMGIScore
from gisegkit.data import rle
from gisegkit.workflows.evaluate import evaluate
from gisegkit.workflows.predict import predict
from gisegkit.workflows.score import score_submission

pytestmark = pytest.mark.slow  # whole trainings


def resaved(file, out, change):
    """A table that pandas has read (empty fields become NaN), changed and written."""
    change(pd.read_csv(file)).to_csv(out, index=False)
    return out


CHANGES = {
    "as it is": lambda table: table,
    "rows in another order": lambda table: table.sample(frac=1, random_state=0),
    "NaN, as pandas reads an empty field": lambda table: table.assign(
        **{name: table[name].where(table[name].notna(), np.nan) for name in table.columns[2:3]}
    ),
    "blanks": lambda table: table.assign(**{name: table[name].fillna(" ") for name in table.columns[2:3]}),
}


@pytest.fixture(scope="module")
def scored(finished, session, tmp_path_factory):
    """A run's scores, and its predictions; some are empty, for only large islands are kept."""
    folder = tmp_path_factory.mktemp("scored")
    run, large = shutil.copytree(finished[0].path, folder / "run"), ["postprocess.0.pixels=300"]
    scores = evaluate(*session.open_run(run, overrides=large)).scores
    given = session.open_run(run, command="predict", overrides=large)
    return scores, predict(*given, part="validation", out=folder / "s.csv").file


@pytest.mark.parametrize("change", CHANGES)
def test_the_competition(finished, scored, session, tmp_path, change):
    run, (scores, file) = finished[0], scored
    root = session.open_run(run.path)[1].dataset.root
    submission = resaved(file, tmp_path / "again.csv", CHANGES[change])
    truth = resaved(root / "train.csv", tmp_path / "truth.csv", CHANGES[change])
    for part in ("train", "test"):
        (tmp_path / part).symlink_to(root / part)
    texts = pd.read_csv(submission)["predicted"]
    assert texts.isna().any() or texts.eq(" ").any()
    assert texts.notna().any()
    metrics = {"uwmgi_score": UWMGIScore(), "dice": Dice()}
    found = score_submission(submission, truth, metrics=metrics).board.scores()
    for name, value in found.items():
        own = scores["scores"][name]
        assert (math.isnan(value) and own is None) or value == pytest.approx(own, abs=1e-12)


def test_a_folder_of_folds_with_empty_masks(several, folds_run, tmp_path):
    run, whole = several.open(folds_run.run.path, command="predict")
    file = predict(run, whole, part="validation", out=tmp_path / "s.csv").file
    dataset, rows = whole.dataset, []
    for row in np.flatnonzero(dataset.table["labelled"].to_numpy()):
        mask, name = dataset.mask(row) == 1, dataset.table["id"].iat[row]
        for k, kind in enumerate(dataset.classes):
            text = rle.encode(mask[:, :, k])
            rows.append({"id": name, "class": kind, "segmentation": text or np.nan, "width": 20, "height": 24})
    pd.DataFrame(rows).to_csv(tmp_path / "truth.csv", index=False)
    found = score_submission(file, tmp_path / "truth.csv", metrics={"dice": Dice()}).board.scores()
    own = folds_run.evaluated.scores["scores"]
    assert {name: pytest.approx(value, abs=1e-12) for name, value in found.items()} == {
        name: own[name] for name in found
    }
