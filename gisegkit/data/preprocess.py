"""From the images of a stack to what a network gets, and from its output back: without a dataset, rows or a store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gisegkit.data.crops import Crop, place, scaled, window_of
from gisegkit.data.geometry import Size, Stretch, make_geometry, resized
from gisegkit.data.intensities import Intensities, Limits, Normalization, Scale, apply, keeps_zero, limits_of, scale_of
from gisegkit.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gisegkit.data.geometry import Fit
    from gisegkit.types import AnyArray, FloatArray, MaskArray


@dataclass(frozen=True)
class Preprocess:
    """What ``[input]`` and ``[normalization]`` do to whole slices; training, prediction and your own code share it.

    Args:
        normalization: gives the line that maps the values of a slice, of a stack or of a scan, see Normalization.
        size: rows and columns for the network, in pixels; None leaves images at their native size.
        resize, interpolation: as in ``[input]``.
    """

    normalization: Normalization
    size: Size | None = None
    resize: str = "stretch"
    interpolation: str = "linear"

    def __call__(
        self, stack: Sequence[AnyArray | None], scales: Sequence[Scale] | None = None, *, crop: Crop | None = None
    ) -> FloatArray:
        """What the network gets of a stack, ``[D * C, h, w]`` float32.

        Args:
            stack: D images ``[H, W, C]`` as their files have them, or resized already; None for zeros, but not all.
            scales: the line of each; default those that ``scales`` gives.
            crop: the part of the images that is taken; default all of them.

        Raises:
            DataError, ComponentError: as of ``scales``.
        """
        scales = self.scales(stack) if scales is None else scales
        planes: dict[tuple[int, Scale], FloatArray] = {}  # an image may be in a stack several times
        for image, scale in zip(stack, scales, strict=True):
            if image is not None and (id(image), scale) not in planes:
                planes[(id(image), scale)] = self._divided(self.plane(image, scale, crop=crop), scale)
        if len(stack) == 1:
            (whole,) = planes.values()
        else:
            nothing = np.zeros_like(next(iter(planes.values())))
            parts = [planes.get((id(image), scale), nothing) for image, scale in zip(stack, scales, strict=True)]
            whole = np.concatenate(parts, axis=2)
        return whole.transpose(2, 0, 1)

    def invert(self, values: FloatArray, native: Size) -> FloatArray:
        """The way back: probabilities ``[h, w, K]`` to ``[H, W, K]``.

        Args:
            native: H and W of the slice, in pixels.

        Raises:
            DataError: if the values are not of the size that a slice of this native size has for the network.
        """
        back: FloatArray = self.geometry(native).invert(values)
        return back

    def geometry(self, native: Size) -> Stretch | Fit:
        """How slices of a native size are brought to the network's size and back.

        Raises:
            DataError: as of ``make_geometry``.
        """
        return make_geometry(self.resize, native, self.size or native, self.interpolation)

    def plane(self, image: AnyArray, scale: Scale, *, crop: Crop | None = None) -> AnyArray:
        """An image ``[H, W, C]`` as ``[h, w, C]``, normalized but for the division by ``divisor``.

        What is not merely divided is normalized at native size. A divisor may differ from one stack to the next, so
        that what is only to be divided is the same in all of them.
        """
        if not keeps_zero(self.normalization):
            image = apply(self.normalization, image, scale)
        if crop is not None:
            return crop.image(image)
        return resized(image, self.geometry((image.shape[0], image.shape[1])))

    def divisor(self, scale: Scale) -> float:
        """What ``plane`` is still to be divided by; infinite where that leaves zeros."""
        return scale.divisor if keeps_zero(self.normalization) else 1.0

    @property
    def differs_by_stack(self) -> bool:
        """Whether ``plane`` gives another image for each stack that a slice is part of."""
        return self.normalization.over == "stack" and not keeps_zero(self.normalization)

    def scales(self, stack: Sequence[AnyArray | None]) -> list[Scale]:
        """The lines of a stack's images at native size, for a normalization over slices or over the stack.

        Raises:
            DataError: if the normalization is over scans, which a stack does not show; see ``scale``.
            ComponentError: if the normalization gives no line.
        """
        images = [image for image in stack if image is not None]
        if self.normalization.over == "scan":
            raise DataError("the normalization is over scans: give the line of the whole scan, see Preprocess.scale")
        if self.normalization.over == "stack":
            return [self.scale([limits_of(image) for image in images], images)] * len(stack)
        lines = {id(image): self.scale([limits_of(image)], [image]) for image in images}
        return [lines.get(id(image), Scale(0.0, 1.0)) for image in stack]

    def scale(self, limits: Sequence[Limits], images: Sequence[AnyArray] = ()) -> Scale:
        """The line of a unit: of a slice, a stack or a scan.

        Args:
            limits: of each of its images.
            images: each ``[H, W, C]`` at native size; not needed if the normalization does nothing but divide.

        Raises:
            ComponentError: if the normalization gives no line.
        """
        lows, highs, tops = zip(*limits, strict=True)
        pixels = () if keeps_zero(self.normalization) else tuple(images)
        return scale_of(self.normalization, Intensities(min(lows), max(highs), max(tops), pixels))

    def _divided(self, plane: AnyArray, scale: Scale) -> FloatArray:
        if not keeps_zero(self.normalization):
            return plane
        quotient: FloatArray = plane.astype(np.float32)
        quotient /= np.float32(scale.divisor)
        return quotient


@dataclass(frozen=True)
class CropPreprocess(Preprocess):
    """Random crops for training; whole slices at the same scale, of any size, for everything else.

    Args:
        size: rows and columns of a crop, in pixels.
        scale_by: of a slice before it is cropped: 1 leaves native resolution, 0.5 halves it.
        around: share of the crops that are put around a pixel of a class, as far as a slice has one.
    """

    scale_by: float = 1.0
    around: float = 0.0

    def geometry(self, native: Size) -> Stretch:
        """How slices of a native size are brought to the scale and back."""
        return Stretch(native, scaled(native, self.scale_by), self.interpolation)

    def crop(self, truth: MaskArray, rng: np.random.Generator) -> Crop:
        """Draw the crop of a slice.

        Args:
            truth: the slice's mask ``[H, W, K]`` uint8 at native size.
            rng: of the sample.
        """
        native = truth.shape[0], truth.shape[1]
        size = self.size or native
        window = window_of(size, self.scale_by)
        mask = truth if rng.random() < self.around else None
        return Crop(*place(native, window, rng, mask=mask), window, size, self.interpolation)
