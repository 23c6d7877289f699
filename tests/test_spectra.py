"""Radial spectra: Parseval, white noise, sines, and the share below a cut-off."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from residiff.errors import ConfigError
from residiff.metrics.spectra import LOW, RING_WIDTH, RINGS, mean_spectrum, radial_spectrum


def noise(*size, seed=0):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(st.integers(1, 3), st.integers(1, 33), st.integers(1, 33), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_powers_add_up_to_the_mean_square(channels, height, width, seed):
    image = noise(channels, height, width, seed=seed) + 0.3
    spectrum = radial_spectrum(image)
    assert float(spectrum.power.sum()) == pytest.approx(image.square().mean().item(), rel=1e-12)
    assert float(spectrum.area.sum()) == pytest.approx(1, rel=1e-12)


def test_white_noise_is_flat():
    spectrum = radial_spectrum(noise(3, 256, 320) * 2)
    wide = spectrum.area > 1e-3
    assert torch.allclose(spectrum.density[wide], torch.tensor(4.0, dtype=torch.float64), rtol=0.2)
    assert spectrum.share_below(LOW) == pytest.approx(math.pi * LOW**2, rel=0.05)
    assert spectrum.share_below(0.5) == pytest.approx(math.pi / 4, rel=0.01)


@pytest.mark.parametrize(("down", "right"), [(0, 5), (20, 0), (12, 16), (0, 10), (29, 0), (50, 50)])
def test_a_sine_is_a_peak_at_its_frequency(down, right):
    y, x = torch.meshgrid(torch.arange(100), torch.arange(100), indexing="ij")
    spectrum = radial_spectrum(torch.cos(2 * math.pi * (down * y + right * x) / 100)[None])
    ring = int(spectrum.power.argmax())
    frequency = math.hypot(down, right) / 100
    assert ring == math.floor(frequency / RING_WIDTH + 1e-9)
    assert float(spectrum.power[ring] / spectrum.power.sum()) == pytest.approx(1, rel=1e-9)
    assert spectrum.share_below(LOW) == pytest.approx(float(frequency < LOW), abs=1e-9)


def test_direction_does_not_matter():
    image = noise(3, 40, 40)
    turned = image.transpose(1, 2).flip(1)
    assert torch.allclose(radial_spectrum(image).power, radial_spectrum(turned).power, rtol=1e-10)


def test_the_mean_level_is_in_the_first_ring():
    spectrum = radial_spectrum(torch.full((1, 7, 9), 0.5))
    assert float(spectrum.power[0]) == pytest.approx(0.25)
    assert float(spectrum.power[1:].sum()) == pytest.approx(0, abs=1e-15)


def test_rings_cover_every_frequency_and_small_images_leave_some_empty():
    spectrum = radial_spectrum(noise(1, 8, 8))
    assert len(spectrum.frequencies) == RINGS == 71
    assert spectrum.frequencies[0] == pytest.approx(0.005)
    assert spectrum.frequencies[-1] + RING_WIDTH / 2 > math.sqrt(0.5)
    assert torch.equal(spectrum.density.isnan(), spectrum.area == 0)
    assert spectrum.density.isnan().any()


def test_the_mean_of_spectra_adds_up_too():
    images = [noise(3, 20, 30), 5 * noise(3, 64, 48, seed=1)]
    spectrum = mean_spectrum([radial_spectrum(image) for image in images])
    assert float(spectrum.power.sum()) == pytest.approx(sum(image.square().mean().item() for image in images) / 2)
    assert float(spectrum.area.sum()) == pytest.approx(1)
    with pytest.raises(ConfigError, match="no spectra"):
        mean_spectrum([])


def test_nothing_has_no_share():
    assert math.isnan(radial_spectrum(torch.zeros(1, 8, 8)).share_below())


@pytest.mark.parametrize("image", [torch.zeros(8, 8), torch.zeros(1, 3, 8, 8), torch.zeros(3, 0, 8)])
def test_other_shapes_are_refused(image):
    with pytest.raises(ConfigError, match=r"give one of \(C, H, W\)"):
        radial_spectrum(image)


def test_values_that_are_not_finite_and_cutoffs_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="not finite"):
        radial_spectrum(torch.full((1, 4, 4), math.nan))
    for cutoff in (0, -1, 0.72, math.nan):
        with pytest.raises(ConfigError, match=r"allowed are above 0 to 0\.71"):
            radial_spectrum(noise(1, 8, 8)).share_below(cutoff)
