"""PSNR and SSIM against scikit-image and torchmetrics, their closed forms, invariants, bounds and faults."""

from __future__ import annotations

import math
import time
import tracemalloc

import pytest
import torch
from image_pairs import channels_last, constants, luminance, noisy_pair
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import structural_similarity_index_measure
from torchmetrics.image import PeakSignalNoiseRatio

from residiff.errors import ConfigError
from residiff.metrics import (
    GAUSSIAN,
    UNIFORM,
    Window,
    masked_psnr,
    masked_ssim,
    ms_ssim,
    psnr,
    ssim,
    ssim_of_channels,
    volume_ssim,
)

WANG = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
CONVENTIONS = [pytest.param(GAUSSIAN, WANG, id="gaussian"), pytest.param(UNIFORM, {}, id="uniform")]
PAIRS = [
    pytest.param((3, 37, 53), 0.5, 0.1, id="odd"),
    pytest.param((1, 11, 11), 0.5, 0.2, id="one-window"),
    pytest.param((3, 139, 17), 0.5, 0.05, id="tiles-down"),
    pytest.param((2, 13, 541), 0.5, 0.05, id="tiles-across"),
    pytest.param((3, 34, 266), 0.5, 0.05, id="whole-tiles"),
    pytest.param((3, 35, 267), 0.5, 0.05, id="a-row-and-a-column-more"),
    pytest.param((3, 41, 77), 0.95, 0.004, id="flat-and-bright"),
    pytest.param((3, 64, 75), 0.02, 0.01, id="dark"),
]


def oracle_ssim(a, b, settings):
    """scikit-image's SSIM."""
    return structural_similarity(channels_last(a), channels_last(b), data_range=1.0, channel_axis=2, **settings)


def oracle_psnr(a, b):
    return peak_signal_noise_ratio(a.double().numpy(), b.double().numpy(), data_range=1.0)


@pytest.mark.parametrize(("window", "settings"), CONVENTIONS)
@pytest.mark.parametrize(("shape", "level", "noise"), PAIRS)
def test_equals_scikit_image(shape, level, noise, window, settings):
    a, b = noisy_pair(*shape, level, noise)
    assert ssim(a, b, window) == pytest.approx(oracle_ssim(a, b, settings), abs=1e-11)
    assert psnr(a, b) == pytest.approx(oracle_psnr(a, b), abs=1e-10)


def test_equals_scikit_image_on_200_pairs_of_odd_sizes():
    source = torch.Generator().manual_seed(5)
    for height, width, noise in torch.randint(5, 40, (200, 3), generator=source).tolist():
        a, b = noisy_pair(3, 2 * height + 1, 2 * width + 1, noise=noise / 100)
        for window, settings in ((GAUSSIAN, WANG), (UNIFORM, {})):
            assert ssim(a, b, window) == pytest.approx(oracle_ssim(a, b, settings), abs=1e-11)
        assert psnr(a, b) == pytest.approx(oracle_psnr(a, b), abs=1e-10)


def test_equals_torchmetrics_inside_the_image():
    a, b = (image[None].double() for image in noisy_pair(3, 37, 53))
    whole, places = structural_similarity_index_measure(a, b, data_range=1.0, return_full_image=True)
    assert ssim(a[0], b[0]) == pytest.approx(places[..., 5:-5, 5:-5].mean().item(), abs=1e-11)
    assert 1e-4 < abs(ssim(a[0], b[0]) - whole.item()) < 1e-2


def test_psnr_equals_torchmetrics_image_by_image():
    pairs = [noisy_pair(3, size, 31, noise=size / 200) for size in (20, 20, 20)] + [noisy_pair(3, 20, 31, noise=0.3)]
    metric = PeakSignalNoiseRatio(data_range=(0.0, 1.0), dim=(1, 2, 3), reduction="elementwise_mean")
    metric.update(*(torch.stack(images).double() for images in zip(*pairs, strict=True)))
    assert sum(psnr(*pair) for pair in pairs) / 4 == pytest.approx(metric.compute().item(), abs=1e-6)


