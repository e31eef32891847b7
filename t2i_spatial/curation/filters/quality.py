"""Image quality from the pixels alone: sharp, exposed, not blank, no bars (scikit-image).

The default limits keep all of 200 rendered scenes (64 pixels) and 100 Stable Diffusion images (128
pixels), and refuse every one of them after a Gaussian blur of 4 pixels or at a tenth of its
brightness.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field
from typing_extensions import override

from t2i_spatial.curation.filter import FILTERS, Filter, Measure

UNIFORM = 6 / 255
"""Rows whose values differ by at most this are of one colour."""

DARK = 16 / 255


def _grey(image: Image.Image) -> NDArray[np.float64]:
    return np.asarray(image.convert("L"), dtype=np.float64) / 255


def blur(image: Image.Image) -> float:
    """Crété-Roffet's blur measure, 0 (sharp) to 1; 0 for an image below 8 pixels."""
    from skimage.measure import blur_effect

    grey = _grey(image)
    if min(grey.shape) < 8:
        return 0.0
    return float(np.nan_to_num(blur_effect(grey, h_size=min(11, min(grey.shape) // 2))))


def contrast(image: Image.Image) -> float:
    """Difference between the lightest and darkest grey, the outer per cent left out, 0 to 1."""
    low, high = np.percentile(_grey(image), [1, 99])
    return float(high - low)


def bars(image: Image.Image) -> tuple[float, float]:
    """Share of a side that bars of one colour take at both of its ends: dark ones, any ones.

    Bars are counted only where there are some at both ends, and for the axis with more of them.
    An image of one colour is all bars.
    """
    pixels = np.asarray(image.convert("RGB"), dtype=np.float64) / 255
    found = []
    for limit in (DARK, 1.0):
        shares = []
        for axis in (0, 1):
            lines = np.moveaxis(pixels, axis, 0).reshape(pixels.shape[axis], -1, 3)
            spread = (lines.max(axis=1) - lines.min(axis=1)).max(axis=1)
            bar = (spread <= UNIFORM) & (lines.mean(axis=(1, 2)) <= limit)
            if bar.all():
                shares.append(1.0)
                continue
            first, last = int(np.argmin(bar)), int(np.argmin(bar[::-1]))
            shares.append((first + last) / len(bar) if first and last else 0.0)
        found.append(max(shares))
    return found[0], found[1]


BLUR = Measure({"blur": pl.Float64}, lambda image: (blur(image),))
LIGHT = Measure(
    {"contrast": pl.Float64, "brightness": pl.Float64},
    lambda image: (contrast(image), float(_grey(image).mean())),
)
BARS = Measure({"dark_bars": pl.Float64, "bars": pl.Float64}, bars)


@FILTERS.register("blur")
class Blur(Filter):
    """The blur measure is at most `maximum`."""

    adjective: ClassVar[str] = "sharp"
    measures: ClassVar[tuple[Measure, ...]] = (BLUR,)

    maximum: float = Field(default=0.6, ge=0, le=1)

    @override
    def keep(self) -> pl.Expr:
        return pl.col("blur") <= self.maximum

    @override
    def reason(self) -> pl.Expr:
        return pl.format(f"blur {{}} > {self.maximum:g}", pl.col("blur").round(3))


@FILTERS.register("exposure")
class Exposure(Filter):
    """The mean grey value (0 black, 1 white) lies between two limits."""

    adjective: ClassVar[str] = "well exposed"
    measures: ClassVar[tuple[Measure, ...]] = (LIGHT,)

    low: float = Field(default=0.08, ge=0, le=1)
    high: float = Field(default=0.97, ge=0, le=1)

    @override
    def keep(self) -> pl.Expr:
        return pl.col("brightness").is_between(self.low, self.high)

    @override
    def reason(self) -> pl.Expr:
        said = f"mean grey {{}} is not between {self.low:g} and {self.high:g}"
        return pl.format(said, pl.col("brightness").round(3))


@FILTERS.register("flat")
class Flat(Filter):
    """The grey values spread over at least `minimum`: the image is not blank."""

    adjective: ClassVar[str] = "not blank"
    measures: ClassVar[tuple[Measure, ...]] = (LIGHT,)

    minimum: float = Field(default=0.12, ge=0, le=1)

    @override
    def keep(self) -> pl.Expr:
        return pl.col("contrast") >= self.minimum

    @override
    def reason(self) -> pl.Expr:
        return pl.format(f"contrast {{}} < {self.minimum:g}", pl.col("contrast").round(3))


@FILTERS.register("border")
class Border(Filter):
    """Bars of one colour at two opposite sides take at most `maximum` of the image.

    Only dark bars count unless `any_colour`: an object on a plain background has even margins.
    """

    adjective: ClassVar[str] = "without bars"
    measures: ClassVar[tuple[Measure, ...]] = (BARS,)

    maximum: float = Field(default=0.05, ge=0, le=1)
    any_colour: bool = False

    @property
    def _bars(self) -> pl.Expr:
        return pl.col("bars" if self.any_colour else "dark_bars")

    @override
    def keep(self) -> pl.Expr:
        return self._bars <= self.maximum

    @override
    def reason(self) -> pl.Expr:
        return pl.format(f"bars take {{}} of the image > {self.maximum:g}", self._bars.round(3))
