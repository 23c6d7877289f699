"""The U-Net of DDPM and DDIM, with which Resfusion generates CIFAR-10.

Level i has width c_i = multipliers[i] width and works at size / 2^i. With e(t) = B SiLU(A sinusoidal(t)):

    block      P x + W2 dropout(SiLU(GN(W1 SiLU(GN(x)) + T SiLU(e)))),  W 3x3; P 1x1 where the widths differ, else 1
    attention  x + O V softmax(Q^T K / sqrt(c))^T,  Q, K, V 1x1 convolutions of GN(x): one head, all pixels
    level      `blocks` blocks, attention behind each at the levels named, then a 3x3 convolution of stride 2 on the
               image padded by a zero on the right and below; on the way up nearest neighbour and 3x3
    middle     block, attention, block

Each output on the way down, stem and strided ones too, is joined to the input of one block on the way up, last
to first; so a level up has one block more. GN has 32 groups and epsilon 1e-6. In a block of 32 channels each group is
one channel, whose mean GN takes away and the time with it: such a block is blind to the time.
Sources: Ho et al., 2020; Song et al., 2021. Parameter names are those of the published checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from residiff.errors import ConfigError, check_range
from residiff.nn.checks import check_input
from residiff.nn.embedding import sinusoidal

GROUPS = 32
EPS = 1e-6


def _check_widths(width: int, multipliers: tuple[int, ...]) -> None:
    """Raise ConfigError where no net of these widths can be built."""
    if width < GROUPS or width % GROUPS:
        raise ConfigError(f"width must be a multiple of the {GROUPS} groups of each norm, not {width}")
    if not multipliers or min(multipliers) < 1:
        raise ConfigError(f"multipliers must be one or more positive whole numbers, not {multipliers}")


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, width, eps=EPS)


@final
class TimeNetwork(nn.Module):
    """SiLU(W2 SiLU(W1 sinusoidal(t))): the time as every block takes it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self._width = width
        self.dense = nn.ModuleList((nn.Linear(width, 4 * width), nn.Linear(4 * width, 4 * width)))

    def forward(self, t: Tensor, dtype: torch.dtype) -> Tensor:
        """(N,) -> (N, 4 width) in `dtype`."""
        time = sinusoidal(t, self._width).to(dtype)
        for dense in self.dense:
            time = F.silu(dense(time))
        return time


@final
class ResidualBlock(nn.Module):
    """Two convolutions around a shortcut; the time is added to what the first one gives."""

    def __init__(self, in_width: int, out_width: int, time_width: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = _norm(in_width)
        self.conv1 = nn.Conv2d(in_width, out_width, 3, padding=1)
        self.temb_proj = nn.Linear(time_width, out_width)
        self.norm2 = _norm(out_width)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out_width, out_width, 3, padding=1)
        self.nin_shortcut = nn.Identity() if in_width == out_width else nn.Conv2d(in_width, out_width, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """`x` (N, in_width, H, W), `time` (N, time_width) -> (N, out_width, H, W)."""
        h = self.conv1(F.silu(self.norm1(x))) + self.temb_proj(time)[:, :, None, None]
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        out: Tensor = self.nin_shortcut(x) + h
        return out


@final
class PixelAttention(nn.Module):
    """Softmax attention of one head between all pixels, around a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = _norm(width)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(width, width, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) -> the same shape."""
        normal = self.norm(x)
        # (N, 1 head, H * W, width); not contiguous, torch would fall back to a kernel that holds all (H * W)^2 weights.
        parts = (part(normal).flatten(2).mT[:, None].contiguous() for part in (self.q, self.k, self.v))
        mixed = F.scaled_dot_product_attention(*parts)
        out: Tensor = x + self.proj_out(mixed[:, 0].mT.reshape(x.shape))
        return out


@final
class Downsample(nn.Module):
    """Half the size by a 3x3 convolution whose only padding is on the right and below."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) -> (N, width, H / 2, W / 2), H and W even."""
        out: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)))
        return out


@final
class Upsample(nn.Module):
    """Twice the size by nearest neighbour, then a 3x3 convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) -> (N, width, 2 H, 2 W)."""
        out: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return out


@dataclass(frozen=True)
class _Plan:
    """What a level is made of: the widths its blocks take, the one they give, and whether its size changes after."""

    in_widths: tuple[int, ...]
    width: int
    time_width: int
    dropout: float
    attend: bool
    resize: bool


class _Level(nn.Module):
    """Blocks of one width, each with attention behind it or none."""

    def __init__(self, plan: _Plan) -> None:
        super().__init__()
        self.block = nn.ModuleList(
            ResidualBlock(into, plan.width, plan.time_width, plan.dropout) for into in plan.in_widths
        )
        self.attn = nn.ModuleList(PixelAttention(plan.width) for _ in plan.in_widths if plan.attend)

    def _run(self, index: int, x: Tensor, time: Tensor) -> Tensor:
        out: Tensor = self.block[index](x, time)
        return self.attn[index](out) if self.attn else out


@final
class _Down(_Level):
    """A level of the encoder."""

    def __init__(self, plan: _Plan) -> None:
        super().__init__(plan)
        self.downsample = Downsample(plan.width) if plan.resize else None

    def forward(self, x: Tensor, time: Tensor) -> list[Tensor]:
        """All that the decoder takes from this level; the last is the next level's input."""
        outputs = []
        for index in range(len(self.block)):
            x = self._run(index, x, time)
            outputs.append(x)
        return outputs if self.downsample is None else [*outputs, self.downsample(x)]


