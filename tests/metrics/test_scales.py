"""MS-SSIM against torchmetrics, up to what it does otherwise, and against the definition where that is silent."""

from __future__ import annotations

import math
import tracemalloc

import pytest
import torch
from image_pairs import channels_last, constants, luminance, noisy_pair
from scipy.ndimage import correlate
from skimage.metrics import structural_similarity
from torch.nn.functional import avg_pool2d
from torchmetrics.functional.image import structural_similarity_index_measure
from torchmetrics.image import MultiScaleStructuralSimilarityIndexMeasure

from residiff.errors import ConfigError
from residiff.metrics import ms_ssim, ssim

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def smooth_pair(channels, height, width, noise=0.2):
    """Images that agree less from scale to scale, not more: the noise has a grain of 4 pixels."""
    coarse = noisy_pair(channels, math.ceil(height / 4), math.ceil(width / 4), noise=noise)
    return [image.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, :height, :width].double() for image in coarse]


def definition(a, b):
    """By the paper's formula, with scikit-image's similarity and contrast maps and scipy's means of 2 x 2."""
    x, y = channels_last(a), channels_last(b)
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": 2}
    score = 1.0
    for weight in WEIGHTS:
        _, full = structural_similarity(x, y, data_range=1.0, full=True, **settings)
        if weight != WEIGHTS[-1]:
            # Without the mean that the window sees, luminance is 1: what is left is the contrast
            full = full / luminance_map(x, y)
        score *= max(0, full[5:-5, 5:-5].mean()) ** weight
        x, y = (halved(values) for values in (x, y))
    return score


def luminance_map(x, y):
    places = torch.arange(-5, 6).double()
    taps = torch.exp(-places.square() / 4.5).numpy()
    taps /= taps.sum()
    mean_x, mean_y = (correlate(values, (taps[:, None] * taps)[..., None]) for values in (x, y))
    return (2 * mean_x * mean_y + 1e-4) / (mean_x**2 + mean_y**2 + 1e-4)


def halved(values):
    """Each mean has its pixel at the upper left; half-sample symmetric beyond the border."""
    return correlate(values, [[[0.25], [0.25]], [[0.25], [0.25]]], mode="reflect", origin=(-1, -1, 0))[::2, ::2]


@pytest.mark.parametrize("make", [noisy_pair, smooth_pair])
@pytest.mark.parametrize("shape", [(3, 176, 192), (1, 208, 176)], ids=str)
def test_equals_torchmetrics_but_for_the_last_scale(make, shape):
    a, b = (image.double() for image in make(*shape))
    theirs = MultiScaleStructuralSimilarityIndexMeasure(data_range=1.0)(a[None], b[None]).item()
    small = [avg_pool2d(image, 16) for image in (a, b)]
    bordered = structural_similarity_index_measure(small[0][None], small[1][None], data_range=1.0).item()
    mended = theirs * (ssim(*small) / bordered) ** WEIGHTS[-1]
    assert ms_ssim(a, b) == pytest.approx(mended, abs=5e-8)
    assert ms_ssim(a, b) == pytest.approx(theirs, abs=2e-2)


@pytest.mark.parametrize("shape", [(3, 177, 191), (1, 183, 250), (3, 207, 176), (2, 300, 193)], ids=str)
def test_odd_sides_follow_the_definition(shape):
    a, b = smooth_pair(*shape)
    assert ms_ssim(a, b) == pytest.approx(definition(a, b), abs=1e-11)


def test_flat_images():
    images = constants(0.3, 0.7, 3, 176, 180)
    assert ms_ssim(*images) == pytest.approx(luminance(0.3, 0.7) ** WEIGHTS[-1], abs=1e-10)


def test_equal_images():
    a, _ = noisy_pair(3, 176, 181)
    assert ms_ssim(a, a.clone()) == 1


def test_a_negative_mean_counts_as_nothing():
    a, _ = noisy_pair(3, 176, 181)
    assert ssim(a, 1 - a) < 0
    assert ms_ssim(a, 1 - a) == 0
    assert MultiScaleStructuralSimilarityIndexMeasure(data_range=1.0)(a[None], 1 - a[None]) == 0


@pytest.mark.parametrize(("height", "width"), [(175, 400), (400, 175)])
def test_too_small(height, width):
    a = torch.rand(3, height, width)
    with pytest.raises(ConfigError, match=f"{width} x {height} pixels; MS-SSIM needs at least 176 x 176"):
        ms_ssim(a, a)


def test_memory_stays_below_that_of_the_images():
    a, b = torch.rand(2, 3, 2000, 1000)
    tracemalloc.start()
    ms_ssim(a, b)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1.5 * a.nbytes
