"""Comparison of computed with golden arrays; each fails by AssertionError, on NaN and on a wrong shape as well."""

from __future__ import annotations

from torch import Tensor


def assert_close(actual: Tensor, expected: Tensor, tolerance_relative_to_max: float) -> None:
    """No value may be off by more than this fraction of the largest absolute value of `expected`."""
    largest = expected.double().abs().max()
    _assert_within(actual, expected, (tolerance_relative_to_max * largest).expand(expected.shape))


def assert_close_absolute(actual: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    """No value may be off by more than `tolerance`, or by that fraction of itself where it is larger than 1."""
    _assert_within(actual, expected, tolerance * expected.double().abs().clamp(min=1))


def _assert_within(actual: Tensor, expected: Tensor, allowed: Tensor) -> None:
    assert actual.shape == expected.shape, f"shape {tuple(actual.shape)}, golden {tuple(expected.shape)}"
    error = (actual.detach().double() - expected.double()).abs()
    # "within" is asked, not "beyond", so that NaN is never within.
    wrong = ~(error <= allowed)
    assert not wrong.any(), (
        f"{int(wrong.sum())} of {wrong.numel()} values are off; "
        f"largest error {error.max().item():.3g}, allowed {allowed.max().item():.3g}"
    )
