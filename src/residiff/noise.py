"""Where the noise comes from: fields of N(0, 1) that depend on a seed, the width, and the place alone.

A field is drawn in bands of rows, each from a generator of its own, so that any rows of it can be had without the
others: a picture that is restored in strips, or of which a part is restored again, meets the noise that the whole one
does. Field number 0 is the one that sampling starts from, the next are those of its stochastic steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor

from residiff.seeds import generator

NoiseSource = Callable[[], Tensor]

# What random numbers are drawn for here, beside the purposes of `residiff.data`
FIELD = 100
BAND = 64


@final
class NoiseField:
    """The fields of one image, (channels, height, width) each; nothing of them is kept.

    They are drawn on the CPU, so that every device gets the same ones; `negative` gives their antithetic ones.
    """

    def __init__(self, seed: int, channels: int, height: int, width: int, *, negative: bool = False) -> None:
        self.seed, self.channels, self.height, self.width = seed, channels, height, width
        self.sign = -1 if negative else 1

    def rows(self, number: int, top: int, bottom: int) -> Tensor:
        """Rows `top` to `bottom`, which is left out, of field `number`: (channels, bottom - top, width)."""
        first, last = top // BAND, (bottom - 1) // BAND
        bands = torch.cat([self._band(number, index) for index in range(first, last + 1)], dim=1)
        return bands[:, top - first * BAND : bottom - first * BAND]

    def whole(self, number: int) -> Tensor:
        """The whole field `number`."""
        return self.rows(number, 0, self.height)

    def _band(self, number: int, index: int) -> Tensor:
        # Whole, whatever the height, for a longer draw does not begin as a shorter one does
        drawn = torch.randn((self.channels, BAND, self.width), generator=generator(self.seed, FIELD, number, index))
        return drawn * self.sign


def seeded_noise(
    seed: int, shape: Sequence[int], device: torch.device | str = "cpu", *, negative: bool = False
) -> NoiseSource:
    """Fields of N(0, 1), (N, C, H, W), the same for every image of the batch: they depend on seed and image size alone.

    Each call gives the next one, or its negative.
    """
    source = seeded_noises([seed], shape, device, negative=negative)
    return lambda: source().expand(tuple(shape))


def seeded_noises(
    seeds: Sequence[int], shape: Sequence[int], device: torch.device | str = "cpu", *, negative: bool = False
) -> NoiseSource:
    """Fields of N(0, 1), (len(seeds), C, H, W) for a `shape` (N, C, H, W): each image has the noise of its own seed.

    An image's noise is what `seeded_noise` gives for its seed, whatever else is in the batch.
    """
    fields = [NoiseField(seed, *shape[1:], negative=negative) for seed in seeds]
    number = -1

    def draw() -> Tensor:
        nonlocal number
        number += 1
        return torch.stack([field.whole(number) for field in fields]).to(device)

    return draw
