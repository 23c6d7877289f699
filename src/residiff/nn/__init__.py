"""Backbones, one a file, and the settings that name them in a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from residiff.errors import ConfigError, check_range
from residiff.nn.nafnet import NAFNet
from residiff.nn.unet import TwoUNets, UNet


def _check_widths(width: int, multipliers: tuple[int, ...], limit: int = 16) -> None:
    check_range("width", width, 4, 2048)
    check_range("number of levels", len(multipliers), 1, 8)
    for multiplier in multipliers:
        check_range("width multiplier", multiplier, 1, limit)


@final
@dataclass(frozen=True)
class NAFNetSettings:
    """Settings of `NAFNet`: width of the first level, blocks of each level down, of the bottom, and of each level up."""

    kind: Literal["nafnet"] = "nafnet"
    width: int = 48
    encoder: tuple[int, ...] = (2, 2)
    middle: int = 8
    decoder: tuple[int, ...] = (2, 2)
    fold: int = 2

    def __post_init__(self) -> None:
        check_range("fold", self.fold, 1, 8)
        check_range("middle", self.middle, 0, 64)
        for blocks in (*self.encoder, *self.decoder):
            check_range("blocks of a level", blocks, 0, 64)
        check_range("blocks in all", sum(self.encoder) + self.middle + sum(self.decoder), 0, 128)
        _check_widths(self.width, tuple(2**level for level in range(len(self.encoder))), limit=64)
        if len(self.encoder) != len(self.decoder):
            raise ConfigError(f"encoder has {len(self.encoder)} levels and decoder {len(self.decoder)}; give as many of each")

    def build(self, in_channels: int, out_channels: int, heads: int) -> NAFNet:
        """The network, with random weights."""
        return NAFNet(in_channels, out_channels, heads, self.width, self.encoder, self.middle, self.decoder, self.fold)


@final
@dataclass(frozen=True)
class UNetSettings:
    """Settings of the papers' `UNet`; two heads are two U-Nets (RDDM)."""

    kind: Literal["unet"] = "unet"
    width: int = 64
    multipliers: tuple[int, ...] = (1, 2, 4, 8)
    groups: int = 8

    def __post_init__(self) -> None:
        _check_widths(self.width, self.multipliers)
        check_range("groups", self.groups, 1, self.width)
        if self.width % self.groups:
            raise ConfigError(f"width {self.width} must be a multiple of groups {self.groups}")

    def build(self, in_channels: int, out_channels: int, heads: int) -> UNet | TwoUNets:
        """The network, with random weights."""
        network: type[UNet | TwoUNets] = UNet if heads == 1 else TwoUNets
        return network(in_channels, out_channels, self.width, self.multipliers, self.groups)


AnyBackbone = NAFNetSettings | UNetSettings
