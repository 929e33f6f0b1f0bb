"""The writer ``submission``."""

from __future__ import annotations

import numpy as np

from gisegkit.components.writers.submission import Submission
from gisegkit.data.output import Output, PredictionFacts, SliceFacts
from gisegkit.data.submission import read_submission


def written(folder, order=None):
    facts = PredictionFacts("r", "run", ("liver", "spleen"), exclusive=False, slices=2, order=order)
    masks = np.zeros((2, 2, 3, 2), dtype=bool)
    masks[0, 0, :2, 0] = True  # row-major pixels 1 and 2
    masks[1, 1, 2, 1] = True  # the last of six
    writer = Submission()
    with Output(folder) as out:
        writer.begin(facts, out)
        for index in range(2):
            writer.write(SliceFacts(f"s{index}", "s", index, "c", 2, 3, index=index, depth=2), masks[index], None)
        assert writer.finish() == "submission.csv, 2 slices"
        assert list(out.files) == ["submission.csv"]
    table = read_submission(folder / "submission.csv")
    return table[["id", "class", "predicted"]].to_numpy().tolist()


def test_runs_of_every_slice_and_class(tmp_path):
    rows = [["s0", "liver", "1 2"], ["s0", "spleen", ""], ["s1", "liver", ""], ["s1", "spleen", "6 1"]]
    assert written(tmp_path) == rows
    order = [("s1", "spleen"), ("s0", "liver")]
    assert written(tmp_path / "ordered", order) == [rows[3], rows[0], rows[1], rows[2]]
