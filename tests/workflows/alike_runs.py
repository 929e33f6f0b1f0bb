"""Runs of two processes of which one is not like the other; a program of its own, started by test_alike.py.

It imports everything once, and forks instead of starting.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import cv2
from several_runs import finished, work
from torch.distributed import TCPStore

from gisegkit.engine.ranks import Ranks
from gisegkit.workflows import alike


def start(command, log, other):
    """Run a command in two processes; ``other`` is called in process 1 before. Gives their exit statuses."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # outlives all processes, as torchrun's
    children = []
    for rank in range(2):
        child = os.fork()
        if not child:
            os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2"}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
            os.environ |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"}
            if rank:
                other()
            work(command, Path(f"{log}.{rank}"), None)
        children.append(child)
    return finished(children)


def changes(file, folder):
    """Process 0 has looked at its slices when process 1 changes a pixel of a file, and looks in turn."""
    os.environ["GISEG_CACHE"] = str(folder / "other")
    receive = Ranks.receive

    def late(world):
        task = receive(world)
        pixels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        pixels[0, 0] ^= 1
        assert cv2.imwrite(str(file), pixels)
        return task

    Ranks.receive = late


def has_other_versions():
    version_of = alike.version_of
    alike.version_of = lambda name: "0.1" if name == "torch" else version_of(name)


def all_cases(recipe, folder):
    """An image changes, then a mask of prepared slices; then one process has another version of torch."""
    os.environ["GISEG_CACHE"] = str(folder / "cache")
    image, mask = (folder / "t" / part / "t0_1.png" for part in ("images", "masks"))
    before = {file: file.read_bytes() for file in (image, mask)}
    command = ["train", recipe, "--device", "cpu", "--set", "split.fold=0", "--out"]
    codes = {"image": start([*command, folder / "i"], folder / "log_image", lambda: changes(image, folder))}
    image.write_bytes(before[image])
    prepared = [*command, folder / "m", "--set", "input.store=resized"]
    codes["mask"] = start(prepared, folder / "log_mask", lambda: changes(mask, folder))
    mask.write_bytes(before[mask])
    codes["versions"] = start([*command, folder / "v"], folder / "log_versions", has_other_versions)
    codes["none"] = start([*prepared, "--resume"], folder / "log_none", lambda: None)
    (folder / "codes").write_text(repr(codes))


if __name__ == "__main__":
    all_cases(Path(sys.argv[1]), Path(sys.argv[2]))
