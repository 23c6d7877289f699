"""NIQE, how far an image is from natural photographs; no reference is needed, and less is better.

Mittal, Soundararajan and Bovik, Making a "completely blind" image quality analyzer, IEEE Signal Processing Letters
2013, by the conventions of the authors' MATLAB code: 36 features of every patch of 96 x 96 pixels, 18 of the image and
18 of the image halved; their mean nu_2 and covariance S_2 over the patches, and nu_1, S_1 of pristine photographs:

    D = sqrt( (nu_1 - nu_2)^T ((S_1 + S_2) / 2)^+ (nu_1 - nu_2) )

What is left over at the right and at the bottom is cut off. The image is halved by MATLAB's `imresize`, antialiased
bicubic, whose values are neither rounded nor clipped.

Which grey levels are given moves the number: the authors' code takes `matlab_grey`; BasicSR, whose figures most papers
on restoration quote, the rounded Y of YCbCr in 16 to 235. Published figures are those of the published parameters; a
fit of one's own has a name of its own, and its numbers compare with no others.

In areas of one grey level the coefficients are rounding noise, whose signs the fits count: there implementations
differ, by 1e-3 on a photograph with a few such areas and by tenths where they fill whole patches; elsewhere by 1e-5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from residiff.errors import ConfigError, check_range
from residiff.metrics.natural import PER_SCALE, normalised, patch_features
from residiff.metrics.resize import imresize

PATCH = 96
FEATURES = 2 * PER_SCALE
SHARPNESS = 0.75
PUBLISHED = "published"
_LUMA = (0.298936021293776, 0.587043074451121, 0.114020904255103)

# (C, H, W), height, width -> (C, height, width), floats
Resize = Callable[[Tensor, int, int], Tensor]


@dataclass(frozen=True, eq=False)
class Pristine:
    """Mean (36,) and covariance (36, 36) in float64 of the features of good photographs.

    Attributes
    ----------
    name : `PUBLISHED` for the authors' parameters alone; results of two names cannot be compared
    """

    mean: Tensor
    covariance: Tensor
    name: str

    def __post_init__(self) -> None:
        shapes = tuple(self.mean.shape), tuple(self.covariance.shape)
        if shapes != ((FEATURES,), (FEATURES, FEATURES)):
            raise ConfigError(f"pristine parameters are {shapes[0]} and {shapes[1]}; needed are (36,) and (36, 36)")
        if not (torch.isfinite(self.mean).all() and torch.isfinite(self.covariance).all()):
            raise ConfigError("pristine parameters hold values that are not finite; take another file")


def niqe(luma: Tensor, pristine: Pristine, resize: Resize = imresize) -> float:
    """The distance, 0 or more, of grey levels (1, H, W) on the scale of 255, uint8 or whole floats, from photographs.

    Raises
    ------
    ConfigError
        If the image is of another shape, or has no two patches of 96 x 96 pixels that are not flat.
    """
    mean, covariance = _gaussian(image_features(luma, resize)[0])
    off = pristine.mean - mean
    inverse = torch.linalg.pinv((pristine.covariance + covariance) / 2, hermitian=True)
    return float((off @ inverse @ off).clamp(min=0).sqrt())


def fit_pristine(
    lumas: Iterable[Tensor], name: str, *, threshold: float = SHARPNESS, resize: Resize = imresize
) -> Pristine:
    """Pristine parameters from photographs' grey levels (1, H, W) on the scale of 255.

    Of each photograph those patches count whose sharpness, the mean of sigma, is above `threshold` (0 to 1) times that
    of its sharpest patch. The authors took 125 photographs.

    Raises
    ------
    ConfigError
        If the name is that of the authors' parameters, or there are not two patches that count.
    """
    check_range("threshold", threshold, 0, 1)
    if name == PUBLISHED:
        raise ConfigError(f"{PUBLISHED!r} names the authors' parameters; give a fit of your own another name")
    rows = []
    for luma in lumas:
        features, sharpness = image_features(luma, resize)
        rows.append(features[sharpness > threshold * sharpness.max()])
    if not rows:
        raise ConfigError("there are no photographs to fit pristine parameters to")
    return Pristine(*_gaussian(torch.cat(rows)), name)


def image_features(luma: Tensor, resize: Resize = imresize) -> tuple[Tensor, Tensor]:
    """Features (P, 36) and sharpness (P,) of an image's patches, float64; arguments and errors as of `niqe`."""
    if luma.ndim != 3 or luma.shape[0] != 1 or min(luma.shape[1:]) < PATCH:
        raise ConfigError(f"the image has shape {tuple(luma.shape)}; NIQE needs (1, H, W) of at least 96 x 96 pixels")
    if not torch.isfinite(luma).all():
        raise ConfigError("the image holds values that are not finite (NaN, infinity); find their cause")
    height, width = (side // PATCH * PATCH for side in luma.shape[1:])
    whole = luma[:, :height, :width].cpu().double()
    coefficients, deviation = normalised(whole[0])
    halved, _ = normalised(resize(whole, height // 2, width // 2)[0])
    features = [patch_features(_patches(coefficients, PATCH)), patch_features(_patches(halved, PATCH // 2))]
    return torch.cat(features, 1), _patches(deviation, PATCH).mean((1, 2))


def matlab_grey(image: Tensor) -> Tensor:
    """MATLAB's `rgb2gray`: (3, H, W) in uint8 -> (1, H, W) in uint8, 0.2989 R + 0.5870 G + 0.1140 B rounded half up.

    Raises
    ------
    ConfigError
        If the image is not (3, H, W) of uint8.
    """
    if image.ndim != 3 or image.shape[0] != 3 or image.dtype != torch.uint8:
        raise ConfigError(f"the image is {image.dtype} {tuple(image.shape)}; give torch.uint8 of (3, H, W)")
    weights = torch.tensor(_LUMA, dtype=torch.float64, device=image.device).view(3, 1, 1)
    return ((image.double() * weights).sum(0, keepdim=True) + 0.5).floor().to(torch.uint8)


def _gaussian(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of what is no NaN, and unbiased covariance of the rows without any, as MATLAB's nanmean and nancov."""
    whole = rows[~rows.isnan().any(1)]
    if len(whole) < 2:
        raise ConfigError(f"{len(whole)} of {len(rows)} patches of 96 x 96 pixels can be measured; NIQE needs 2")
    return rows.nanmean(0), whole.T.cov()


def _patches(plane: Tensor, side: int) -> Tensor:
    """(H, W) -> (P, side, side), side by side."""
    return plane.unfold(0, side, side).unfold(1, side, side).reshape(-1, side, side)
