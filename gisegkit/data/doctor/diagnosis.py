"""Everything that the facts of slices show: images, copies, masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gisegkit.data.doctor.copies import copy_findings
from gisegkit.data.doctor.images import image_findings
from gisegkit.data.doctor.labels import label_findings

if TYPE_CHECKING:
    from gisegkit.data.doctor.seen import Seen
    from gisegkit.errors import Finding


def diagnose(seen: Seen) -> list[Finding]:
    """Findings of all families; see docs/data.md for what each kind means."""
    return [*image_findings(seen), *copy_findings(seen), *label_findings(seen)]
