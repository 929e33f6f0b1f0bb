"""Files as people have them: every band, page, palette, orientation and depth comes back, or is refused by name."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from gisegkit.data.images import read
from gisegkit.data.images.look import read_header
from gisegkit.data.images.read import colors_of, image_size, read_image, read_values, upright
from gisegkit.errors import DataError

RANDOM = np.random.default_rng(0)
GRAY = RANDOM.integers(0, 256, (12, 20), dtype=np.uint8)
RGB = RANDOM.integers(0, 256, (12, 20, 3), dtype=np.uint8)
RGBA = RANDOM.integers(0, 256, (12, 20, 4), dtype=np.uint8)
DEEP = RANDOM.integers(0, 65536, (12, 20), dtype=np.uint16)


def tiff(path, values, **options):
    tifffile.imwrite(path, values, **options)
    return path


def chunks_of(content):
    at, found = 8, []
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        found.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def png_of(chunks):
    parts = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


# --- every band at full depth ---


@pytest.mark.parametrize("bands", [2, 3, 4, 5, 7])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_bands_of_a_tiff_are_channels(tmp_path, bands, dtype, planar):
    image = (RANDOM.random((12, 20, bands)) * 200).astype(dtype)
    stored = image if planar == "contig" else np.moveaxis(image, 2, 0)
    path = tiff(tmp_path / "a.tif", stored, photometric="minisblack", planarconfig=planar, metadata=None)
    found = read_image(path)
    assert found.dtype == dtype and np.array_equal(found, image)
    assert read_header(path).channels == bands


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits", "deflate", "zstd"])
def test_compressed_tiff(tmp_path, bigtiff, compression):
    path = tiff(tmp_path / "a.tif", DEEP, bigtiff=bigtiff, compression=compression, predictor=compression == "zlib")
    assert np.array_equal(read_image(path), DEEP) and image_size(path) == (12, 20)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [(np.float16, np.float32), (np.float32, np.float32), (np.float64, np.float32), (np.int8, np.int8),
     (np.int16, np.int16), (np.int32, np.int32), (np.uint32, np.uint32)],
)  # fmt: skip
def test_values_of_every_type(tmp_path, dtype, expected):
    image = (RANDOM.random((12, 20)) * 100 - (50 if np.dtype(dtype).kind != "u" else 0)).astype(dtype)
    found = read_image(tiff(tmp_path / "a.tif", image))
    assert found.dtype == expected and np.array_equal(found, image.astype(expected))


def test_twelve_bits_are_unpacked(tmp_path):
    image = DEEP >> 4
    found = read_image(tiff(tmp_path / "a.tif", image, bitspersample=12, photometric="minisblack"))
    assert found.dtype == np.uint16 and np.array_equal(found, image)


def test_white_is_zero(tmp_path):
    path = tiff(tmp_path / "a.tif", GRAY, photometric="miniswhite")
    assert np.array_equal(read_image(path), 255 - GRAY)
    with pytest.raises(DataError, match=r"a\.tif: says that 0 is white"):
        read_values(path)
    path = tiff(tmp_path / "b.tif", GRAY > 99, photometric="miniswhite")
    assert np.array_equal(read_values(path), GRAY <= 99) and set(np.unique(read_image(path))) == {0, 255}


# --- alpha ---


@pytest.mark.parametrize("form", ["png", "tif", "webp"])
def test_alpha_of_an_image_is_a_question(tmp_path, form):
    path = tmp_path / f"a.{form}"
    image = RGBA.copy()
    image[..., 3] |= 1  # colors where all is transparent may be lost
    Image.fromarray(image).save(path, **({"lossless": True, "exact": True} if form == "webp" else {}))
    with pytest.raises(DataError, match=rf'a\.{form}: has an alpha channel.*dataset\.alpha = "channel"'):
        read_image(path)
    assert np.array_equal(read_image(path, alpha="channel"), image)
    assert np.array_equal(read_image(path, alpha="drop"), image[..., :3])
    image[..., 3] = 255
    Image.fromarray(image).save(path, **({"lossless": True} if form == "webp" else {}))
    assert np.array_equal(read_image(path), image[..., :3])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_gray_and_alpha(tmp_path, dtype):
    gray = np.stack([GRAY, GRAY[::-1]], axis=2).astype(dtype) * (1 if dtype == np.uint8 else 256)
    scanlines = b"".join(b"\0" + row.astype(gray.dtype.newbyteorder(">")).tobytes() for row in gray)
    head = struct.pack(">IIBBBBB", 20, 12, gray.itemsize * 8, 4, 0, 0, 0)
    path = tmp_path / "a.png"
    path.write_bytes(png_of([(b"IHDR", head), (b"IDAT", zlib.compress(scanlines)), (b"IEND", b"")]))
    assert np.array_equal(read_image(path, alpha="channel"), gray)
    assert np.array_equal(read_image(path, alpha="drop"), gray[..., 0])


def test_alpha_of_a_mask(tmp_path):
    shape = (GRAY > 128).astype(np.uint8) * 255
    path = tmp_path / "a.png"
    Image.fromarray(np.dstack([np.zeros((12, 20, 3), np.uint8), shape])).save(path)
    with pytest.raises(DataError, match=r"a\.png: is a mask with an alpha channel.*mask_from"):
        read_values(path)
    assert np.array_equal(read_values(path, source="alpha"), shape)
    Image.fromarray(shape).save(path)
    with pytest.raises(DataError, match="has no alpha channel"):
        read_values(path, source="alpha")


def test_a_transparent_color(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(RGB).save(path, transparency=tuple(RGB[0, 0].tolist()))
    with pytest.raises(DataError, match=r"a\.png"):
        read_image(path)
    assert np.array_equal(read_image(path, alpha="drop"), RGB)


# --- palettes and few bits ---


@pytest.mark.parametrize("form", ["png", "gif", "bmp", "tif"])
def test_palettes_give_indices_to_masks_and_colors_to_images(tmp_path, form):
    indices = GRAY % 3
    colors = np.array([[0, 0, 0], [200, 30, 30], [30, 30, 200]], dtype=np.uint8)
    image = Image.fromarray(indices, mode="P")
    image.putpalette(colors.tobytes())
    image.save(path := tmp_path / f"a.{form}")
    assert np.array_equal(read_values(path), indices)
    assert np.array_equal(read_image(path), colors[indices])
    assert np.array_equal(colors_of(path), colors[indices])


@pytest.mark.parametrize("form", ["png", "tif", "bmp", "gif"])
def test_a_palette_of_grays(tmp_path, form):
    indices = GRAY % 3
    grays = np.array([0, 80, 160], dtype=np.uint8)
    image = Image.fromarray(indices, mode="P")
    image.putpalette(np.repeat(grays, 3).tobytes())
    image.save(path := tmp_path / f"a.{form}")
    assert np.array_equal(read_values(path), indices)
    assert np.array_equal(read_image(path), grays[indices])


@pytest.mark.parametrize("form", ["png", "tif", "bmp", "gif"])
def test_one_bit(tmp_path, form):
    Image.fromarray(GRAY > 99).save(path := tmp_path / f"a.{form}")
    assert np.array_equal(read_values(path) != 0, GRAY > 99)
    assert form == "gif" or read_values(path).max() == 1
    assert np.array_equal(read_image(path), (GRAY > 99) * 255)


@pytest.mark.parametrize("bits", [2, 4])
def test_few_bits(tmp_path, bits):
    values = GRAY % 2**bits
    weights = 1 << np.arange(bits)[::-1]
    scanlines = b"".join(b"\0" + np.packbits((row[:, None] & weights) > 0).tobytes() for row in values)
    head = struct.pack(">IIBBBBB", 20, 12, bits, 0, 0, 0, 0)
    path = tmp_path / "a.png"
    path.write_bytes(png_of([(b"IHDR", head), (b"IDAT", zlib.compress(scanlines)), (b"IEND", b"")]))
    assert np.array_equal(read_values(path), values)
    assert np.array_equal(read_image(path), values * (255 // (2**bits - 1)))


# --- orientation ---


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["jpg", "png", "webp", "tif"])
def test_orientation_is_applied_alike(tmp_path, orientation, form):
    """Against Pillow's own ``exif_transpose``."""
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    smooth = cv2.resize(GRAY[::4, ::4], (20, 12), interpolation=cv2.INTER_CUBIC)
    path = tmp_path / f"a.{form}"
    if form == "tif":
        tiff(path, smooth, extratags=[(274, "H", 1, orientation, True)])
    else:
        Image.fromarray(smooth).convert("RGB").save(path, exif=exif, **({"lossless": True} if form == "webp" else {}))
    opened = Image.open(path)
    opened.load()  # turns a TIFF by itself
    seen = np.asarray(opened if form == "tif" else ImageOps.exif_transpose(opened))
    found = read_image(path)
    assert found.shape == seen.shape and np.abs(found.astype(int) - seen).max() <= (3 if form == "jpg" else 0)
    assert image_size(path) == found.shape[:2]
    assert np.array_equal(upright(smooth, orientation).shape, found.shape[:2])


