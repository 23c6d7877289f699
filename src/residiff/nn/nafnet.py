"""An efficient backbone in the manner of NAFNet, told the time.

Blocks without activations (Chen et al., Simple Baselines for Image Restoration, ECCV 2022): normalise, expand by a 1x1
convolution, mix space by a depthwise 3x3 one, multiply the two halves of the channels (a simple gate), weigh channels
by their mean over the image, project back; then a gated 1x1 pair. Around them a U of levels that halve the image. Here
the image enters folded 2x2 into channels, which spares the full-resolution level most of the memory traffic, and the
time scales and shifts the first normalisation of each block. The default has 2.9M parameters and 4.3 GMAC at 256 x 256.
"""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from residiff.errors import ConfigError
from residiff.nn.checks import check_input
from residiff.nn.embedding import sinusoidal

EPS = 1e-6


class ChannelNorm(nn.Module):
    """Normalise the channels of each pixel; (N, C, H, W) in and out, fastest in channels-last memory."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Zero mean and unit variance over channels, then weight and bias."""
        return F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, EPS).permute(0, 3, 1, 2)


@final
class ImageMean(nn.Module):
    """The mean of each channel over the image, which alone lets a place know of others far from it."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, 1, 1)."""
        return x.mean((2, 3), keepdim=True)


def gate(x: Tensor) -> Tensor:
    """The product of the two halves of the channels."""
    first, second = x.chunk(2, dim=1)
    return first * second


class Block(nn.Module):
    """One activation-free block of `channels` at one resolution, told the time by an embedding (N, time_width)."""

    def __init__(self, channels: int, time_width: int) -> None:
        super().__init__()
        self.time = nn.Linear(time_width, 2 * channels)
        self.norm1 = ChannelNorm(channels)
        self.expand = nn.Conv2d(channels, 2 * channels, 1)
        self.depthwise = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.pool = ImageMean()
        self.attention = nn.Conv2d(channels, channels, 1)
        self.project = nn.Conv2d(channels, channels, 1)
        self.norm2 = ChannelNorm(channels)
        self.widen = nn.Conv2d(channels, 2 * channels, 1)
        self.narrow = nn.Conv2d(channels, channels, 1)
        self.scale1 = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.scale2 = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """(N, C, H, W) and (N, time_width) -> (N, C, H, W)."""
        scale, shift = self.time(time)[:, :, None, None].chunk(2, dim=1)
        y = gate(self.depthwise(self.expand(self.norm1(x) * (1 + scale) + shift)))
        x = x + self.scale1 * self.project(y * self.attention(self.pool(y)))
        gated: Tensor = self.narrow(gate(self.widen(self.norm2(x))))
        return x + self.scale2 * gated


class Stage(nn.ModuleList):
    """Blocks in a row."""

    def __init__(self, count: int, channels: int, time_width: int) -> None:
        super().__init__(Block(channels, time_width) for _ in range(count))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Run the blocks."""
        for block in self:
            x = block(x, time)
        return x


@final
class NAFNet(nn.Module):
    """The network: (N, in_channels, H, W) and one (N,) time a head -> one (N, out_channels, H, W) tensor a head.

    Parameters
    ----------
    in_channels : of x_t, x_in and condition together
    out_channels : of each head
    heads : 1 or 2
    width : channels of the first level; each level down doubles them
    encoder, middle, decoder : blocks of each level, of the bottom, and of each level up
    fold : the image enters as fold x fold pixels a position
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 3,
        heads: int = 1,
        width: int = 48,
        encoder: tuple[int, ...] = (2, 2),
        middle: int = 8,
        decoder: tuple[int, ...] = (2, 2),
        fold: int = 2,
    ) -> None:
        super().__init__()
        if len(encoder) != len(decoder):
            raise ConfigError(f"encoder has {len(encoder)} levels and decoder {len(decoder)}; give as many of each")
        self.in_channels, self.heads = in_channels, heads
        self.fold, self.size_multiple = fold, fold * 2 ** len(encoder)
        widths = [width * 2**level for level in range(len(encoder) + 1)]
        self.time_width = 64
        self.time = nn.Sequential(nn.Linear(64 * heads, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU())
        self.intro = nn.Conv2d(in_channels * fold**2, width, 3, padding=1)
        self.encoder = nn.ModuleList(Stage(n, w, 64) for n, w in zip(encoder, widths, strict=False))
        self.down = nn.ModuleList(nn.Conv2d(w, 2 * w, 2, 2) for w in widths[:-1])
        self.middle = Stage(middle, widths[-1], 64)
        self.up = nn.ModuleList(nn.Conv2d(w, 2 * w, 1, bias=False) for w in reversed(widths[1:]))
        self.decoder = nn.ModuleList(Stage(n, w, 64) for n, w in zip(decoder, reversed(widths[:-1]), strict=True))
        self.ending = nn.Conv2d(width, out_channels * heads * fold**2, 3, padding=1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, times: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Run the network.

        Raises
        ------
        ConfigError
            If the channels or the times do not fit, or height or width is not a multiple of `size_multiple`.
        """
        check_input(x, times, self.in_channels, self.heads, self.size_multiple)
        time = self.time(torch.cat([sinusoidal(t, 64) for t in times], dim=1))
        x = self.intro(F.pixel_unshuffle(x, self.fold).contiguous(memory_format=torch.channels_last))
        skips = []
        for stage, down in zip(self.encoder, self.down, strict=True):
            x = stage(x, time)
            skips.append(x)
            x = down(x)
        x = self.middle(x, time)
        for stage, up in zip(self.decoder, self.up, strict=True):
            x = stage(F.pixel_shuffle(up(x), 2) + skips.pop(), time)
        return F.pixel_shuffle(self.ending(x), self.fold).chunk(self.heads, dim=1)
