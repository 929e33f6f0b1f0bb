"""The built-in plugin: every component that comes with gisegkit, on one screen, by import path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gisegkit.registry.hookspecs import hookimpl

if TYPE_CHECKING:
    from gisegkit.registry.adder import Adder

BUILT_IN: dict[str, dict[str, str]] = {
    "dataset": {
        "uwmgi": "datasets.uwmgi:UWMGI",
        "folder": "datasets.folder:Folder",
        "phantom": "datasets.phantom:Phantom",
    },
    "normalization": {
        "maximum": "normalizations:Maximum",
        "percentile": "normalizations:Percentile",
        "zscore": "normalizations:ZScore",
        "window": "normalizations:Window",
        "dtype": "normalizations:FileType",
        "none": "normalizations:Unchanged",
    },
    "model": {
        "unet": "models.unet_family:unet",
        "unetplusplus": "models.unet_family:unetplusplus",
        "manet": "models.unet_family:manet",
        "linknet": "models.unet_family:linknet",
        "fpn": "models.pyramid_family:fpn",
        "upernet": "models.pyramid_family:upernet",
        "segformer": "models.pyramid_family:segformer",
        "dpt": "models.pyramid_family:dpt",
        "deeplabv3": "models.context_family:deeplabv3",
        "deeplabv3plus": "models.context_family:deeplabv3plus",
        "pspnet": "models.context_family:pspnet",
        "pan": "models.context_family:pan",
        "r2unet": "models.r2unet:r2unet",
    },
    "loss": {
        "bce": "losses.ratios:BCE",
        "dice": "losses.ratios:DiceLoss",
        "jaccard": "losses.ratios:Jaccard",
        "tversky": "losses.ratios:Tversky",
        "lovasz": "losses.lovasz:Lovasz",
        "focal": "losses.focal:Focal",
        "focal_tversky": "losses.focal:FocalTversky",
        "ce": "losses.cross_entropy:CrossEntropy",
    },
    "augmentation": {
        "none": "augmentation.none:none",
        "baseline": "augmentation.warp_policies:baseline",
        "initial": "augmentation.warp_policies:initial",
        "final": "augmentation.warp_policies:final",
        "intensity": "augmentation.intensity_policy:IntensityPolicy",
        "albumentations": "augmentation.albumentations_list:albumentations",
    },
    "batch_transform": {
        "mixup": "batch_transforms.mixup:Mixup",
        "intensity": "batch_transforms.intensity:Intensity",
        "warp": "batch_transforms.device_warp:DeviceWarp",
        "baseline_device": "batch_transforms.device_warp:baseline_device",
        "initial_device": "batch_transforms.device_warp:initial_device",
        "final_device": "batch_transforms.device_warp:final_device",
    },
    "optimizer": {
        "adam": "optimizers:adam",
        "adamw": "optimizers:adamw",
        "sgd": "optimizers:sgd",
    },
    "schedule": {
        "constant": "schedules:constant",
        "cosine": "schedules:cosine",
        "cycles": "schedules:cycles",
        "onecycle": "schedules:onecycle",
        "poly": "schedules:poly",
    },
    "metric": {
        "dice": "metrics.overlap_metrics:Dice",
        "iou": "metrics.overlap_metrics:IoU",
        "uwmgi_score": "metrics.overlap_metrics:UWMGIScore",
        "hd95": "metrics.surface_metrics:HD95",
        "assd": "metrics.surface_metrics:ASSD",
        "nsd": "metrics.surface_metrics:NSD",
    },
    "postprocess": {
        "min_area": "postprocess.islands:MinArea",
        "min_pixels": "postprocess.islands:MinPixels",
        "largest_component": "postprocess.islands:LargestComponent",
        "fill_holes": "postprocess.islands:FillHoles",
        "continuity": "postprocess.continuity:Continuity",
    },
    "writer": {
        "submission": "writers.submission:Submission",
        "masks": "writers.masks:Masks",
        "probabilities": "writers.probabilities:Probabilities",
    },
    "tracker": {
        "csv": "trackers:CSVTracker",
    },
    "executor": {
        "local": "executors:Local",
    },
    "search": {
        "grid": "searches:Grid",
        "random": "searches:Random",
    },
}
"""Kind, name, and where in this package it is defined."""


@hookimpl
def register_components(add: Adder) -> None:
    """Register the built-in components; the same hook as everybody's."""
    for kind, components in BUILT_IN.items():
        for name, place in components.items():
            getattr(add, kind)(name, f"{__name__}.{place}")