# --- pages ---


@pytest.mark.parametrize(
    "options",
    [{}, {"bigtiff": True}, {"imagej": True, "metadata": {"axes": "ZYX"}}, {"metadata": None}, {"compression": "zlib"}],
)
@pytest.mark.parametrize("bands", [1, 3])
def test_pages(tmp_path, options, bands):
    stack = RANDOM.integers(0, 60000, (4, 12, 20, bands), dtype=np.uint16).squeeze()
    if bands > 1 and options.get("imagej"):
        stack = np.moveaxis(stack, 3, 1)  # ImageJ's order: pages, channels, rows, columns
        options = options | {"metadata": {"axes": "ZCYX"}}
    path = tiff(
        tmp_path / "a.tif",
        stack,
        photometric="rgb" if bands > 1 and "imagej" not in options else "minisblack",
        **options,
    )
    with pytest.raises(DataError, match=r'a\.tif: holds several pages \(4\); dataset\.pages = "slices"'):
        read_image(path)
    assert read_header(path).pages == 4
    for page in range(4):
        expected = np.moveaxis(stack[page], 0, 2) if bands > 1 and options.get("imagej") else stack[page]
        assert np.array_equal(read_image(path, page=page), expected)
    with pytest.raises(DataError, match="has no page 5"):
        read_image(path, page=4)


