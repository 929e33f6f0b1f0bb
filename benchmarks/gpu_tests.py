"""tests/gpu, each test's outcome kept as soon as it is known; a part of ``make gpu``.

    python benchmarks/gpu_tests.py memory|other --record FILE [--rehearse]

Tests that passed in an earlier call with the same code are not repeated. A test that is skipped is a failure here: this
machine has a GPU. In the rehearsal every test must be skipped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from gpu_parts import ROOT, Record

MEMORY = "test_memory.py"


class Keeper:
    """Writes the outcome of each test, and leaves out those that passed before."""

    def __init__(self, record: Record, *, rehearse: bool) -> None:
        self.record = record
        self.expected = "skipped" if rehearse else "passed"
        self._told: dict[str, dict[str, Any]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep those without a row that passed."""
        missing = set(self.record.missing([item.nodeid for item in items]))
        items[:] = [item for item in items if item.nodeid in missing]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Setup, call and teardown are reported one by one; the worst of them is the outcome."""
        row = self._told.setdefault(report.nodeid, {"name": report.nodeid, "outcome": "passed", "seconds": 0.0})
        row["seconds"] = round(row["seconds"] + report.duration, 2)
        if report.outcome != "passed":
            row["outcome"] = report.outcome
            last = str(report.longrepr or "").strip().splitlines()[-1:]
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else "".join(last)
            row["reason"] = reason.replace(f"{ROOT}/", "")[:300]
        if report.when == "teardown":
            wrong = {"failed": True} if row["outcome"] != self.expected else {}
            self.record.add({**row, **wrong})

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be imported is a failure, too."""
        if report.failed:
            last = "".join(str(report.longrepr).strip().splitlines()[-1:])
            self.record.add({"name": report.nodeid, "outcome": "not collected", "reason": last, "failed": True})


def main(arguments: Sequence[str]) -> int:
    """Run a half of tests/gpu; returns pytest's status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("half", choices=("memory", "other"))
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--rehearse", action="store_true")
    options = parser.parse_args(arguments)
    record = Record(options.record)
    # A failure to collect is of the last call.
    record.content["rows"] = [row for row in record.content["rows"] if row["outcome"] != "not collected"]
    files = sorted((ROOT / "tests" / "gpu").glob("test_*.py"))
    chosen = [str(file) for file in files if (file.name == MEMORY) == (options.half == "memory")]
    # Another Python and other versions than constraints.txt names may warn; that is not what is asked here.
    flags = ["-p", "no:cacheprovider", "-o", "filterwarnings=default", "--rootdir", str(ROOT), "-v"]
    status = pytest.main([*flags, *chosen], plugins=[Keeper(record, rehearse=options.rehearse)])
    return 0 if status == pytest.ExitCode.NO_TESTS_COLLECTED and record.content["rows"] else int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