@pytest.mark.parametrize("offset", [1.0, 0.1, -0.25, 1 / 255])
def test_a_constant_offset(offset):
    a = torch.rand(3, 20, 31, dtype=torch.float64)
    assert psnr(a, a + offset) == pytest.approx(-20 * math.log10(abs(offset)), abs=1e-6)


@pytest.mark.parametrize("window", [GAUSSIAN, UNIFORM])
@pytest.mark.parametrize(("first", "second"), [(0.0, 1.0), (0.3, 0.7), (1.2, -0.1)])
def test_flat_images(first, second, window):
    images = constants(first, second, 3, 15, 40)
    assert ssim(*images, window) == pytest.approx(luminance(first, second), abs=1e-10)


@pytest.mark.parametrize(("window", "spread"), [(GAUSSIAN, 1), (UNIFORM, 49 / 48)])
def test_an_image_and_its_contrary(window, spread):
    """Of a - 1/2 and 1/2 - a the means cancel; covariance is minus the variance, of which the window has its share."""
    a = torch.rand(1, window.size, window.size, dtype=torch.float64) - 0.5
    weights = torch.tensor(window.weights, dtype=torch.float64)
    share = weights[:, None] * weights
    mean, square = (share * a[0]).sum(), (share * a[0].square()).sum()
    variance = spread * (square - mean**2)
    expected = (1e-4 - 2 * mean**2) * (9e-4 - 2 * variance) / ((1e-4 + 2 * mean**2) * (9e-4 + 2 * variance))
    assert ssim(a, -a, window) == pytest.approx(expected.item(), abs=1e-12)


def test_channels_are_scored_apart():
    a, b = noisy_pair(3, 40, 31)
    b[1] = a[1]
    scores = ssim_of_channels(a, b)
    assert scores == tuple(ssim(a[k : k + 1], b[k : k + 1]) for k in range(3)) and scores[1] == 1
    assert ssim(a, b) == pytest.approx(sum(scores) / 3, abs=1e-15)


def test_equal_images():
    a, _ = noisy_pair(3, 20, 31)
    assert psnr(a, a.clone()) == math.inf
    assert ssim(a, a.clone()) == ssim(a, a.clone(), UNIFORM) == 1


@pytest.mark.parametrize("metric", [psnr, ssim, lambda a, b: ssim(a, b, UNIFORM), ms_ssim, volume_ssim])
def test_symmetric_and_blind_to_mirrors(metric):
    a, b = noisy_pair(3, 192, 176)
    assert metric(b, a) == metric(a, b) != 1
    for dims in ([1], [2], [1, 2]):
        assert metric(a.flip(dims), b.flip(dims)) == pytest.approx(metric(a, b), abs=1e-12)


def test_mask_chooses_the_pixels():
    a, b = noisy_pair(3, 20, 31)
    mask = torch.zeros(1, 20, 31, dtype=torch.bool)
    mask[:, 5:12, 3:9] = True
    assert masked_psnr(a, b, mask) == pytest.approx(psnr(a[:, 5:12, 3:9], b[:, 5:12, 3:9]), abs=1e-12)
    assert masked_psnr(a, torch.where(mask, a, b), mask) == math.inf
    assert masked_psnr(a, b, torch.ones_like(mask)) == pytest.approx(psnr(a, b), abs=1e-12)


def test_masks_of_many_strips():
    a, b = noisy_pair(2, 700, 150)
    mask = torch.rand(1, 700, 150, generator=torch.Generator().manual_seed(0)) > 0.7
    mean = (a.double() - b.double()).square()[:, mask[0]].mean().item()
    assert masked_psnr(a, b, mask) == pytest.approx(-10 * math.log10(mean), abs=1e-10)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("metric", [psnr, ssim, volume_ssim])
def test_types_and_layouts_of_tensors(metric, dtype):
    a, b = (image.to(dtype) for image in noisy_pair(3, 30, 41))
    expected = metric(a.double(), b.double())
    apart = [image.permute(1, 2, 0).contiguous().permute(2, 0, 1) for image in (a, b)]
    assert type(expected) is float and metric(a, b) == pytest.approx(expected, abs=1e-12)
    assert metric(*apart) == pytest.approx(expected, abs=1e-12)
    assert metric(a.requires_grad_(), b) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", [psnr, ssim, volume_ssim, ms_ssim])
