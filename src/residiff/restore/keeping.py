"""Data consistency: pixels that are known stay as they are, at every step, and the rest is sampled to fit to them."""

from __future__ import annotations

from torch import Tensor

from residiff.prediction import Estimate


def keep_known(estimate: Estimate, x_in: Tensor, work: Tensor) -> Estimate:
    """The estimate with x_0 = x_in and no residual where `work` (N, 1, H, W) in [0, 1] is 0; a blend between.

    So the network meets in x_t, at each next step, what is known with its noise, and the last step gives it exactly.
    The noise is left as it was estimated. (Lugmayr et al., RePaint, CVPR 2022, put the known pixels into x_t itself;
    with x_0 in their place the step is the sampler's own.)
    """
    x0 = x_in + work * (estimate.x0 - x_in)
    return Estimate(x0, work * estimate.residual, estimate.noise)
