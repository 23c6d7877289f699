"""Several sources of pairs as one: number i is from one of them, in proportion to their weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from residiff.data.pair import Pair, Pairs
from residiff.data.purposes import MIXTURE
from residiff.errors import ConfigError, check_range
from residiff.seeds import generator

BLOCK = 1000
# A block holds two numbers or more of each part, and is shuffled in a moment
LEAST_SHARE = 1e-5
KEPT_BLOCKS = 4


class Mixed:
    """Pairs of several `parts`, each with its weight.

    The own numbers 0, 1, 2, ... of each part are met in order, each once, so that its epochs stay whole. After any
    number of whole blocks of `block` numbers each part has had its share, but for less than one pair; within a block
    they are shuffled. All this depends on the seed and the number alone.

    Raises
    ------
    ConfigError
        If there are no parts, a weight is not in [1e-6, 1e6], or a share is below 0.001 %.
    """

    def __init__(self, parts: Sequence[tuple[Pairs, float]], seed: int) -> None:
        self.parts, self.seed = tuple(parts), seed
        shares = _shares(parts)
        self.bounds = (Fraction(0), *accumulate(shares))
        # With two of each or more in a block, rounding never takes one back
        self.block = max(BLOCK, math.ceil(2 / min(shares)))
        named = (f"{float(share):.3g} of {part.source}" for share, (part, _) in zip(shares, parts, strict=True))
        self.source = f"mixture of {', '.join(named)}"
        self._dealt = lru_cache(KEPT_BLOCKS)(self._deal)

    def __reduce__(self) -> tuple[type[Mixed], tuple[Sequence[tuple[Pairs, float]], int]]:
        """To a loader's worker that is not a fork, what it is made of."""
        return Mixed, (self.parts, self.seed)

    @property
    def size(self) -> int:
        """How many pictures there are in all, but for parts that never end."""
        return sum(part.size for part, _ in self.parts)

    def place(self, index: int) -> tuple[int, int]:
        """Which part pair number `index` is of, and its number there."""
        number, slot = divmod(index, self.block)
        dealt = self._dealt(number)
        return int(dealt.part[slot]), int(dealt.own[slot])

    def name(self, index: int) -> str:
        """The name that its part gives it."""
        part, own = self.place(index)
        return self.parts[part][0].name(own)

    def __call__(self, index: int) -> Pair:
        """The pair, as its part gives it."""
        part, own = self.place(index)
        return self.parts[part][0](own)

    def _deal(self, number: int) -> _Block:
        """Block `number`, shuffled."""
        spans = [range(*ends) for ends in zip(self._before(number), self._before(number + 1), strict=True)]
        ordered = torch.cat([torch.full((len(span),), part) for part, span in enumerate(spans)])
        owns = torch.cat([torch.arange(span.start, span.stop) for span in spans])
        part = ordered[torch.randperm(self.block, generator=generator(self.seed, MIXTURE, number))]
        own = torch.empty_like(owns)
        # The places of the first part, those of the second, and so on
        own[part.argsort(stable=True)] = owns
        return _Block(part, own)

    def _before(self, number: int) -> list[int]:
        """How many numbers of each part are in the blocks before block `number`."""
        ends = [math.floor(number * self.block * bound + Fraction(1, 2)) for bound in self.bounds]
        return [end - start for start, end in pairwise(ends)]


class _Block(NamedTuple):
    """For each number of a block its part, and its number there."""

    part: Tensor
    own: Tensor


def _shares(parts: Sequence[tuple[Pairs, float]]) -> list[Fraction]:
    """The weights over their sum, exactly."""
    if not parts:
        raise ConfigError("a mixture has no parts; give one or more")
    for part, weight in parts:
        check_range(f"weight of {part.source}", weight, 1e-6, 1e6)
    total = sum(Fraction(weight) for _, weight in parts)
    shares = [Fraction(weight) / total for _, weight in parts]
    if min(shares) < LEAST_SHARE:
        part, _ = parts[shares.index(min(shares))]
        found = f"{part.source} has a share of {float(min(shares)):.1g} of the mixture"
        raise ConfigError(f"{found}; allowed are {LEAST_SHARE:g} and more")
    return shares
