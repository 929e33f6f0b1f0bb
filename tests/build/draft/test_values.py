"""Classes are the values in label files; what they mean is asked, and what can be no class is refused."""

from collections import Counter

import numpy as np
import pytest
import tifffile
from PIL import Image

from gisegkit.build.draft.layouts import Layout
from gisegkit.build.draft.values import MOST_VALUES, color_table, label_table, name_classes, values_of
from gisegkit.errors import DataError


def plane(*values):
    return np.resize(np.array(values, dtype=np.uint8), (8, 8))


def test_every_file_is_counted_even_where_one_alone_has_a_value(write):
    files = [write("a.png", plane(0, 1)), write("b.png", plane(0, 0, 0, 7))]
    assert values_of(files) == (Counter({0: 32 + 48, 1: 32, 7: 16}), Counter())


def test_gray_saved_as_color_counts_as_gray(write):
    gray = np.repeat(plane(0, 3)[:, :, None], 3, axis=2)
    assert values_of([write("gray.png", gray)]) == (Counter({0: 32, 3: 32}), Counter())


def test_colors_are_counted_and_gray_files_among_them_are_colors_too(write):
    color = np.zeros((8, 8, 3), dtype=np.uint8)
    color[0, :] = (0, 0, 255)  # red, as OpenCV writes it
    files = [write("color.png", color), write("gray.png", plane(0, 255))]
    assert values_of(files).colors == Counter({"#000000": 56 + 32, "#ff0000": 8, "#ffffff": 32})
    color[:] = np.arange(64, dtype=np.uint8).reshape(8, 8, 1) * np.array([1, 2, 3], dtype=np.uint8)
    with pytest.raises(DataError, match="more than 16 colors"):
        values_of([write("many.png", color)])


def test_a_palette_gives_its_indices_and_pages_are_all_read(tmp_path):
    palette = Image.fromarray(plane(0, 2), mode="P")
    palette.putpalette([0, 0, 0, 9, 9, 9, 255, 0, 0])
    palette.save(tmp_path / "palette.png")
    assert values_of([tmp_path / "palette.png"]).values == Counter({0: 32, 2: 32})
    tifffile.imwrite(tmp_path / "pages.tif", np.stack([plane(0, 1), plane(0, 5)]), photometric="minisblack")
    assert values_of([tmp_path / "pages.tif"]).values == Counter({0: 64, 1: 32, 5: 32})


@pytest.mark.parametrize(
    ("colors", "classes", "asked"),
    [
        (("#000000", "#ff0000"), {"class_ff0000": "#ff0000"}, ["class_ff0000 is"]),
        (("#000000", "#00ff00", "#ff0000"), {"class_00ff00": "#00ff00", "class_ff0000": "#ff0000"}, ["are"]),
        (("#00ff00", "#ff0000"), {"class_00ff00": "#00ff00", "class_ff0000": "#ff0000"}, ["no pixel", "are"]),
    ],
)
def test_colors_become_classes_and_what_they_mean_is_asked(colors, classes, asked):
    found, why, asks = color_table(Counter(dict.fromkeys(colors, 1)))
    assert found == {"colors": classes}
    assert len(asks) == len(asked) and all(text in line for text, line in zip(asked, asks, strict=True))
    assert all(color in why[0] for color in colors)


def test_black_masks_are_refused():
    with pytest.raises(DataError, match="black"):
        color_table(Counter({"#000000": 5}))


def test_fractions_and_damage_are_refused_by_file(tmp_path, write):
    with pytest.raises(DataError, match="float32"):
        values_of([write("a.tif", np.full((8, 8), 0.5, dtype=np.float32))])
    (tmp_path / "b.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"b\.png"):
        values_of([tmp_path / "b.png"])


def test_as_many_values_as_objects_or_smoothed_borders_have_are_refused(write):
    few = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert len(values_of([write("a.png", few)]).values) == MOST_VALUES
    many = np.arange(100, dtype=np.uint8).reshape(10, 10)
    with pytest.raises(DataError, match="number objects"):
        values_of([write("b.png", many)])


@pytest.mark.parametrize(
    ("values", "named", "table", "asked"),
    [
        ((0, 1), {}, {"labels": {"class_1": 1}}, ["class_1 is"]),
        ((0, 255), {}, {"labels": {"class_255": 255}}, ["class_255 is"]),
        ((0, 1), {1: "liver"}, {"labels": {"liver": 1}}, []),
        ((0, 1, 2), {2: "liver"}, {"labels": {"class_1": 1, "liver": 2}}, ["class_1 is"]),
        ((0, 1, 2), {}, {"labels": {"class_1": 1, "class_2": 2}}, ["class_1, class_2 are"]),
        ((0, 1, 2, 255), {}, {"labels": {"class_1": 1, "class_2": 2}, "ignore": [255]}, ["to ignore", "class_1"]),
        ((0, 128, 255), {}, {"labels": {"class_128": 128, "class_255": 255}}, ["class_128, class_255 are"]),
        ((0, 1, 255), {1: "a", 255: "b"}, {"labels": {"a": 1, "b": 255}}, []),
        ((1, 2), {1: "a", 2: "b"}, {"labels": {"a": 1, "b": 2}}, ["background"]),
    ],
)
def test_values_become_classes_and_what_they_mean_is_asked(values, named, table, asked):
    found, why, asks = label_table(Counter(dict.fromkeys(values, 10)), named)
    assert found == table
    assert len(asks) == len(asked) and all(text in line for text, line in zip(asked, asks, strict=True))
    assert f"Values in the masks: {', '.join(map(str, values))}." in why


def test_masks_of_background_alone_are_refused():
    with pytest.raises(DataError, match="only the value 0"):
        label_table(Counter({0: 5}), {})


def test_names_of_classes_that_are_folders_are_left(write):
    layout = Layout({"name": "folder", "classes": ["liver"]})
    assert name_classes(layout) == layout
    files = (write("a.png", plane(0, 1)),)
    named = name_classes(Layout({"name": "folder"}, files, {1: "liver"}, ("why",), ("ask",)))
    assert named.dataset == {"name": "folder", "labels": {"liver": 1}}
    assert named.why[0] == "why" and named.asks == ("ask",)
