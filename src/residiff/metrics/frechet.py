"""The Frechet distance between two sets of images, in the features of a network.

With an Inception network as `features` it is the FID of Heusel et al., GANs trained by a two time-scale update rule,
NeurIPS 2017; with `RandomFeatures`, which needs no weights to be fetched, it is a distance of the same kind with
numbers of its own: compare it with itself alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from residiff.errors import ConfigError

Features = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Moments:
    """Mean (D,) and covariance (D, D) of a set of feature vectors, float64, and how many there were."""

    mean: Tensor
    covariance: Tensor
    count: int


def moments(vectors: Tensor) -> Moments:
    """Of feature vectors (N, D), N at least 2; the covariance is the unbiased one."""
    if vectors.ndim != 2 or len(vectors) < 2:
        raise ConfigError(f"the features are {tuple(vectors.shape)}; needed is (N, D) with N of at least 2")
    wide = vectors.double()
    return Moments(wide.mean(0), wide.T.cov(), len(vectors))


class RunningMoments:
    """Moments of features that come batch by batch, none of which is kept: O(D^2) memory, whatever their number.

    Sums of squares about the mean are put together by the rule of Chan, Golub and LeVeque, Updating formulae and a
    pairwise algorithm for computing sample variances, 1979, in float64: nothing cancels where the mean is far from 0,
    and in whatever batches and processes the features came, the result is that of `moments` to rounding.
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean, self._scatter = torch.zeros(0), torch.zeros(0, 0)

    def update(self, features: Tensor) -> None:
        """Take in features (N, D), N of 0 or more.

        Raises
        ------
        ConfigError
            If they are not (N, D), or D is not that of those before.
        """
        if features.ndim != 2:
            raise ConfigError(f"the features are {tuple(features.shape)}; needed is (N, D)")
        # Tensors made within the caller's inference mode could not be added to outside it
        with torch.inference_mode(False), torch.no_grad():
            if len(features):
                wide = features.cpu().double()
                mean = wide.mean(0)
                rows = torch.cat([wide - mean, self._shifted(len(wide), mean)])
                self._scatter.addmm_(rows.T, rows)

    def merge(self, other: RunningMoments) -> None:
        """Take in what another has taken in, in another process say; the other stays as it is.

        Raises
        ------
        ConfigError
            If the two have features of different lengths.
        """
        with torch.inference_mode(False), torch.no_grad():
            if other.count:
                apart = self._shifted(other.count, other._mean)
                self._scatter.add_(other._scatter).addmm_(apart.T, apart)

    def moments(self) -> Moments:
        """Of all features so far; `ConfigError` if there are fewer than 2."""
        if self.count < 2:
            raise ConfigError(f"there are {self.count} features; moments need at least 2")
        return Moments(self._mean.clone(), self._scatter / (self.count - 1), self.count)

    def _shifted(self, count: int, mean: Tensor) -> Tensor:
        """Take in the mean and number of more features; gives the row (1, D) whose square their distance adds."""
        if not self.count:
            self._mean, self._scatter = torch.zeros_like(mean), mean.new_zeros(len(mean), len(mean))
        elif len(mean) != len(self._mean):
            raise ConfigError(f"features of {len(mean)} and {len(self._mean)} numbers cannot be put together")
        apart, total = mean - self._mean, self.count + count
        row = apart * math.sqrt(self.count * count / total)
        self._mean = self._mean + apart * (count / total)
        self.count = total
        return row[None]


def image_moments(images: Iterable[Tensor], features: Features) -> Moments:
    """Moments of the features of batches (N, 3, H, W) in [0, 1], one batch in memory at a time."""
    running = RunningMoments()
    with torch.inference_mode():
        for batch in images:
            running.update(features(batch))
    return running.moments()


def frechet_distance(first: Moments, second: Moments) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), the squared 2-Wasserstein distance of two Gaussians; never negative.

    The trace of the root is that of (C1^(1/2) C2 C1^(1/2))^(1/2), which is symmetric: its eigenvalues are real.
    """
    if first.mean.shape != second.mean.shape:
        raise ConfigError(f"features of {len(first.mean)} and {len(second.mean)} numbers cannot be compared")
    values, vectors = torch.linalg.eigh(first.covariance)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    shared = torch.linalg.eigvalsh(root @ second.covariance @ root).clamp(min=0).sqrt().sum()
    apart = (first.mean - second.mean).square().sum()
    spread = first.covariance.trace() + second.covariance.trace() - 2 * shared
    return max(0.0, float(apart + spread))


class RandomFeatures(nn.Module):
    """Features of a convolutional network that nobody trained: the same weights for everybody, drawn from a fixed seed.

    Three 3 x 3 convolutions with leaky rectifiers and pooling between them; the means and deviations over the image of
    each layer's channels, 2 (32 + 64 + 96) = 384 numbers. Such features tell edges, textures and their layout from
    noise of the same spectrum.
    """

    widths = (32, 64, 96)

    def __init__(self) -> None:
        super().__init__()
        source = torch.Generator().manual_seed(0)
        channels = (3, *self.widths)
        for index, (before, after) in enumerate(zip(channels[:-1], self.widths, strict=True)):
            weight = torch.randn(after, before, 3, 3, generator=source) * (2 / (9 * before)) ** 0.5
            # A layer's kernels answer to contrast: without their mean, brightness would drown all else
            self.register_buffer(f"weight{index}", weight - weight.mean((2, 3), keepdim=True) * 0.9)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1], sides of at least 12 -> (N, 384)."""
        x, found = images * 2 - 1, []
        for index in range(len(self.widths)):
            x = functional.leaky_relu(functional.conv2d(x, self.get_buffer(f"weight{index}"), padding=1), 0.1)
            found += [x.mean((2, 3)), x.std((2, 3))]
            x = functional.avg_pool2d(x, 2)
        return torch.cat(found, 1)
