"""Layers for inference alone, which do at once what the networks' own do one after the other.

They are made of trained layers, to the same result but for rounding, and are of use where every image of a batch is at
one time: what the time gives is then one row, (1, C), and joins the gain and offset of a normalisation:

    (1 + scale) (g LN(x) + o) + shift  =  (g (1 + scale)) LN(x) + (o (1 + scale) + shift)

Where images have times of their own each line is computed as it stands. `backends.folding` puts the layers into place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from residiff.nn import ddim_unet, dit, nafnet
from residiff.nn.unet import EPS, HEAD_WIDTH, HEADS, ChannelNorm, LinearAttention, ResidualBlock, Skip, StandardisedConv

WIDTH = HEADS * HEAD_WIDTH


def _constant(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value.detach().clone(), requires_grad=False)


def plain_conv(layer: StandardisedConv) -> nn.Conv2d:
    """The convolution by the standardised filters, made once."""
    conv = nn.Conv2d(layer.in_channels, layer.out_channels, 3, padding=1, device=layer.weight.device)
    conv.weight = _constant(F.layer_norm(layer.weight, layer.weight.shape[1:], eps=EPS))
    conv.bias = layer.bias
    return conv


@final
class ModulatedNorm(nn.Module):
    """Group normalisation, scaled and shifted by the time."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.groups, self.eps = norm.num_groups, norm.eps
        self.weight, self.bias = norm.weight, norm.bias

    def affine(self, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        """Gain and offset of the time's `scale` and `shift` together with the layer's own; all (N, C) or (1, C)."""
        return self.weight * (1 + scale), self.bias * (1 + scale) + shift

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """`x` (N, C, H, W), `scale` and `shift` (N, C) or (1, C) -> (N, C, H, W)."""
        weight, bias = self.affine(scale, shift)
        if len(weight) == 1:
            return F.group_norm(x, self.groups, weight[0], bias[0], self.eps)
        return F.group_norm(x, self.groups, eps=self.eps) * weight[..., None, None] + bias[..., None, None]


@final
class UNetBlock(nn.Module):
    """`unet.ResidualBlock` with plain convolutions, the time within the normalisation."""

    def __init__(self, block: ResidualBlock) -> None:
        super().__init__()
        self.mlp, self.res_conv = block.mlp, block.res_conv
        self.conv1, self.conv2 = plain_conv(block.block1.proj), plain_conv(block.block2.proj)
        self.norm1, self.norm2 = ModulatedNorm(block.block1.norm), block.block2.norm

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """`x` (N, in_width, H, W), `time` (N, time_width) or (1, time_width) -> (N, out_width, H, W)."""
        h = F.silu(self.norm1(self.conv1(x), *self.mlp(time).chunk(2, dim=1)))
        out: Tensor = F.silu(self.norm2(self.conv2(h))) + self.res_conv(x)
        return out


@final
class LinearAttentionSkip(nn.Module):
    """x + LN(V A(q, k)) of `unet.Skip` around linear attention, on tokens (N, pixels, channels) as memory has them.

    With K = exp(k - max k) the sums over pixels that make K a softmax divide its product with v, not K itself. All
    heads are one matrix product, whose blocks off the diagonal are left out; what follows for one query is a matrix,
    which the projection joins. The gain before the attention lies in the weights of q, k and v.
    """

    blocks: Tensor

    def __init__(self, skip: Skip) -> None:
        super().__init__()
        attention: LinearAttention = skip.fn.fn  # type: ignore[assignment]
        project: nn.Conv2d = attention.to_out[0]  # type: ignore[assignment]
        norm: ChannelNorm = attention.to_out[1]  # type: ignore[assignment]
        qkv = attention.to_qkv.weight[:, :, 0, 0] * skip.fn.norm.g.flatten()
        self.to_qkv = _constant(qkv)
        self.project = _constant(project.weight[:, :, 0, 0].mT * HEAD_WIDTH**-0.5)
        self.bias: Tensor = project.bias  # type: ignore[assignment]
        self.gain = _constant(norm.g.flatten())
        heads = torch.arange(WIDTH, device=qkv.device) // HEAD_WIDTH
        self.register_buffer("blocks", (heads[:, None] == heads).to(qkv.dtype), persistent=False)

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of `x`, each (N, pixels, HEADS * HEAD_WIDTH)."""
        tokens = x.permute(0, 2, 3, 1).flatten(1, 2)
        return F.linear(F.layer_norm(tokens, x.shape[1:2], eps=EPS), self.to_qkv).chunk(3, dim=-1)  # type: ignore[return-value]

    def context(self, key: Tensor, value: Tensor) -> Tensor:
        """(N, WIDTH, C): what each channel of a query adds to the result."""
        weights = (key - key.amax(1, keepdim=True)).exp()
        joined = weights.mT @ value * self.blocks / (weights.sum(1)[..., None] * key.shape[1])
        return joined @ self.project

    def projected(self, context: Tensor) -> Tensor:
        """The same of a context (N, HEADS, HEAD_WIDTH, HEAD_WIDTH), key by value."""
        return (context @ self.project.unflatten(0, (HEADS, HEAD_WIDTH))).flatten(1, 2)  # type: ignore[no-any-return,no-untyped-call]

    def attended(self, x: Tensor, query: Tensor, context: Tensor) -> Tensor:
        """`x` with the attention added."""
        query = query.reshape(*query.shape[:2], HEADS, HEAD_WIDTH).softmax(-1).flatten(-2)
        mixed = F.layer_norm(query @ context + self.bias, x.shape[1:2], self.gain, eps=EPS)
        return x + mixed.reshape(x.shape[0], *x.shape[2:], -1).permute(0, 3, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        query, key, value = self.parts(x)
        return self.attended(x, query, self.context(key, value))


@final
class NAFBlock(nn.Module):
    """`nafnet.Block` with the time within the first normalisation, the last scales within the convolutions."""

    def __init__(self, block: nafnet.Block) -> None:
        super().__init__()
        self.time, self.norm1, self.norm2 = block.time, block.norm1, block.norm2
        self.expand, self.depthwise, self.widen = block.expand, block.depthwise, block.widen
        self.pool, self.attention = block.pool, block.attention
        self.project, self.narrow = _scaled(block.project, block.scale1), _scaled(block.narrow, block.scale2)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """`x` (N, C, H, W), `time` (N, time_width) or (1, time_width) -> (N, C, H, W)."""
        y = nafnet.gate(self.depthwise(self.expand(self._modulated(x, *self.time(time).chunk(2, dim=1)))))
        x = x + self.project(y * self.attention(self.pool(y)))
        out: Tensor = x + self.narrow(nafnet.gate(self.widen(self.norm2(x))))
        return out

    def _modulated(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        norm, tokens = self.norm1, x.permute(0, 2, 3, 1)
        weight, bias = norm.weight * (1 + scale), norm.bias * (1 + scale) + shift
        if len(weight) == 1:
            return F.layer_norm(tokens, weight.shape[1:], weight[0], bias[0], nafnet.EPS).permute(0, 3, 1, 2)
        normal = F.layer_norm(tokens, weight.shape[1:], eps=nafnet.EPS)
        return (normal * weight[:, None, None] + bias[:, None, None]).permute(0, 3, 1, 2)


def _scaled(layer: nn.Conv2d, scale: Tensor) -> nn.Conv2d:
    """A 1x1 convolution whose outputs (1, C, 1, 1) are scaled."""
    conv = nn.Conv2d(layer.in_channels, layer.out_channels, 1, device=layer.weight.device)
    conv.weight = _constant(layer.weight * scale.reshape(-1, 1, 1, 1))
    conv.bias = None if layer.bias is None else _constant(layer.bias * scale.flatten())
    return conv


@final
class DDIMBlock(nn.Module):
    """`ddim_unet.ResidualBlock` with the time within the bias of the first convolution; without dropout."""

    def __init__(self, block: ddim_unet.ResidualBlock) -> None:
        super().__init__()
        self.norm1, self.conv1, self.temb_proj = block.norm1, block.conv1, block.temb_proj
        self.norm2, self.conv2, self.nin_shortcut = block.norm2, block.conv2, block.nin_shortcut

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """`x` (N, in_width, H, W), `time` (N, time_width) or (1, time_width) -> (N, out_width, H, W)."""
        told, h = self.temb_proj(time), F.silu(self.norm1(x))
        if len(told) == 1:
            h = F.conv2d(h, self.conv1.weight, self.conv1.bias + told[0], padding=1)
        else:
            h = self.conv1(h) + told[..., None, None]
        out: Tensor = self.nin_shortcut(x) + self.conv2(F.silu(self.norm2(h)))
        return out


@final
class DiTBlock(nn.Module):
    """`dit.Block` with shift and scale within the normalisations, the gates within the projections."""

    def __init__(self, block: dit.Block) -> None:
        super().__init__()
        self.attn, self.adaLN_modulation = block.attn, block.adaLN_modulation
        self.wide = block.mlp[:2]
        self.narrow: nn.Linear = block.mlp[2]  # type: ignore[assignment]

    def forward(self, z: Tensor, time: Tensor) -> Tensor:
        """`z` (N, tokens, width), `time` (N, 1, width) or (1, 1, width) -> (N, tokens, width)."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(time).chunk(6, dim=-1)
        mixed = self.attn.mixed(modulated(z, shift1, scale1))
        z = z + gated_linear(mixed, self.attn.proj, gate1)
        wide = self.wide(modulated(z, shift2, scale2))
        return z + gated_linear(wide, self.narrow, gate2)


def modulated(z: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """(1 + scale) LN(z) + shift of tokens (N, tokens, width), the others (N, 1, width) or (1, 1, width)."""
    if len(shift) > 1:
        return dit.modulated(z, shift, scale)
    return F.layer_norm(z, z.shape[-1:], 1 + scale.flatten(), shift.flatten(), dit.EPS)


def gated_linear(z: Tensor, layer: nn.Linear, gate: Tensor) -> Tensor:
    """`gate` (N, 1, out) or (1, 1, out) times what a linear layer makes of `z` (N, tokens, in)."""
    if len(gate) == 1:
        row = gate.flatten()
        return F.linear(z, layer.weight * row[:, None], layer.bias * row)
    out: Tensor = gate * layer(z)
    return out


def _attention(skip: nn.Module) -> nn.Module:
    if isinstance(skip, Skip) and isinstance(skip.fn.fn, LinearAttention):
        return LinearAttentionSkip(skip)
    return skip


# What stands for a layer where a network is folded
FOLDS: dict[type[nn.Module], Callable[..., nn.Module]] = {
    ResidualBlock: UNetBlock,
    Skip: _attention,
    nafnet.Block: NAFBlock,
    ddim_unet.ResidualBlock: DDIMBlock,
    dit.Block: DiTBlock,
}
