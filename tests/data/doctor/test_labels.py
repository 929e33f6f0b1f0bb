"""Masks that look like mistakes."""

from __future__ import annotations

from gisegkit.data.doctor.labels import label_findings


def test_clean(data):
    assert list(label_findings(data.seen({0: "train", 4: "validation"}))) == []


def test_a_class_that_never_occurs(data, told):
    for mask in data.masks:
        mask[..., 1] = 0
    assert told(label_findings(data.seen())) == [("class that never occurs", "warning", "b")]


def test_an_inverted_class_covers_most_of_the_set(data, told):
    for mask in data.masks:
        mask[..., 0] = 1 - mask[..., 0]
    (finding,) = label_findings(data.seen())
    assert told([finding]) == [("class that covers most", "warning", "a")]
    assert "all around their outlines" in finding.what


def test_cells_that_cover_most_and_are_meant_so(data):
    """As membranes: 0.75 of the pixels, with lines between that reach the outline."""
    for mask in data.masks:
        mask[..., 0] = 1
        mask[::4, :, 0] = 0
    assert list(label_findings(data.seen())) == []


def test_one_slice_that_is_inverted_or_filled(data, told):
    data.masks[3][..., 0] = 1 - data.masks[3][..., 0]
    data.masks[6][..., 1] = 1
    assert told(label_findings(data.seen())) == [
        ("inverted mask", "warning", "s0_3, a"),
        ("class that fills a slice", "warning", "s1_2, b"),
    ]


def test_two_classes_with_one_mask(data, told):
    data.masks[2][..., 1] = data.masks[2][..., 0]
    (finding,) = label_findings(data.seen())
    assert told([finding]) == [("two classes with one mask", "warning", "a and b")]
    assert finding.ids == ("s0_2",) and "in 1 of 16 slices: s0_2" in finding.what
    for mask in data.masks:
        mask[..., 1] = mask[..., 0]
    (finding,) = label_findings(data.seen())
    assert finding.severity == "error" and "in every slice" in finding.what and finding.ids == ()


def test_a_class_on_one_side_of_the_split(data, told):
    for mask in data.masks[:8]:
        mask[..., 1] = 0
    parts = dict.fromkeys(range(8), "train") | dict.fromkeys(range(8, 16), "validation")
    (finding,) = label_findings(data.seen(parts))
    assert told([finding]) == [("class on one side of the split", "warning", "b")]
    assert "8 slices, none of them for training; it cannot be learned" in finding.what
    assert list(label_findings(data.seen({row: "validation" if row < 4 else "train" for row in range(12)}))) != []
