"""All families together."""

from __future__ import annotations

import numpy as np

from gisegkit.data.doctor.diagnosis import diagnose


def test_nothing_is_found_in_clean_data_and_each_family_finds_its_own(data, told):
    assert diagnose(data.seen()) == []
    data.images[0] = np.zeros_like(data.images[0])
    data.images[9] = data.images[1]
    for mask in data.masks:
        mask[..., 1] = 0
    assert told(diagnose(data.seen())) == [
        ("mask on a constant image", "error", "s0_0"),
        ("same image in two cases", "error", "s0_1 and s2_1"),
        ("class that never occurs", "warning", "b"),
    ]
