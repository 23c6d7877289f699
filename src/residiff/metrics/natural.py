"""Statistics of natural images: what NIQE and BRISQUE measure of a patch.

Mittal, Soundararajan and Bovik, Making a "completely blind" image quality analyzer, IEEE Signal Processing Letters
2013, by the conventions of the authors' MATLAB code. Grey levels I are on the scale of 255; mu and sigma are means and
deviations under a Gaussian window of 7 x 7 pixels and deviation 7/6, the edge pixel repeated beyond the border:

    c = (I - mu) / (sigma + 1),    sigma = sqrt |G * I^2 - mu^2|

The coefficients c of a patch, and the products of each with its neighbour, follow an asymmetric generalised Gaussian,

    f(x) ~ exp(-(-x / b_l)^a) where x < 0,   exp(-(x / b_r)^a) elsewhere,

which is fitted by moments: a is the one of 0.2, 0.201, ... 10 whose Gamma(2/a)^2 / (Gamma(1/a) Gamma(3/a)) is nearest
to the patch's ratio of moments.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

PER_SCALE = 18
_REACH, _SIGMA = 3, 7 / 6
_SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))
_SHAPES = torch.arange(200, 10_001, dtype=torch.float64) / 1000
_RATIOS = torch.exp(2 * torch.lgamma(2 / _SHAPES) - torch.lgamma(1 / _SHAPES) - torch.lgamma(3 / _SHAPES))


def normalised(luma: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficients c and deviations sigma (H, W) of grey levels (H, W) on the scale of 255, float64."""
    mean = _smoothed(luma)
    deviation = (_smoothed(luma.square()) - mean.square()).abs().sqrt()
    return (luma - mean) / (deviation + 1), deviation


def patch_features(patches: Tensor) -> Tensor:
    """The 18 numbers of each patch of coefficients (P, h, w) in float64: (P, 18).

    Of the coefficients a and (b_l + b_r) / 2; of their products with the neighbours to the left, above, and on both
    diagonals a, the mean (b_r - b_l) Gamma(2/a) / Gamma(1/a), b_l and b_r. The neighbours of a patch's border are those
    of its opposite border. Where one sign is missing a is 0.2, and that side's b and what is made of it are NaN.
    """
    shape, left, right = asymmetric_gaussian(patches.flatten(1))
    found = [shape, (left + right) / 2]
    for shift in _SHIFTS:
        products = patches * patches.roll(shift, (1, 2))
        shape, left, right = asymmetric_gaussian(products.flatten(1))
        mean = (right - left) * torch.exp(torch.lgamma(2 / shape) - torch.lgamma(1 / shape))
        found += [shape, mean, left, right]
    return torch.stack(found, 1)


def asymmetric_gaussian(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The fit a, b_l, b_r (P,) to each row of values (P, n), float64."""
    squares = values.square()
    left, right = (_root_mean(squares, values < 0), _root_mean(squares, values > 0))
    skew = left / right
    ratio = values.abs().mean(1).square() / squares.mean(1)
    ratio = ratio * (skew**3 + 1) * (skew + 1) / (skew.square() + 1).square()
    shape = _nearest_shape(ratio)
    scale = torch.exp((torch.lgamma(1 / shape) - torch.lgamma(3 / shape)) / 2)
    return shape, left * scale, right * scale


def _root_mean(squares: Tensor, chosen: Tensor) -> Tensor:
    """NaN where none is chosen."""
    return ((squares * chosen).sum(1) / chosen.sum(1)).sqrt()


def _nearest_shape(ratio: Tensor) -> Tensor:
    above = torch.searchsorted(_RATIOS, ratio.contiguous()).clamp(1, len(_RATIOS) - 1)
    nearer = (ratio - _RATIOS[above - 1]).square() <= (_RATIOS[above] - ratio).square()
    # MATLAB's minimum over nothing but NaN is the first
    return _SHAPES[torch.where(ratio.isnan(), 0, above - nearer.long())]


def _smoothed(plane: Tensor) -> Tensor:
    """Gaussian means (H, W)."""
    places = torch.arange(-_REACH, _REACH + 1, dtype=torch.float64)
    weights = torch.exp(-places.square() / (2 * _SIGMA**2))
    weights /= weights.sum()
    height, width = plane.shape
    padded = functional.pad(plane[None, None], (_REACH,) * 4, mode="replicate")[0, 0]
    rows = sum((w * padded[k : k + height] for k, w in enumerate(weights.tolist())), torch.zeros(()))
    return sum((w * rows[:, k : k + width] for k, w in enumerate(weights.tolist())), torch.zeros(()))