@final
class _Up(_Level):
    """A level of the decoder."""

    def __init__(self, plan: _Plan) -> None:
        super().__init__(plan)
        self.upsample = Upsample(plan.width) if plan.resize else None

    def forward(self, x: Tensor, time: Tensor, skips: list[Tensor]) -> Tensor:
        """The next level's input; takes one tensor a block off the end of `skips`."""
        for index in range(len(self.block)):
            x = self._run(index, torch.cat((x, skips.pop()), dim=1), time)
        return x if self.upsample is None else self.upsample(x)


@final
class _Middle(nn.Module):
    """Block, attention, block at the smallest size."""

    def __init__(self, width: int, time_width: int, dropout: float) -> None:
        super().__init__()
        self.block_1 = ResidualBlock(width, width, time_width, dropout)
        self.attn_1 = PixelAttention(width)
        self.block_2 = ResidualBlock(width, width, time_width, dropout)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """(N, width, H, W) -> the same shape."""
        out: Tensor = self.block_2(self.attn_1(self.block_1(x, time)), time)
        return out


def _down_plans(
    width: int, multipliers: tuple[int, ...], blocks: int, attends: list[bool], dropout: float
) -> list[_Plan]:
    """The levels of the encoder, widest image first."""
    widths = [width * multiplier for multiplier in multipliers]
    return [
        _Plan((into, *[out] * (blocks - 1)), out, 4 * width, dropout, attend, resize=index < len(widths) - 1)
        for index, (into, out, attend) in enumerate(zip([width, *widths], widths, attends, strict=False))
    ]


def _up_plans(width: int, downs: list[_Plan]) -> list[_Plan]:
    """The levels of the decoder, widest image first as they are numbered, though they run from last to first."""
    skips = [width]
    for down in downs:
        skips += [down.width] * (len(down.in_widths) + down.resize)
    plans, x = [], downs[-1].width
    for index, down in reversed(list(enumerate(downs))):
        given = [x, *[down.width] * len(down.in_widths)]
        plans.append(replace(down, in_widths=tuple(into + skips.pop() for into in given), resize=index > 0))
        x = down.width
    return plans[::-1]


def _attends(attention: tuple[int, ...], image_size: int, levels: int) -> list[bool]:
    """Whether each level has attention; raises ConfigError where a size is not that of a level."""
    sizes = [image_size // 2**level for level in range(levels)]
    if image_size < 1 or image_size % 2 ** (levels - 1):
        raise ConfigError(f"image_size {image_size} must be a positive multiple of {2 ** (levels - 1)}")
    if not set(attention) <= set(sizes):
        raise ConfigError(f"attention is at {attention}, but the sizes of the levels are {tuple(sizes)}")
    return [size in attention for size in sizes]


@final
class DDIMUNet(nn.Module):
    """The network: (N, in_channels, H, W) and one (N,) time -> one (N, out_channels, H, W) tensor.

    Parameters
    ----------
    in_channels : of x_t, x_in and condition together
    out_channels : of the output
    width : channels of the stem, a multiple of 32
    multipliers : the width of each level, in units of `width`
    blocks : residual blocks of each level down; a level up has one more
    attention : sizes of the levels that have attention, where the image has `image_size`
    image_size : names the levels in `attention`, no more: images of another size have attention at the same levels
    dropout : probability within each block, in training alone, in [0, 0.9]

    Raises
    ------
    ConfigError
        If the network cannot be built; and, when called, where a shape does not fit: H and W must be multiples of
        `size_multiple`.
    """

    heads: ClassVar[int] = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 3,
        width: int = 128,
        multipliers: tuple[int, ...] = (1, 2, 2, 2),
        blocks: int = 2,
        attention: tuple[int, ...] = (16,),
        image_size: int = 32,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        _check_widths(width, multipliers)
        check_range("blocks of a level", blocks, 1, 64)
        check_range("dropout", dropout, 0.0, 0.9)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.size_multiple = 2 ** (len(multipliers) - 1)
        attends = _attends(attention, image_size, len(multipliers))
        downs = _down_plans(width, multipliers, blocks, attends, dropout)
        self.temb = TimeNetwork(width)
        self.conv_in = nn.Conv2d(in_channels, width, 3, padding=1)
        self.down = nn.ModuleList(_Down(plan) for plan in downs)
        self.mid = _Middle(downs[-1].width, 4 * width, dropout)
        self.up = nn.ModuleList(_Up(plan) for plan in _up_plans(width, downs))
        self.norm_out = _norm(downs[0].width)
        self.conv_out = nn.Conv2d(downs[0].width, out_channels, 3, padding=1)

    def forward(self, x: Tensor, times: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """`x` (N, in_channels, H, W), `times` one tensor (N,) -> one tensor (N, out_channels, H, W)."""
        check_input(x, times, self.in_channels, self.heads, self.size_multiple)
        time = self.temb(times[0], x.dtype)
        skips = [self.conv_in(x)]
        for level in self.down:
            skips += level(skips[-1], time)
        h = self.mid(skips[-1], time)
        for level in reversed(list(self.up)):
            h = level(h, time, skips)
        return (self.conv_out(F.silu(self.norm_out(h))),)
