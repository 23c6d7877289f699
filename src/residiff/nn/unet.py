"""The U-Net of RDDM and Resfusion, in its three arrangements: one net, two nets, one encoder with two decoders.

A level of width c works at half the size of the one above. With e(t) the embedded time and [.,.] joining channels:

    block     h = SiLU((1 + scale) GN(W x) + shift),  (scale, shift) = Linear(SiLU(e));  out = SiLU(GN(W h)) + P x
    W         3x3 convolution whose filters are standardised: (w - mean w) / sqrt(var w + 1e-5), each over its own taps
    attention x + LN(V A(q, k)), linear in the pixels:  q = softmax_channels(Q x') / sqrt(d),  k = softmax_pixels(K x'),
              out = (k v'^T)^T q / pixels,  x' = LN(x);  in the middle the usual softmax(q^T k / sqrt(d)) v
    level     block, block, attention, then a 4x4 convolution of stride 2; on the way up nearest neighbour and 3x3

Each block on the way up is given the output of its counterpart on the way down, the last one that of the 7x7 stem.
LN is over the channels of each pixel and has a gain alone. Sources: Ho et al., 2020 (the net); Qiao et al., 2019
(standardised weights); Shen et al., 2021 (linear attention). Parameter names are those of the published checkpoints.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from residiff.errors import ConfigError
from residiff.nn.checks import check_input
from residiff.nn.embedding import sinusoidal

HEADS = 4
HEAD_WIDTH = 32
EPS = 1e-5

Mults = tuple[int, ...]
SkipPair = tuple[Tensor, Tensor]


@final
class StandardisedConv(nn.Conv2d):
    """3x3 convolution whose filters have mean 0 and variance 1, so that their scale and offset do not matter."""

    def __init__(self, in_width: int, out_width: int) -> None:
        super().__init__(in_width, out_width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_width, H, W) -> (N, out_width, H, W)."""
        weight = F.layer_norm(self.weight, self.weight.shape[1:], eps=EPS)
        return F.conv2d(x, weight, self.bias, padding=1)


@final
class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each pixel, with a gain and no offset."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1, width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) -> the same shape."""
        normal = F.layer_norm(x.movedim(1, -1), (x.shape[1],), self.g.flatten(), eps=EPS)
        return normal.movedim(-1, 1)


def split_heads(qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(N, 3 * HEADS * HEAD_WIDTH, H, W) -> queries, keys, values, each (N, HEADS, HEAD_WIDTH, H * W)."""
    query, key, value = qkv.reshape(qkv.shape[0], 3, HEADS, HEAD_WIDTH, -1).unbind(1)
    return query, key, value


def join_heads(mixed: Tensor, x: Tensor) -> Tensor:
    """(N, HEADS, HEAD_WIDTH, H * W) -> (N, HEADS * HEAD_WIDTH, H, W), H and W those of `x`."""
    return mixed.reshape(x.shape[0], HEADS * HEAD_WIDTH, *x.shape[-2:])


@final
class LinearAttention(nn.Module):
    """Attention whose cost grows with the number of pixels, not with its square."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.to_qkv = nn.Conv2d(width, 3 * HEADS * HEAD_WIDTH, 1, bias=False)
        self.to_out = nn.Sequential(nn.Conv2d(HEADS * HEAD_WIDTH, width, 1), ChannelNorm(width))

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) -> the same shape."""
        query, key, value = split_heads(self.to_qkv(x))
        query = query.softmax(dim=-2) * HEAD_WIDTH**-0.5
        # Dividing the values before the sum over pixels keeps it small enough for half precision.
        context = key.softmax(dim=-1) @ (value / value.shape[-1]).transpose(-1, -2)
        out: Tensor = self.to_out(join_heads(context.transpose(-1, -2) @ query, x))
        return out


@final
class FullAttention(nn.Module):
    """Softmax attention between all pixels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.to_qkv = nn.Conv2d(width, 3 * HEADS * HEAD_WIDTH, 1, bias=False)
        self.to_out = nn.Conv2d(HEADS * HEAD_WIDTH, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) -> the same shape."""
        # Contiguous: torch's fused kernel for the CPU otherwise gives way silently to one that holds all the weights.
        query, key, value = (part.transpose(-1, -2).contiguous() for part in split_heads(self.to_qkv(x)))
        mixed = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.to_out(join_heads(mixed.transpose(-1, -2), x))
        return out


@final
class _PreNorm(nn.Module):
    """fn(LN(x))."""

    def __init__(self, width: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm = ChannelNorm(width)
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fn(self.norm(x))
        return out


@final
class Skip(nn.Module):
    """x + fn(LN(x)); nested in two modules as the published parameter names are."""

    def __init__(self, width: int, fn: nn.Module) -> None:
        super().__init__()
        self.fn = _PreNorm(width, fn)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) in, the same out."""
        out: Tensor = x + self.fn(x)
        return out


