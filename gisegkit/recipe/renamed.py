"""Keys and values of recipes that were renamed: the old spelling is a mistake that names the new one."""

from __future__ import annotations

from typing import Any

from gisegkit.registry.annotations import show

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

MOVED: dict[tuple[str, str, str], dict[str, dict[str, str]]] = {
    ("input", "normalize", "normalization"): {
        **{f"{unit}_max": {"name": "maximum", "over": unit} for unit in ("slice", "stack", "scan")},
        **{f"{unit}_percentile": {"name": "percentile", "over": unit} for unit in ("slice", "stack", "scan")},
        "dtype": {"name": "dtype"},
    },
}
"""Keys of sections that became a table of their own, by section, key and table: the old value to the table's keys."""


def new_key(table: str, name: str, key: str) -> str:
    """What a key is called now; empty if it was never renamed.

    Args:
        table: the section, or the kind of a component.
        name: of the component; empty for a section.
    """
    return KEYS.get((table, name), {}).get(key, "")


def former_key(section: str, key: str, value: Any) -> tuple[str, str] | None:
    """What a former key of a section is now, and what to write instead; None if there never was such a key."""
    if now := new_key(section, "", key):
        return f"{section}.{key} is now {section}.{now}", f"write {now} = {show(value)}"
    for (old_section, old_key, table), values in MOVED.items():
        if (old_section, old_key) == (section, key):
            known = isinstance(value, str) and value in values
            wanted = [values[value]] if known else list(values.values())
            written = ", or ".join(" and ".join(f'{name} = "{text}"' for name, text in new.items()) for new in wanted)
            sets = " ".join(f"--set {table}.{name}={text}" for name, text in wanted[0].items())
            remedy = f"write a table [{table}] with {written}" + (f"; or {sets}" if known else "")
            return f"{section}.{key} = {show(value)} is now the table [{table}]", remedy
    return None


def new_value(table: str, name: str, key: str, value: Any) -> Any:
    """What a value is called now; None if it was never renamed."""
    return VALUES.get((table, name, key), {}).get(value) if isinstance(value, str) else None
