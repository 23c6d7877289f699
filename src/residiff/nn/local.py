"""Networks that see the whole image, made to work on parts of it: what they take from the whole is found out first.

Some layers let every place know of all others: NAFNet's channel means, group normalisation, attention. Of an image that
is computed in parts they would take something else in each part, and the parts would not fit together. So the layers
are replaced: `look` runs some parts together, as one image, and keeps what each layer took of the whole; `local` then
gives each part the same. In between, all that is left is convolutions, whose reach is finite.

What is kept of a layer, over all parts of a batch at once:

    channel mean      mean over the parts
    group norm        mean and variance over the parts, by group
    linear attention  (softmax_pixels(k) v^T) / pixels, with the number of pixels of the whole image
    attention         keys and values of the parts, which every place attends to
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from residiff.nn.ddim_unet import PixelAttention
from residiff.nn.fused import LinearAttentionSkip, ModulatedNorm
from residiff.nn.nafnet import ImageMean
from residiff.nn.unet import HEAD_WIDTH, FullAttention, LinearAttention, join_heads, split_heads

Found = tuple[Tensor, ...]


@dataclass
class Whole:
    """What a network's layers took of the whole, in the order in which they run; `share` of its pixels were there."""

    share: float
    found: list[Found] = field(default_factory=list)


@dataclass
class _Walk:
    """One call of a network: layer by layer, it is looked for what is known, or noted what is found."""

    whole: Whole
    notes: bool
    place: int = 0


_walk: ContextVar[_Walk | None] = ContextVar("walk", default=None)


@contextlib.contextmanager
def look(share: float) -> Iterator[Whole]:
    """While it is entered, one call of a localised network notes what its layers take of its batch, as one image.

    The batch shows that `share` of the whole image's pixels.
    """
    whole = Whole(share)
    with _walking(_Walk(whole, notes=True)):
        yield whole


@contextlib.contextmanager
def local(whole: Whole) -> Iterator[None]:
    """While it is entered, one call of a localised network takes what was noted in place of its own."""
    with _walking(_Walk(whole, notes=False)):
        yield


@contextlib.contextmanager
def _walking(walk: _Walk) -> Iterator[None]:
    token = _walk.set(walk)
    try:
        yield
    finally:
        _walk.reset(token)


def _of_the_whole(find: Callable[[float], Found]) -> Found:
    """What is known of the next layer; else what `find` finds, given the share of the whole that is there."""
    walk = _walk.get()
    if walk is None:
        return find(1.0)
    if walk.notes:
        walk.whole.found.append(find(walk.whole.share))
    walk.place += 1
    return walk.whole.found[walk.place - 1]


def localised(network: nn.Module) -> nn.Module:
    """A network of the same weights, in the same memory, whose calls may be within `look` and `local`.

    Outside of them, a batch is one image of which it shows the parts.
    """
    copied = copy.deepcopy(network, {id(each): each for each in (*network.parameters(), *network.buffers())})
    # Layers within others first
    for name, layer in reversed(list(copied.named_modules())):
        if type(layer) in _LOCAL and name:
            parent, _, last = name.rpartition(".")
            setattr(copied.get_submodule(parent), last, _LOCAL[type(layer)](layer))
    return copied


def sees_the_whole(network: nn.Module) -> bool:
    """Whether a network has layers that take something of the whole image."""
    return any(type(layer) in _LOCAL for layer in network.modules())


