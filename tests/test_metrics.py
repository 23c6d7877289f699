"""PSNR and SSIM against scikit-image, and their invariants."""

from __future__ import annotations

import math
import time

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from residiff.errors import ConfigError
from residiff.metrics import masked_psnr, psnr, ssim


def noisy_pair(channels: int, height: int, width: int, level: float = 0.5, noise: float = 0.1) -> tuple[Tensor, Tensor]:
    """Two 8-bit images that differ by noise."""
    source = torch.Generator().manual_seed(height * 1000 + width)
    base = level + 0.3 * torch.randn(channels, height, width, generator=source) * noise
    other = base + noise * torch.randn(base.shape, generator=source)
    return tuple((image.clamp(0, 1) * 255).round() / 255 for image in (base, other))  # type: ignore[return-value]


def oracle_ssim(a: Tensor, b: Tensor) -> float:
    """scikit-image's SSIM by the same convention."""
    arrays = [image.permute(1, 2, 0).double().numpy() for image in (a, b)]
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(*arrays, data_range=1.0, channel_axis=2, **settings))


PAIRS = [
    pytest.param((3, 37, 53), 0.5, 0.1, id="odd"),
    pytest.param((1, 11, 11), 0.5, 0.2, id="one-window"),
    pytest.param((3, 139, 17), 0.5, 0.05, id="several-strips"),
    pytest.param((3, 41, 77), 0.95, 0.004, id="flat-and-bright"),
    pytest.param((3, 64, 75), 0.02, 0.01, id="dark"),
]


@pytest.mark.parametrize(("shape", "level", "noise"), PAIRS)
def test_equals_scikit_image(shape, level, noise):
    a, b = noisy_pair(*shape, level, noise)
    assert ssim(a, b) == pytest.approx(oracle_ssim(a, b), abs=1e-9)
    oracle = peak_signal_noise_ratio(a.double().numpy(), b.double().numpy(), data_range=1.0)
    assert psnr(a, b) == pytest.approx(oracle, abs=1e-6)


def test_known_value():
    assert psnr(torch.zeros(3, 4, 5), torch.full((3, 4, 5), 0.1)) == pytest.approx(20, abs=1e-6)


def test_equal_images():
    a, _ = noisy_pair(3, 20, 31)
    assert psnr(a, a.clone()) == math.inf
    assert ssim(a, a.clone()) == pytest.approx(1, abs=1e-12)


def test_symmetric_and_blind_to_mirrors():
    a, b = noisy_pair(3, 90, 31)
    assert ssim(a, b) == pytest.approx(ssim(b, a), abs=1e-12)
    assert ssim(a.flip(1, 2), b.flip(1, 2)) == pytest.approx(ssim(a, b), abs=1e-12)
    assert psnr(a.flip(1), b.flip(1)) == pytest.approx(psnr(b, a), abs=1e-12)


def test_mask_chooses_the_pixels():
    a, b = noisy_pair(3, 20, 31)
    mask = torch.zeros(1, 20, 31, dtype=torch.bool)
    mask[:, 5:12, 3:9] = True
    assert masked_psnr(a, b, mask) == pytest.approx(psnr(a[:, 5:12, 3:9], b[:, 5:12, 3:9]), abs=1e-12)
    assert masked_psnr(a, torch.where(mask, a, b), mask) == math.inf
    assert masked_psnr(a, b, torch.ones_like(mask)) == pytest.approx(psnr(a, b), abs=1e-12)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_shapes_and_values_are_checked(metric):
    a = torch.rand(3, 16, 16)
    with pytest.raises(ConfigError, match=r"\(3, 16, 16\) and \(3, 16, 15\)"):
        metric(a, a[..., 1:])
    with pytest.raises(ConfigError, match=r"\(C, H, W\)"):
        metric(a[None], a[None])
    with pytest.raises(ConfigError, match="not finite"):
        metric(a, torch.where(a > 0.5, a, math.nan))


def test_images_smaller_than_the_window():
    with pytest.raises(ConfigError, match="40 x 10 pixels; SSIM needs at least 11 x 11"):
        ssim(torch.rand(3, 10, 40), torch.rand(3, 10, 40))


def test_bad_masks():
    a = torch.rand(3, 16, 16)
    with pytest.raises(ConfigError, match="no pixel"):
        masked_psnr(a, a, torch.zeros(1, 16, 16, dtype=torch.bool))
    with pytest.raises(ConfigError, match=r"torch.bool \(1, 16, 16\)"):
        masked_psnr(a, a, torch.ones(1, 16, 16))


def test_a_megapixel_takes_a_second_of_computing():
    a = torch.rand(3, 1000, 1000)
    began = time.process_time()
    ssim(a, a)
    assert time.process_time() - began < 3
