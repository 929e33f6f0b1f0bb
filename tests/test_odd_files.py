"""Files as people really have them, case by case, through ``giseg data``: what is read is right, what is not is told.

Every case is made by a few lines. Images show a bright square on a dark surface, and the mask is that square, which
tells whether image and mask belong together.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from gisegkit.build.session import Session
from gisegkit.cli import main
from gisegkit.plugins import load_plugins
from gisegkit.recipe.load import load_recipe

HEIGHT, WIDTH = 32, 48
SQUARE = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
SQUARE[4:14, 6:20] = 1
SHARE = "9.11% of all pixels"  # 10 x 14 of 32 x 48

RECIPE = """
name = "odd"
[dataset]
name = "folder"
root = "{root}"
{dataset}
[input]
size = [32, 32]
{more}
[split]
folds = 2
[model]
name = "unet"
[[loss]]
name = "bce"
[optimizer]
name = "adam"
"""

LABELS = "labels = {blob = 1}"
CLASSES = 'classes = ["blob"]'


def picture(seed, *, bands=0, dtype=np.uint8):
    """The square at 200 on a smooth surface of 40 to 120, another for each seed; of several bands in the last alone."""
    rng = np.random.default_rng(seed)
    across, down = (np.cos(np.arange(5)[:, None] * np.linspace(0, np.pi, side)) for side in (WIDTH, HEIGHT))
    surface = down.T @ rng.normal(size=(5, 5)) @ across
    surface = 40 + 78 * (surface - surface.min()) / np.ptp(surface) + rng.uniform(0, 2, surface.shape)
    values = np.where(SQUARE, 200, surface)
    if bands:
        values = np.stack([surface + 3 * band for band in range(bands - 1)] + [values], axis=2)
    return (values * 200 if dtype == np.uint16 else values).astype(dtype)


class Files:
    """Writes images ``p0 ... p5`` and their masks into a folder."""

    def __init__(self, root):
        self.root = root

    def save(self, name, values, **options):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".tif" and not isinstance(values, Image.Image):
            planes = {"planarconfig": "contig"} if values.ndim == 3 and values.shape[2] < 8 else {}
            tifffile.imwrite(path, values, **({"photometric": "minisblack"} | planes | options))
        else:
            image = values if isinstance(values, Image.Image) else Image.fromarray(values)
            image.save(path, **options)
        return path

    def images(self, make=picture, *, name="images/p{}.png", number=6, **options):
        for seed in range(number):
            self.save(name.format(seed), make(seed), **options)

    def masks(self, values=SQUARE, *, name="masks/p{}.png", number=6, **options):
        for seed in range(number):
            self.save(name.format(seed), values, **options)


def jpeg_named_png(values):
    content = io.BytesIO()
    Image.fromarray(values).save(content, "JPEG", quality=90)
    return content.getvalue()


def smooth(top=255):
    """The square with the edges that a drawing program gives it; from half of the top on it is the square."""
    edges = cv2.GaussianBlur(SQUARE * float(top), (0, 0), 0.6)
    half = (top + 1) // 2
    return np.where(SQUARE, edges.clip(half), edges.clip(0, half - 1)).astype(np.uint8)


def giant(path, side=40_000):
    """A PNG file that says 40,000 x 40,000, and holds nothing."""
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")]
    content = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(content))


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path / "data")


@pytest.fixture
def giseg(tmp_path, capsys):
    """Runs ``giseg data`` on a recipe; gives exit code and output, and the data set."""

    def run(dataset, more=""):
        path = tmp_path / "recipe.toml"
        path.write_text(
            RECIPE.format(root=(tmp_path / "data").as_posix(), dataset=dataset, more=more), encoding="utf-8"
        )
        with pytest.raises(SystemExit) as ended:
            main(["data", str(path)])
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out + captured.err

    return run


@pytest.fixture
def opened(tmp_path):
    """The data set of the recipe that ``giseg`` wrote."""
    plugins = load_plugins(selection="none")
    return lambda: (
        Session(plugins, "cpu").experiment(load_recipe(tmp_path / "recipe.toml", registries=plugins.registries)).dataset
    )


# --- what is read, and right ----------------------------------------------------------------------------------------


class Read(NamedTuple):
    """Files that are read: how they are made, the keys, what is said, and the shape and type of an image."""

    make: object
    dataset: str = LABELS
    said: str = "nothing found"
    shape: tuple[int, ...] = (HEIGHT, WIDTH)
    dtype: str = "uint8"


def turned(files, *, form, orientation, mask=False):
    """Images, or masks too, stored as the tag says, so that they are upright once it is applied."""
    times = {3: 2, 6: 1, 8: 3}[orientation]  # quarter turns against the clock that the tag undoes
    exif = Image.Exif()
    exif[0x0112] = orientation
    tags = {"extratags": [(274, "H", 1, orientation, True)]} if form == "tif" else {"exif": exif}
    quality = {"quality": 95} if form == "jpg" else {}
    for seed in range(6):
        files.save(f"images/p{seed}.{form}", np.rot90(picture(seed), times).copy(), **tags, **quality)
        if mask:
            files.save(
                f"masks/p{seed}.tif", np.rot90(SQUARE, times).copy(), extratags=[(274, "H", 1, orientation, True)]
            )
    if not mask:
        files.masks()


def in_alpha(files, mode):
    files.images()
    black = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    planes = [black] * (3 if mode == "RGBA" else 1) + [SQUARE * 255]
    files.masks(Image.merge(mode, [Image.fromarray(plane) for plane in planes]), name="masks/blob/p{}.png")


def lossy(files, form):
    files.images()
    for seed in range(6):
        content = io.BytesIO()
        Image.fromarray(SQUARE * 255).convert("RGB").save(content, form, quality=90)
        path = files.root / f"masks/blob/p{seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.getvalue())


def bands(files, number, dtype, **options):
    files.images(lambda seed: picture(seed, bands=number, dtype=dtype), name="images/p{}.tif", **options)
    files.masks()


def rgba(files):
    files.images(lambda seed: picture(seed, bands=4))
    files.masks()


def palette(files, form, *, gray=False, bits=8):
    files.images()
    values = Image.fromarray(SQUARE).convert("1") if bits == 1 else Image.fromarray(SQUARE, "P")
    if bits == 8:
        values.putpalette([0, 0, 0, *([80, 80, 80] if gray else [255, 0, 0])])
    else:
        values = Image.fromarray(SQUARE * 255).convert("1")
    files.masks(values, name=f"masks/p{{}}.{form}")


def pages(files, **options):
    for scan in range(6):
        stack = np.stack([picture(3 * scan + page) for page in range(3)])
        files.save(f"images/p{scan}.tif", stack, **options)
        files.save(f"masks/p{scan}.tif", np.stack([SQUARE] * 3), **options)


def names(files, image, mask):
    files.images(name=f"images/{image}")
    files.masks(name=f"masks/{mask}")


def colors(files, form):
    files.images()
    color = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    color[SQUARE == 1] = (255, 128, 0)
    files.masks(color, name=f"masks/p{{}}.{form}")


def jpegs_named_png(files):
    files.images()
    files.masks()
    (files.root / "images" / "p0.png").write_bytes(jpeg_named_png(picture(0)))


def odd_names(files):
    for seed, name in enumerate(["a b, c", "-x", "1", "01", "Ünï q", "日本 2"]):
        files.save(f"images/{name}.png", picture(seed))
        files.save(f"masks/{name}.png", SQUARE)


READ = {
    "exif 3 of a JPEG": Read(lambda files: turned(files, form="jpg", orientation=3)),
    "exif 6 of a PNG": Read(lambda files: turned(files, form="png", orientation=6)),
    "orientation 3 of a TIFF": Read(lambda files: turned(files, form="tif", orientation=3)),
    "orientation 8 of image and mask": Read(lambda files: turned(files, form="tif", orientation=8, mask=True)),
    "a shape in RGBA": Read(lambda files: in_alpha(files, "RGBA"), f'{CLASSES}\nmask_from = "alpha"'),
    "a shape in gray and alpha": Read(lambda files: in_alpha(files, "LA"), f'{CLASSES}\nmask_from = "alpha"'),
    "a JPEG mask with a threshold": Read(
        lambda files: lossy(files, "JPEG"), f"{CLASSES}\nthreshold = 128", "content of another kind (6)"
    ),
    "a lossy WebP mask with a threshold": Read(
        lambda files: lossy(files, "WebP"), f"{CLASSES}\nthreshold = 128", "content of another kind (6)"
    ),
    "smoothed edges with a threshold": Read(
        lambda files: (files.images(), files.masks(smooth(), name="masks/blob/p{}.png")), f"{CLASSES}\nthreshold = 128"
    ),
    "4 bands of 8 bits": Read(lambda files: bands(files, 4, np.uint8), shape=(HEIGHT, WIDTH, 4)),
    "3 bands of 16 bits": Read(lambda files: bands(files, 3, np.uint16), shape=(HEIGHT, WIDTH, 3), dtype="uint16"),
    "5 bands": Read(lambda files: bands(files, 5, np.uint8), shape=(HEIGHT, WIDTH, 5)),
    "2 bands of half floats": Read(
        lambda files: bands(files, 2, np.float16),
        f'{LABELS}\n[normalization]\nname = "percentile"',
        shape=(HEIGHT, WIDTH, 2),
        dtype="float32",
    ),
    "a fourth band in an RGBA file": Read(rgba, f'{LABELS}\nalpha = "channel"', shape=(HEIGHT, WIDTH, 4)),
    "a palette": Read(lambda files: palette(files, "png")),
    "a palette in GIF": Read(lambda files: palette(files, "gif")),
    "a palette of grays": Read(lambda files: palette(files, "png", gray=True)),
    "1 bit": Read(lambda files: palette(files, "png", bits=1)),
    "1 bit in BMP": Read(lambda files: palette(files, "bmp", bits=1)),
    "0 and 255": Read(lambda files: (files.images(), files.masks(SQUARE * 255)), "labels = {blob = 255}"),
    "pages of a TIFF": Read(pages, f'{LABELS}\npages = "slices"'),
    "pages of a BigTIFF": Read(lambda files: pages(files, bigtiff=True), f'{LABELS}\npages = "slices"'),
    "an ImageJ stack": Read(
        lambda files: pages(files, imagej=True, metadata={"axes": "ZYX"}), f'{LABELS}\npages = "slices"'
    ),
    "N_mask.png": Read(lambda files: names(files, "p{}.png", "p{}_mask.png"), f'{LABELS}\nmask_suffix = "_mask"'),
    "names of nnU-Net": Read(
        lambda files: names(files, "p{}_0000.png", "p{}.png"), f'{LABELS}\nimage_suffix = "_0000"'
    ),
    "BMP and upper case": Read(lambda files: names(files, "p{}.BMP", "p{}.PNG")),
    "WebP": Read(lambda files: (files.images(name="images/p{}.webp", lossless=True), files.masks())),
    "colors": Read(lambda files: colors(files, "png"), 'colors = {blob = "#ff8000"}'),
    "colors in BMP": Read(lambda files: colors(files, "bmp"), "colors = {blob = [255, 128, 0]}"),
    "a JPEG that is called PNG": Read(jpegs_named_png, said="p0.png: is a JPEG file, whatever its name ends with"),
    "odd names": Read(odd_names),
}


@pytest.mark.parametrize("case", READ)
@pytest.mark.slow
def test_what_is_read_is_right(case, files, giseg, opened):
    read = READ[case]
    read.make(files)
    dataset, table, more = read.dataset.partition("\n[")
    code, output = giseg(dataset, (table + more).strip())
    assert (code, SHARE in output, read.said in output) == (0, True, True), output
    dataset = opened()
    for row in range(len(dataset.table)):
        image = np.asarray(dataset.image(row))
        assert (image.shape, str(image.dtype)) == (read.shape, read.dtype)
        assert np.array_equal(dataset.mask(row)[:, :, 0], SQUARE)
        last = (image if image.ndim == 2 else image[:, :, -1]).astype(float)
        assert last[SQUARE == 1].min() > last[SQUARE == 0].max()  # the square of the image is under the mask


def test_pages_are_neighbors_in_a_scan(files, giseg, opened):
    pages(files, bigtiff=True)
    giseg(f'{LABELS}\npages = "slices"', "slices = 3")
    table = opened().table
    assert table["id"].tolist()[:4] == ["p0_001", "p0_002", "p0_003", "p1_001"]
    assert table["scan"].nunique() == 6 and table["position"].tolist()[:4] == [0, 1, 2, 0]


# --- what is refused, or doubted ------------------------------------------------------------------------------------


class Told(NamedTuple):
    """Files that something is said of: how they are made, the keys, what is said, and the exit code."""

    make: object
    said: tuple[str, ...]
    dataset: str = LABELS
    code: int = 1


def floats(files, change):
    def make(seed):
        values = picture(seed, dtype=np.float32) / 255
        if seed in (1, 4):
            change(values)
        return values

    files.images(make, name="images/p{}.tif")
    files.masks()


def put(value):
    def change(values):
        values[3, 5] = value

    return change


def hounsfield(files):
    files.images(lambda seed: picture(seed, dtype=np.float32) * 3 - 1000, name="images/p{}.tif")
    files.masks()


def one_giant(files, place):
    files.images()
    files.masks()
    giant(files.root / place)


def mixed(files, second):
    for seed in range(6):
        files.save(f"images/p{seed}.png", picture(seed) if seed < 4 else second(seed))
    files.masks()


def of_color(seed):
    return np.stack([picture(seed), picture(seed + 1), picture(seed + 2)], axis=2)


def inverted(files, *, value=1):
    files.images()
    files.masks((1 - SQUARE) * np.uint8(value))


def patients(files, form):
    for case in range(3):
        for number in range(4):
            files.save(f"images/{form.format(case, number)}.png", picture(4 * case + number))
            files.save(f"masks/{form.format(case, number)}.png", SQUARE)


def others(files):
    files.images(number=4)
    files.masks(number=4)
    (files.root / "images" / "notes.txt").write_text("x")
    (files.root / "images" / "p9.dcm").write_bytes(b"x")
    (files.root / "images" / "more").mkdir()


def volumes(files, *endings):
    for folder in ("images", "masks"):
        (files.root / folder).mkdir(parents=True)
    for number, ending in enumerate(endings):
        (files.root / "images" / f"a{number}{ending}").write_bytes(b"x" * 400)


def three_bad(files):
    files.images()
    files.masks()
    (files.root / "images" / "p1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (files.root / "images" / "p3.png").write_bytes(b"")
    files.save("masks/p5.png", SQUARE * np.uint8(7))


def with_one(files, change, *, number=6):
    """Images and masks of which one is changed: ``change`` is given the image and the mask of p2, and gives both."""
    files.images(number=number)
    files.masks(number=number)
    image, mask = change(picture(2), SQUARE.copy())
    files.save("images/p2.png", image)
    files.save("masks/p2.png", mask)


def doubled(files, *, shift=0):
    files.images()
    files.masks()
    files.save("images/p5.png", picture(1))
    files.save("masks/p5.png", np.roll(SQUARE, shift, axis=1))


def numbered(files, *missing):
    for case in range(2):
        for number in (number for number in range(8) if (case, number) not in missing):
            files.save(f"images/a{case}_{number}.png", picture(10 * case + number))
            files.save(f"masks/a{case}_{number}.png", SQUARE)


def two_classes(files, second):
    files.images()
    files.masks(name="masks/a/p{}.png")
    for seed in range(6):
        files.save(f"masks/b/p{seed}.png", second)


TOLD = {
    "a constant image": Told(
        lambda files: with_one(files, lambda image, mask: (image * 0 + 9, mask * 0)),
        ("warning: constant image: p2",),
        code=0,
    ),
    "a black image under a mask": Told(
        lambda files: with_one(files, lambda image, mask: (image * 0, mask)), ("error: mask on a constant image: p2",)
    ),
    "noise": Told(
        lambda files: with_one(
            files, lambda image, mask: (np.random.default_rng(1).integers(0, 255, image.shape, dtype=np.uint8), mask)
        ),
        ("warning: noise: p2",),
        code=0,
    ),
    "a class that fills a slice": Told(
        lambda files: with_one(files, lambda image, mask: (image, mask * 0 + 1)),
        ("class that fills a slice: p2",),
        code=0,
    ),
    "a class that never occurs": Told(
        lambda files: two_classes(files, SQUARE * 0), ("class that never occurs: b",), 'classes = ["a", "b"]', code=0
    ),
    "two classes with one mask": Told(
        lambda files: two_classes(files, SQUARE),
        ("error: two classes with one mask", "a and b"),
        'classes = ["a", "b"]',
    ),
    "an image twice, whose masks agree": Told(
        doubled, ("error: same image in two cases", "p1 and p5", "the masks are the same")
    ),
    "an image twice, whose masks differ": Told(
        lambda files: doubled(files, shift=1), ("same image in two cases", f"Dice blob {2 * 130 / 280:.2f}")
    ),
    "a missing number": Told(
        lambda files: numbered(files, (1, 4)),
        ("warning: missing slice numbers: a1", "4"),
        f'{LABELS}\nnames = "{{case}}_{{slice}}"',
        code=0,
    ),
    "a PNG that is called TIFF": Told(
        lambda files: (
            files.images(),
            files.masks(),
            (files.root / "images/p0.png").rename(files.root / "images/p0.tif"),
        ),
        ("warning: content of another kind", "p0.tif: is a PNG file"),
        code=0,
    ),
    "too few cases for the folds": Told(
        lambda files: (files.images(number=1), files.masks(number=1)), ("error: split", "2 folds need at least 2")
    ),
    "a shape in RGBA": Told(
        lambda files: in_alpha(files, "RGBA"),
        ("alpha channel of a mask (6)", "p0.png", 'dataset.mask_from = "alpha"'),
        CLASSES,
    ),
    "a shape in gray and alpha": Told(
        lambda files: in_alpha(files, "LA"), ("alpha channel of a mask (6)", 'dataset.mask_from = "alpha"'), CLASSES
    ),
    "pages": Told(pages, ("holds several pages (3)", 'dataset.pages = "slices"')),
    "pages of a BigTIFF": Told(lambda files: pages(files, bigtiff=True), ("holds several pages (3)",)),
    "a JPEG mask": Told(lambda files: lossy(files, "JPEG"), ("lossy mask (6)", "JPEG", "dataset.threshold"), CLASSES),
    "a lossy WebP mask": Told(lambda files: lossy(files, "WebP"), ("lossy mask (6)", "dataset.threshold"), CLASSES),
    "smoothed edges": Told(
        lambda files: (files.images(), files.masks(smooth(), name="masks/blob/p{}.png")),
        ("in-between values (6)", f"{((smooth() > 0) & (smooth() < 255)).mean():.1%}", "dataset.threshold = 128"),
        CLASSES,
    ),
    "smoothed edges of 16 bits": Told(
        lambda files: (files.images(), files.masks(smooth().astype(np.uint16) * 257, name="masks/blob/p{}.png")),
        ("in-between values (6)", "dataset.threshold = 32768"),
        CLASSES,
    ),
    "a fourth band in an RGBA file": Told(rgba, ("alpha channel (6)", 'dataset.alpha = "channel" keeps it')),
    "a giant image": Told(
        lambda files: one_giant(files, "images/p2.png"), ("p2.png: has 40,000 x 40,000", "in 5 slices", SHARE)
    ),
    "a giant mask": Told(lambda files: one_giant(files, "masks/p2.png"), ("masks/p2.png: has 40,000 x 40,000",)),
    "a giant image to predict": Told(
        lambda files: one_giant(files, "new/p9.png"),
        ("p9.png: has 40,000 x 40,000", SHARE),
        f'{LABELS}\nunlabelled = "new"',
    ),
    "NaN": Told(
        lambda files: floats(files, put(np.nan)),
        ("values that are not finite (2): p1", "1 of 1536 values", "1 NaN", "p4"),
    ),
    "infinity": Told(lambda files: floats(files, put(-np.inf)), ("values that are not finite (2): p1", "1 infinite")),
    "values below zero": Told(hounsfield, ("does not take (6)", "-8", '"window" (CT)')),
    "N_mask.png": Told(
        lambda files: names(files, "p{}.png", "p{}_mask.png"),
        ("6 images have no mask", "p0, p1, p2 ...", "p0_mask, p1_mask", 'dataset.mask_suffix = "_mask"'),
        code=2,
    ),
    "names of nnU-Net": Told(
        lambda files: names(files, "p{}_0000.png", "p{}.png"),
        ("p0_0000, p1_0000", "masks in", "p0, p1, p2 ...", 'dataset.image_suffix = "_0000"'),
        code=2,
    ),
    "DICOM and NIfTI": Told(
        lambda files: volumes(files, ".dcm", ".nii.gz"),
        ("DICOM and NIfTI files are not supported", "SimpleITK"),
        code=2,
    ),
    "NRRD": Told(lambda files: volumes(files, ".nrrd"), ("NRRD files are not supported yet",), code=2),
    "color among gray": Told(lambda files: mixed(files, of_color), ("channels", "p4", "p5")),
    "16 bits among 8": Told(
        lambda files: mixed(files, lambda seed: picture(seed, dtype=np.uint16)), ("warning: depth", "p4"), code=0
    ),
    "colors without a table": Told(lambda files: colors(files, "png"), ("color mask (6)", "dataset.colors", "p0.png")),
    "colors that the table lacks": Told(
        lambda files: colors(files, "png"),
        ("unexplained color (6)", "#ff8000", "140 of 1,536 pixels (9.1%)"),
        'colors = {blob = "#00ff00"}',
    ),
    "an inverted mask": Told(inverted, ("class that covers most", "blob"), code=0),
    "an inverted mask of 255": Told(
        lambda files: inverted(files, value=255), ("class that covers most",), "labels = {blob = 255}", code=0
    ),
    "patients in the names": Told(
        lambda files: patients(files, "patient{:02}_slice{:03}"),
        ("3 cases (patient00 ... patient02)", "each image is a case"),
        code=0,
    ),
    "patients before a number": Told(
        lambda files: patients(files, "s{}-{}"), ("3 cases (s0 ... s2)", "both sides of the split"), code=0
    ),
    "files of other kinds": Told(
        others, ("passed over: .dcm", "p9.dcm", "passed over: .txt", "passed over: folder", "more"), code=0
    ),
    "three bad files": Told(three_bad, ("p1.png", "p3.png", "p5.png", "has the value 7", "3 errors")),
}


@pytest.mark.parametrize("case", TOLD)
def test_what_is_wrong_is_told(case, files, giseg):
    told = TOLD[case]
    told.make(files)
    code, output = giseg(told.dataset)
    assert [word for word in told.said if word not in output] == [], output
    assert code == told.code, output
    assert "Traceback" not in output


def test_hounsfield_units_are_read_with_a_window(files, giseg):
    hounsfield(files)
    code, output = giseg(LABELS, '[normalization]\nname = "window"\nlevel = -600\nwidth = 800')
    assert (code, "nothing found" in output) == (0, True), output


@pytest.mark.parametrize("form", ["scan{}_{:03}", "a{}x{}"])
def test_three_slices_where_no_scan_has_neighbors(files, giseg, form):
    patients(files, form)
    _, output = giseg(LABELS, "slices = 3")
    assert "setting without effect" in output and "[input] slices" in output


def test_a_window_of_three_bands_is_not_mixed_to_gray(files, giseg, opened):
    """The first bands hold no square: whoever mixes or drops bands cannot see it."""
    bands(files, 3, np.uint16)
    giseg(LABELS)
    image = opened().image(0)
    assert np.array_equal(image, picture(0, bands=3, dtype=np.uint16))


# --- from finding to training ---------------------------------------------------------------------------------------

TRAINS = """
[[metric]]
name = "dice"
[train]
epochs = 1
batch_size = 2
workers = 0
activation_checkpointing = "off"
"""


@pytest.mark.slow
def test_from_finding_to_training_without_the_bad_slices(files, giseg, tmp_path, capsys):
    """``--fix`` lists them, ``exclusions`` leaves them out, and what trains, scores and predicts are the others."""
    three_bad(files)
    before = {path: path.read_bytes() for path in files.root.rglob("*.png")}
    network = (
        RECIPE.replace('name = "unet"', 'name = "r2unet"\nwidth = 2\ndepth = 2\nsteps = 1').replace("{more}", "")
        + TRAINS
    )

    def main_with(*arguments, dataset=LABELS):
        text = network.format(root=files.root.as_posix(), dataset=dataset)
        (tmp_path / "recipe.toml").write_text(text, encoding="utf-8")
        with pytest.raises(SystemExit) as ended:
            main([*arguments])
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out + captured.err

    recipe, fixed = str(tmp_path / "recipe.toml"), tmp_path / "bad.csv"
    code, output = main_with("data", recipe, "--fix", str(fixed))
    assert (code, f"{fixed}: 3 slices to leave out" in output) == (1, True), output
    assert {line.split(",")[0] for line in fixed.read_text().splitlines()[1:]} == {"p1", "p3", "p5"}
    assert {path: path.read_bytes() for path in files.root.rglob("*.png")} == before
    code, output = main_with("train", recipe, "--out", str(tmp_path / "run"), "--device", "cpu")
    assert (code, "3 errors in the data" in output) == (2, True), output
    excluding = f'{LABELS}\nexclusions = "{fixed.as_posix()}"'
    code, output = main_with("data", recipe, dataset=excluding)
    assert (code, "3 labelled" in output, "3 slices (" in output) == (0, True, True), output
    code, output = main_with("run", recipe, "--out", str(tmp_path / "run"), "--device", "cpu", dataset=excluding)
    assert (code, "left out: 3 slices (" in output) == (0, True), output
    split = (tmp_path / "run" / "split.csv").read_text().splitlines()[1:]
    assert sorted(line.split(",")[0] for line in split) == ["p0", "p2", "p4"]
