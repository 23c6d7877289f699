"""Lab under both whites, the errors by region, and CIEDE2000 against its published pairs and scikit-image."""

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from skimage.color import deltaE_ciede2000, rgb2lab

from residiff.errors import ConfigError
from residiff.metrics import LabError, delta_e_2000, lab_d50, lab_d65, lab_error

# Table 1 of Sharma, Wu and Dalal 2005: two Lab colours and their difference, to four digits
PAIRS = """
50 2.6772 -79.7751 50 0 -82.7485 2.0425
50 3.1571 -77.2803 50 0 -82.7485 2.8615
50 2.8361 -74.02 50 0 -82.7485 3.4412
50 -1.3802 -84.2814 50 0 -82.7485 1
50 -1.1848 -84.8006 50 0 -82.7485 1
50 -0.9009 -85.5211 50 0 -82.7485 1
50 0 0 50 -1 2 2.3669
50 -1 2 50 0 0 2.3669
50 2.49 -0.001 50 -2.49 0.0009 7.1792
50 2.49 -0.001 50 -2.49 0.001 7.1792
50 2.49 -0.001 50 -2.49 0.0011 7.2195
50 2.49 -0.001 50 -2.49 0.0012 7.2195
50 -0.001 2.49 50 0.0009 -2.49 4.8045
50 -0.001 2.49 50 0.001 -2.49 4.8045
50 -0.001 2.49 50 0.0011 -2.49 4.7461
50 2.5 0 50 0 -2.5 4.3065
50 2.5 0 73 25 -18 27.1492
50 2.5 0 61 -5 29 22.8977
50 2.5 0 56 -27 -3 31.9030
50 2.5 0 58 24 15 19.4535
50 2.5 0 50 3.1736 0.5854 1
50 2.5 0 50 3.2972 0 1
50 2.5 0 50 1.8634 0.5757 1
50 2.5 0 50 3.2592 0.3350 1
60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644
63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.2630
61.2901 3.7196 -5.3901 61.4292 2.2480 -4.9620 1.8731
35.0831 -44.1164 3.7933 35.0232 -40.0716 1.5901 1.8645
22.7233 20.0904 -46.6940 23.0331 14.9730 -42.5619 2.0373
36.4612 47.8580 18.3852 36.2715 50.5065 21.2231 1.4146
90.8027 -2.0831 1.4410 91.1528 -1.6435 0.0447 1.4441
90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
6.7747 -0.2908 -2.4247 5.8714 -0.0985 -2.2286 0.6377
2.0776 0.0795 -1.1350 0.9033 -0.0636 -0.5514 0.9082
"""
TABLE = torch.tensor(
    [[float(word) for word in line.split()] for line in PAIRS.split("\n") if line], dtype=torch.float64
)


def test_the_published_pairs():
    assert TABLE.shape == (34, 7)
    first, second, expected = TABLE[:, :3].T, TABLE[:, 3:6].T, TABLE[:, 6]
    assert (delta_e_2000(first, second) - expected).abs().max() <= 5.1e-5
    assert (delta_e_2000(second, first) - expected).abs().max() <= 5.1e-5
    assert (delta_e_2000(first, first) == 0).all()


def test_ciede2000_against_scikit_image(draw):
    first, second = (draw((3, 40, 50), np.float64, seed) * [[[100]], [[200]], [[200]]] for seed in (1, 2))
    first[1:], second[1:] = first[1:] - 100, second[1:] - 100
    theirs = deltaE_ciede2000(first.transpose(1, 2, 0), second.transpose(1, 2, 0))
    ours = delta_e_2000(torch.from_numpy(first), torch.from_numpy(second))
    assert ours.shape == (40, 50) and np.abs(ours.numpy() - theirs).max() < 1e-9


def test_d65_is_scikit_image_s(draw):
    image = draw((3, 40, 50))
    theirs = rgb2lab(image.transpose(1, 2, 0) / 255).transpose(2, 0, 1)
    assert np.abs(lab_d65(torch.from_numpy(image)).numpy() - theirs).max() < 1e-9
    assert np.abs(lab_d65(torch.from_numpy(image / 255)).numpy() - theirs).max() < 1e-9
    dark = np.linspace(0, 0.12, 3000).reshape(3, 10, 100, order="F")
    theirs = rgb2lab(dark.transpose(1, 2, 0)).transpose(2, 0, 1)
    assert np.abs(lab_d65(torch.from_numpy(dark)).numpy() - theirs).max() < 1e-9


