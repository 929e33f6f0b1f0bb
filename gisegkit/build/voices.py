"""The networks of an ensemble as predictions that are mixed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gisegkit.engine.mixed import MeanOfNetworks, Voice
from gisegkit.types import Progress, silent

if TYPE_CHECKING:
    from gisegkit.build.data import Rows
    from gisegkit.build.ensemble import Ensemble
    from gisegkit.build.networks import Network
    from gisegkit.engine.scan_shares import Share


def voices_of(whole: Ensemble, rows: Rows, *, label: str, progress: Progress, share: Share) -> list[Voice]:
    """Predictions by all networks; those of one input share what reads it, the others the loader processes.

    Args:
        share: of the scans, as of ``predict_scans``.
    """
    groups: dict[str, list[tuple[Network, float]]] = {}
    for member, networks in zip(whole.members, whole.networks, strict=True):
        for one in networks:
            one.load()
            recipe = one.experiment.recipe
            key = repr((recipe.input, recipe.normalization.as_dict(), one.order))
            groups.setdefault(key, []).append((one, member.share))
    voices: list[Voice] = []
    for group in groups.values():
        group[0][0].share_workers(len(groups))
        lead, weights = group[0][0], [weight for _, weight in group]
        predictor = MeanOfNetworks([one.experiment.predictor for one, _ in group], weights)
        shown = silent if voices else progress
        scans = lead.experiment.probabilities(rows, label=label, progress=shown, predictor=predictor, share=share)
        voices.append(Voice(scans, sum(weights), lead.order))
    return voices
