"""MATLAB's `rgb2ycbcr`: studio-range YCbCr of ITU-R BT.601, whose Y the rain and low-light protocols score alone."""

from __future__ import annotations

import torch
from torch import Tensor

from residiff.errors import ConfigError

# Rows Y, Cb, Cr, in thousandths of a level of 255: of red, green and blue in [0, 1], and what is added to each row
_WEIGHTS = torch.tensor([[65481, 128553, 24966], [-37797, -74203, 112000], [112000, -93786, -18214]])
_OFFSETS = torch.tensor([16000, 128000, 128000])


def rgb2ycbcr(image: Tensor) -> Tensor:
    """Y, Cb and Cr (3, H, W) of sRGB (3, H, W); the type of the image decides on the rule, as in MATLAB.

    uint8 gives uint8: for Y, 16 + (65.481 R + 128.553 G + 24.966 B) / 255 rounded half up, so 16 to 235; Cb and Cr
    likewise, 16 to 240 about 128. Floats in [0, 1] give float64, levels over 255 that are not rounded: for Y
    (16 + 65.481 R + 128.553 G + 24.966 B) / 255, so 16/255 to 235/255. Source: MATLAB's documentation; Poynton 1996.

    Raises
    ------
    ConfigError
        If the image is not (3, H, W) of uint8 or floats.
    """
    return _rows(image, 3)


def luma(image: Tensor) -> Tensor:
    """Y of `rgb2ycbcr` alone, (1, H, W): uint8 in 16 to 235 of uint8, float64 in 16/255 to 235/255 of floats in [0, 1].

    The published Y-PSNR and Y-SSIM are of the uint8 rule at peak 255: of `luma(image).double() / 255` at peak 1.

    Raises
    ------
    ConfigError
        If the image is not (3, H, W) of uint8 or floats.
    """
    return _rows(image, 1)


def unit_range(image: Tensor) -> Tensor:
    """An sRGB image (3, H, W) in float64 as MATLAB's `im2double` has it: uint8 over 255, floats as they are.

    Raises
    ------
    ConfigError
        If the image is not (3, H, W) of uint8 or floats.
    """
    if image.ndim != 3 or image.shape[0] != 3 or image.numel() == 0:
        raise ConfigError(f"the image has shape {tuple(image.shape)}; colours need sRGB of (3, H, W)")
    if image.dtype == torch.uint8:
        return image.double() / 255
    if not image.is_floating_point():
        raise ConfigError(f"the image is {image.dtype}; give torch.uint8, or floats in [0, 1]")
    return image.double()


def _rows(image: Tensor, count: int) -> Tensor:
    values = unit_range(image)
    weights, offsets = _WEIGHTS[:count], _OFFSETS[:count, None, None]
    if image.dtype != torch.uint8:
        return (torch.einsum("rc,chw->rhw", weights.double(), values) + offsets) / 255_000
    # In integers, since some colours lie half-way between two levels
    total = torch.einsum("rc,chw->rhw", weights, image.long()) + 255 * offsets
    return ((total + 127_500) // 255_000).to(torch.uint8)
