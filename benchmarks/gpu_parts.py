"""The parts of ``make gpu``, what they need, and the files that they write; needs nothing but Python.

Every part is a script that is called with ``--record FILE``. It adds a row to that file as soon as it has measured it,
so that a part that was cut goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
STATE = ROOT / "runs" / "gpu"
"""Rows, logs and phantoms; git ignores it."""

LIMIT = 225
"""Seconds that a part may take; then it is stopped, and goes on in the next call."""

RECIPES = (
    "unet_resnet34",
    "unet_effb1",
    "unetplusplus_resnet34",
    "unetplusplus_effb1",
    "unetplusplus_effb1_mixup",
    "deeplabv3_effb1",
    "r2unet",
    "r2unet_effb1",
)
"""The deck's."""

CODE = ("gisegkit/**/*.py", "benchmarks/gpu*.py", "benchmarks/harness.py", "benchmarks/device_policy.py")
CODE += ("recipes/*.toml", "tests/gpu/*.py", "tests/conftest.py", "plugins/*/*/*.py")
"""What a result depends on: if one of these files changes, every part is measured anew."""

MODULES = {"opencv-python-headless": "cv2", "scikit-learn": "sklearn"}
"""Modules of distributions that are called otherwise."""


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes:
        name: of the part, and of its file, ``gpu-NAME.json``.
        arguments: script and what it is called with.
        claim: the sentence that its rows are about.
        optional: modules without which it is recorded as not run.
    """

    name: str
    arguments: tuple[str, ...]
    claim: str
    optional: tuple[str, ...] = ()


WITHIN = "The deck's recipes train an epoch of effective batch 64 inside {}, the process's own share included."
PREDICTED = "The predicted peak of a step is what the GPU's allocator hands out, at {} pixels."
EQUAL = "Two runs of a recipe, each in a process of its own, end with the same weights to the last bit."
PARTS = (
    Part("tests", ("gpu_tests.py", "other"), "tests/gpu passes, the tests of memory left out.", ("pytest",)),
    Part("tests-memory", ("gpu_tests.py", "memory"), "The tests of memory in tests/gpu pass.", ("pytest",)),
    Part("training", ("gpu_training.py",), "Training reads, copies and augments without making the GPU wait."),
    Part(
        "policy",
        ("gpu_warp.py",),
        "The deck's policy final, composed into one displacement, takes a fraction of kornia's pipeline.",
        ("kornia",),
    ),
    Part("memory-224", ("gpu_memory.py", "224"), PREDICTED.format(224)),
    Part("memory-384", ("gpu_memory.py", "384"), PREDICTED.format(384)),
    Part("budget-16gb-a", ("gpu_budget.py", "16GB", *RECIPES[:4]), WITHIN.format("16 GB")),
    Part("budget-16gb-b", ("gpu_budget.py", "16GB", *RECIPES[4:]), WITHIN.format("16 GB")),
    Part("budget-6gb-a", ("gpu_budget.py", "6GB", *RECIPES[:4]), WITHIN.format("6 GB")),
    Part("budget-6gb-b", ("gpu_budget.py", "6GB", *RECIPES[4:]), WITHIN.format("6 GB")),
    Part("repeat-a", ("gpu_repeat.py", "a"), EQUAL),
    Part("repeat-b", ("gpu_repeat.py", "b"), EQUAL),
)


def required() -> list[str]:
    """The distributions that gisegkit itself needs, out of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [name_of(line) for line in project["dependencies"]]


def name_of(requirement: str) -> str:
    """The distribution's name in a requirement such as ``torch>=2.6; python_version > "3"``."""
    end = next((at for at, sign in enumerate(requirement) if not (sign.isalnum() or sign in "-_.")), len(requirement))
    return requirement[:end].lower().replace("_", "-")


def module_of(distribution: str) -> str:
    """What is imported of a distribution."""
    return MODULES.get(distribution, distribution.replace("-", "_"))


def digest(root: Path = ROOT) -> str:
    """Of all the code that results depend on; the same with and without git."""
    found = hashlib.sha256()
    for pattern in CODE:
        for path in sorted(root.glob(pattern)):
            found.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def revision() -> dict[str, Any]:
    """The commit, and whether files of the code differ from it; a copy without git is told both by $GPU_REVISION."""
    given = os.environ.get("GPU_REVISION", "")
    try:
        call = {"cwd": ROOT, "capture_output": True, "text": True, "check": True, "timeout": 30}
        commit, _, above = subprocess.run(["git", "rev-parse", "HEAD", "--show-cdup"], **call).stdout.partition("\n")
        if above.strip():
            raise OSError("the checkout around this copy is another project's")
        code = [f":(glob){pattern}" for pattern in CODE]
        changed = subprocess.run(["git", "status", "--porcelain", "--", *code], **call).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        commit, _, dirty = given.partition("-")
        return {"revision": given or None, "dirty": bool(dirty) if commit else None, "revision_from": "GPU_REVISION"}
    return {"revision": commit + ("-dirty" if changed else ""), "dirty": bool(changed), "revision_from": "git"}


def result_path(name: str) -> Path:
    """Where a part's result is committed."""
    return RESULTS / f"gpu-{name}.json"


def read(path: Path) -> dict[str, Any]:
    """A file's content; empty where there is none, or it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write(path: Path, content: dict[str, Any]) -> None:
    """All of it or nothing, so that a part that is stopped here leaves its earlier rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".writing")
    temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def tested(rows: list[dict[str, Any]]) -> str:
    """How many tests had which outcome, in words."""
    counts = Counter(row["outcome"] for row in rows)
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())) or "no tests"


class Record:
    """The rows of a part, in a file that always holds those that are measured.

    Args:
        path: the file; rows of an earlier call that stand there are kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content: dict[str, Any] = {"rows": [], "settings": {}} | read(path)

    def missing(self, names: tuple[str, ...] | list[str]) -> Iterator[str]:
        """Those of the rows' names that are still to be measured; failed ones are measured again."""
        done = {row["name"] for row in self.content["rows"] if not row.get("failed")}
        return (name for name in names if name not in done)

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row, in place of one of the same name."""
        rows = [other for other in self.content["rows"] if other["name"] != row["name"]]
        self.content["rows"] = [*rows, row]
        write(self.path, self.content)
        print(json.dumps(row), flush=True)

    def settle(self, **settings: Any) -> None:
        """Keep what all rows share: sizes, seeds, packages."""
        self.content["settings"].update(settings)
        write(self.path, self.content)
