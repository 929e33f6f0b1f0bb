"""The views of test-time augmentation of a recipe, tried on its network before that is trained or used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gisegkit.engine.predictor import Predictor
from gisegkit.engine.tta import Scaled, Turned, views_of
from gisegkit.engine.windows import WindowPredictor
from gisegkit.errors import ComponentError
from gisegkit.recipe.tta import View

if TYPE_CHECKING:
    from gisegkit.build.experiment import Experiment

MULTIPLES = (32, 64, 16)
"""Of so many pixels; sizes that networks take which refuse others."""


def tried_views(experiment: Experiment) -> list[Turned | Scaled]:
    """The views of ``[predict] tta``, none of which the network refuses.

    Raises:
        ComponentError: if the network refuses the size of a view; says a factor that it takes, if there is one nearby.
    """
    recipe = experiment.recipe
    for text in recipe.predict.tta:
        view = View.parse(text)
        size = view.size(recipe.input.size)
        problem = refusal(experiment, size) if view.name == "scale" else ""
        if problem:
            found = f"predict.tta: {text!r} makes images of {size[0]} x {size[1]} pixels, which model "
            raise ComponentError(f"{found}{recipe.model.name!r} refuses ({problem}); {_remedy(experiment, view)}")
    return views_of(recipe.predict.tta)


def of_slices(experiment: Experiment, predictor: Predictor) -> Predictor:
    """A predictor of what the network sees as one of slices: with crops, of the windows of a slice."""
    inputs = experiment.recipe.input
    if inputs.mode == "slice":
        return predictor
    return WindowPredictor(predictor, inputs.size, overlap=inputs.overlap, batch_size=experiment.batch_size)


def refusal(experiment: Experiment, size: tuple[int, int]) -> str:
    """Why the network does not take an image of a size, in pixels; empty if it does."""
    images = torch.zeros(1, experiment.channels, *size, device=experiment.device.device)
    try:
        found = tuple(experiment.network_predictor(images).shape)
    except Exception as error:  # whatever a network raises
        return f"{type(error).__name__}: {error}".splitlines()[0]
    expected = (1, len(experiment.classes), *size)
    return "" if found == expected else f"its output is {list(found)}, not {list(expected)}"


def _remedy(experiment: Experiment, view: View) -> str:
    """A factor close by that the network takes."""
    height, width = experiment.recipe.input.size
    for multiple in MULTIPLES:
        side = max(1, round(height * view.factor / multiple)) * multiple
        other = View("scale", float(f"{side / height:.4g}"))
        if other.factor != 1 and not refusal(experiment, other.size((height, width))):
            return f"use scale:{other.factor:g}"
    return "leave it out, or use a network that takes other sizes"
