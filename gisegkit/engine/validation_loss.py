"""The training loss on slices that do not train: what tells a network that learns from one that only remembers."""

from __future__ import annotations

import math

import numpy as np
import torch

from gisegkit.data.loaders import training_loader
from gisegkit.engine.shared_batches import share
from gisegkit.engine.step import prepare_batch, split
from gisegkit.engine.training import Training


def mean_loss(training: Training) -> float:
    """The mean loss of a slice of ``training.held_out``, by the losses that count in the criterion's epoch.

    It is computed as in training, but in evaluation mode and without batch transforms. Waits for the device once. Of
    several processes each takes some of the batches; the sum is that of one process.

    Returns:
        NaN if there are no slices.
    """
    model, device, micro_batching = training.model, training.device, training.micro_batching
    samples, batches = training.held_out
    was_training, losses = model.training, list[torch.Tensor]()
    start, stop = share(len(batches), training.world.rank, training.world.size)
    loader = training_loader(samples, batches[start:stop], workers=training.workers, pin=device.pin, stay=False)
    model.eval()
    try:
        for loaded in loader:
            draws = np.random.default_rng(0)  # nothing is drawn
            batch = prepare_batch(loaded, (), device, draws, channels_last=training.channels_last)
            for weight, part in split(batch, micro_batching.size, least=micro_batching.least):
                ((_, target),) = part.targets
                with torch.no_grad():
                    with device.autocast():
                        logits = model(part.images)
                    losses.append(weight * len(loaded.images) * training.criterion(logits, target))
    finally:
        model.train(was_training)
    values = torch.stack(losses).tolist() if losses else []
    total = sum(map(np.float32, training.world.collect(values)), start=np.float32(0))
    return float(total) / sum(map(len, batches)) if batches else math.nan
