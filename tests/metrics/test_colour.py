"""YCbCr: the published corner values, exact rounding against fractions, the two rules by type, and bad input."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from skimage.color import rgb2ycbcr as skimage_ycbcr

from residiff.errors import ConfigError
from residiff.metrics import luma, rgb2ycbcr

CORNERS = {  # of MATLAB's documentation and BT.601: full colours in 8 bits
    (0, 0, 0): (16, 128, 128),
    (255, 255, 255): (235, 128, 128),
    (255, 0, 0): (81, 90, 240),
    (0, 255, 0): (145, 54, 34),
    (0, 0, 255): (41, 240, 110),
}


def bytes_of(*colours):
    return torch.tensor(colours, dtype=torch.uint8).T[:, None]


@pytest.mark.parametrize(("rgb", "ycbcr"), CORNERS.items())
def test_corners(rgb, ycbcr):
    assert tuple(rgb2ycbcr(bytes_of(rgb)).flatten().tolist()) == ycbcr
    floats = rgb2ycbcr(bytes_of(rgb).float() / 255)
    assert floats.dtype == torch.float64
    assert np.abs(floats.flatten().numpy() * 255 - ycbcr).max() <= 0.5


def half_way():
    """Colours whose Y lies exactly half-way between two levels."""
    return [
        (r, g, b)
        for r in range(0, 256, 5)
        for g in range(256)
        for b in range(256)
        if (65481 * r + 128553 * g + 24966 * b) % 255000 == 127500
    ]


def test_luma_rounds_half_up_exactly():
    colours = half_way()
    assert len(colours) > 10
    exact = [16 + Fraction(65481 * r + 128553 * g + 24966 * b, 255000) + Fraction(1, 2) for r, g, b in colours]
    assert luma(bytes_of(*colours)).flatten().tolist() == [int(value) for value in exact]


def test_against_scikit_image(draw):
    image = draw((3, 37, 50))
    theirs = skimage_ycbcr(image.transpose(1, 2, 0)).transpose(2, 0, 1)
    assert np.abs(rgb2ycbcr(torch.from_numpy(image) / 255).numpy() * 255 - theirs).max() < 1e-4
    assert np.abs(rgb2ycbcr(torch.from_numpy(image / 255)).numpy() * 255 - theirs).max() < 1e-10
    assert (rgb2ycbcr(torch.from_numpy(image)).numpy() == np.floor(theirs + 0.5)).all()


def test_luma_is_the_first_row(draw):
    for image in (torch.from_numpy(draw((3, 7, 9))), torch.from_numpy(draw((3, 7, 9), np.float32))):
        assert torch.equal(luma(image), rgb2ycbcr(image)[:1]) and luma(image).shape == (1, 7, 9)
    assert luma(torch.zeros(3, 2, 2)).dtype == torch.float64


@pytest.mark.parametrize("convert", [luma, rgb2ycbcr])
def test_what_has_no_luma(convert):
    for shape in ((1, 4, 4), (4, 4, 3), (3, 4), (3, 0, 4)):
        with pytest.raises(ConfigError, match=r"sRGB of \(3, H, W\)"):
            convert(torch.zeros(shape))
    with pytest.raises(ConfigError, match="torch.int16"):
        convert(torch.zeros(3, 4, 4, dtype=torch.int16))
