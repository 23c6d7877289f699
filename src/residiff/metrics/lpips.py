"""LPIPS, the learned perceptual distance of Zhang et al., The unreasonable effectiveness of deep features, CVPR 2018.

Version 0.1 of its weights, as published: with f_l the activations of layer l of a network trained to classify,

    u_l(x) = f_l(x) / (|f_l(x)| + 1e-10)        at every place, the norm taken over the channels
    d(x, y) = sum_l mean_places sum_channels w_lc (u_lc(x) - u_lc(y))^2,    w_lc >= 0

Images in [0, 1] become x' = ((2 x - 1) - shift) / scale with the published shift and scale, which stand for ImageNet's
means and deviations. No resizing is done: published figures are of the size that the protocol names.

The names of the weights are those of the published files: `features.N.weight` and `.bias` of torchvision's classifier,
`linK.model.1.weight` (1, channels, 1, 1) of LPIPS. Fresh from here the weights are random: distances mean nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from residiff.metrics.trunks import (
    ALEXNET_TAPS,
    ALEXNET_WIDTHS,
    VGG16_TAPS,
    VGG16_WIDTHS,
    activations,
    alexnet_features,
    check_pair,
    vgg16_features,
)

SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
_TINY = 1e-10


class Weighing(nn.Module):
    """The weights of one layer's channels: differences squared (N, C, H, W) -> their weighted sums (N, 1, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        # The published network drops out in training at place 0
        self.model = nn.Sequential(nn.Identity(), nn.Conv2d(channels, 1, 1, bias=False))

    def forward(self, squares: Tensor) -> Tensor:
        """Sums over the channels."""
        weighed: Tensor = self.model(squares)
        return weighed


class LPIPS(nn.Module):
    """LPIPS in the activations of one network, for scoring: its weights want no gradient, images may.

    Parameters
    ----------
    features : the network's layers
    taps, widths : the places of the layers that are compared, and their channels
    least : the shortest side of an image that reaches the last of them
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, features: nn.Sequential, taps: Sequence[int], widths: Sequence[int], least: int) -> None:
        super().__init__()
        self.features, self.taps, self.least = features, tuple(taps), least
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1), persistent=False)
        for index, width in enumerate(widths):
            self.add_module(f"lin{index}", Weighing(width))
        self.requires_grad_(False).eval()

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Distances (N,), 0 where the images are equal, of two batches (N, 3, H, W) in [0, 1]; symmetric.

        Raises
        ------
        ConfigError
            If the shapes differ or are not (N, 3, H, W), or a side is too short for the network.
        """
        check_pair(first, second, self.least)
        total = first.new_zeros(len(first), dtype=self.shift.dtype)
        for index, (a, b) in enumerate(zip(self._units(first), self._units(second), strict=True)):
            total = total + self.get_submodule(f"lin{index}")((a - b).square()).mean((1, 2, 3))
        return total

    def _units(self, images: Tensor) -> list[Tensor]:
        """Activations of norm 1 at every place."""
        x = (images.to(self.shift.dtype) * 2 - 1 - self.shift) / self.scale
        found = activations(self.features, x, self.taps)
        return [a / (a.square().sum(1, keepdim=True).sqrt() + _TINY) for a in found]


def alex_lpips() -> LPIPS:
    """LPIPS in AlexNet, "alex" v0.1: the variant that most tables of restoration give. Sides of at least 31 pixels."""
    return LPIPS(alexnet_features(), ALEXNET_TAPS, ALEXNET_WIDTHS, 31)


def vgg_lpips() -> LPIPS:
    """LPIPS in VGG16, "vgg" v0.1: not comparable with "alex". Sides of at least 16 pixels."""
    return LPIPS(vgg16_features(lambda channels: nn.MaxPool2d(2)), VGG16_TAPS, VGG16_WIDTHS, 16)