def test_two_axes_of_pages_and_frames_are_refused(tmp_path):
    path = tiff(tmp_path / "a.tif", np.zeros((2, 3, 12, 20), np.uint8), imagej=True, metadata={"axes": "TZYX"})
    with pytest.raises(DataError, match=r"a\.tif: holds 2 \(T\) x 3 \(Z\) images"):
        read_image(path)
    for form in ("gif", "webp", "png"):
        frames = [Image.fromarray(RGB), Image.fromarray(RGB[::-1].copy())]
        frames[0].save(path := tmp_path / f"b.{form}", save_all=True, append_images=frames[1:])
        with pytest.raises(DataError, match=r"holds several frames \(2\); save every slice as a file of its own"):
            read_image(path)


# --- content, damage, sizes ---


def test_content_decides(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.jpg", quality=95)
    expected = read_image(tmp_path / "a.jpg")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.jpg").read_bytes())
    assert np.array_equal(read_image(tmp_path / "b.png"), expected)
    assert read_header(tmp_path / "b.png").format == "JPEG" and read_header(tmp_path / "b.png").lossy


@pytest.mark.parametrize("lossless", [False, True])
def test_lossy_webp_and_tiff_are_told(tmp_path, lossless):
    Image.fromarray(RGB).save(tmp_path / "a.webp", lossless=lossless)
    assert read_header(tmp_path / "a.webp").lossy != lossless
    tiff(tmp_path / "a.tif", RGB, compression="zlib" if lossless else "jpeg", photometric="rgb")
    assert read_header(tmp_path / "a.tif").lossy != lossless


def jpeg():
    buffer = io.BytesIO()
    Image.fromarray(cv2.resize(GRAY, (200, 160))).save(buffer, "JPEG")
    return bytearray(buffer.getvalue())


@pytest.mark.parametrize("damage", ["cut", "cut and ended", "flipped"])
def test_damaged_jpeg(tmp_path, damage, capfd):
    content, half = jpeg(), len(jpeg()) // 2
    if damage == "flipped":
        content[half : half + 40] = bytes(reversed(content[half : half + 40]))
        content[half + 50] = 0xFF
        content[half + 51] = 0xD9
    else:
        content = content[:half] + (content[-2:] if "ended" in damage else b"")
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.jpg: is (a )?damaged"):
        read_image(tmp_path / "a.jpg")
    assert "Corrupt" not in capfd.readouterr().err


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_damaged_tiff(tmp_path, compression, kept):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.tile(DEEP, (10, 10)), compression=compression)
    content = buffer.getvalue()
    (tmp_path / "a.tif").write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DataError, match=r"a\.tif"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("form", ["gif", "bmp", "webp"])
def test_damaged_others(tmp_path, form):
    Image.fromarray(cv2.resize(GRAY, (200, 160))).save(path := tmp_path / f"a.{form}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"a\.{form}"):
        read_image(path)


def test_a_file_that_says_something_else(tmp_path, monkeypatch):
    cv2.imwrite(str(tmp_path / "a.png"), GRAY)
    monkeypatch.setattr(read.cv2, "imdecode", lambda content, flags: GRAY[:, :10])
    with pytest.raises(
        DataError, match=r"a\.png: says of itself PNG, 12 x 20 .* 12 x 10 x 1 of type uint8 were decoded"
    ):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("form", ["png", "tif", "bmp", "gif"])
def test_giants_are_refused_by_their_header(tmp_path, form):
    path = tmp_path / f"a.{form}"
    side = 40_000
    if form == "png":
        head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
        path.write_bytes(png_of([(b"IHDR", head), (b"IDAT", b""), (b"IEND", b"")]))
    elif form == "tif":
        with tifffile.TiffWriter(path, bigtiff=True) as writer:
            writer.write(
                iter([b"1"] * 4), shape=(side, side), dtype=np.uint8, tile=(20_000, 20_000), compression="zlib"
            )
    elif form == "bmp":
        content = io.BytesIO()
        Image.fromarray(GRAY).save(content, "BMP")
        content = bytearray(content.getvalue())
        content[18:26] = struct.pack("<ii", side, side)
        path.write_bytes(content)
    else:
        content = io.BytesIO()
        Image.fromarray(GRAY).save(content, "GIF")
        content = bytearray(content.getvalue())
        content[6:10] = struct.pack("<HH", side, side)
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.{form}: has 40,000 x 40,000 .*cut it into tiles") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


def test_what_is_no_image(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "page.png").write_bytes(b"<html><body>404</body></html>")
    (tmp_path / "scan.png").write_bytes(bytes(128) + b"DICM" + bytes(200))
    for name, words in (
        ("pipe", "is a pipe"), ("folder", "is a folder"), ("empty", "is empty"), ("page", "is a web page"),
        ("scan", "is DICOM, which is not read; export it"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=rf"{name}\.png: {words}"):
            read_image(tmp_path / f"{name}.png")
