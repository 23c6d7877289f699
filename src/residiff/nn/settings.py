"""Settings of the backbones, as a recipe names them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from torch import nn

from residiff.errors import ConfigError, check_range
from residiff.nn.ddim_unet import DDIMUNet
from residiff.nn.dit import PATCHES, SIZES
from residiff.nn.nafnet import NAFNet
from residiff.nn.unet import SharedEncoderUNet, TwoUNets, UNet


def _check_widths(width: int, multipliers: tuple[int, ...], limit: int = 16) -> None:
    check_range("width", width, 4, 2048)
    check_range("number of levels", len(multipliers), 1, 8)
    for multiplier in multipliers:
        check_range("width multiplier", multiplier, 1, limit)


@final
@dataclass(frozen=True)
class NAFNetSettings:
    """Settings of `NAFNet`.

    `width` is the first level's, doubled at each below; `encoder`, `middle` and `decoder` are the blocks of each level
    down, of the bottom, and of each level up. The image is folded `fold` x `fold` pixels into channels first.
    """

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
            raise ConfigError(
                f"encoder has {len(self.encoder)} levels and decoder {len(self.decoder)}; give as many of each"
            )

    def build(self, in_channels: int, out_channels: int, heads: int) -> NAFNet:
        """The network, with random weights."""
        return NAFNet(in_channels, out_channels, heads, self.width, self.encoder, self.middle, self.decoder, self.fold)


@final
@dataclass(frozen=True)
class UNetSettings:
    """Settings of the papers' `UNet`; two heads are two U-Nets, or with `shared` one encoder and two decoders.

    Level by level the channels are `width` times each of `multipliers`, normalised in `groups`.
    """

    kind: Literal["unet"] = "unet"
    width: int = 64
    multipliers: tuple[int, ...] = (1, 2, 4, 8)
    groups: int = 8
    shared: bool = False

    def __post_init__(self) -> None:
        _check_widths(self.width, self.multipliers)
        check_range("groups", self.groups, 1, self.width)
        if self.width % self.groups:
            raise ConfigError(f"width {self.width} must be a multiple of groups {self.groups}")

    def build(self, in_channels: int, out_channels: int, heads: int) -> nn.Module:
        """The network, with random weights."""
        if self.shared and heads == 1:
            raise ConfigError("a shared encoder serves two heads; predict residual-noise, or set shared = false")
        network = UNet if heads == 1 else SharedEncoderUNet if self.shared else TwoUNets
        return network(in_channels, out_channels, self.width, self.multipliers, self.groups)


@final
@dataclass(frozen=True)
class DDIMUNetSettings:
    """Settings of `DDIMUNet`; attention sits at the levels where an image of `image_size` has a side in `attention`.

    Level by level the channels are `width` times each of `multipliers`, with `blocks` blocks, and a share `dropout` of
    their values is left out in training.
    """

    kind: Literal["ddim-unet"] = "ddim-unet"
    width: int = 128
    multipliers: tuple[int, ...] = (1, 2, 2, 2)
    blocks: int = 2
    attention: tuple[int, ...] = (16,)
    image_size: int = 32
    dropout: float = 0.1

    def __post_init__(self) -> None:
        _check_widths(self.width, self.multipliers)
        check_range("blocks", self.blocks, 1, 16)
        check_range("image_size", self.image_size, 1, 65_536)
        check_range("dropout", self.dropout, 0, 0.99)

    def build(self, in_channels: int, out_channels: int, heads: int) -> nn.Module:
        """The network, with random weights; `ConfigError` if two heads are asked of it."""
        _one_head("ddim-unet", heads)
        return DDIMUNet(
            in_channels,
            out_channels,
            self.width,
            self.multipliers,
            self.blocks,
            self.attention,
            self.image_size,
            self.dropout,
        )


@final
@dataclass(frozen=True)
class DiTSettings:
    """Settings of `DiT`: its `size` S, B, L or XL, the side `patch` of a patch, and that of the images that it is for.

    Its positions are those of images of `input_size` x `input_size` pixels.
    """

    kind: Literal["dit"] = "dit"
    size: Literal["S", "B", "L", "XL"] = "S"
    patch: Literal[2, 4, 8] = 8
    input_size: int = 256

    def __post_init__(self) -> None:
        if self.size not in SIZES or self.patch not in PATCHES:
            raise ConfigError(f"DiT-{self.size}/{self.patch} is none; sizes are {', '.join(SIZES)}, patches {PATCHES}")
        check_range("input_size", self.input_size, self.patch, 4096)

    def build(self, in_channels: int, out_channels: int, heads: int) -> nn.Module:
        """The network, with random weights; `ConfigError` if two heads are asked of it."""
        _one_head("dit", heads)
        return SIZES[self.size].build(self.patch, in_channels, out_channels, self.input_size)


def _one_head(kind: str, heads: int) -> None:
    if heads != 1:
        raise ConfigError(
            f"{kind} has one head; predict residual, noise, x0 or resnoise, or take backbone unet or nafnet"
        )


AnyBackbone = NAFNetSettings | UNetSettings | DDIMUNetSettings | DiTSettings
