"""What there is for ``make gpu``: the GPU, the driver, the packages, and what is missing; printed as one line of JSON.

python benchmarks/gpu_probe.py [--rehearse]
"""

from __future__ import annotations

import importlib
import json
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from gpu_parts import PARTS, module_of, required


def main(*, rehearse: bool) -> dict[str, Any]:
    """The facts; ``refusal`` where nothing can be measured."""
    optional = sorted({module for part in PARTS for module in part.optional})
    # albumentations is needed by policies on the CPU only, and none is measured here.
    needed = [name for name in required() if name != "albumentations"]
    missing = {name: why for name in [*needed, "albumentations", *optional] if (why := absent(module_of(name)))}
    lacking = {name: missing[name] for name in needed if name in missing}
    if not lacking and (why := absent("gisegkit.components.augmentation.albumentations_policy")):
        lacking["albumentations"] = why
    if lacking:
        reasons = "; ".join(f"{name} ({why})" for name, why in lacking.items())
        remedy = "install them, or put their folders on PYTHONPATH (make gpu-needs lists everything)"
        return {"refusal": f"{sys.executable} lacks {reasons}: {remedy}"}
    import torch

    from gisegkit.runs.environment import version_of

    if not rehearse and not torch.cuda.is_available():
        return {
            "refusal": f"this machine has no CUDA GPU that torch {torch.__version__} can use; "
            "make gpu-rehearsal runs the same code on the CPU"
        }
    names = ["torch", *sorted({*needed, *optional, "timm", "albumentations"} - {"torch"})]
    found = {"python": platform.python_version()} | {name: version_of(name) for name in names}
    found["torch"] = torch.__version__
    hardware = machine(torch, rehearse=rehearse)
    key = re.sub(r"[^A-Za-z0-9.]+", "_", f"{hardware.get('gpu', 'cpu')}-{hardware.get('driver')}-{torch.__version__}")
    return {"hardware": hardware, "versions": found, "missing": missing, "key": key}


def absent(module: str) -> str:
    """Why a module cannot be imported; empty where it can."""
    try:
        importlib.import_module(module)
    except Exception as error:
        return f"{type(error).__name__}: {str(error).strip()}".split("\n", 1)[0][:200]
    return ""


def machine(torch: Any, *, rehearse: bool) -> dict[str, Any]:
    """Processor, memory, and the GPU with its driver."""
    from harness import hardware

    if rehearse:
        return hardware("cpu")
    properties = torch.cuda.get_device_properties(0)
    return hardware("cuda") | {
        "gpus": torch.cuda.device_count(),
        "gpu_memory_gib": round(properties.total_memory / 2**30, 2),
        "capability": f"{properties.major}.{properties.minor}",
        "driver": driver(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def driver() -> str | None:
    """The version of NVIDIA's driver."""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True)
        return done.stdout.strip().splitlines()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        pass
    loaded = Path("/proc/driver/nvidia/version")
    match = re.search(r"(\d+\.\d+(?:\.\d+)?)", loaded.read_text()) if loaded.is_file() else None
    return match[1] if match else None


if __name__ == "__main__":
    print(json.dumps(main(rehearse="--rehearse" in sys.argv[1:])))
