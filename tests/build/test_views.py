"""Test-time augmentation of a recipe: tried on the network before training, used by evaluation and prediction only."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from gisegkit.build.experiment import Experiment
from gisegkit.engine.predictor import NetworkPredictor
from gisegkit.engine.tta import MeanOfViews
from gisegkit.engine.windows import WindowPredictor
from gisegkit.errors import ComponentError
from gisegkit.plugins import load_plugins
from gisegkit.registry.adder import Adder
from gisegkit.registry.kinds import Owner
from gisegkit.types import silent
from gisegkit.workflows import api
from gisegkit.workflows.check import smoke_test
from gisegkit.workflows.evaluate import evaluate
from gisegkit.workflows.predict import predict
from gisegkit.workflows.train import train

VIEWS = 'predict.tta=["hflip", "vflip", "rot90", "scale:0.75"]'


class Strict(torch.nn.Module):
    """A network that takes multiples of so many pixels alone, in one way or another."""

    multiple, crops = 32, False

    def __init__(self, *, in_channels: int, classes: int) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(in_channels, classes, 3, padding=1)

    def forward(self, images):
        """Logits."""
        height, width = images.shape[-2:]
        if height % self.multiple or width % self.multiple:
            if not self.crops:
                raise ValueError(f"{height} x {width} are no multiples of {self.multiple}\nand more")
            images = images[..., : height // self.multiple * self.multiple, :]
        return self.convolution(images)


class Cropping(Strict):
    """A network that gives fewer rows than it was given."""

    crops = True


class Only64(Strict):
    """A network for one size."""

    multiple = 64


@pytest.fixture
def registries():
    plugins = load_plugins(selection="none")
    adder = Adder(Owner("giseg-strict", "1.0"))
    for name, network in (("strict", Strict), ("cropping", Cropping), ("only64", Only64)):
        adder.model(name, network)
    for component in adder.components:
        plugins.registries[component.kind].add(component)
    return plugins.registries


@pytest.fixture
def experiment(home, registries, session):
    """An experiment with other networks: their name, and the factor of a scale."""
    from gisegkit.recipe.load import load_recipe

    def make(model, factor, size=64):
        sets = [f'model={{name="{model}"}}', f'predict.tta=["hflip", "scale:{factor}"]', f"input.size=[{size}, {size}]"]
        chosen = load_recipe(home / "tiny.toml", registries=registries, overrides=sets)
        return Experiment(chosen, registries, console=session)

    return make


def test_without_views_the_predictor_is_the_network(session, recipe):
    plain = session.experiment(recipe())
    assert plain.views == [] and plain.predictor is plain.network_predictor
    assert type(plain.predictor) is NetworkPredictor


@pytest.mark.parametrize(
    ("model", "factor", "size", "message"),
    [
        ("strict", 0.9, 64, r"makes images of 58 x 58 .*model 'strict' refuses \(ValueError: 58 x 58 are no multiples "
                            r"of 32\); leave it out, or use a network"),
        ("strict", 1.4, 64, r"images of 90 x 90 .*; use scale:1\.5$"),
        ("strict", 0.7, 128, r"images of 90 x 90 .*; use scale:0\.75$"),
        ("cropping", 1.4, 64, r"'cropping' refuses \(its output is \[1, 3, 64, 90\], not \[1, 3, 90, 90\]\); use"),
        ("only64", 1.8, 64, r"images of 115 x 115 .*; use scale:2$"),
    ],
)  # fmt: skip
def test_a_size_that_the_network_refuses_is_refused_with_one_that_it_takes(experiment, model, factor, size, message):
    with pytest.raises(ComponentError, match=message):
        _ = experiment(model, factor, size).predictor


def test_a_size_that_the_network_takes_is_taken(experiment):
    predictor = experiment("strict", 1.5).predictor
    assert isinstance(predictor, MeanOfViews) and len(predictor.views) == 2


@pytest.mark.parametrize("command", ["train", "check"])
def test_it_is_refused_before_anything_is_trained(experiment, command, tmp_path):
    chosen = experiment("strict", 1.4)
    with pytest.raises(ComponentError, match=r"use scale:1\.5"):
        train(chosen, tmp_path / "run") if command == "train" else smoke_test(chosen)
    assert not (tmp_path / "run").exists()


def test_a_built_in_network_takes_every_size_and_stays_in_its_mode(session, recipe):
    chosen = session.experiment(recipe('predict.tta=["scale:0.9", "scale:1.13"]'))
    chosen.model.train()
    assert isinstance(chosen.predictor, MeanOfViews) and chosen.model.training


def test_validation_takes_the_network_alone_and_prediction_the_views(session, recipe):
    plain, augmented = session.experiment(recipe()), session.experiment(recipe(VIEWS))
    augmented.model.load_state_dict(plain.model.state_dict())
    rows = plain.split.validation[:3]
    assert augmented.score(rows, silent).scores() == plain.score(rows, silent).scores()

    def values(experiment):
        scans = experiment.probabilities(rows, label="x", progress=silent)
        return np.stack([item.values for scan in scans for item in scan])

    assert not np.array_equal(values(augmented), values(plain))
    row = int(rows[0])
    image = torch.from_numpy(plain.source.image(row).transpose(2, 0, 1)[None].copy())
    expected = augmented.predictor(image)[0].permute(1, 2, 0).numpy()
    found = values(augmented)[0]
    np.testing.assert_allclose(found, plain.preprocess.invert(expected, plain.source.native(row)), atol=1e-5)


@pytest.mark.slow
def test_with_crops_each_window_has_its_views(session, recipe):
    crops = ("input.mode=crop", "input.size=[64, 64]", "input.slices=1", "input.store=off")
    chosen = session.experiment(recipe(*crops, 'predict.tta=["rot90", "scale:0.5"]'))
    predictor = chosen.predictor
    assert isinstance(predictor, WindowPredictor) and predictor.size == (64, 64)
    assert isinstance(predictor.predictor, MeanOfViews) and len(predictor.predictor.views) == 4
    image = torch.rand(1, 1, 80, 100, generator=torch.Generator().manual_seed(0))
    seen = []
    hook = chosen.model.register_forward_hook(lambda module, given, result: seen.append(given[0].shape[2:]))
    found = predictor(image)
    hook.remove()
    assert found.shape == (1, 3, 80, 100) and {tuple(size) for size in seen} == {(64, 64), (32, 32)}
    plain = session.experiment(recipe(*crops))
    plain.model.load_state_dict(chosen.model.state_dict())
    assert not torch.allclose(plain.predictor(image), found, atol=1e-4)
    rows = plain.split.validation[:2]
    assert chosen.score(rows, silent).scores() == plain.score(rows, silent).scores()


@pytest.mark.slow
def test_a_finished_run_is_evaluated_and_predicted_with_views_which_is_said(finished, session, tmp_path, monkeypatch):
    monkeypatch.setattr(api, "installed", lambda: session.plugins)
    folder = shutil.copytree(finished[0].path, tmp_path / "copied")
    sets = [VIEWS, "evaluate.batch_size=10"]
    done = evaluate(*session.open_run(folder, overrides=sets))
    assert not done.own and done.scores["tta"] == ["hflip", "vflip", "rot90", "scale:0.75"]
    assert done.scores["changes"] == ['predict.tta: [] -> ["hflip", "vflip", "rot90", "scale:0.75"]']
    assert done.scores["scores"] != finished[1]["scores"] and finished[1]["tta"] == []
    run, experiment = session.open_run(folder, overrides=[*sets, "predict.part=all"], command="predict")
    predicted = predict(run, experiment)
    assert not predicted.own and predicted.file.read_bytes() != run.submission.read_bytes()
    table = experiment.dataset.table
    rows = table.index[table["scan"] == table["scan"][0]]
    (scan,) = experiment.scans(rows.to_numpy(), label="x", progress=silent)
    loaded = api.load_run(folder, device="cpu", overrides=sets).predict([experiment.dataset.image(r) for r in rows])
    assert np.array_equal(loaded, scan.prediction) and loaded.any()
