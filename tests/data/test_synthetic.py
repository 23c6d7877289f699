"""The procedural clean images: a pure function of their number, with the statistics of photographs."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch

from residiff.data.synthetic import clean_image
from residiff.errors import ConfigError

LUMA = torch.tensor([0.299, 0.587, 0.114])[:, None, None]


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """(64, 3, 128, 128) first images of family 0."""
    return torch.stack([clean_image(index, 128) for index in range(64)])


def _digest(image: torch.Tensor) -> str:
    return hashlib.sha256(image.numpy().tobytes()).hexdigest()


def _luma(images: torch.Tensor) -> np.ndarray:
    return (images * LUMA).sum(1).numpy()


def _power(luma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies and mean power in rings, under a Hann window that keeps the borders out."""
    side = luma.shape[-1]
    window = np.outer(np.hanning(side), np.hanning(side))
    centred = (luma - luma.mean((1, 2), keepdims=True)) * window
    power = np.square(np.abs(np.fft.fft2(centred))).mean(0)
    radius = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None])
    edges = np.array([2, 4, 8, 16, 32, 58]) / side
    rings = [(radius >= low) & (radius < high) for low, high in zip(edges[:-1], edges[1:], strict=True)]
    return np.array([radius[ring].mean() for ring in rings]), np.array([power[ring].mean() for ring in rings])


@pytest.mark.parametrize("size", [(1, 1), (7, 33), (128, 128), (300, 200), (1, 90)])
def test_shape_range_and_type_at_any_size(size: tuple[int, int]) -> None:
    for index in range(6):
        image = clean_image(index, size)
        assert image.shape == (3, *size)
        assert image.dtype == torch.float32
        assert image.is_contiguous()
        assert torch.isfinite(image).all()
        assert image.min() >= 0 and image.max() <= 1


def test_an_int_is_the_side_of_a_square() -> None:
    assert torch.equal(clean_image(3, 24), clean_image(3, (24, 24)))


def test_height_comes_before_width() -> None:
    assert clean_image(0, (10, 30)).shape == (3, 10, 30)


def test_same_number_same_bytes_in_any_order(images: torch.Tensor) -> None:
    for index in (40, 7, 63, 0):
        assert torch.equal(clean_image(index, 128), images[index])


def test_global_generators_have_no_say() -> None:
    np.random.seed(1)
    torch.manual_seed(1)
    first = clean_image(5, 48)
    np.random.seed(2)
    torch.manual_seed(2)
    assert torch.equal(clean_image(5, 48), first)


def test_same_bytes_in_another_process() -> None:
    code = (
        "import hashlib; from residiff.data.synthetic import clean_image as c;"
        "print(*(hashlib.sha256(c(i, (40, 56), seed=9).numpy().tobytes()).hexdigest() for i in (11, 2, 5)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [_digest(clean_image(index, (40, 56), seed=9)) for index in (11, 2, 5)]


def test_every_number_and_every_seed_is_another_image(images: torch.Tensor) -> None:
    digests = {_digest(image) for image in images} | {_digest(clean_image(index, 128, seed=1)) for index in range(8)}
    assert len(digests) == 72


def test_power_falls_like_a_photograph(images: torch.Tensor) -> None:
    """Natural power is near 1/f^2 as drawn; lens and depth of field make it steeper, up to 1/f^3 or so."""
    frequency, power = _power(_luma(images))
    slope = np.polyfit(np.log(frequency), np.log(power), 1)[0]
    assert -3.0 < slope < -1.8
    assert (np.diff(power) < 0).all()


def test_gradients_have_heavy_tails(images: torch.Tensor) -> None:
    """A normal law has kurtosis 3; photographs have 7 to 70."""
    gradient = np.diff(_luma(images), axis=2).reshape(len(images), -1)
    kurtosis = (gradient**4).mean(1) / np.square((gradient**2).mean(1))
    assert 10 < np.median(kurtosis) < 60
    assert np.mean(kurtosis > 5) > 0.9


def test_channels_are_correlated_but_not_grey(images: torch.Tensor) -> None:
    correlations = [np.corrcoef(image.reshape(3, -1).numpy())[np.triu_indices(3, 1)].mean() for image in images]
    assert 0.85 < np.median(correlations) < 0.995
    chroma = images.amax(1) - images.amin(1)
    assert chroma.mean() > 0.12
    assert chroma.std((1, 2)).median() > 0.05


def test_dark_and_bright_plain_and_busy(images: torch.Tensor) -> None:
    luma = _luma(images)
    means, gradients = luma.mean((1, 2)), np.abs(np.diff(luma, axis=2)).mean((1, 2)) * 255
    assert means.min() < 0.15 and means.max() > 0.7
    assert 0.3 < means.mean() < 0.55
    assert np.quantile(gradients, 0.1) < 2.0 and np.quantile(gradients, 0.9) > 6.0


def test_little_is_clipped(images: torch.Tensor) -> None:
    assert (images == 1).float().mean() < 0.08
    assert (images == 0).float().mean() < 0.08


@pytest.mark.parametrize("size", [0, (0, 5), (5, -1)])
def test_an_empty_size_is_refused(size: int | tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="at least 1 pixel"):
        clean_image(0, size)


@pytest.mark.parametrize(("index", "seed"), [(-1, 0), (0, -2)])
def test_a_negative_number_is_refused(index: int, seed: int) -> None:
    with pytest.raises(ConfigError, match="at least 0"):
        clean_image(index, 8, seed=seed)
