"""Bootstrap intervals and the test of signs: exact on small sets, scipy's on others, and right as often as they say."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from residiff.errors import ConfigError
from residiff.evaluate.statistics import bootstrap, difference, holm


def drawn(count: int, seed: int, shift: float = 0.0) -> list[float]:
    return (np.random.default_rng(seed).normal(size=count) + shift).tolist()


def test_interval_is_scipy_s():
    values = drawn(40, 1)
    oracle = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=0).confidence_interval
    found = bootstrap(values)
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high), abs=0.01)


def test_interval_holds_the_mean_as_often_as_it_says():
    inside = 0
    for seed in range(200):
        found = bootstrap(drawn(30, seed, 5.0), level=0.9)
        inside += found.low <= 5.0 <= found.high
    assert 0.82 <= inside / 200 <= 0.95


def test_interval_is_the_same_each_time_and_wider_for_more_certainty():
    values = drawn(25, 3)
    assert bootstrap(values) == bootstrap(values)
    narrow, wide = bootstrap(values, 0.5), bootstrap(values, 0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_many_values_take_the_same_way_in_parts():
    values = drawn(3000, 4)
    found, error = bootstrap(values), 1.96 / math.sqrt(3000)
    assert found.high - found.low == pytest.approx(2 * error, rel=0.1)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, math.inf], [math.nan, 1.0]])
def test_nothing_to_resample(values):
    assert bootstrap(values) is None


@pytest.mark.parametrize("level", [0.0, 1.0, 95])
def test_levels(level):
    with pytest.raises(ConfigError, match="level is"):
        bootstrap([1.0, 2.0], level)


def by_hand(apart: list[float]) -> float:
    """The share of all patterns of signs whose sum is as far from 0."""
    seen = abs(sum(apart))
    sums = [
        abs(sum(sign * one for sign, one in zip(signs, apart, strict=True)))
        for signs in product((1, -1), repeat=len(apart))
    ]
    return sum(one >= seen - 1e-9 for one in sums) / len(sums)


@pytest.mark.parametrize("count", [2, 3, 6, 9])
def test_few_pictures_are_tested_exactly(count):
    first, second = drawn(count, count, 0.8), drawn(count, count + 50)
    apart = [a - b for a, b in zip(first, second, strict=True)]
    assert difference(first, second).p == pytest.approx(by_hand(apart))


def test_more_pictures_as_scipy():
    first, second = drawn(40, 7, 0.3), drawn(40, 8)
    oracle = stats.permutation_test(
        (first, second), lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples", n_resamples=20_000, vectorized=True, rng=1,
    )  # fmt: skip
    found = difference(first, second)
    assert found.p == pytest.approx(oracle.pvalue, abs=0.015)
    assert found.mean == pytest.approx(np.mean(first) - np.mean(second))
    assert found.interval.low < found.mean < found.interval.high


def test_chance_is_fair_where_methods_are_alike():
    chances = [difference(drawn(20, seed), drawn(20, seed + 5000)).p for seed in range(150)]
    assert 0.01 <= np.mean([p < 0.05 for p in chances]) <= 0.11


def test_equal_scores_differ_in_nothing():
    found = difference([1.0, math.inf, 3.0], [1.0, math.inf, 3.0])
    assert (found.mean, found.p, found.wins, found.losses) == (0.0, 1.0, 0, 0)


def test_wins_and_losses():
    found = difference([2.0, 2.0, 1.0, 5.0], [1.0, 2.0, 4.0, 1.0])
    assert (found.wins, found.losses) == (2, 1)


def test_what_cannot_be_compared():
    assert difference([math.inf, 1.0], [1.0, 1.0]) is None
    with pytest.raises(ConfigError, match="2 and 1 scores are no pairs"):
        difference([1.0, 2.0], [1.0])


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
