"""The registry is the test plan: every registered component passes the contract of its kind."""

from __future__ import annotations

import functools
import json
from typing import Any

import pytest
from torch import nn

from gisegkit import testing
from gisegkit.components.datasets.folder import Folder
from gisegkit.plugins import load_plugins
from gisegkit.registry.kinds import KINDS

COMPONENTS = list(load_plugins(selection="none").registries)

SMALL: dict[tuple[str, str], dict[str, Any]] = {
    **{
        ("model", name): {"encoder": "tu-test_resnet", "weights": "none"}
        for name in ("unet", "unetplusplus", "manet", "linknet", "fpn", "upernet", "segformer", "pspnet", "pan")
    },
    ("model", "deeplabv3"): {"encoder": "tu-test_resnet", "weights": "none", "decoder_channels": 16},
    ("model", "deeplabv3plus"): {"encoder": "tu-test_resnet", "weights": "none", "decoder_channels": 16},
    ("model", "dpt"): {"encoder": "tu-test_vit", "weights": "none", "decoder_fusion_channels": 16},
    ("model", "r2unet"): {"width": 4},
    ("augmentation", "albumentations"): {"steps": [{"name": "HorizontalFlip"}, {"name": "RandomRotate90", "p": 0.0}]},
    ("optimizer", "adam"): {"lr": 1e-2},
    ("optimizer", "adamw"): {"lr": 1e-2},
    ("optimizer", "sgd"): {"lr": 1e-2},
    ("postprocess", "min_area"): {"pixels": 4},
    ("postprocess", "min_pixels"): {"pixels": 4},
    ("normalization", "window"): {"level": 40, "width": 400},
    ("dataset", "phantom"): {"cases": 2, "days": 1, "slices": 10},
}
"""Parameters that make a component small enough for a test, or that have no default."""


def marked(component):
    """A network takes seconds; two of them are enough for a quick run."""
    slow = component.kind == "model" and component.name not in ("unet", "r2unet")
    return pytest.param(component, marks=pytest.mark.slow if slow else (), id=f"{component.kind}-{component.name}")


def factory(component):
    return functools.partial(component.load(), **SMALL.get((component.kind, component.name), {}))


@pytest.mark.parametrize("component", list(map(marked, COMPONENTS)))
def test_contract(component, tmp_path, monkeypatch):
    monkeypatch.setenv("GISEG_CACHE", str(tmp_path))
    build = factory(component)
    if component.kind == "dataset":
        made = dataset(component.name, build, tmp_path)
        testing.check_component("dataset", lambda: made)
    elif (component.kind, component.name) == ("model", "dpt"):  # its encoder comes with a head that it does not use
        with pytest.warns(testing.ContractWarning, match=r"receive no gradient.*encoder\.model\.norm"):
            testing.check_component("model", build)
    else:
        testing.check_component(component.kind, build, folder=tmp_path / "files")


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda item: f"{item.kind}-{item.name}")
@pytest.mark.slow
def test_contract_with_the_numbers_of_other_data(component):
    """The automatic checks take K and C from the data; no built-in is refused or doubted for them."""
    build = factory(component)
    slow = component.kind == "model" and component.name not in ("unet", "r2unet")
    if not KINDS[component.kind].tried or slow:
        return
    facts = {"size": (32, 64)} if component.kind == "model" else {"size": (40, 40), "channels": 3}
    facts |= {"numbers": [(3, 2)], "counts": [3], "steps": [9], "gradients": False}
    for classes, exclusive in ((1, False), (1, True), (2, True), (2, False)):
        testing.check_component(component.kind, build, classes=classes, exclusive=exclusive, **facts)
        if component.kind == "model":
            break


def dataset(name, build, tmp_path):
    if name == "phantom":
        return build()
    phantom = load_plugins(selection="none").registries["dataset"].get("phantom").load()
    folder = phantom(cases=2, days=1, slices=10, test_cases=1).root
    if name == "uwmgi":
        return build(root=str(folder))
    made = folder_of(folder, tmp_path)
    return made if name == "folder" else annotated(name, build, tmp_path)


def annotated(name, build, tmp_path):
    """The same images with a polygon on the first: as a COCO file, or as a labelme file."""
    points = [[40, 30], [90, 30], [70, 80]]
    if name == "labelme":
        held = {"imagePath": "0.png", "shapes": [{"label": "ring", "points": points, "shape_type": "polygon"}]}
    else:
        shape = {"id": 1, "image_id": 0, "category_id": 1, "segmentation": [[x for point in points for x in point]]}
        images = [{"id": number, "file_name": f"{number}.png"} for number in (0, 1)]
        held = {"images": images, "annotations": [shape], "categories": [{"id": 1, "name": "ring"}]}
    file = "images/0.json" if name == "labelme" else "annotations.json"
    (tmp_path / "pairs" / file).write_text(json.dumps(held))
    return build(root=str(tmp_path / "pairs"), classes=["ring"], missing="empty")


def folder_of(phantom_root, tmp_path):
    """Two slices of the phantom as a folder of images with a file a class."""
    import cv2
    import numpy as np

    root = tmp_path / "pairs"
    for kind in ("images", "masks/ring"):
        (root / kind).mkdir(parents=True)
    for number, file in enumerate(sorted(phantom_root.glob("train/*/*/scans/*.png"))[4:6]):
        image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(root / "images" / f"{number}.png"), image)
        cv2.imwrite(str(root / "masks/ring" / f"{number}.png"), (image > np.median(image)).astype(np.uint8) * 255)
    return Folder(root=str(root), classes=["ring"])


def test_every_kind_is_registered():
    assert {component.kind for component in COMPONENTS} == set(KINDS)


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda item: f"{item.kind}-{item.name}")
def test_described(component):
    """Every component has a summary, and every parameter a type and a help text; keyword-only but for the given."""
    signature = component.signature()
    assert signature.summary.endswith(".")
    for parameter in signature.parameters.values():
        if parameter.name not in KINDS[component.kind].given:
            assert parameter.help, parameter.name
            assert parameter.type.text != "any value", parameter.name


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda item: f"{item.kind}-{item.name}")
def test_the_read_signature_is_the_real_one(component):
    """What ``ast`` read equals what Python says after the import."""
    import inspect

    target = component.load()
    bare = isinstance(target, type) and target.__init__ in (object.__init__, nn.Module.__init__)
    real = {} if bare else inspect.signature(target).parameters
    read = component.signature().parameters
    assert list(read) == list(real)
    for name, parameter in real.items():
        assert read[name].required == (parameter.default is inspect.Parameter.empty)
        if not read[name].required:
            assert read[name].default == parameter.default
