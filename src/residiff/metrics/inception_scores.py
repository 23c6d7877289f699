"""The Inception Score of Salimans et al., Improved techniques for training GANs, NeurIPS 2016.

With p(y | x) the classes' probabilities of an image and p(y) their mean over the images,

    IS = exp( mean_x sum_y p(y | x) (log p(y | x) - log p(y)) )

from 1, where all images are alike or none is sure, to the number of classes. The images are cut, in their order, into
splits of N // splits, those left over unused; the mean over the splits and their deviation are reported.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from residiff.errors import ConfigError, check_range

SPLITS = 10


@dataclass(frozen=True)
class InceptionScore:
    """Mean over the splits and standard deviation (of the biased variance, as published)."""

    mean: float
    deviation: float


def inception_score(probabilities: Tensor, splits: int = SPLITS) -> InceptionScore:
    """The score of images whose classes have `probabilities` (N, K); computed in float64.

    Raises
    ------
    ConfigError
        If there are fewer images than splits, or rows are no probabilities: below 0, or not adding up to 1 within 1e-3.
    """
    if probabilities.ndim != 2 or probabilities.numel() == 0:
        raise ConfigError(f"the probabilities are {tuple(probabilities.shape)}; needed is (N, classes)")
    check_range("splits", splits, 1, len(probabilities))
    if not bool((probabilities >= 0).all() and ((probabilities.sum(1) - 1).abs() < 1e-3).all()):
        raise ConfigError("rows of the probabilities are below 0 or do not add up to 1; give the softmax of the logits")
    size = len(probabilities) // splits
    scores = torch.stack([_score(probabilities[k * size : (k + 1) * size].cpu().double()) for k in range(splits)])
    return InceptionScore(float(scores.mean()), float(scores.std(correction=0)))


def _score(rows: Tensor) -> Tensor:
    """The score of one split; 0 log 0 is 0."""
    marginal = rows.mean(0)
    return (torch.xlogy(rows, rows) - torch.xlogy(rows, marginal)).sum(1).mean().exp()
