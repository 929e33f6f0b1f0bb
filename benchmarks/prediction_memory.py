"""Memory of prediction on the CPU: the competition's size, and a scan of 512 x 512 x 600 with 20 classes.

    python benchmarks/prediction_memory.py [--slices-of-the-big-scan 600]

Each way is measured in a process of its own: images of noise, a network of one convolution (what a real network takes
comes on top), and what becomes of the probabilities. "In memory" is the most that the process held at once and that is
in no file (RssAnon), all of Python, torch and OpenCV included; "resident" is with the mapped files too (VmHWM), which
the system gives up when it needs the memory. Writes benchmarks/results/prediction-memory-cpu.json and the table in
docs/memory.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from gisegkit.components.normalizations import FileType
from gisegkit.components.postprocess.islands import MinArea
from gisegkit.data import rle
from gisegkit.data.inputs import Input
from gisegkit.data.planes import split
from gisegkit.data.preprocess import Preprocess
from gisegkit.data.slices import SliceReader
from gisegkit.data.submission import SubmissionLines
from gisegkit.engine.decision import DecidedSlice, Decision, decide_scans, decide_slices
from gisegkit.engine.device import pick_device
from gisegkit.engine.predictor import NetworkPredictor, predict_scans
from gisegkit.runs.environment import PACKAGES, version_of

ROOT = Path(__file__).parent.parent
SIZES = {"competition": (144, 266, 266, 3), "big": (600, 512, 512, 20)}
"""D, H, W and K of one scan."""
INPUT, BATCH = (224, 224), 64
WAYS = {
    "submission": "a submission",
    "areas": "a submission, `min_area` in slices",
    "masks": "scores, which need the masks of the scan",
    "probabilities": "a step on the probabilities of the scan",
}


class Noise:
    """One unlabelled scan whose images are made when they are read."""

    exclusive = False
    dropped = ()

    def __init__(self, depth: int, height: int, width: int, classes: int) -> None:
        self.classes = tuple(f"class{k}" for k in range(classes))
        ids = [f"slice{d}" for d in range(depth)]
        self.table = pd.DataFrame({"id": ids, "scan": "scan", "position": range(depth), "case": "case"})
        self.table = self.table.assign(height=height, width=width, labelled=False, empty=False)

    def image(self, row: int) -> np.ndarray:
        """Noise of that row."""
        height, width = (int(value) for value in self.table[["height", "width"]].iloc[row])
        return np.random.default_rng(row).integers(0, 255, (height, width), dtype=np.uint8)


class Keep:
    """A step that wants the probabilities of the scan and returns them."""

    stage = "probabilities"

    def __call__(self, scan: np.ndarray) -> np.ndarray:
        """The same scan."""
        return scan


def spots(classes: int) -> torch.nn.Module:
    """A network of one convolution: a blurred image above other levels, so that masks have many runs."""
    layer = torch.nn.Conv2d(1, classes, 9, padding=4)
    with torch.no_grad():
        layer.weight.fill_(60 / 81)
        layer.bias.copy_(-torch.linspace(28, 34, classes))
    return layer


def predicted(name: str, way: str, depth: int) -> None:
    """Predict a scan, and do with it what the way says."""
    _, height, width, classes = SIZES[name]
    dataset = Noise(depth, height, width, classes)
    preprocess = Preprocess(FileType(), INPUT)
    source = Input(SliceReader(dataset, slices=1, stride=1, edge="clamp", preprocess=preprocess))
    predictor = NetworkPredictor(spots(classes), pick_device("cpu"))
    scans = predict_scans(predictor, source, range(depth), batch_size=BATCH)
    steps = {"areas": (MinArea(pixels=4),), "probabilities": (Keep(),)}.get(way, ())
    decision = Decision(0.5, steps)
    if way == "masks":
        deque(decide_scans(scans, decision), maxlen=0)
        return
    rows = (line for item in decide_slices(scans, decision) for line in encoded(item, dataset))
    with tempfile.TemporaryDirectory() as folder:
        write_submission(Path(folder) / "submission.csv", rows)


def write_submission(file: Path, rows: Iterable[tuple[str, str, str]]) -> None:
    """A submission of the rows, none of which is held."""
    with file.open("w", newline="", encoding="utf-8") as opened:
        lines = SubmissionLines(opened, file.name)
        for row in rows:
            lines.add(*row)
        lines.finish()


def encoded(item: DecidedSlice, dataset: Noise) -> Iterator[tuple[str, str, str]]:
    """The rows of a slice in a submission."""
    for label, plane in zip(dataset.classes, split(item.prediction), strict=True):
        yield f"slice{item.row}", label, rle.encode(plane)


def status(key: str) -> int:
    """Bytes of this process, from /proc."""
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


def measure(name: str, way: str, depth: int) -> dict[str, Any]:
    """Bytes before and at most, and seconds; to be called in a process of its own."""
    predicted(name, way, 2)  # what is made once, by the first prediction
    before, ended = status("RssAnon"), threading.Event()
    most = before

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.01):
            most = max(most, status("RssAnon"))

    watcher = threading.Thread(target=watch)
    start = time.perf_counter()
    watcher.start()
    try:
        predicted(name, way, depth)
    finally:
        ended.set()
        watcher.join()
    seconds = time.perf_counter() - start
    return {"scan": name, "way": way, "before": before, "memory": most, "resident": status("VmHWM"), "seconds": seconds}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        "| one scan | what is made of it | in memory | of it before | resident | time |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        depth, height, width, classes = row["shape"]
        sizes = " | ".join(f"{row[key] / 2**20:.0f} MiB" for key in ("memory", "before", "resident"))
        size = f"{height} x {width} x {depth}, {classes} classes"
        lines.append(f"| {size} | {WAYS[row['way']]} | {sizes} | {row['seconds']:.0f} s |")
    return "\n".join(lines)


def main() -> None:
    """Measure each way in a process of its own, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices-of-the-big-scan", type=int, default=SIZES["big"][0], dest="slices")
    parser.add_argument("--one", nargs=3, metavar=("SCAN", "WAY", "SLICES"), help="measure one and print it")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one[0], arguments.one[1], int(arguments.one[2]))))
        return
    rows = []
    for name, shape in SIZES.items():
        depth = arguments.slices if name == "big" else shape[0]
        for way in WAYS:
            command = [sys.executable, __file__, "--one", name, way, str(depth)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            rows.append(json.loads(done.stdout) | {"shape": [depth, *shape[1:]]})
            print(rows[-1], flush=True)
    content = {"input": INPUT, "batch_size": BATCH, "platform": platform.platform(), "rows": rows}
    content["versions"] = {package: version_of(package) for package in PACKAGES}
    target = ROOT / "benchmarks" / "results" / "prediction-memory-cpu.json"
    target.write_text(json.dumps(content, indent=2) + "\n")
    page = ROOT / "docs" / "memory.md"
    marks = r"(<!-- prediction table -->\n).*?(<!-- end of prediction table -->)"
    text = page.read_text(encoding="utf-8")
    filled = re.sub(marks, lambda found: f"{found[1]}{table(rows)}\n{found[2]}", text, flags=re.DOTALL)
    page.write_text(filled, encoding="utf-8")


if __name__ == "__main__":
    main()