@final
class _Mean(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        (mean,) = _of_the_whole(lambda share: (x.mean((0, 2, 3), keepdim=True),))
        return mean


@final
class _GroupNorm(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        groups, eps = int(self.layer.num_groups), float(self.layer.eps)  # type: ignore[arg-type]
        split = x.reshape(len(x), groups, -1, *x.shape[2:])
        mean, variance = _of_the_whole(lambda share: _moments(split))
        weight, bias = (part.view(1, -1, 1, 1) for part in self.layer.parameters())
        normal = ((split - mean) * torch.rsqrt(variance + eps)).flatten(1, 2)
        result: Tensor = normal * weight + bias
        return result


def _moments(split: Tensor) -> Found:
    """Mean and variance of each group, over the batch as well: (1, groups, 1, 1, 1)."""
    variance, mean = torch.var_mean(split, (0, 2, 3, 4), correction=0, keepdim=True)
    return mean, variance


@final
class _ModulatedNorm(nn.Module):
    def __init__(self, layer: ModulatedNorm) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        weight, bias = self.layer.affine(scale, shift)
        split = x.reshape(len(x), self.layer.groups, -1, *x.shape[2:])
        mean, variance = _of_the_whole(lambda share: _moments(split))
        normal = ((split - mean) * torch.rsqrt(variance + self.layer.eps)).flatten(1, 2)
        result: Tensor = normal * weight[..., None, None] + bias[..., None, None]
        return result


@final
class _LinearAttentionSkip(nn.Module):
    def __init__(self, layer: LinearAttentionSkip) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.layer.parts(x)
        keys, values = (each.flatten(0, 1)[None] for each in (key, value))
        (context,) = _of_the_whole(lambda share: (self.layer.context(keys, values) * share,))
        return self.layer.attended(x, query, context)


@final
class _LinearAttention(nn.Module):
    def __init__(self, layer: LinearAttention) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = split_heads(self.layer.to_qkv(x))
        (context,) = _of_the_whole(lambda share: (_context(key, value, share),))
        out: Tensor = self.layer.to_out(join_heads(context.mT @ (query.softmax(dim=-2) * HEAD_WIDTH**-0.5), x))
        return out


def _context(key: Tensor, value: Tensor, share: float) -> Tensor:
    """(1, heads, width, width) of keys and values (N, heads, width, pixels), of all parts at once."""
    keys, values = (_side_by_side(each) for each in (key, value))
    return keys.softmax(dim=-1) @ (values / (values.shape[-1] / share)).mT


@final
class _FullAttention(nn.Module):
    def __init__(self, layer: FullAttention) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = split_heads(self.layer.to_qkv(x))
        keys, values = _of_the_whole(lambda share: (_tokens(key), _tokens(value)))
        mixed = _attended(query.mT, keys, values)
        out: Tensor = self.layer.to_out(join_heads(mixed.mT, x))
        return out


@final
class _PixelAttention(nn.Module):
    def __init__(self, layer: PixelAttention) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        layer = self.layer
        normal = layer.norm(x)
        query, key, value = (part(normal).flatten(2)[:, None] for part in (layer.q, layer.k, layer.v))
        keys, values = _of_the_whole(lambda share: (_tokens(key), _tokens(value)))
        mixed = _attended(query.mT, keys, values)
        out: Tensor = x + layer.proj_out(mixed[:, 0].mT.reshape(x.shape))
        return out


def _tokens(each: Tensor) -> Tensor:
    """(N, heads, width, pixels) -> (1, heads, N pixels, width)."""
    return _side_by_side(each).mT.contiguous()


def _side_by_side(each: Tensor) -> Tensor:
    """(N, heads, width, pixels) -> (1, heads, width, N pixels)."""
    return each.movedim(0, -2).flatten(-2)[None]


def _attended(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Every query (N, heads, pixels, width) attends to all keys and values (1, heads, tokens, width)."""
    keys, values = (each.expand(len(query), -1, -1, -1).contiguous() for each in (keys, values))
    return F.scaled_dot_product_attention(query.contiguous(), keys, values)


_LOCAL: dict[type[nn.Module], Callable[..., nn.Module]] = {
    ImageMean: _Mean,
    nn.GroupNorm: _GroupNorm,
    ModulatedNorm: _ModulatedNorm,
    LinearAttentionSkip: _LinearAttentionSkip,
    LinearAttention: _LinearAttention,
    FullAttention: _FullAttention,
    PixelAttention: _PixelAttention,
}
