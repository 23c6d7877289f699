"""How sure a mean is, and whether two methods differ on the same pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from residiff.errors import ConfigError

RESAMPLES = 10_000
# Up to so many pictures every pattern of signs is tried
EXACT = 14
_CELLS = 4_000_000

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """Between `low` and `high` the mean lies with the `level` that was asked for."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """How the first of two methods differs from the second on the same pictures.

    `mean` is that of the pictures' differences, `interval` its bootstrap interval. `p` is the chance of a mean so far
    from 0, either way, if the methods were alike. `wins` and `losses` count the pictures on which the first has the
    higher or the lower score.
    """

    mean: float
    interval: Interval
    p: float
    wins: int
    losses: int


def bootstrap(values: Sequence[float], level: float = 0.95, seed: int = 0) -> Interval | None:
    """The percentile bootstrap interval of a mean (Efron 1979), from 10,000 resamples; the same for the same seed.

    None where there is nothing to resample: fewer than two values, or one that is not finite.

    Raises
    ------
    ConfigError
        Unless `level` is between 0 and 1.
    """
    if not 0 < level < 1:
        raise ConfigError(f"level is {level}; allowed is between 0 and 1")
    array = np.asarray(values, np.float64)
    if len(array) < 2 or not np.isfinite(array).all():
        return None
    low, high = np.quantile(_resampled(array, seed), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def _resampled(values: Floats, seed: int) -> Floats:
    """The means of the resamples, a few at a time, so that memory does not grow with the number of pictures."""
    random, at_once = np.random.default_rng(seed), max(1, _CELLS // len(values))
    parts = [min(at_once, RESAMPLES - start) for start in range(0, RESAMPLES, at_once)]
    drawn = (random.integers(0, len(values), (count, len(values))) for count in parts)
    return np.concatenate([values[places].mean(1) for places in drawn])


def difference(first: Sequence[float], second: Sequence[float], seed: int = 0) -> Difference | None:
    """Compare two methods by their scores on the same pictures, in the same order.

    The test is Fisher's of random signs, which supposes nothing of how the differences are distributed but that they
    were symmetric if the methods were alike: exact up to 14 pictures, by 10,000 random patterns of signs above.

    None where a difference is not finite, or there are fewer than two.

    Raises
    ------
    ConfigError
        If the lengths differ.
    """
    if len(first) != len(second):
        raise ConfigError(f"{len(first)} and {len(second)} scores are no pairs; score the same pictures")
    equal = np.asarray(first) == np.asarray(second)
    with np.errstate(invalid="ignore"):
        apart = np.where(equal, 0.0, np.subtract(first, second))
    interval = bootstrap(apart.tolist(), seed=seed)
    if interval is None:
        return None
    wins, losses = int((apart > 0).sum()), int((apart < 0).sum())
    return Difference(float(apart.mean()), interval, _p_of_signs(apart, seed), wins, losses)


def _p_of_signs(apart: Floats, seed: int) -> float:
    count, seen = len(apart), abs(apart.sum())
    slack = 1e-12 * np.abs(apart).sum()
    if count <= EXACT:
        signs = 1.0 - 2.0 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
        return float((np.abs(signs @ apart) >= seen - slack).mean())
    random, at_once = np.random.default_rng(seed), max(1, _CELLS // count)
    as_far = 0
    for start in range(0, RESAMPLES, at_once):
        signs = random.integers(0, 2, (min(at_once, RESAMPLES - start), count)) * 2.0 - 1.0
        as_far += int((np.abs(signs @ apart) >= seen - slack).sum())
    return (1 + as_far) / (1 + RESAMPLES)


def holm(chances: Sequence[float]) -> list[float]:
    """The chances `p` of several tests, adjusted so that all may be read at once (Holm 1979)."""
    order = sorted(range(len(chances)), key=lambda place: chances[place])
    adjusted, largest = [0.0] * len(chances), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(chances) - rank) * chances[place]))
        adjusted[place] = largest
    return adjusted
