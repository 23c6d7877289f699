"""The kernel distance between two sets of images (KID), Binkowski et al., Demystifying MMD GANs, ICLR 2018.

The squared maximum mean discrepancy of features x, y of D numbers with the kernel k(x, y) = (x . y / D + 1)^3, by its
unbiased estimator, which may fall below 0:

    mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{ij} k(x_i, y_j)

KID as published is the mean of it over 100 pairs of subsets of 1000 images, each drawn without replacement; some tables
give it times 100 or 1000. The features are those of FID.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from residiff.errors import ConfigError, check_range
from residiff.seeds import generator

SUBSETS, SUBSET_SIZE = 100, 1000


@dataclass(frozen=True)
class KernelDistance:
    """Mean and standard deviation (of the biased variance, as published) of the distance over pairs of subsets."""

    mean: float
    deviation: float


def squared_mmd(first: Tensor, second: Tensor) -> float:
    """The unbiased estimate from features (N, D) and (M, D), N and M at least 2; float64, N^2 and M^2 numbers at once.

    Raises
    ------
    ConfigError
        If the shapes are others.
    """
    _check(first, second, 2)
    x, y = first.cpu().double(), second.cpu().double()
    return _apart(x) + _apart(y) - 2 * float(_kernel(x, y).mean())


def kernel_distance(
    first: Tensor, second: Tensor, *, subsets: int = SUBSETS, size: int = SUBSET_SIZE, seed: int = 0
) -> KernelDistance:
    """KID of features (N, D) and (M, D) over `subsets` pairs of subsets of `size`, at least 2, that `seed` draws.

    Raises
    ------
    ConfigError
        If a set has fewer than `size` features, or they differ in length.
    """
    check_range("size", size, 2, 1_000_000)
    check_range("subsets", subsets, 1, 1_000_000)
    _check(first, second, size)
    found = [
        squared_mmd(_drawn(first, size, seed, 2 * index), _drawn(second, size, seed, 2 * index + 1))
        for index in range(subsets)
    ]
    values = torch.tensor(found, dtype=torch.float64)
    return KernelDistance(float(values.mean()), float(values.std(correction=0)))


def _drawn(features: Tensor, size: int, seed: int, number: int) -> Tensor:
    places = torch.randperm(len(features), generator=generator(seed, number))[:size]
    return features[places.to(features.device)]


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _apart(x: Tensor) -> float:
    """Mean of the kernel over pairs of different features."""
    kernel = _kernel(x, x)
    return float(kernel.sum() - kernel.trace()) / (len(x) * (len(x) - 1))


def _check(first: Tensor, second: Tensor, least: int) -> None:
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1] or first.shape[1] == 0:
        shapes = f"{tuple(first.shape)} and {tuple(second.shape)}"
        raise ConfigError(f"the features are {shapes}; needed are (N, D) and (M, D)")
    if min(len(first), len(second)) < least:
        raise ConfigError(f"there are {len(first)} and {len(second)} features; each set needs at least {least}")
