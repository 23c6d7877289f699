"""Data consistency: pixels that are known stay as they are, at every step, and the rest is sampled to fit to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from residiff.prediction import Asked, Estimate, Estimator


class Known(NamedTuple):
    """A picture (N, 3, H, W) in the model's range, and `work` (N, 1, H, W) in [0, 1]: 0 where it is to stay."""

    picture: Tensor
    work: Tensor


def keep_known(estimate: Estimate, x_in: Tensor, known: Known) -> Estimate:
    """The estimate with what is known as x_0, and x_in less that as the residual; a blend where `work` is between.

    So the network meets in x_t, at each next step, what is known with its noise, and the last step gives it exactly.
    The noise is left as it was estimated. (Lugmayr et al., RePaint, CVPR 2022, put the known pixels into x_t itself;
    with x_0 in their place the step is the sampler's own.)
    """
    picture, work = known
    x0 = picture + work * (estimate.x0 - picture)
    residual = work * estimate.residual + (1 - work) * (x_in - picture)
    return Estimate(x0, residual, estimate.noise)


@dataclass(frozen=True)
class Keeping:
    """Answers as `asked` does, but for what is known."""

    asked: Asked
    known: Known

    def estimator(self) -> Estimator:
        """What one sampling run calls."""
        ask = self.asked.estimator()
        return lambda x_t, level, x_in, condition: keep_known(ask(x_t, level, x_in, condition), x_in, self.known)
