"""Masks of arrays by several networks equal what ``giseg predict`` writes: folds, ensembles, with a gate."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

from gisegkit import load_run
from gisegkit.data import rle
from gisegkit.errors import DataError, RunError
from gisegkit.workflows import api
from gisegkit.workflows.ensemble import make_ensemble
from gisegkit.workflows.predict import predict
from gisegkit.workflows.train import train

pytestmark = pytest.mark.slow  # whole trainings


@pytest.fixture(scope="module", autouse=True)
def built_ins(session):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "installed", lambda: session.plugins)
        yield


@pytest.fixture(scope="module")
def others(several, tmp_path_factory):
    """Runs of another input, and of classes in another order."""
    folder = tmp_path_factory.mktemp("others")
    short = ("train.epochs=2", "split.fold=0")
    train(
        several.experiment(*short, "input.size=[48, 40]", "input.slices=3", 'predict.tta=["hflip"]'), folder / "stacks"
    )
    train(several.experiment(*short, "seed=4", labels="b = 2, a = 1"), folder / "turned")
    return folder


def written(several, path, tmp_path):
    """The unlabelled scan's images, and the masks that ``giseg predict`` writes for it."""
    run, whole = several.open(path, command="predict")
    file = predict(run, whole, out=tmp_path / "s.csv", part="unlabelled").file
    texts = pd.read_csv(file, keep_default_na=False).set_index(["id", "class"])["predicted"]
    rows = whole.unlabelled
    masks = [
        np.stack([rle.decode(texts[name, one], height=24, width=20) for one in whole.classes], axis=2)
        for name in whole.dataset.table["id"].iloc[rows]
    ]
    return np.stack([whole.dataset.image(row) for row in rows]), np.stack(masks)


def test_folds_and_ensembles_give_the_masks_that_predict_writes(several, folds_run, others, tmp_path):
    paths = [folds_run.run.path, others / "stacks", others / "turned"]
    made = make_ensemble(several.session(), paths, tmp_path / "e", weights=[3, 2, 1]).run.path
    turned = make_ensemble(several.session(), paths[::-1], tmp_path / "t").run.path
    for path in (folds_run.run.path, made, turned):
        images, expected = written(several, path, tmp_path)
        run = load_run(path, device="cpu")
        assert run.classes == several.open(path)[1].classes
        found = run.predict(images)
        assert np.array_equal(found, expected)
        assert 0 < found.mean() < 1
        assert np.array_equal(run.predict(list(images)), found)


def test_a_gate_empties_what_it_does_not_see(several, folds_run, others, tmp_path):
    made = {}
    for pixels in (0, 60, 10_000):
        out = tmp_path / f"e{pixels}"
        gate = {"gate": others / "turned", "gate_pixels": pixels}
        made[pixels] = make_ensemble(several.session(), [folds_run.run.path], out, **gate).run.path
    open_to = {}
    for pixels, path in made.items():
        images, expected = written(several, path, tmp_path)
        run = load_run(path, device="cpu")
        assert np.array_equal(run.predict(images), expected)
        open_to[pixels] = run.predict(images).any()
        assert not run.predict(images * 0 + 7)[..., 0].all()  # other images are looked at anew
        assert np.array_equal(run.predict(images), expected)
    assert open_to[0] and not open_to[10_000]


def test_settings_count_and_what_does_not_fit_is_refused(folds_run, others, several, tmp_path):
    images, _ = written(several, folds_run.run.path, tmp_path)
    strict = load_run(folds_run.run.path, device="cpu", overrides=("evaluate.threshold=0.99",))
    assert strict.predict(images).sum() < load_run(folds_run.run.path, device="cpu").predict(images).sum()
    assert strict.predict(images[0]).shape == (24, 20, 2)
    with pytest.raises(DataError, match="was trained on gray slices"):
        strict.predict(images[..., None].repeat(3, axis=-1))
    shutil.copytree(folds_run.run.path, tmp_path / "run")
    (tmp_path / "run" / "fold1" / "best.pt").unlink()
    with pytest.raises(RunError, match=r"fold1"):
        load_run(tmp_path / "run", device="cpu")
