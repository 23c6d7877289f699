"""What is done to a degraded image before a network sees it, in training and restoring alike.

RDDM equalises the histogram of its low-light input; `expose` does the like with one gain for the whole image, which
keeps its colours and the order of its tones.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from residiff.data.draws import to_linear, to_srgb

MEAN_LIGHT = 0.18
LARGEST_GAIN = 100.0
BRIGHT_SHARE = 0.99


def unchanged(image: Tensor) -> Tensor:
    """The image itself."""
    return image


def expose(image: Tensor) -> Tensor:
    """(..., C, H, W) in [0, 1], brightened as by a longer exposure.

    Linear light gets the gain that brings its mean to 0.18, or its 99th percentile to 1 if that is less; at least 1 (a
    bright image stays as it is) and at most 100.
    """
    light = to_linear(image)
    values = light.flatten(-3)
    bright = values.kthvalue(max(1, round(BRIGHT_SHARE * values.shape[-1])), dim=-1).values
    gain = (MEAN_LIGHT / values.mean(-1).clamp(min=1e-6)).minimum(1 / bright.clamp(min=1e-6)).clamp(1, LARGEST_GAIN)
    return to_srgb(light * gain[..., None, None, None])


PREPROCESS: dict[str, Callable[[Tensor], Tensor]] = {"none": unchanged, "expose": expose}
