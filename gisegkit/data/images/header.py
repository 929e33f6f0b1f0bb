"""What an image file says of itself, before any pixel is decoded."""

from __future__ import annotations

from dataclasses import dataclass

from gisegkit.errors import count

COPY = "copy it again from its source"

ENDINGS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".webp": "WebP",
    ".gif": "GIF",
}
"""The endings of files that are read, in any case, and what they promise."""

NOT_READ = {
    ".dcm": "DICOM",
    ".dicom": "DICOM",
    ".nii": "NIfTI",
    ".nii.gz": "NIfTI",
    ".mha": "MetaImage",
    ".mhd": "MetaImage",
    ".nrrd": "NRRD",
    ".npy": "NumPy",
    ".npz": "NumPy",
    ".czi": "Zeiss CZI",
    ".svs": "whole-slide",
    ".jp2": "JPEG 2000",
    ".heic": "HEIC",
    ".avif": "AVIF",
    ".mat": "MATLAB",
}
"""The endings of files that hold images and are not read."""


@dataclass(frozen=True)
class Header:
    """What an image file says of itself.

    Attributes:
        format: PNG, JPEG, TIFF, BMP, WebP or GIF, as the content says, whatever the name ends with.
        height, width: of the pixels as they are stored.
        channels: samples a pixel, alpha included; of a palette's indices one.
        bits: of a sample.
        dtype: of the decoded samples, as numpy names it.
        pages: images in the file.
        orientation: the EXIF or TIFF tag, 1 to 8; 1 is upright.
        palette: whether the samples are indices of a palette.
        alpha: whether the last channel is transparency, or whether a palette or a color is transparent.
        lossy: whether the compression changes values.
        inverted: whether 0 is white.
        ordinary: whether OpenCV decodes it as it is: gray or RGB, 8 or 16 bits, nothing besides.
        clear: of a gray PNG file, the value that is transparent; -1 for none. It makes a channel of transparency.
        by_tifffile: of a file of 1 bit in which 0 is white, whether tifffile wrote it: it writes an array of True and
            False like that, as 1 and 0.
    """

    format: str
    height: int
    width: int
    channels: int
    bits: int
    dtype: str
    pages: int = 1
    orientation: int = 1
    palette: bool = False
    alpha: bool = False
    lossy: bool = False
    inverted: bool = False
    ordinary: bool = False
    clear: int = -1
    by_tifffile: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the upright image."""
        return (self.width, self.height) if self.orientation > 4 else (self.height, self.width)

    def __str__(self) -> str:
        of = f"{count(self.channels, 'channel')} of {count(self.bits, 'bit')}"
        return f"{self.format}, {self.height} x {self.width} (height x width), {of}"


def sniff(start: bytes) -> str:
    """The format that a file's first bytes tell; empty if it is none that is read."""
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if start.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if start[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WebP"
    return "BMP" if start.startswith(b"BM") else ""
