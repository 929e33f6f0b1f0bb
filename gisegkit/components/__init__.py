"""The built-in plugin: every component that comes with gisegkit, on one screen, by import path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gisegkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from gisegkit.registry import Adder

HERE = "gisegkit.components"


@hookimpl
def register_components(add: Adder) -> None:
    """Register the built-in components; the same hook as everybody's."""
    add.dataset("uwmgi", f"{HERE}.datasets.uwmgi:UWMGI")
    add.dataset("folder", f"{HERE}.datasets.folder:Folder")
    add.dataset("phantom", f"{HERE}.datasets.phantom:Phantom")

    add.model("unet", f"{HERE}.models:unet")
    add.model("unetplusplus", f"{HERE}.models:unetplusplus")
    add.model("manet", f"{HERE}.models:manet")
    add.model("linknet", f"{HERE}.models:linknet")
    add.model("fpn", f"{HERE}.pyramid_models:fpn")
    add.model("upernet", f"{HERE}.pyramid_models:upernet")
    add.model("segformer", f"{HERE}.pyramid_models:segformer")
    add.model("dpt", f"{HERE}.pyramid_models:dpt")
    add.model("deeplabv3", f"{HERE}.context_models:deeplabv3")
    add.model("deeplabv3plus", f"{HERE}.context_models:deeplabv3plus")
    add.model("pspnet", f"{HERE}.context_models:pspnet")
    add.model("pan", f"{HERE}.context_models:pan")
    add.model("r2unet", f"{HERE}.r2unet:r2unet")

    add.loss("bce", f"{HERE}.losses:BCE")
    add.loss("dice", f"{HERE}.losses:DiceLoss")
    add.loss("jaccard", f"{HERE}.losses:Jaccard")
    add.loss("tversky", f"{HERE}.losses:Tversky")
    add.loss("lovasz", f"{HERE}.lovasz:Lovasz")
    add.loss("focal", f"{HERE}.focal:Focal")
    add.loss("focal_tversky", f"{HERE}.focal:FocalTversky")
    add.loss("ce", f"{HERE}.cross_entropy:CrossEntropy")

    add.augmentation("none", f"{HERE}.augmentation_none:none")
    add.augmentation("baseline", f"{HERE}.augmentation_deck:baseline")
    add.augmentation("initial", f"{HERE}.augmentation_deck:initial")
    add.augmentation("final", f"{HERE}.augmentation_deck:final")
    add.augmentation("albumentations", f"{HERE}.augmentation_list:albumentations")

    add.batch_transform("mixup", f"{HERE}.batch_transforms:Mixup")
    add.batch_transform("warp", f"{HERE}.device_warp:DeviceWarp")
    add.batch_transform("baseline_device", f"{HERE}.device_warp:baseline_device")
    add.batch_transform("initial_device", f"{HERE}.device_warp:initial_device")
    add.batch_transform("final_device", f"{HERE}.device_warp:final_device")

    add.optimizer("adam", f"{HERE}.optimizers:adam")
    add.optimizer("adamw", f"{HERE}.optimizers:adamw")
    add.optimizer("sgd", f"{HERE}.optimizers:sgd")

    add.schedule("constant", f"{HERE}.schedules:constant")
    add.schedule("cosine", f"{HERE}.schedules:cosine")

    add.metric("dice", f"{HERE}.metrics:Dice")
    add.metric("iou", f"{HERE}.metrics:IoU")
    add.metric("uwmgi_score", f"{HERE}.metrics:UWMGIScore")
    add.metric("hd95", f"{HERE}.surface_metrics:HD95")
    add.metric("assd", f"{HERE}.surface_metrics:ASSD")
    add.metric("nsd", f"{HERE}.surface_metrics:NSD")

    add.postprocess("min_area", f"{HERE}.postprocess:MinArea")

    add.tracker("csv", f"{HERE}.trackers:CSVTracker")
