"""Images that are no pictures, or differ from the others."""

from __future__ import annotations

import numpy as np

from gisegkit.data.doctor.images import image_findings


def test_flat_images(data, told):
    data.images[1], data.images[2] = np.zeros((48, 48), np.uint8), np.full((48, 48), 9, np.uint8)
    data.images[3] = np.full((48, 48), 9, np.uint8)
    data.masks[1][:], data.masks[2][:] = 0, 0
    assert told(image_findings(data.seen())) == [
        ("black image", "warning", "s0_1"),
        ("constant image", "warning", "s0_2"),
        ("mask on a constant image", "error", "s0_3"),
    ]


def test_noise(data, told):
    data.images[4] = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)
    (finding,) = image_findings(data.seen())
    assert told([finding]) == [("noise", "warning", "s1_0")] and "a correlation of 0.0" in finding.what


def test_depth_and_channels_of_the_few(data, told, picture):
    data.images[0], data.images[5] = picture(0, np.uint16), np.repeat(data.images[5][..., None], 3, axis=2)
    findings = list(image_findings(data.seen()))
    assert told(findings) == [("channels", "error", "s1_1"), ("depth", "warning", "s0_0")]
    assert findings[0].ids == ("s1_1",) and "1 image has 3 channels, 15 1 channel" in findings[0].what
    assert "1 image has uint16, 15 uint8" in findings[1].what
    assert list(image_findings(type(data)().seen())) == []
