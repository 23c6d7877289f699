"""DISTS, Ding et al., Image quality assessment: unifying structure and texture similarity, TPAMI 2020.

With f_0 the image in [0, 1] itself and f_1 ... f_5 the last activations of VGG16's stages, mu, sigma^2 and sigma_xy the
means, biased variances and covariance of a channel over the places, and c = 1e-6,

    texture     l_ij = (2 mu_x mu_y + c) / (mu_x^2 + mu_y^2 + c)
    structure   s_ij = (2 sigma_xy + c) / (sigma_x^2 + sigma_y^2 + c)
    d(x, y) = 1 - sum_ij (alpha_ij l_ij + beta_ij s_ij),     sum_ij (alpha_ij + beta_ij) = 1

The network's maxima are replaced by L2 pooling with a Hanning window, sqrt(g * x^2 + 1e-12) at every second place, g
the outer product of (1, 2, 1) / 4. Images are normalised by ImageNet's means and deviations before it.

No resizing is done. The authors' own script first shrinks an image whose shorter side is above 256 pixels to 256
(Pillow, bilinear): figures are comparable with those of the same rule alone.

The names of the weights are those of the published files: `features.N.weight` and `.bias` of torchvision's VGG16,
`alpha` and `beta` (1, 1475, 1, 1) of DISTS, which need not sum to 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from residiff.metrics.trunks import VGG16_TAPS, VGG16_WIDTHS, activations, check_pair, vgg16_features

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
WIDTHS = (3, *VGG16_WIDTHS)
_C = 1e-6
_TINY = 1e-12


class HanningPool(nn.Module):
    """L2 pooling (N, C, H, W) -> (N, C, ceil(H / 2), ceil(W / 2)), zeros beyond the border."""

    window: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        side = torch.tensor([0.25, 0.5, 0.25])
        self.register_buffer("window", torch.outer(side, side).expand(channels, 1, 3, 3).clone(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Roots of the windows' mean squares."""
        means = functional.conv2d(x.square(), self.window, stride=2, padding=1, groups=x.shape[1])
        return (means + _TINY).sqrt()


class DISTS(nn.Module):
    """DISTS, for scoring: its weights want no gradient, images may. Fresh from here it is random and means nothing."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features = vgg16_features(HanningPool)
        self.alpha = nn.Parameter(torch.full((1, sum(WIDTHS), 1, 1), 0.1))
        self.beta = nn.Parameter(torch.full((1, sum(WIDTHS), 1, 1), 0.1))
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Distances (N,), 0 where the images are equal, of two batches (N, 3, H, W) in [0, 1]; symmetric.

        Raises
        ------
        ConfigError
            If the shapes differ or are not (N, 3, H, W).
        """
        check_pair(first, second, 1)
        whole = self.alpha.sum() + self.beta.sum()
        alphas, betas = (torch.split((weights / whole).flatten(), list(WIDTHS)) for weights in (self.alpha, self.beta))
        total = first.new_zeros(len(first), dtype=self.mean.dtype)
        for a, b, alpha, beta in zip(self._maps(first), self._maps(second), alphas, betas, strict=True):
            texture, structure = _unlikeness(a.flatten(2), b.flatten(2))
            total = total + texture @ alpha + structure @ beta
        return total

    def _maps(self, images: Tensor) -> list[Tensor]:
        """The image and the activations of the five stages."""
        x = images.to(self.mean.dtype)
        return [x, *activations(self.features, (x - self.mean) / self.deviation, VGG16_TAPS)]


def _unlikeness(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """1 - l and 1 - s (N, C) of two sets of channels (N, C, places), written so that nothing cancels."""
    mean_a, mean_b = a.mean(2), b.mean(2)
    off_a, off_b = a - mean_a[..., None], b - mean_b[..., None]
    texture = (mean_a - mean_b).square() / (mean_a.square() + mean_b.square() + _C)
    return texture, (off_a - off_b).square().mean(2) / (off_a.square().mean(2) + off_b.square().mean(2) + _C)
