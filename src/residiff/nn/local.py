"""Networks that see the whole image, made to work on parts of it: what they take from the whole is found out first.

Some layers let every place know of all others: NAFNet's channel means, group normalisation, attention. Of an image that
is computed in parts they would take something else in each part, and the parts would not fit together. So the layers
are replaced: `look` notes what each layer takes of some parts, as if they were the image, `merged` puts together what
was noted of others, and `local` gives each part the same. In between, all that is left is convolutions, whose reach is
finite.

What is noted of a layer, over the pixels of all parts of a batch at once:

    channel mean      the mean
    group norm        mean and mean square by group
    linear attention  (softmax_pixels(k) v^T) / pixels, with the number of pixels of the whole image, and sum exp(k)
    attention         keys and values, which every place attends to
"""

from __future__ import annotations

import contextlib
import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from residiff.nn.ddim_unet import PixelAttention
from residiff.nn.fused import LinearAttentionSkip, ModulatedNorm
from residiff.nn.nafnet import ImageMean
from residiff.nn.unet import HEAD_WIDTH, FullAttention, LinearAttention, join_heads, split_heads


class Window(NamedTuple):
    """Which part of a part is noted, from one end to the other of its height and its width, in [0, 1]."""

    top: float = 0.0
    bottom: float = 1.0
    left: float = 0.0
    right: float = 1.0

    def pixels(self, x: Tensor) -> Tensor:
        """Of (..., H, W) what lies within, (..., pixels); at least one."""
        rows, columns = (
            _within(*ends, size)
            for ends, size in zip(((self.top, self.bottom), (self.left, self.right)), x.shape[-2:], strict=True)
        )
        return x[..., rows, columns].flatten(-2)


def _within(start: float, stop: float, size: int) -> slice:
    first = min(round(start * size), size - 1)
    return slice(first, max(first + 1, round(stop * size)))


EVERYTHING = Window()


class Noted(ABC):
    """What a layer takes of an image, or of parts of it."""

    @abstractmethod
    def with_others(self, others: Sequence[Noted]) -> Noted:
        """The same of these parts and others."""


Note = TypeVar("Note", bound=Noted)


@dataclass(frozen=True)
class Whole:
    """What a network's layers take of the whole, in the order in which they run."""

    noted: tuple[Noted, ...]

    def merged(self, others: Sequence[Whole]) -> Whole:
        """The same of these parts and others."""
        every = zip(self.noted, *(other.noted for other in others), strict=True)
        return Whole(tuple(note.with_others(more) for note, *more in every))


@dataclass
class _Walk:
    """One call of a network, layer by layer: what is known of the whole, and what is noted of what is there."""

    share: float
    known: Whole | None
    windows: Sequence[Window] = ()
    notes: bool = True
    noted: list[Noted] = field(default_factory=list)
    place: int = 0


_walk: ContextVar[_Walk | None] = ContextVar("walk", default=None)


@contextlib.contextmanager
def look(share: float, known: Whole | None = None, windows: Sequence[Window] = ()) -> Iterator[Callable[[], Whole]]:
    """While it is entered, one call of a localised network notes what its layers take of its batch, as one image.

    Parameters
    ----------
    share : of the whole image's pixels that are noted
    known
        What the layers go on with in place of what is noted: a second look, with what a first one found, is closer to
        the truth.
    windows : what is noted of each part, away from the borders that it has and the whole has not; all by default

    What is given tells what was noted, after the call.
    """
    walk = _Walk(share, known, windows)
    with _walking(walk):
        yield lambda: Whole(tuple(walk.noted))


@contextlib.contextmanager
def given_whole(whole: Whole) -> Iterator[None]:
    """While it is entered, one call of a localised network goes on with what is known in place of its own."""
    with _walking(_Walk(1.0, whole, notes=False)):
        yield


@contextlib.contextmanager
def _walking(walk: _Walk) -> Iterator[None]:
    token = _walk.set(walk)
    try:
        yield
    finally:
        _walk.reset(token)


def _of_the_whole(x: Tensor, find: Callable[[Tensor, float], Note]) -> Note:
    """What the next layer is to take: what is known, or else what `find` finds of `x` (N, ..., H, W).

    It is given the pixels of all parts, (1, ..., pixels), and the share of the whole image that they are.
    """
    walk = _walk.get()
    if walk is None:
        return find(_pixels(x, ()), 1.0)
    if walk.notes:
        walk.noted.append(find(_pixels(x, walk.windows), walk.share))
    walk.place += 1
    known = walk.noted if walk.known is None else walk.known.noted
    return known[walk.place - 1]  # type: ignore[return-value]


def _pixels(x: Tensor, windows: Sequence[Window]) -> Tensor:
    every = windows or [EVERYTHING] * len(x)
    return torch.cat([window.pixels(part) for window, part in zip(every, x, strict=True)], dim=-1)[None]


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
@dataclass(frozen=True)
class _Means(Noted):
    """Means of one kind or several over `count` values."""

    values: tuple[Tensor, ...]
    count: int

    def with_others(self, others: Sequence[Noted]) -> _Means:
        parts = [self, *(other for other in others if isinstance(other, _Means))]
        total = sum(part.count for part in parts)
        every = zip(*(part.values for part in parts), strict=True)
        weights = [part.count / total for part in parts]
        sums = (sum(w * value for w, value in zip(weights, each, strict=True)) for each in every)
        return _Means(tuple(sums), total)


