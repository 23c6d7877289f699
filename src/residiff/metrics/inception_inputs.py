"""How images become what Inception sees: published figures differ by these rules more than by anything else.

| rule                | of                                       | resized to 299 x 299 by        | range   |
|---------------------|------------------------------------------|--------------------------------|---------|
| `pytorch_fid_input` | pytorch-fid 0.3.0, which RDDM uses       | bilinear between pixel centres | [-1, 1] |
| `tensorflow_input`  | torch-fidelity, torchmetrics (Resfusion) | bilinear of TensorFlow 1       | [-1, 1) |
| `score_input`       | inception-score-pytorch                  | bilinear between pixel centres | [0, 1]  |

None of them smooths an image that shrinks (no antialiasing). "Between pixel centres" is torch's `interpolate` with
`align_corners=False`: the output pixel i is taken from (i + 1/2) n / 299 - 1/2; TensorFlow 1 took it from i n / 299.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from residiff.errors import ConfigError
from residiff.metrics.inception import SIDE, Inception

Rule = Callable[[Tensor], Tensor]


def pytorch_fid_input(images: Tensor) -> Tensor:
    """(N, 3, H, W) in [0, 1] -> (N, 3, 299, 299) in [-1, 1]; pytorch-fid reads 8-bit files, so round to these before.

    Raises
    ------
    ConfigError
        If the images are not floats of (N, 3, H, W).
    """
    return _between_centres(images) * 2 - 1


def score_input(images: Tensor) -> Tensor:
    """(N, 3, H, W) in [0, 1] -> (N, 3, 299, 299) in [0, 1]: no normalisation, though the network was trained with one.

    Raises
    ------
    ConfigError
        If the images are not floats of (N, 3, H, W).
    """
    return _between_centres(images)


def tensorflow_input(images: Tensor) -> Tensor:
    """(N, 3, H, W) -> (N, 3, 299, 299): grey levels of 255, resized, less 128, over 128.

    uint8 is taken as it is; floats in [0, 1] are cut to whole grey levels, towards 0, as torchmetrics does.

    Raises
    ------
    ConfigError
        If the images are not uint8 or floats of (N, 3, H, W).
    """
    whole = images.dtype == torch.uint8
    values = _checked(images.float() if whole else images)
    levels = values if whole else (values * 255).floor().clamp(0, 255)
    return (tensorflow_resize(levels, SIDE, SIDE) - 128) / 128


def tensorflow_resize(images: Tensor, height: int, width: int) -> Tensor:
    """`tf.image.resize_bilinear` of TensorFlow 1, without `align_corners`, of floats (N, C, H, W).

    Output pixel i lies at u = i (n / m) of the input, in float32 as there, between floor(u) and the next pixel or the
    last one; rows are computed first.
    """
    for dim, length in ((3, width), (2, height)):
        scale = torch.tensor(images.shape[dim] / length, dtype=torch.float32, device=images.device)
        places = torch.arange(length, dtype=torch.float32, device=images.device) * scale
        low = places.long()
        high = (low + 1).clamp(max=images.shape[dim] - 1)
        shape = [length if axis == dim else 1 for axis in range(4)]
        share = (places - low).to(images.dtype).view(shape)
        start, end = images.index_select(dim, low), images.index_select(dim, high)
        images = start + (end - start) * share
    return images


class InceptionFeatures(nn.Module):
    """Features of `fid_inception`, in which FID and KID are measured, by one of the rules.

    Parameters
    ----------
    network : with the published weights
    rule : `pytorch_fid_input` or `tensorflow_input`
    width : 2048 as published, or 768, 192, 64
    """

    def __init__(self, network: Inception, rule: Rule, width: int = 2048) -> None:
        super().__init__()
        self.network, self.rule, self.width = network, rule, width

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) as the rule has it -> (N, width)."""
        return self.network.features(self.rule(images).to(self.network.fc.weight.dtype), self.width)


class ScoreClasses(nn.Module):
    """Probabilities of `torchvision_inception` for the Inception Score of inception-score-pytorch's rule."""

    def __init__(self, network: Inception) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] -> (N, 1000), rows that add up to 1."""
        logits = self.network(score_input(images).to(self.network.fc.weight.dtype))
        return functional.softmax(logits, 1)


def _between_centres(images: Tensor) -> Tensor:
    return functional.interpolate(_checked(images), (SIDE, SIDE), mode="bilinear", align_corners=False)


def _checked(images: Tensor) -> Tensor:
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise ConfigError(f"the images are {images.dtype} {tuple(images.shape)}; give floats in [0, 1] of (N, 3, H, W)")
    return images
