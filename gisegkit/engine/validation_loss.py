"""The training loss on slices that do not train: what tells a network that learns from one that only remembers."""

from __future__ import annotations

import math

import numpy as np
import torch

from gisegkit.data.loaders import training_loader
from gisegkit.engine.step import prepare_batch, split
from gisegkit.engine.training import Training


def mean_loss(training: Training) -> float:
    """The mean loss of a slice of ``training.held_out``, by the losses that count in the criterion's epoch.

    It is computed as in training, but in evaluation mode and without batch transforms. Waits for the device once.

    Returns:
        NaN if there are no slices.
    """
    model, device, micro_batching = training.model, training.device, training.micro_batching
    samples, batches = training.held_out
    was_training, total = model.training, torch.zeros((), device=device.device)
    loader = training_loader(samples, batches, workers=training.workers, pin=device.pin, stay=False)
    model.eval()
    try:
        for loaded in loader:
            draws = np.random.default_rng(0)  # nothing is drawn
            batch = prepare_batch(loaded, (), device, draws, channels_last=training.channels_last)
            for share, part in split(batch, micro_batching.size, least=micro_batching.least):
                ((_, target),) = part.targets
                with torch.no_grad():
                    with device.autocast():
                        logits = model(part.images)
                    total += share * len(loaded.images) * training.criterion(logits, target)
    finally:
        model.train(was_training)
    return float(total) / sum(map(len, batches)) if batches else math.nan
