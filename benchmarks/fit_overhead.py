"""What an epoch of ``fit`` costs beside a bare PyTorch loop, on the CPU.

    python benchmarks/fit_overhead.py

Both sides train the same network from the same weights with the same fused Adam, cosine schedule and binary
cross-entropy on the same arrays, which are in memory, in channels-last, without augmentation or validation. The bare
loop reads them with torch's own TensorDataset and DataLoader; fit with its TrainingSet, sampler and loader, draws its
generators, keeps the network's buffers, watches the loss, and reports, as in every run.

Time: epochs by turns in one process, with one thread and with two. Memory, with two: the most that a process of its own
held (VmHWM) during its second epoch (of 6 steps), what it imported included; the bare one imports nothing of gisegkit.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader, TensorDataset

REPETITIONS = 21
PROCESSES = 5
THREADS = (1, 2)
CLASSES = 3


@dataclass(frozen=True)
class Case:
    """A network, the size of its images in pixels, and how long an epoch is."""

    encoder: str
    size: int
    batch_size: int
    steps: int

    def model(self) -> nn.Module:
        """The network with the same random weights each time."""
        torch.manual_seed(0)
        network = smp.Unet(self.encoder, encoder_weights=None, in_channels=1, classes=CLASSES)
        return network.to(memory_format=torch.channels_last)

    def data(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Images ``[N, 1, H, W]`` float32 and masks ``[N, K, H, W]`` uint8."""
        generator = torch.Generator().manual_seed(0)
        images = torch.rand(self.batch_size * self.steps, 1, self.size, self.size, generator=generator)
        return images, (images.expand(-1, CLASSES, -1, -1) > torch.tensor([0.5, 0.8, 0.9]).view(3, 1, 1)).byte()


CASES = {"resnet18": Case("resnet18", 64, 16, 8), "efficientnet-b1": Case("efficientnet-b1", 96, 16, 4)}


def bare(case: Case, epochs: int) -> Iterator[float]:
    """The bare loop: an epoch at each ``next``, which gives its mean loss."""
    model, (images, masks) = case.model(), case.data()
    loader = DataLoader(TensorDataset(images, masks), batch_size=case.batch_size, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-6, fused=True)
    schedule = CosineAnnealingLR(optimizer, epochs * len(loader))
    criterion = nn.BCEWithLogitsLoss()
    for _ in range(epochs):
        model.train()
        total = 0.0
        for inputs, targets in loader:
            inputs = inputs.to(memory_format=torch.channels_last)
            loss = criterion(model(inputs), targets.float())
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            schedule.step()
            total += loss.item() * len(inputs)
        yield total / len(images)


def fit(case: Case, epochs: int, **changes: Any) -> Iterator[float]:
    """The same with ``gisegkit.engine.fit.fit``.

    Args:
        changes: of what the training works with.
    """
    from gisegkit.components.losses.ratios import BCE
    from gisegkit.components.optimizers import adam
    from gisegkit.data.loaders import EpochSampler, TrainingSet
    from gisegkit.engine import fit as engine
    from gisegkit.engine.averaging import Average
    from gisegkit.engine.criterion import Criterion
    from gisegkit.engine.device import pick_device
    from gisegkit.engine.step import MicroBatching
    from gisegkit.engine.training import HeldOut, Training

    model, (images, masks) = case.model(), case.data()

    class InMemory(TrainingSet):
        def __init__(self) -> None:
            self.images, self.masks = images.numpy(), masks.numpy()

        def __getitem__(self, key):  # noqa: ANN001, ANN204
            return self.images[key[1]], self.masks[key[1]], key[1]

    optimizer = adam(model.parameters(), lr=2e-3, weight_decay=1e-6)
    training = Training(
        model=model,
        average=Average(model),
        held_out=HeldOut(InMemory(), []),
        criterion=Criterion([("bce", 1.0, BCE())]),
        optimizer=optimizer,
        schedule=CosineAnnealingLR(optimizer, epochs * case.steps),
        samples=InMemory(),
        sampler=EpochSampler(range(len(images)), batch_size=case.batch_size, seed=0),
        transforms=[],
        validate=lambda: {"none": 0.0},
        device=pick_device("cpu"),
        seed=0,
        epochs=epochs,
        micro_batching=MicroBatching(case.batch_size),
        max_grad_norm=0.0,
        channels_last=True,
        workers=0,
        monitor="none",
        higher_is_better=True,
        patience=0,
        validate_every=1,
    )
    for report in engine.fit(replace(training, **changes)):
        yield report.loss


SIDES = {"fit": fit, "bare loop": bare}


def seconds(case: Case, threads: int) -> dict[str, list[float]]:
    """Of an epoch, by turns."""
    from harness import by_turns

    torch.set_num_threads(threads)
    warm_up = 2
    running = {name: side(case, warm_up + REPETITIONS) for name, side in SIDES.items()}

    def epoch(side: Iterator[float]) -> None:
        next(side)  # its loss; the call is timed

    return by_turns(
        {name: lambda side=side: epoch(side) for name, side in running.items()},
        repetitions=REPETITIONS,
        warm_up=warm_up,
    )


def bytes_of(case_name: str) -> dict[str, list[float]]:
    """The peak of a process of each side, by turns."""
    from harness import by_turns

    def process(side: str) -> float:
        command = [sys.executable, __file__, "--peak", side, case_name]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]) / 2**20

    return by_turns({side: lambda side=side: process(side) for side in SIDES}, repetitions=PROCESSES, warm_up=0)


def peak(side: str, case_name: str) -> int:
    """Bytes that this process held at most during the second epoch of a side."""
    torch.set_num_threads(max(THREADS))
    epochs = SIDES[side](replace(CASES[case_name], steps=6), 2)
    next(epochs)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew
    next(epochs)
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


def main() -> None:
    """Measure and save."""
    from harness import compare, save

    rows = []
    for name, case in CASES.items():
        what = f"U-Net {name}, {case.size} px, batch {case.batch_size}, {case.steps} steps"
        given = {"ours": "fit", "baseline": "bare loop", "higher_is_better": False, "cost": True}
        for threads in THREADS:
            on = f"{threads} thread{'s' if threads > 1 else ''}"
            rows.append(
                compare(f"{what}, {on}: time of an epoch", seconds(case, threads), unit="s", target=1.03, **given)
            )
        rows.append(compare(f"{what}: peak memory", bytes_of(name), unit="MiB", target=1.05, **given))
    save(
        "fit_overhead",
        "An epoch of fit costs hardly more than the same steps in a bare PyTorch loop.",
        rows,
        packages=("torch", "segmentation-models-pytorch", "numpy"),
        settings={"repetitions of the time": REPETITIONS, "of the memory": PROCESSES},
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak"]:
        print(peak(*sys.argv[2:4]))
    else:
        main()
