"""CIE L*a*b* of sRGB images under the two whites in use, and the errors in it that shadow removal is scored by.

    L = 116 f(Y / Yn) - 16,   a = 500 (f(X / Xn) - f(Y / Yn)),   b = 200 (f(Y / Yn) - f(Z / Zn))
    f(q) = q^(1/3) where q > 0.008856, else 7.787 q + 16/116

L runs from 0 to 100; a and b of sRGB stay within -108 to 99. X, Y, Z are a matrix times the linear light of sRGB
(IEC 61966-2-1: v / 12.92 up to 0.04045, else ((v + 0.055) / 1.055)^2.4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from residiff.errors import ConfigError
from residiff.metrics.colour import unit_range

# The colorants of the ICC profile sRGB IEC61966-2.1, adapted to D50, in 1/65536 as the profile holds them
_COLORANTS = torch.tensor([[28578, 25241, 9376], [14581, 46981, 3972], [912, 6362, 46799]], dtype=torch.float64) / 65536
_D50 = torch.tensor([0.9642, 1.0, 0.8249], dtype=torch.float64)
# ITU-R BT.709 primaries with the white D65 of the 2 degree observer, to the digits in common use
_PRIMARIES = torch.tensor(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]],
    dtype=torch.float64,
)
_D65 = torch.tensor([0.95047, 1.0, 1.08883], dtype=torch.float64)


@dataclass(frozen=True)
class LabError:
    """The errors of a region, as sums, so that those of many images add up: `first + second`.

    Attributes
    ----------
    absolute : sum over the region's pixels of |dL| + |da| + |db|
    squared : sum over the region's pixels of dL^2 + da^2 + db^2
    pixels : how many pixels the region has; may be 0, and then there is no mean
    """

    absolute: float
    squared: float
    pixels: int

    def __add__(self, other: LabError) -> LabError:
        return LabError(self.absolute + other.absolute, self.squared + other.squared, self.pixels + other.pixels)

    @property
    def mae(self) -> float:
        """Mean of |dL| + |da| + |db| over pixels, which tables of shadow removal call MAE or, wrongly, RMSE.

        Of one image's error it is the image's figure, whose mean over images is published; of the sum of all images'
        errors it is the pooled figure. `ConfigError` if the region has no pixel.
        """
        return self.absolute / self._counted()

    @property
    def rmse(self) -> float:
        """Root of the mean over pixels of dL^2 + da^2 + db^2, the squared Delta E 1976; `ConfigError` as for `mae`."""
        return math.sqrt(self.squared / self._counted())

    def _counted(self) -> int:
        if self.pixels == 0:
            raise ConfigError("the region has no pixel, so there is no mean error; leave this image out of the region")
        return self.pixels


def lab_d50(image: Tensor) -> Tensor:
    """MATLAB's `applycform(image, makecform('srgb2lab'))` of doubles: Lab (3, H, W), float64, under the ICC white D50.

    `image` is sRGB (3, H, W), uint8 or floats in [0, 1]. The matrix is that of the sRGB profile, adapted from D65 to
    D50, with the white (0.9642, 1, 0.8249) of `whitepoint('icc')`; greys have a and b of up to 0.02, from the
    profile's rounding. scikit-image's `rgb2lab(illuminant="D50")` divides by that white without adapting, and is
    wrong by 19 in the b of white. Source: ICC.1:2010; MATLAB's documentation.

    Raises
    ------
    ConfigError
        If the image is not (3, H, W) of uint8 or floats.
    """
    return _lab(image, _COLORANTS, _D50)


def lab_d65(image: Tensor) -> Tensor:
    """Lab (3, H, W), float64, under sRGB's own white D65: scikit-image's `rgb2lab`, to its constants' digits.

    `image` is sRGB (3, H, W), uint8 or floats in [0, 1]. Source: CIE 15; ITU-R BT.709.

    Raises
    ------
    ConfigError
        If the image is not (3, H, W) of uint8 or floats.
    """
    return _lab(image, _PRIMARIES, _D65)


def lab_error(first: Tensor, second: Tensor, region: Tensor | None = None) -> LabError:
    """The error between two Lab images (3, H, W) over the pixels where the boolean `region` (1, H, W) is set.

    Without a region, over all. A region may be empty: its error then adds nothing.

    Raises
    ------
    ConfigError
        If the shapes differ or are not (3, H, W), a value is not finite, or the region is of another type or shape.
    """
    if first.shape != second.shape or first.ndim != 3 or first.shape[0] != 3:
        shapes = f"{tuple(first.shape)} and {tuple(second.shape)}"
        raise ConfigError(f"the Lab images have shapes {shapes}; give two of one shape (3, H, W)")
    if not (torch.isfinite(first).all() and torch.isfinite(second).all()):
        raise ConfigError("a Lab image holds values that are not finite (NaN, infinity); find their cause")
    difference = (first.double() - second.double()).flatten(1)
    if region is not None:
        if region.dtype != torch.bool or tuple(region.shape) != (1, *first.shape[1:]):
            wanted = f"torch.bool {(1, *first.shape[1:])}"
            raise ConfigError(f"the region is {region.dtype} {tuple(region.shape)}; it must be {wanted}")
        difference = difference[:, region.flatten()]
    return LabError(difference.abs().sum().item(), difference.square().sum().item(), difference.shape[1])


def _lab(image: Tensor, matrix: Tensor, white: Tensor) -> Tensor:
    values = unit_range(image)
    light = torch.where(values > 0.04045, ((values + 0.055) / 1.055) ** 2.4, values / 12.92)
    q = torch.einsum("rc,chw->rhw", matrix / white[:, None], light)
    x, y, z = torch.where(q > 0.008856, q ** (1 / 3), 7.787 * q + 16 / 116)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])
