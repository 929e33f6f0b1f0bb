"""The packages that ``make gpu`` needs, with those that they need in turn; needs nothing but Python.

On a machine with a registry, ``python benchmarks/gpu.py --needs`` lists what to carry to one without.
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from gpu_parts import PARTS, ROOT, name_of, required

GPU_OWN = ("torch", "torchvision")
"""What the other machine must have itself, built for its GPU; what they need is not followed."""


def lines(have: Path | None) -> list[str]:
    """What ``--needs`` prints.

    Args:
        have: a file of names that the other machine has, apart by commas, spaces or lines.
    """
    names = re.split(r"[\s,]+", have.read_text(encoding="utf-8").lower()) if have else []
    there = {name_of(name) for name in names if name}
    optional = sorted({module for part in PARTS for module in part.optional})
    found = closure([*required(), *optional])
    wanted = {name: version for name, version in found.items() if name not in there and name not in GPU_OWN}
    said = f", and {', '.join(GPU_OWN)} built for its GPU" if not have else ""
    lines = [f"# to carry to the machine with the GPU{said} (constraints.txt has the versions that are tested):"]
    lines += [f"{name}=={version}" if version else f"{name}  # not installed here" for name, version in wanted.items()]
    return [*lines, "# put the wheels there with: python3 -m pip install --no-index --no-deps --target FOLDER *.whl",
            "# then: PYTHONPATH=FOLDER make gpu PYTHON=python3"]  # fmt: skip


def closure(names: list[str]) -> dict[str, str | None]:
    """Distributions with what they need in turn, and the versions that are installed here, None where not."""
    found: dict[str, str | None] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop(0)
        if name in found:
            continue
        try:
            here = distribution(name)
        except PackageNotFoundError:
            found[name] = pinned().get(name)
            continue
        found[name] = here.version
        if name not in GPU_OWN:
            waiting += [name_of(line) for line in here.requires or [] if applies(line)]
    return dict(sorted(found.items()))


def applies(requirement: str) -> bool:
    """Whether a requirement holds without extras, on Linux; what it says of the version is not looked at."""
    _, _, marker = requirement.partition(";")
    if "extra" in marker:
        return False
    if not marker.strip():
        return True
    try:
        from packaging.markers import Marker
    except ImportError:
        return True
    return Marker(marker.strip()).evaluate()


def pinned() -> dict[str, str]:
    """The versions in constraints.txt."""
    texts = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [text.partition("==") for text in texts if "==" in text]
    return {name_of(name): version.strip() for name, _, version in pairs}
