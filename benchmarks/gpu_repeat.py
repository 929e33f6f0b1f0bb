"""Whether two runs end with the same weights to the last bit, for every network; a part of ``make gpu``.

    python benchmarks/gpu_repeat.py a|b --record FILE [--rehearse]

Each network, with a small encoder, trains two epochs in two processes that know nothing of each other, from the same
recipe: micro-batches, mixup, the deck's policy on the device, loaders' workers. If the weights differ, a third run
under ``torch.use_deterministic_algorithms`` names the operations that torch declares to be nondeterministic. The
networks are taken in turn into the halves a and b.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from gpu_rig import Rig, begin, each, in_short, precision, trained

from gisegkit.recipe.sections import Recipe

PIXELS = 128
BESIDES = (
    "unet efficientnet-b1",
    "unetplusplus efficientnet-b1",
    "deeplabv3 efficientnet-b1",
    "r2unet efficientnet-b1",
)
"""Pairs of network and encoder in the deck's recipes, beside a small encoder for every network."""


def names(rig: Rig) -> list[str]:
    """Every network that gisegkit registers, with its encoder's name where it takes one."""
    found = []
    for component in rig.session.plugins.registries:
        if component.kind == "model" and component.owner.distribution == "gisegkit":
            usual = "tu-test_resnet" if rig.rehearse else "resnet18"
            encoder = {"dpt": "tu-test_vit", "r2unet": ""}.get(component.name, usual)
            found.append(f"{component.name} {encoder}".strip())
    return [*found, *BESIDES]


def recipe(rig: Rig, name: str) -> Recipe:
    """Two epochs of a network, with every source of randomness that training has."""
    model, _, encoder = name.partition(" ")
    own: dict[str, Any] = {"encoder": encoder, "weights": "none"} if encoder else {}
    if model == "r2unet":
        own["width"] = 4 if rig.rehearse else 16
    changes = {
        "model": {"name": model, **own},
        "batch_transform": [{"name": "mixup"}, {"name": "final_device"}],
        "train.epochs": 2,
        "train.batch_size": 4 if rig.rehearse else 16,
        "train.micro_batch": 2 if rig.rehearse else 8,
    }
    return rig.recipe("unet_effb1", pixels=PIXELS, changes=changes)


def one_pass(rig: Rig, folder: Path, wanted: Sequence[str]) -> None:
    """Train the networks, and write the weights of each, or what stopped it."""
    for name in wanted:
        try:
            result = trained(recipe(rig, name), rig.session)
            weights = {key: value.cpu() for key, value in result.training.model.state_dict().items()}
            content = {"weights": weights, "losses": result.losses, "precision": precision(result.training.device)}
        except Exception as error:
            content = {"error": in_short(error)}
        torch.save(content, folder / f"{name}.pt")
        result = None  # the next network must find the memory free
        rig.release()


def differences(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """How two networks' weights and running statistics differ, bit by bit."""
    if first.keys() != second.keys():
        return {"equal": False, "tensors_that_differ": len(first.keys() ^ second.keys()), "tensors": len(first)}
    unlike = [key for key in first if first[key].numpy().tobytes() != second[key].numpy().tobytes()]
    gaps = [float((first[key].double() - second[key].double()).abs().max()) for key in unlike]
    values: dict[str, Any] = {"equal": not unlike, "tensors_that_differ": len(unlike), "tensors": len(first)}
    return values | ({"largest_difference": max(gaps)} if gaps and max(gaps) < float("inf") else {})


def named(call: Callable[[], object]) -> list[str]:
    """The operations that torch says are not deterministic, in what is called."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call()
    finally:
        torch.use_deterministic_algorithms(False)
    found = [re.search(r"(\S+) does not have a deterministic implementation", str(one.message)) for one in caught]
    return sorted({match[1] for match in found if match})


def row(rig: Rig, folders: Sequence[Path], name: str) -> dict[str, Any]:
    """What two passes made of one network.

    Raises:
        RuntimeError: if one of them did not end.
    """
    files = [folder / f"{name}.pt" for folder in folders]
    lost = [file.parent.name for file in files if not file.is_file()]
    if lost:
        raise RuntimeError(f"nothing came of pass {' and '.join(lost)}; the log says why")
    first, second = (torch.load(file, weights_only=True) for file in files)
    for content in (first, second):
        if "error" in content:
            raise RuntimeError(content["error"])
    values = differences(first["weights"], second["weights"])
    values |= {"losses_equal": first["losses"] == second["losses"], "precision": first["precision"]}
    if not values["equal"]:
        values["named_by_torch"] = named(lambda: trained(recipe(rig, name), rig.session))
    return values


def main(arguments: Sequence[str]) -> None:
    """Both passes of a half, and their comparison; or, called with ``pass FOLDER NAME ...``, one pass."""
    rig, (half, *rest) = begin(arguments)
    if half == "pass":
        return one_pass(rig, Path(rest[0]), rest[1:])
    chosen = names(rig)["ab".index(half) :: 2]
    wanted = list(rig.record.missing(chosen[:2] if rig.rehearse else chosen))
    rig.record.settle(pixels=PIXELS, batch_size=16, micro_batch=8, epochs=2, weights="none", data="phantom")
    with tempfile.TemporaryDirectory() as scratch:
        folders = [Path(scratch) / number for number in ("1", "2")]
        for folder in folders:
            folder.mkdir()
            command = [sys.executable, __file__, "pass", str(folder), *wanted, "--record", str(rig.record.path)]
            subprocess.run([*command, *(["--rehearse"] if rig.rehearse else [])], check=False)
        each(rig, wanted, lambda name: row(rig, folders, name))
    return None


if __name__ == "__main__":
    main(sys.argv[1:])