@final
@dataclass(frozen=True)
class _Context(Noted):
    """Linear attention's context (1, heads, width, width), and log sum exp(k) (1, heads, width, 1) that it is by."""

    context: Tensor
    weight: Tensor

    def with_others(self, others: Sequence[Noted]) -> _Context:
        parts = [self, *(other for other in others if isinstance(other, _Context))]
        weights = torch.stack([part.weight for part in parts])
        # Each was divided by the same number of pixels, that of the whole
        context = (torch.stack([part.context for part in parts]) * weights.softmax(0)).sum(0)
        return _Context(context, weights.logsumexp(0))


@final
@dataclass(frozen=True)
class _Tokens(Noted):
    """Keys and values (1, heads, tokens, width)."""

    keys: Tensor
    values: Tensor

    def with_others(self, others: Sequence[Noted]) -> _Tokens:
        parts = [self, *(other for other in others if isinstance(other, _Tokens))]
        return _Tokens(torch.cat([part.keys for part in parts], 2), torch.cat([part.values for part in parts], 2))


@final
class _Mean(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return _of_the_whole(
            x, lambda found, share: _Means((found.mean(-1)[..., None, None],), found.shape[-1])
        ).values[0]


@final
class _GroupNorm(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        groups, eps = int(self.layer.num_groups), float(self.layer.eps)  # type: ignore[arg-type]
        split = x.reshape(len(x), groups, -1, *x.shape[2:])
        mean, square = _of_the_whole(split, lambda found, share: _squares(found)).values
        weight, bias = (part.view(1, -1, 1, 1) for part in self.layer.parameters())
        normal = ((split - mean) * torch.rsqrt(square - mean.square() + eps)).flatten(1, 2)
        result: Tensor = normal * weight + bias
        return result


def _squares(found: Tensor) -> _Means:
    """Mean and mean square of each group of (1, groups, channels, pixels): (1, groups, 1, 1, 1)."""
    variance, mean = (each[..., None] for each in torch.var_mean(found, (2, 3), correction=0, keepdim=True))
    return _Means((mean, variance + mean.square()), found.shape[-1])


@final
class _ModulatedNorm(nn.Module):
    def __init__(self, layer: ModulatedNorm) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        weight, bias = self.layer.affine(scale, shift)
        split = x.reshape(len(x), self.layer.groups, -1, *x.shape[2:])
        mean, square = _of_the_whole(split, lambda part, share: _squares(part)).values
        normal = ((split - mean) * torch.rsqrt(square - mean.square() + self.layer.eps)).flatten(1, 2)
        result: Tensor = normal * weight[..., None, None] + bias[..., None, None]
        return result


@final
class _LinearAttentionSkip(nn.Module):
    def __init__(self, layer: LinearAttentionSkip) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.layer.parts(x)
        planes = torch.cat([query, key, value], dim=-1).mT.reshape(len(x), -1, *x.shape[2:])
        context = _of_the_whole(planes, lambda part, share: _context(*split_heads(part)[1:], share)).context
        return self.layer.attended(x, query, self.layer.projected(context))


@final
class _LinearAttention(nn.Module):
    def __init__(self, layer: LinearAttention) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.layer.to_qkv(x)
        query, _, _ = split_heads(qkv)
        context = _of_the_whole(qkv, lambda found, share: _context(*split_heads(found)[1:], share)).context
        out: Tensor = self.layer.to_out(join_heads(context.mT @ (query.softmax(dim=-2) * HEAD_WIDTH**-0.5), x))
        return out


def _context(keys: Tensor, values: Tensor, share: float) -> _Context:
    """Of keys and values (1, heads, width, pixels)."""
    context = keys.softmax(dim=-1) @ (values / (values.shape[-1] / share)).mT
    return _Context(context, keys.logsumexp(dim=-1, keepdim=True))


@final
class _FullAttention(nn.Module):
    def __init__(self, layer: FullAttention) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.layer.to_qkv(x)
        query, _, _ = split_heads(qkv)
        tokens = _of_the_whole(qkv, lambda found, share: _tokens(*split_heads(found)[1:]))
        out: Tensor = self.layer.to_out(join_heads(_attended(query.mT, tokens).mT, x))
        return out


@final
class _PixelAttention(nn.Module):
    def __init__(self, layer: PixelAttention) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        layer = self.layer
        normal = layer.norm(x)
        query = layer.q(normal).flatten(2)[:, None]
        pairs = torch.cat([layer.k(normal), layer.v(normal)], dim=1)
        tokens = _of_the_whole(pairs, lambda found, share: _tokens(*found[:, None].chunk(2, dim=2)))
        mixed = _attended(query.mT, tokens)
        out: Tensor = x + layer.proj_out(mixed[:, 0].mT.reshape(x.shape))
        return out


def _tokens(keys: Tensor, values: Tensor) -> _Tokens:
    """Of keys and values (1, heads, width, pixels)."""
    return _Tokens(keys.mT.contiguous(), values.mT.contiguous())


def _attended(query: Tensor, tokens: _Tokens) -> Tensor:
    """Every query (N, heads, pixels, width) attends to all tokens."""
    keys, values = (each.expand(len(query), -1, -1, -1).contiguous() for each in (tokens.keys, tokens.values))
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
