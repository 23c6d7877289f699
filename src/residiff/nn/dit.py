"""The diffusion transformer (DiT), told the time and no class.

The image is cut into patches, each a token z of `width` channels, z = W patch + p(row, column). With e(t) the embedded
time, LN without gain or offset, and (shift, scale, gate) vectors that a linear layer makes of SiLU(e):

    block   z + gate attention((1 + scale) LN(z) + shift),  then  z + gate' MLP((1 + scale') LN(z) + shift')
    head    patch = W ((1 + scale) LN(z) + shift)

All of these, and the head's W, start at zero (adaLN-zero): each block is the identity and the output is zero. A time or
position u becomes waves of phase u w_i, of h angular frequencies w_i = 10000^(-i / h). e(t) is an MLP of 128 cosines,
then 128 sines. One half of p is the sines, then cosines, of the column; the other half those of the row.

Positions count patches of a training image. An image of another size has its positions stretched, each axis by itself,
so that its edges lie where those of a training image lie: u_i = (i + 1/2) G / g - 1/2 for g patches, G in training.
None is more than half a patch from one seen in training, and u_i = i at the training size.

Sources: Peebles and Xie, 2023; Dosovitskiy et al., 2021. Parameter names are those of the published checkpoints.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from residiff.errors import ConfigError, check_range
from residiff.nn.checks import check_input
from residiff.nn.embedding import LONGEST

TIME_WIDTH = 256
EPS = 1e-6


def _phases(u: Tensor, count: int) -> Tensor:
    """(N,) -> (N, count): `u` times the frequencies 1 to 10000^(1/count - 1); float32, or float64 where `u` is."""
    exponent = torch.arange(count, device=u.device, dtype=torch.float32)
    return u[:, None] * torch.exp(exponent * (-math.log(LONGEST) / count))


def _stretched(count: int, trained: int, device: torch.device | None) -> Tensor:
    """Positions of `count` patches on an axis, in patches of a training image, which has `trained` of them."""
    return (torch.arange(count, device=device, dtype=torch.float32) + 0.5) * (trained / count) - 0.5


def _axis(positions: Tensor, width: int) -> Tensor:
    """(n,) -> (n, width): sines, then cosines."""
    phases = _phases(positions, width // 2)
    return torch.cat((phases.sin(), phases.cos()), dim=1)


def position_embedding(rows: int, columns: int, width: int, trained: int, device: torch.device | None = None) -> Tensor:
    """Embedding of `rows` x `columns` patches, row by row, as (1, rows * columns, width) in float32.

    `trained` is the number of patches along each side of a training image; `width` must be a multiple of 4.
    """
    down = _axis(_stretched(rows, trained, device), width // 2)[:, None].expand(-1, columns, -1)
    across = _axis(_stretched(columns, trained, device), width // 2)[None].expand(rows, -1, -1)
    return torch.cat((across, down), dim=2).reshape(1, rows * columns, width)


def modulated(z: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """(1 + scale) LN(z) + shift of tokens (N, tokens, width); the others (N, 1, width), or one row for all."""
    return F.layer_norm(z, z.shape[-1:], eps=EPS) * (1 + scale) + shift


def _linear(in_width: int, out_width: int, draw: Callable[[Tensor], Tensor] = nn.init.xavier_uniform_) -> nn.Linear:
    """A linear layer with weights from `draw` and offset zero."""
    layer = nn.Linear(in_width, out_width)
    draw(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _modulation(width: int, vectors: int) -> nn.Sequential:
    """Makes `vectors` vectors of the time, at first zero."""
    return nn.Sequential(nn.SiLU(), _linear(width, vectors * width, nn.init.zeros_))


def _patch_embedding(in_channels: int, width: int, patch: int) -> nn.Conv2d:
    """A linear layer on each patch, drawn as one."""
    layer = nn.Conv2d(in_channels, width, patch, stride=patch)
    nn.init.xavier_uniform_(layer.weight.detach().flatten(1))
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def _time_network(width: int) -> nn.Sequential:
    draw = partial(nn.init.normal_, std=0.02)
    return nn.Sequential(_linear(TIME_WIDTH, width, draw), nn.SiLU(), _linear(width, width, draw))


@final
class SelfAttention(nn.Module):
    """Softmax attention between all tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.qkv = _linear(width, 3 * width)
        self.proj = _linear(width, width)

    def forward(self, z: Tensor) -> Tensor:
        """(N, tokens, width) -> the same shape."""
        out: Tensor = self.proj(self.mixed(z))
        return out

    def mixed(self, z: Tensor) -> Tensor:
        """What the tokens take from one another, before the projection; shapes as above."""
        query, key, value = self.qkv(z).unflatten(-1, (3, self._heads, -1)).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


@final
class Block(nn.Module):
    """Attention and an MLP, each normalised, shifted, scaled and gated by the time."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = SelfAttention(width, heads)
        wide, narrow = _linear(width, 4 * width), _linear(4 * width, width)
        self.mlp = nn.Sequential(OrderedDict(fc1=wide, act=nn.GELU(approximate="tanh"), fc2=narrow))
        self.adaLN_modulation = _modulation(width, 6)

    def forward(self, z: Tensor, time: Tensor) -> Tensor:
        """`z` (N, tokens, width), `time` (N, 1, width) -> (N, tokens, width)."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(time).chunk(6, dim=-1)
        z = z + gate1 * self.attn(modulated(z, shift1, scale1))
        out: Tensor = z + gate2 * self.mlp(modulated(z, shift2, scale2))
        return out


