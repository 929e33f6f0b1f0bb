"""Files are listed by what their names end with, whatever their case and their form of Unicode."""

import unicodedata

from gisegkit.build.draft.listing import folders_in, kinds_of, list_cases, list_images


def test_images_are_listed_by_name_without_ending_and_suffix(tmp_path, write):
    for name in ("a.png", "b_mask.PNG", "c.tif", ".hidden.png", "folder.png/d.png"):
        write(name)
    (tmp_path / "notes.txt").write_text("")
    assert list(list_images(tmp_path)) == ["a", "b_mask", "c"]
    assert list_images(tmp_path, suffix="_mask") == {"b": tmp_path / "b_mask.PNG"}
    assert list_images(tmp_path / "missing") == {}


def test_names_are_in_the_composed_form_of_unicode(tmp_path, write):
    write(unicodedata.normalize("NFD", "Müller") + ".png")
    assert list(list_images(tmp_path)) == [unicodedata.normalize("NFC", "Müller")]


def test_folders_of_cases_are_listed_as_the_data_set_names_their_slices(tmp_path, write):
    write("p1/a.png"), write("p2/a.png"), write("b.png")
    assert list(list_cases(tmp_path)) == ["p1_a", "p2_a"]
    assert folders_in(tmp_path) == [tmp_path / "p1", tmp_path / "p2"]
    assert folders_in(tmp_path / "missing") == []


def test_kinds_are_counted_the_most_frequent_first(tmp_path):
    paths = [tmp_path / name for name in ("a.txt", "b.nii.gz", "c.nii.gz", "LICENSE", ".hidden")]
    assert kinds_of(paths) == "2 .nii.gz files, 1 .txt file, 1 LICENSE file"
    assert kinds_of([]) == ""
