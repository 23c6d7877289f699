"""More than one answer: several samples of one picture, their mean, and how far they spread.

A degraded picture does not say what it was; each seed gives one of the pictures that it may have been. Their mean has
the best PSNR that samples can have, and where they disagree nobody should trust any one of them. With an antithetic
pair, noise eps and -eps, whatever is linear in the noise cancels in the mean, at no cost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from residiff.data.images import Picture
from residiff.errors import check_range
from residiff.restore.options import MOST_SAMPLES

# Of the picture that shows where to doubt: this spread, in [0, 1], and more is fully marked
MARKED_SPREAD = 0.1
_MARK = (0.9, 0.1, 0.55)


@dataclass(frozen=True)
class Answers:
    """What several samples of one picture have in common.

    Attributes
    ----------
    mean : of the samples, like the picture
    deviation : (1, H, W), standard deviation of the samples, the root of its mean square over the channels; N - 1
    count : how many samples there were
    """

    mean: Picture
    deviation: Tensor
    count: int

    def deviation_picture(self) -> Picture:
        """The deviation as a grey picture of 16 bits: white is a deviation of 0.5, the largest that there is."""
        return Picture((self.deviation * 2).clamp(0, 1), bit_depth=16)

    def doubt(self) -> Picture:
        """The mean in grey, marked in colour where the samples disagree, from none to a deviation of 0.1 and more."""
        grey = self.mean.pixels.mean(0, keepdim=True).expand(3, -1, -1)
        mark = torch.tensor(_MARK).view(3, 1, 1)
        return Picture(torch.lerp(grey, mark.expand_as(grey), (self.deviation / MARKED_SPREAD).clamp(0, 1) * 0.85))


@dataclass(frozen=True)
class Draw:
    """The noise of a sample: of `seed`, or the negative of that."""

    seed: int = 0
    negative: bool = False


def draws(seed: int, count: int, antithetic: bool) -> Iterator[Draw]:
    """The noise of each of `count` samples; of antithetic ones every other is the negative of the one before.

    Raises
    ------
    ConfigError
        If `count` is not between 1 and 1000.
    """
    check_range("samples", count, 1, MOST_SAMPLES)
    for number in range(count):
        yield Draw(seed + number // 2, number % 2 == 1) if antithetic else Draw(seed + number)


class Gathered:
    """The mean and the spread of samples that come one by one, of which none is kept (Welford 1962)."""

    def __init__(self) -> None:
        self.count = 0
        self._like: Picture | None = None
        self._mean, self._squares = torch.zeros(0), torch.zeros(0)

    def add(self, sample: Picture) -> None:
        """Take in a sample; all must be of one size."""
        values = sample.pixels.double()
        if self._like is None:
            self._like, self._mean, self._squares = sample, torch.zeros_like(values), torch.zeros_like(values)
        self.count += 1
        apart = values - self._mean
        self._mean = self._mean + apart / self.count
        self._squares = self._squares + apart * (values - self._mean)

    def answers(self) -> Answers:
        """What they have in common; the deviation of one alone is 0."""
        if self._like is None:
            raise RuntimeError("no sample has been added")
        variance = (self._squares / max(1, self.count - 1)).mean(0, keepdim=True)
        mean = replace(self._like, pixels=self._mean.float().clamp(0, 1))
        return Answers(mean, variance.sqrt().float(), self.count)
