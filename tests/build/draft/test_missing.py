"""What a folder lacks is told in one line with what to do, with other names than the layouts' own."""

import pytest

from gisegkit.build.draft.missing import none_to_read, what_is_missing


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["pics/a.png"], "has pics, but no folder of masks beside it; put the masks of the images into masks/"),
        (["part/pics/a.png", "pics/a.png"], "has pics, part/pics, but no folder of masks"),
        (["truth/a.png"], "has truth, but no folder of images beside it; put the images of the masks into images/"),
        (["elsewhere/a.png"], "I find no folders of images and masks (there are 1 .png file); put images into images/"),
        (["x/images/x.png", "x/masks/1.png"], "holds a folder for each image (x)"),
        (["x/images/1.png", "x/images/2.png", "x/masks/1.png"], "holds a folder for each case (x) with images/ and"),
        ([], "is empty"),
    ],
)
def test_one_line_says_what_is_missing(tmp_path, write, files, said):
    for name in files:
        write(name)
    line = what_is_missing(tmp_path, parts=("", "part"), images=("pics",), masks=("truth",))
    assert said in line and "\n" not in line


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a.nii.gz", "b.dcm"], "DICOM and NIfTI files are not read"),
        (["a.txt"], "It holds no PNG, JPEG"),
    ],
)
def test_files_that_are_not_read_are_named(tmp_path, names, said):
    for name in names:
        (tmp_path / name).write_text("")
    assert said in none_to_read(tmp_path, "It holds no")