def test_d50_is_the_profile_s_to_its_eight_bits(draw):
    """LittleCMS by way of its sRGB profile gives whole steps: L of 100/255, a and b of 1."""
    image = draw((40, 50, 3))
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    transform = ImageCms.buildTransform(*profiles, "RGB", "LAB", flags=ImageCms.Flags.NOOPTIMIZE)
    theirs = np.asarray(ImageCms.applyTransform(Image.fromarray(image), transform)).transpose(2, 0, 1)
    ours = lab_d50(torch.from_numpy(image).permute(2, 0, 1)).numpy()
    assert np.abs(ours[0] - theirs[0] * (100 / 255)).max() < 0.25
    assert np.abs(ours[1:] - theirs[1:].astype(np.int8)).max() < 0.55


@pytest.mark.parametrize(("convert", "slack"), [(lab_d50, 0.02), (lab_d65, 0.005)])
def test_greys_have_no_colour_and_white_is_100(convert, slack):
    grey = torch.arange(256, dtype=torch.uint8).expand(3, 1, 256)
    light, a, b = convert(grey)
    assert a.abs().max() < slack and b.abs().max() < slack
    assert light[0, 0] == pytest.approx(0, abs=1e-6) and light[0, -1] == pytest.approx(100, abs=2e-3)
    assert (light.diff() > 0).all() and light.dtype == torch.float64


def test_floats_beyond_the_range_stay_finite():
    assert torch.isfinite(lab_d50(torch.tensor([-0.3, 0.5, 1.2]).reshape(3, 1, 1))).all()


def test_errors_by_hand():
    first = torch.zeros(3, 1, 2, dtype=torch.float64)
    second = torch.tensor([[3.0, 0], [-4, 0], [0, 1]])[:, None]
    left = torch.tensor([[[True, False]]])
    assert lab_error(first, second) == LabError(8.0, 26.0, 2)
    assert lab_error(first, second, left) == LabError(7.0, 25.0, 1)
    assert lab_error(first, second, left).mae == 7 and lab_error(first, second, left).rmse == 5
    assert lab_error(first, second).mae == 4 and lab_error(first, second).rmse == math.sqrt(13)


def test_regions_add_up_and_pooling_weighs_by_pixels(draw):
    first, second = (torch.from_numpy(draw((3, 8, 9), np.float64, seed)) for seed in (1, 2))
    region = torch.from_numpy(draw((1, 8, 9), np.float64)) < 0.2
    whole, parts = lab_error(first, second), lab_error(first, second, region) + lab_error(first, second, ~region)
    assert (parts.absolute, parts.squared) == pytest.approx((whole.absolute, whole.squared))
    assert parts.pixels == 72
    pooled, mean = LabError(10, 10, 1) + LabError(0, 0, 9), (10 + 0) / 2
    assert pooled.mae == 1 != mean


def test_an_empty_region_adds_nothing_and_has_no_mean():
    image = torch.ones(3, 2, 2)
    empty = lab_error(image, image * 2, torch.zeros(1, 2, 2, dtype=torch.bool))
    assert empty + LabError(4.0, 8.0, 2) == LabError(4.0, 8.0, 2)
    for name in ("mae", "rmse"):
        with pytest.raises(ConfigError, match="no pixel"):
            getattr(empty, name)


def test_what_cannot_be_scored():
    image, region = torch.zeros(3, 4, 5), torch.ones(1, 4, 5, dtype=torch.bool)
    for other in (torch.zeros(3, 5, 4), torch.zeros(1, 4, 5)):
        with pytest.raises(ConfigError, match=r"\(3, 4, 5\) and"):
            lab_error(image, other)
        with pytest.raises(ConfigError, match=r"\(3, 4, 5\) and"):
            delta_e_2000(image, other)
    for bad in (region.float(), region[:, 1:], region[0]):
        with pytest.raises(ConfigError, match="it must be torch.bool"):
            lab_error(image, image, bad)
    with pytest.raises(ConfigError, match="not finite"):
        lab_error(image, image / 0)
    for convert in (lab_d50, lab_d65):
        with pytest.raises(ConfigError, match=r"\(1, 4, 5\)"):
            convert(image[:1])
        with pytest.raises(ConfigError, match="torch.int64"):
            convert(image.long())
