"""What is trained on: a `Pair` of images, and `Pairs`, where they come from."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor


class Pair(NamedTuple):
    """A clean image and its degraded version, (3, H, W) in [0, 1], and a mask (K, H, W), K = 0 where there is none."""

    clean: Tensor
    degraded: Tensor
    mask: Tensor


class Pairs(Protocol):
    """Training data: pair number `index`, the same in every process and at every time.

    `source` says where they are from.
    """

    source: str

    @property
    def size(self) -> int:
        """How many pictures make an epoch, 0 where they never end."""
        ...

    def __call__(self, index: int) -> Pair:
        """The pair, cropped for training; an `ImageError` where its pictures cannot be read."""
        ...

    def name(self, index: int) -> str:
        """What pair number `index` shows, for people: a file, or the number of a procedural picture."""
        ...
