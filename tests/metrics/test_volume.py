"""SSIM of volumes against one built of scipy's Gaussian filter."""

from __future__ import annotations

import pytest
from image_pairs import channels_last, constants, luminance, noisy_pair
from scipy.ndimage import gaussian_filter

from residiff.metrics import ssim, volume_ssim

SHAPES = [(3, 37, 53), (1, 40, 31), (2, 12, 600), (3, 49, 257), (3, 4, 3), (7, 30, 9), (1, 1, 1)]


def oracle(a, b):
    """The published formula on (H, W, C) arrays, the last voxels going on beyond the border."""
    x, y = channels_last(a), channels_last(b)
    mean_x, mean_y, xx, yy, xy = (
        gaussian_filter(values, sigma=1.5, radius=5, mode="nearest") for values in (x, y, x * x, y * y, x * y)
    )
    upper = (2 * mean_x * mean_y + 1e-4) * (2 * (xy - mean_x * mean_y) + 9e-4)
    lower = (mean_x**2 + mean_y**2 + 1e-4) * (xx - mean_x**2 + yy - mean_y**2 + 9e-4)
    return (upper / lower).mean()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("level", "noise"), [(0.5, 0.1), (0.95, 0.004), (0.02, 0.01)])
def test_equals_scipy(shape, level, noise):
    a, b = noisy_pair(*shape, level, noise)
    assert volume_ssim(a, b) == pytest.approx(oracle(a, b), abs=1e-11)


def test_values_outside_the_range_are_taken_as_they_are():
    a, b = (1.3 * image.double() - 0.15 for image in noisy_pair(3, 20, 31, noise=0.5))
    assert a.min() < 0 and a.max() > 1
    assert volume_ssim(a, b) == pytest.approx(oracle(a, b), abs=1e-11)


def test_flat_images():
    assert volume_ssim(*constants(0.3, 0.7, 3, 9, 40)) == pytest.approx(luminance(0.3, 0.7), abs=1e-12)


def test_equal_images():
    a, _ = noisy_pair(3, 20, 31)
    assert volume_ssim(a, a.clone()) == pytest.approx(1, abs=1e-15)


def test_channels_are_seen_together():
    """An error in the last channel alone costs the first one, too, unlike in the SSIM of planes."""
    a, b = noisy_pair(3, 64, 64)
    b[:2] = a[:2]
    assert volume_ssim(a, b) == pytest.approx(oracle(a, b), abs=1e-11)
    assert abs(volume_ssim(a, b) - ssim(a, b)) > 0.01
    swapped = [image[[0, 2, 1]] for image in (a, b)]
    assert abs(volume_ssim(*swapped) - volume_ssim(a, b)) > 1e-3


def test_of_equal_channels_it_is_that_of_one():
    a, b = (image.expand(3, -1, -1) for image in noisy_pair(1, 33, 20))
    assert volume_ssim(a, b) == pytest.approx(volume_ssim(a[:1], b[:1]), abs=1e-12)
