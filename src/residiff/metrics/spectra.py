"""Radial power spectra: how much of an image lies at which spatial frequency, whatever its direction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from residiff.errors import ConfigError

RING_WIDTH = 0.01  # cycles/pixel
RINGS = math.ceil(math.sqrt(0.5) / RING_WIDTH)
LOW = 0.1  # cycles/pixel: details larger than ten pixels


class Spectrum(NamedTuple):
    """Power over rings of frequencies, (RINGS,) float64 each.

    Attributes
    ----------
    frequencies : the middles of the rings, in cycles/pixel; the last one holds the corners, up to sqrt(1/2)
    power : of all frequencies in the ring together; the sum is the mean square of the image
    area : the share of all frequencies that is in the ring; a ring that a small image has none in has 0
    """

    frequencies: Tensor
    power: Tensor
    area: Tensor

    @property
    def density(self) -> Tensor:
        """Mean power of one frequency in the ring, times their number: white noise has its variance in every ring.

        NaN where the ring is empty.
        """
        return self.power / self.area

    def share_below(self, cutoff: float = LOW) -> float:
        """The share of the power, its mean level included, in the rings below `cutoff` cycles/pixel; NaN without power.

        Raises
        ------
        ConfigError
            If the cut-off is not within 0 to 0.71.
        """
        if not 0 < cutoff <= RINGS * RING_WIDTH:
            raise ConfigError(f"the cut-off is {cutoff} cycles/pixel; allowed are above 0 to {RINGS * RING_WIDTH:.2f}")
        return float(self.power[self.frequencies < cutoff].sum() / self.power.sum())


def radial_spectrum(image: Tensor) -> Spectrum:
    """The spectrum of an image (C, H, W), averaged over its channels; of any range, computed in float64.

    The transform is orthonormal and takes no window, so that Parseval's law holds to rounding: the powers add up to the
    mean square. The price is that an image whose opposite borders differ has some power at high frequencies from that.

    Raises
    ------
    ConfigError
        If the image is not (C, H, W), or a value is not finite.
    """
    if image.ndim != 3 or image.numel() == 0:
        raise ConfigError(f"the image has shape {tuple(image.shape)}; give one of (C, H, W)")
    if not torch.isfinite(image).all():
        raise ConfigError("the image holds values that are not finite (NaN, infinity); find their cause")
    squares = torch.fft.fft2(image.double(), norm="ortho").abs().square().mean(0)
    rings = _rings(*squares.shape)
    power = torch.bincount(rings, squares.flatten(), RINGS) / squares.numel()
    area = torch.bincount(rings, minlength=RINGS).double() / squares.numel()
    return Spectrum(_middles(), power, area)


def mean_spectrum(spectra: Sequence[Spectrum]) -> Spectrum:
    """The mean over images of any sizes, each counting alike; `ConfigError` if there are none."""
    if not spectra:
        raise ConfigError("there are no spectra to take the mean of; give one or more")
    power = torch.stack([spectrum.power for spectrum in spectra]).mean(0)
    return Spectrum(_middles(), power, torch.stack([spectrum.area for spectrum in spectra]).mean(0))


def _middles() -> Tensor:
    return (torch.arange(RINGS, dtype=torch.float64) + 0.5) * RING_WIDTH


def _rings(height: int, width: int) -> Tensor:
    """(H * W,): the number of the ring that each frequency of the transform is in."""
    down, right = torch.fft.fftfreq(height, dtype=torch.float64), torch.fft.fftfreq(width, dtype=torch.float64)
    # A frequency on the edge of two rings is in the outer one, however it was rounded
    return ((torch.hypot(down[:, None], right) / RING_WIDTH + 1e-9).long()).clamp(max=RINGS - 1).flatten()