@final
class _ConvNorm(nn.Module):
    """Standardised convolution and group normalisation, before the activation."""

    def __init__(self, in_width: int, out_width: int, groups: int) -> None:
        super().__init__()
        self.proj = StandardisedConv(in_width, out_width)
        self.norm = nn.GroupNorm(groups, out_width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.proj(x))
        return out


@final
class ResidualBlock(nn.Module):
    """Two standardised convolutions around a shortcut; the time scales and shifts what the first one gives."""

    def __init__(self, in_width: int, out_width: int, time_width: int, groups: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(time_width, 2 * out_width))
        self.block1 = _ConvNorm(in_width, out_width, groups)
        self.block2 = _ConvNorm(out_width, out_width, groups)
        self.res_conv = nn.Identity() if in_width == out_width else nn.Conv2d(in_width, out_width, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """`x` (N, in_width, H, W), `time` (N, time_width) -> (N, out_width, H, W)."""
        scale, shift = self.mlp(time)[:, :, None, None].chunk(2, dim=1)
        h = F.silu(self.block1(x) * (1 + scale) + shift)
        out: Tensor = F.silu(self.block2(h)) + self.res_conv(x)
        return out


@final
class _Down(nn.ModuleList):
    """A level of the encoder: block, block, attention, step to the next level; numbered as published."""

    def __init__(self, in_width: int, out_width: int, time_width: int, groups: int, halve: bool) -> None:
        blocks = [ResidualBlock(in_width, in_width, time_width, groups) for _ in range(2)]
        attention = Skip(in_width, LinearAttention(in_width))
        step = nn.Conv2d(in_width, out_width, 4, 2, 1) if halve else nn.Conv2d(in_width, out_width, 3, padding=1)
        super().__init__([*blocks, attention, step])

    def forward(self, x: Tensor, time: Tensor) -> tuple[Tensor, SkipPair]:
        """The next level's input, and what the two blocks leave for the decoder."""
        block1, block2, attention, step = self
        first = block1(x, time)
        second = attention(block2(first, time))
        return step(second), (first, second)


@final
class _Up(nn.ModuleList):
    """A level of the decoder, `skip_width` channels of the encoder joined to the input of each block (0: none)."""

    def __init__(
        self, in_width: int, out_width: int, skip_width: int, time_width: int, groups: int, double: bool
    ) -> None:
        blocks = [ResidualBlock(in_width + skip_width, in_width, time_width, groups) for _ in range(2)]
        attention = Skip(in_width, LinearAttention(in_width))
        conv = nn.Conv2d(in_width, out_width, 3, padding=1)
        step = nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), conv) if double else conv
        super().__init__([*blocks, attention, step])

    def forward(self, x: Tensor, time: Tensor, skips: SkipPair | None) -> Tensor:
        """The next level's input; `skips` is None in a decoder built without them."""
        block1, block2, attention, step = self
        x = block1(x if skips is None else torch.cat((x, skips[1]), dim=1), time)
        x = block2(x if skips is None else torch.cat((x, skips[0]), dim=1), time)
        out: Tensor = step(attention(x))
        return out


def _check_widths(dim: int, dim_mults: Mults, groups: int) -> None:
    """Raise ConfigError where no net of these widths can be built."""
    if not dim_mults or min(dim_mults) < 1:
        raise ConfigError(f"dim_mults must be one or more positive whole numbers, not {dim_mults}")
    if groups < 1 or dim < 4 or dim % 2 or dim % groups:
        raise ConfigError(f"dim must be even, at least 4 and a multiple of groups; dim is {dim}, groups {groups}")


class _Trunk(nn.Module):
    """Stem, time network, encoder and middle: the part that every arrangement has."""

    def __init__(self, in_channels: int, out_channels: int, dim: int, dim_mults: Mults, groups: int) -> None:
        super().__init__()
        _check_widths(dim, dim_mults, groups)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.size_multiple = 2 ** (len(dim_mults) - 1)
        self._dim, self._groups, self._time_width = dim, groups, 4 * dim
        self._widths = (dim, *(dim * mult for mult in dim_mults))
        self.init_conv = nn.Conv2d(in_channels, dim, 7, padding=3)
        # The sines stand outside, but keep their place in the published numbering.
        self.time_mlp = nn.Sequential(nn.Identity(), nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, 4 * dim))
        last = len(dim_mults) - 1
        self.downs = nn.ModuleList(
            _Down(*widths, self._time_width, groups, halve=i < last) for i, widths in enumerate(pairwise(self._widths))
        )
        middle = self._widths[-1]
        self.mid_block1 = ResidualBlock(middle, middle, self._time_width, groups)
        self.mid_attn = Skip(middle, FullAttention(middle))
        self.mid_block2 = ResidualBlock(middle, middle, self._time_width, groups)

    def _decoder(self, skips: bool) -> nn.ModuleList:
        """The levels on the way up, deepest first."""
        steps = list(pairwise(reversed(self._widths)))
        return nn.ModuleList(
            _Up(deep, wide, wide if skips else 0, self._time_width, self._groups, double=i < len(steps) - 1)
            for i, (deep, wide) in enumerate(steps)
        )

    def _final_block(self, in_width: int) -> ResidualBlock:
        return ResidualBlock(in_width, self._dim, self._time_width, self._groups)

    def _embed(self, t: Tensor, dtype: torch.dtype) -> Tensor:
        """(N,) -> (N, 4 dim)."""
        time: Tensor = self.time_mlp(sinusoidal(t, self._dim).to(dtype))
        return time

    def _encode(self, stem: Tensor, time: Tensor) -> tuple[Tensor, list[SkipPair]]:
        """The middle's output, and the pair of skips of each level, widest image first."""
        x, skips = stem, []
        for level in self.downs:
            x, pair = level(x, time)
            skips.append(pair)
        x = self.mid_block2(self.mid_attn(self.mid_block1(x, time)), time)
        return x, skips