@final
class Head(nn.Module):
    """From a token to the values of its patch."""

    def __init__(self, width: int, values: int) -> None:
        super().__init__()
        self.linear = _linear(width, values, nn.init.zeros_)
        self.adaLN_modulation = _modulation(width, 2)

    def forward(self, z: Tensor, time: Tensor) -> Tensor:
        """`z` (N, tokens, width), `time` (N, 1, width) -> (N, tokens, values)."""
        out: Tensor = self.linear(modulated(z, *self.adaLN_modulation(time).chunk(2, dim=-1)))
        return out


def _check(patch: int, width: int, depth: int, heads: int, input_size: int) -> None:
    """Raise ConfigError where no net of these sizes can be built."""
    check_range("patch", patch, 1, 64)
    check_range("depth", depth, 1, 128)
    check_range("heads", heads, 1, 64)
    check_range("input_size", input_size, patch, 65_536)
    if width < 4 or width % 4 or width % heads:
        raise ConfigError(f"width must be a multiple of 4 and of the {heads} heads, not {width}")
    if input_size % patch:
        raise ConfigError(f"input_size must be a multiple of patch {patch}, not {input_size}")


@final
class DiT(nn.Module):
    """The network: (N, in_channels, H, W) and one (N,) time -> one (N, out_channels, H, W) tensor.

    Parameters
    ----------
    in_channels : of x_t, x_in and condition together
    out_channels : of the output
    patch : side of a patch in pixels
    width : channels of a token, a multiple of 4 and of `heads`
    depth : number of blocks
    heads : of the attention
    input_size : side of the training images in pixels, where the stored positions hold; others are stretched to it

    Raises
    ------
    ConfigError
        If the network cannot be built; and, when called, where a shape does not fit: H and W must be multiples of
        `size_multiple`, the patch.
    """

    heads: ClassVar[int] = 1
    pos_embed: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 3,
        patch: int = 4,
        width: int = 384,
        depth: int = 12,
        heads: int = 6,
        input_size: int = 256,
    ) -> None:
        super().__init__()
        _check(patch, width, depth, heads, input_size)
        self.in_channels, self.out_channels, self.size_multiple = in_channels, out_channels, patch
        self._trained = input_size // patch
        self.x_embedder = nn.Sequential(OrderedDict(proj=_patch_embedding(in_channels, width, patch)))
        self.t_embedder = nn.Sequential(OrderedDict(mlp=_time_network(width)))
        # A buffer: published as a parameter that is never trained.
        self.register_buffer("pos_embed", position_embedding(self._trained, self._trained, width, self._trained))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.final_layer = Head(width, patch**2 * out_channels)

    def _time(self, t: Tensor, dtype: torch.dtype) -> Tensor:
        """(N,) -> (N, 1, width)."""
        phases = _phases(t, TIME_WIDTH // 2)
        time: Tensor = self.t_embedder(torch.cat((phases.cos(), phases.sin()), dim=1).to(dtype))
        return time[:, None]

    def _positions(self, rows: int, columns: int) -> Tensor:
        """The stored positions at the training size, computed ones elsewhere."""
        # An exported network serves every size alike
        if not torch.compiler.is_exporting() and rows == columns == self._trained:
            return self.pos_embed
        width, device = self.pos_embed.shape[-1], self.pos_embed.device
        return position_embedding(rows, columns, width, self._trained, device).to(self.pos_embed.dtype)

    def forward(self, x: Tensor, times: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """`x` (N, in_channels, H, W), `times` one tensor (N,) -> one tensor (N, out_channels, H, W)."""
        check_input(x, times, self.in_channels, self.heads, self.size_multiple)
        time = self._time(times[0], x.dtype)
        rows, columns = (side // self.size_multiple for side in x.shape[-2:])
        z = self.x_embedder(x).flatten(2).mT + self._positions(rows, columns)
        for block in self.blocks:
            z = block(z, time)
        # Each token holds its patch as (row, column, channel).
        patches = self.final_layer(z, time).mT.unflatten(2, (rows, columns))
        patches = patches.unflatten(1, (self.size_multiple**2, self.out_channels)).transpose(1, 2).flatten(1, 2)
        return (F.pixel_shuffle(patches, self.size_multiple),)


@dataclass(frozen=True)
class Size:
    """A published size of the network."""

    depth: int
    width: int
    heads: int

    def build(self, patch: int, in_channels: int, out_channels: int = 3, input_size: int = 256) -> DiT:
        """The network of this size, with random weights; arguments as for `DiT`."""
        return DiT(in_channels, out_channels, patch, self.width, self.depth, self.heads, input_size)


PATCHES = (2, 4, 8)
SIZES: dict[str, Size] = {
    "S": Size(depth=12, width=384, heads=6),
    "B": Size(depth=12, width=768, heads=12),
    "L": Size(depth=24, width=1024, heads=16),
    "XL": Size(depth=28, width=1152, heads=16),
}
