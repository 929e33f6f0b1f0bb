"""The built-in plugin: every component that comes with gisegkit, on one screen, by import path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gisegkit.registry.hookspecs import hookimpl

if TYPE_CHECKING:
    from gisegkit.registry.kinds import Adder

HERE = "gisegkit.components"


@hookimpl
def register_components(add: Adder) -> None:
    """Register the built-in components; the same hook as everybody's."""
    add.dataset("uwmgi", f"{HERE}.datasets.uwmgi:UWMGI")
    add.dataset("folder", f"{HERE}.datasets.folder:Folder")
    add.dataset("phantom", f"{HERE}.datasets.phantom:Phantom")

    add.model("unet", f"{HERE}.models.unet_family:unet")
    add.model("unetplusplus", f"{HERE}.models.unet_family:unetplusplus")
    add.model("manet", f"{HERE}.models.unet_family:manet")
    add.model("linknet", f"{HERE}.models.unet_family:linknet")
    add.model("fpn", f"{HERE}.models.pyramid_family:fpn")
    add.model("upernet", f"{HERE}.models.pyramid_family:upernet")
    add.model("segformer", f"{HERE}.models.pyramid_family:segformer")
    add.model("dpt", f"{HERE}.models.pyramid_family:dpt")
    add.model("deeplabv3", f"{HERE}.models.context_family:deeplabv3")
    add.model("deeplabv3plus", f"{HERE}.models.context_family:deeplabv3plus")
    add.model("pspnet", f"{HERE}.models.context_family:pspnet")
    add.model("pan", f"{HERE}.models.context_family:pan")
    add.model("r2unet", f"{HERE}.models.r2unet:r2unet")

    add.loss("bce", f"{HERE}.losses.ratios:BCE")
    add.loss("dice", f"{HERE}.losses.ratios:DiceLoss")
    add.loss("jaccard", f"{HERE}.losses.ratios:Jaccard")
    add.loss("tversky", f"{HERE}.losses.ratios:Tversky")
    add.loss("lovasz", f"{HERE}.losses.lovasz:Lovasz")
    add.loss("focal", f"{HERE}.losses.focal:Focal")
    add.loss("focal_tversky", f"{HERE}.losses.focal:FocalTversky")
    add.loss("ce", f"{HERE}.losses.cross_entropy:CrossEntropy")

    add.augmentation("none", f"{HERE}.augmentation.none:none")
    add.augmentation("baseline", f"{HERE}.augmentation.warp_policies:baseline")
    add.augmentation("initial", f"{HERE}.augmentation.warp_policies:initial")
    add.augmentation("final", f"{HERE}.augmentation.warp_policies:final")
    add.augmentation("albumentations", f"{HERE}.augmentation.albumentations_list:albumentations")

    add.batch_transform("mixup", f"{HERE}.batch_transforms.mixup:Mixup")
    add.batch_transform("warp", f"{HERE}.batch_transforms.device_warp:DeviceWarp")
    add.batch_transform("baseline_device", f"{HERE}.batch_transforms.device_warp:baseline_device")
    add.batch_transform("initial_device", f"{HERE}.batch_transforms.device_warp:initial_device")
    add.batch_transform("final_device", f"{HERE}.batch_transforms.device_warp:final_device")

    add.optimizer("adam", f"{HERE}.optimizers:adam")
    add.optimizer("adamw", f"{HERE}.optimizers:adamw")
    add.optimizer("sgd", f"{HERE}.optimizers:sgd")

    add.schedule("constant", f"{HERE}.schedules:constant")
    add.schedule("cosine", f"{HERE}.schedules:cosine")

    add.metric("dice", f"{HERE}.metrics.overlap_metrics:Dice")
    add.metric("iou", f"{HERE}.metrics.overlap_metrics:IoU")
    add.metric("uwmgi_score", f"{HERE}.metrics.overlap_metrics:UWMGIScore")
    add.metric("hd95", f"{HERE}.metrics.surface_metrics:HD95")
    add.metric("assd", f"{HERE}.metrics.surface_metrics:ASSD")
    add.metric("nsd", f"{HERE}.metrics.surface_metrics:NSD")

    add.postprocess("min_area", f"{HERE}.postprocess:MinArea")

    add.tracker("csv", f"{HERE}.trackers:CSVTracker")
