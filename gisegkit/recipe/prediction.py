"""The sections of a recipe that say how a trained network predicts, and how its probabilities are decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from gisegkit.types import AtLeast, Between


@dataclass(frozen=True)
class Evaluate:
    """``[evaluate]``: how scores are made, at native size on whole scans.

    Args:
        batch_size: slices on the device at once, in validation, evaluation and prediction.
        threshold: probability from which a pixel belongs to a class: one number, or a table by class name,
            { stomach = 0.4, default = 0.5 }.
        presence: a class stays in a slice only where its highest probability there is at least this; one number, or a
            table by class name. 0 keeps all.
    """

    batch_size: Annotated[int, AtLeast(1)] = 64
    threshold: Annotated[float, Between(0, 1)] | dict[str, Annotated[float, Between(0, 1)]] = 0.5
    presence: Annotated[float, Between(0, 1)] | dict[str, Annotated[float, Between(0, 1)]] = 0.0


@dataclass(frozen=True)
class Predict:
    """``[predict]``: which slices are predicted; what becomes of them is up to ``[[writer]]``.

    Args:
        part: the slices to predict; auto is the unlabelled ones where the data have some, the validation fold else.
        tta: test-time augmentation of evaluation and prediction: probabilities are the mean over the image and each of
            these views: hflip, vflip, rot90 (three quarter turns), scale:0.9.
    """

    part: Literal["auto", "unlabelled", "validation", "all"] = "auto"
    tta: tuple[str, ...] = ()