@final
class UNet(_Trunk):
    """One U-Net with one output.

    `in_channels` counts all that is joined at the input (x_t, then x_in, then the mask). The widths of the levels are
    `dim` times `dim_mults`; `groups` is the number of groups of every GroupNorm. Raises ConfigError where `dim` is
    odd, below 4 or no multiple of `groups`, or `dim_mults` is empty or not positive; and, when called, where a shape
    does not fit: H and W must be multiples of `size_multiple`.
    """

    heads: ClassVar[int] = 1

    def __init__(
        self, in_channels: int, out_channels: int = 3, dim: int = 64, dim_mults: Mults = (1, 2, 4, 8), groups: int = 8
    ) -> None:
        super().__init__(in_channels, out_channels, dim, dim_mults, groups)
        self.ups = self._decoder(skips=True)
        self.final_res_block = self._final_block(2 * dim)
        self.final_conv = nn.Conv2d(dim, out_channels, 1)

    def forward(self, x: Tensor, times: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """`x` (N, in_channels, H, W), `times` one tensor (N,) -> one tensor (N, out_channels, H, W)."""
        check_input(x, times, self.in_channels, self.heads, self.size_multiple)
        time = self._embed(times[0], x.dtype)
        stem = self.init_conv(x)
        h, skips = self._encode(stem, time)
        for level, pair in zip(self.ups, reversed(skips), strict=True):
            h = level(h, time, pair)
        return (self.final_conv(self.final_res_block(torch.cat((h, stem), dim=1), time)),)


@final
class TwoUNets(nn.Module):
    """Two U-Nets on the same input, each with its own output and time; arguments as for `UNet`."""

    heads: ClassVar[int] = 2

    def __init__(
        self, in_channels: int, out_channels: int = 3, dim: int = 64, dim_mults: Mults = (1, 2, 4, 8), groups: int = 8
    ) -> None:
        super().__init__()
        self.unet0 = UNet(in_channels, out_channels, dim, dim_mults, groups)
        self.unet1 = UNet(in_channels, out_channels, dim, dim_mults, groups)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.size_multiple = self.unet0.size_multiple

    def forward(self, x: Tensor, times: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """`x` (N, in_channels, H, W), `times` two tensors (N,) -> two tensors (N, out_channels, H, W); see `UNet`."""
        check_input(x, times, self.in_channels, self.heads, self.size_multiple)
        return (*self.unet0(x, times[:1]), *self.unet1(x, times[1:]))


@final
class SharedEncoderUNet(_Trunk):
    """One encoder, two decoders: the first output's has no skips, the second's has; arguments as for `UNet`.

    The encoder and the first decoder are given the first time, the second decoder the second one. The published net
    knows a single time: give it twice.
    """

    heads: ClassVar[int] = 2

    def __init__(
        self, in_channels: int, out_channels: int = 3, dim: int = 64, dim_mults: Mults = (1, 2, 4, 8), groups: int = 8
    ) -> None:
        super().__init__(in_channels, out_channels, dim, dim_mults, groups)
        self.ups_no_skip = self._decoder(skips=False)
        self.ups = self._decoder(skips=True)
        self.final_res_block_1, self.final_res_block_2 = self._final_block(dim), self._final_block(2 * dim)
        self.final_conv_1, self.final_conv_2 = (nn.Conv2d(dim, out_channels, 1) for _ in range(2))

    def forward(self, x: Tensor, times: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """`x` (N, in_channels, H, W), `times` two tensors (N,) -> two tensors (N, out_channels, H, W); see `UNet`."""
        check_input(x, times, self.in_channels, self.heads, self.size_multiple)
        time_1, time_2 = (self._embed(t, x.dtype) for t in times)
        stem = self.init_conv(x)
        middle, skips = self._encode(stem, time_1)
        h_1, h_2 = middle, middle
        for level in self.ups_no_skip:
            h_1 = level(h_1, time_1, None)
        for level, pair in zip(self.ups, reversed(skips), strict=True):
            h_2 = level(h_2, time_2, pair)
        out_1 = self.final_conv_1(self.final_res_block_1(h_1, time_1))
        out_2 = self.final_conv_2(self.final_res_block_2(torch.cat((h_2, stem), dim=1), time_2))
        return out_1, out_2