def test_shapes_and_values_are_checked(metric):
    a = torch.rand(3, 16, 16)
    with pytest.raises(ConfigError, match=r"\(3, 16, 16\) and \(3, 16, 15\)"):
        metric(a, a[..., 1:])
    with pytest.raises(ConfigError, match=r"\(C, H, W\)"):
        metric(a[None], a[None])
    with pytest.raises(ConfigError, match=r"\(C, H, W\)"):
        metric(a[:0], a[:0])
    with pytest.raises(ConfigError, match=r"torch.uint8; give floating-point values in \[0, 1\]"):
        metric(a, (a * 255).byte())
    for odd in (math.nan, math.inf, -math.inf):
        a[2, 15, 15] = odd
        with pytest.raises(ConfigError, match="not finite"):
            metric(torch.rand(3, 16, 16), a)


def test_images_smaller_than_the_window():
    a = torch.rand(3, 10, 40)
    with pytest.raises(ConfigError, match="40 x 10 pixels; SSIM needs at least 11 x 11"):
        ssim(a, a)
    with pytest.raises(ConfigError, match="40 x 6 pixels; SSIM needs at least 7 x 7"):
        ssim_of_channels(a[:, :6], a[:, :6], UNIFORM)


def test_bad_masks():
    a = torch.rand(3, 16, 16)
    with pytest.raises(ConfigError, match="no pixel"):
        masked_psnr(a, a, torch.zeros(1, 16, 16, dtype=torch.bool))
    with pytest.raises(ConfigError, match=r"torch.bool \(1, 16, 16\)"):
        masked_psnr(a, a, torch.ones(1, 16, 16))


@pytest.mark.parametrize(("weights", "correction"), [((0.5, 0.6), 1.0), ((), 1.0), ((0.5, 0.5), 0.9)])
def test_bad_windows(weights, correction):
    with pytest.raises(ConfigError, match="needed are 1 and at least 1"):
        Window(weights, correction)


def test_a_window_of_ones_own():
    a, b = noisy_pair(3, 40, 31)
    nine = Window((1 / 9,) * 9, 81 / 80)
    assert nine.size == 9
    assert ssim(a, b, nine) == pytest.approx(oracle_ssim(a, b, {"win_size": 9}), abs=1e-11)


@pytest.mark.parametrize("metric", [psnr, ssim, volume_ssim])
def test_memory_does_not_grow_with_the_image(metric):
    a, b = torch.rand(2, 3, 1000, 700)
    tracemalloc.start()
    metric(a, b)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4e6 < a.nbytes / 2


def test_a_megapixel_takes_a_fraction_of_a_second_of_computing():
    a = torch.rand(3, 1000, 1000)
    began = time.process_time()
    psnr(a, a), ssim(a, a)
    assert time.process_time() - began < 0.5


def test_a_mask_chooses_the_windows_by_their_middles():
    a, b = noisy_pair(3, 40, 31)
    oracle = structural_similarity(
        *(image.permute(1, 2, 0).double().numpy() for image in (a, b)),
        data_range=1.0, channel_axis=2, gaussian_weights=True, use_sample_covariance=False, full=True,
    )[1].mean(2)  # fmt: skip
    mask = torch.zeros(1, 40, 31, dtype=torch.bool)
    mask[:, 2:29, 3:9] = True
    middles = mask[0, 5:-5, 5:-5].numpy()
    assert masked_ssim(a, b, mask) == pytest.approx(oracle[5:-5, 5:-5][middles].mean(), abs=1e-9)
    assert masked_ssim(a, b, torch.ones_like(mask)) == pytest.approx(ssim(a, b), abs=1e-12)
    with pytest.raises(ConfigError, match="no pixel 5 pixels from the border"):
        masked_ssim(a, b, mask & (torch.arange(31) < 5))
