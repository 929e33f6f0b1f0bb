"""The policy intensity is the batch transform on one slice; both train, resume and are shown."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gisegkit.components.augmentation.intensity_policy import IntensityPolicy
from gisegkit.components.batch_transforms.intensity import Intensity
from gisegkit.types import IGNORE, Batch
from gisegkit.workflows.show import see_batch
from gisegkit.workflows.train import train

SIZE = (32, 40)
ALWAYS = {f"{name}_p": 1.0 for name in ("bias", "blur", "noise", "rician", "contrast", "gamma")}


def sample(channels):
    rng = np.random.default_rng(0)
    mask = (rng.random((*SIZE, 2)) < 0.5).astype(np.uint8)
    mask[:3] = IGNORE
    return rng.random((*SIZE, channels), dtype=np.float32), mask


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("settings", [{}, ALWAYS, {"gamma_p": 0.9}])
def test_it_is_the_batch_transform_on_a_batch_of_one(channels, settings):
    image, mask = sample(channels)
    kept = image.copy(), mask.copy()
    for seed in range(5):
        changed, same = IntensityPolicy(size=SIZE, **settings)(image, mask, np.random.default_rng(seed))
        given = Batch(torch.from_numpy(image.transpose(2, 0, 1).copy())[None], (), torch.arange(1))
        expected = Intensity(**settings)(given, np.random.default_rng(seed)).images[0].numpy().transpose(1, 2, 0)
        assert np.array_equal(changed, expected) and changed.dtype == np.float32 and changed.flags.c_contiguous
        assert np.array_equal(same, mask)
    assert np.array_equal(image, kept[0]) and np.array_equal(mask, kept[1])


PAIR = (
    "augmentation.name=initial",
    'batch_transform=[{name="intensity", noise_p=0.5, gamma_p=0.9}, {name="mixup"}]',
    "postprocess=[]",
    "tracker=[]",
    "train.epochs=2",
)


@pytest.mark.slow
def test_a_warp_and_intensities_come_together_and_a_resumed_run_equals_the_whole(
    session, recipe, tmp_path, train_until
):
    chosen = recipe(*PAIR, "normalization.name=zscore")
    whole = train(session.experiment(chosen), tmp_path / "whole")
    train_until("epoch 1/", chosen, tmp_path / "cut")
    resumed = train(session.experiment(chosen), tmp_path / "cut", resume=True)
    assert [entry["loss"] for entry in whole.metrics()] == [entry["loss"] for entry in resumed.metrics()]


@pytest.mark.parametrize(
    "sets",
    [PAIR, ("augmentation.name=intensity", "augmentation.gamma_p=0.9", "batch_transform=[]")],
    ids=["batch transform", "policy"],
)
def test_show_draws_it_and_says_what_was_drawn(session, recipe, sets):
    seen = see_batch(session.experiment(recipe(*sets)), epoch=1, batch=1, count=6)
    lines = [line for one in seen.samples for line in one.drawn]
    assert any("gamma: exponent" in line for line in lines)
    for one in seen.samples:
        before, after = one.stages[-2 if len(one.stages) == 3 else 0].image, one.stages[-1].image
        if any("gamma" in line for line in one.drawn):
            assert not np.array_equal(before, after)
