"""Keys and values of recipes that were renamed: the old spelling is a mistake that names the new one."""

from __future__ import annotations

from typing import Any

INITIAL = {"flip": "flip_p", "shift_scale_rotate": "shift_scale_rotate_p", "distort": "distort_p"}
FINAL = {**INITIAL, "dropout": "cutout_p"}
LIMITS = {"shift": "shift_limit", "scale": "scale_limit", "rotate": "rotate_limit", "hole": "hole_size"}

KEYS: dict[tuple[str, str], dict[str, str]] = {
    ("train", ""): {"clip_norm": "max_grad_norm"},
    **{("loss", name): {"over": "ratio_over"} for name in ("dice", "jaccard", "tversky", "focal_tversky", "lovasz")},
    ("augmentation", "initial"): INITIAL,
    ("augmentation", "final"): FINAL,
    ("batch_transform", "initial_device"): INITIAL,
    ("batch_transform", "final_device"): FINAL,
    ("batch_transform", "warp"): {**FINAL, **LIMITS},
}
"""Old to new key, by the section, or the kind and the name of a component of gisegkit."""

VALUES: dict[tuple[str, str, str], dict[Any, Any]] = {
    ("input", "", "store"): {"size": "resized"},
    **{("metric", name, "unit"): {"volume": "scan"} for name in ("dice", "iou", "hd95", "assd", "nsd")},
    ("metric", "uwmgi_score", "hausdorff_unit"): {"volume": "scan"},
}
"""Old to new value, by section or kind, name of the component, and key."""


def new_key(table: str, name: str, key: str) -> str:
    """What a key is called now; empty if it was never renamed.

    Args:
        table: the section, or the kind of a component.
        name: of the component; empty for a section.
    """
    return KEYS.get((table, name), {}).get(key, "")


def new_value(table: str, name: str, key: str, value: Any) -> Any:
    """What a value is called now; None if it was never renamed."""
    return VALUES.get((table, name, key), {}).get(value) if isinstance(value, str) else None
