"""What two processes that share a training gain over one with as many threads, on the CPU.

    python benchmarks/several.py

Two processes with one thread each, connected by gloo, train the same epochs as one process with two threads, which cuts
its batches into the same two pieces. Network, data and steps are those of fit_overhead.py. All processes live through
the whole measurement, and an epoch of one side comes after an epoch of the other. Each side's loss is printed at the
end; they must agree.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from fit_overhead import CASES, fit

REPETITIONS = 15
WARM_UP = 2
SIDES = {"two processes, 1 thread each": (2, 1), "one process, 2 threads": (1, 2)}
"""Processes, and threads of each."""


class Side:
    """The processes of a side, which make an epoch whenever they are told to."""

    def __init__(self, case: str, processes: int, threads: int, folder: Path) -> None:
        numbers = [str(number) for number in (processes, threads)]
        self.processes = [
            subprocess.Popen(
                [sys.executable, __file__, "--train", case, str(rank), *numbers, str(folder / f"{case}-{processes}")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for rank in range(processes)
        ]
        self.losses: list[str] = []

    def epoch(self) -> None:
        """One epoch of all processes."""
        for process in self.processes:
            print("epoch", file=process.stdin, flush=True)
        told = [process.stdout.readline().strip() for process in self.processes]
        if not all(told):
            raise RuntimeError("a process has ended")
        self.losses.append(told[0])

    def close(self) -> None:
        """End the processes."""
        for process in self.processes:
            process.stdin.close()
        for process in self.processes:
            process.wait()


def train(case: str, rank: int, processes: int, threads: int, store: str) -> None:
    """Make an epoch for each line of the standard input."""
    import torch
    import torch.distributed as dist

    from gisegkit.engine.ranks import Ranks
    from gisegkit.engine.step import MicroBatching
    from gisegkit.engine.world import ALONE

    torch.set_num_threads(threads)
    world = ALONE
    if processes > 1:
        shared = dist.FileStore(store, processes)
        world = Ranks(rank=rank, size=processes, local_rank=rank, local_size=processes, store=shared, nccl=False)
    batching = MicroBatching(CASES[case].batch_size, pieces=2)
    losses = fit(CASES[case], WARM_UP + REPETITIONS, world=world, micro_batching=batching)
    for _ in sys.stdin:
        print(f"{next(losses):.6f}", flush=True)


def main() -> None:
    """Measure and save."""
    from harness import by_turns, compare, save

    rows = []
    for name, case in CASES.items():
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            sides = {side: Side(name, *numbers, Path(folder)) for side, numbers in SIDES.items()}
            for side in sides.values():
                stack.callback(side.close)
            measured = by_turns(
                {key: side.epoch for key, side in sides.items()}, repetitions=REPETITIONS, warm_up=WARM_UP
            )
        ours, baseline = SIDES
        last = [side.losses[-1] for side in sides.values()]
        what = (
            f"U-Net {name}, {case.size} px, batch {case.batch_size} in 2 pieces, {case.steps} steps: time of an epoch"
        )
        note = f"loss of the last epoch: {last[0]} and {last[1]}"
        rows.append(compare(what, measured, ours=ours, baseline=baseline, unit="s", higher_is_better=False, note=note))
    save(
        "several",
        "What an epoch costs in two processes with one thread each, beside one process with two threads, on a CPU.",
        rows,
        packages=("torch", "segmentation-models-pytorch", "numpy"),
        settings={"repetitions": REPETITIONS},
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--train"]:
        train(sys.argv[2], *map(int, sys.argv[3:6]), sys.argv[6])
    else:
        main()
