"""Inception v3, in whose features sets of images are compared: FID, KID and the Inception Score.

Szegedy et al., Rethinking the Inception architecture for computer vision, CVPR 2016. The names of the weights are
torchvision's, which the published files of both variants have:

| variant                 | classes | average pools count the border | last pool | file                    |
|-------------------------|---------|--------------------------------|-----------|-------------------------|
| `fid_inception`         | 1008    | no                             | maximum   | `pt_inception-2015-...` |
| `torchvision_inception` | 1000    | yes, as zeros                  | average   | `inception_v3_google`   |

The first is the network of 2015 that all published FID is measured in, as pytorch-fid and torch-fidelity carry it; the
features of the two are not comparable. The auxiliary classifier, which is for training alone, is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from residiff.errors import ConfigError

SIDE = 299
Kernel = int | tuple[int, int]


class Unit(nn.Module):
    """A convolution without bias, batch normalisation as it was at the end of training, a rectifier."""

    def __init__(self, before: int, after: int, kernel: Kernel, stride: int, padding: Kernel) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(after, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """(N, before, H, W) -> (N, after, ...)."""
        normed: Tensor = self.bn(self.conv(x))
        return normed.relu()


@dataclass(frozen=True)
class Row:
    """One unit of a table: its name, output channels and kernel; a stride of 2 goes without padding."""

    name: str
    channels: int
    kernel: Kernel = 1
    stride: int = 1

    def unit(self, before: int) -> Unit:
        """The unit, for so many input channels."""
        high, wide = (self.kernel, self.kernel) if isinstance(self.kernel, int) else self.kernel
        padding = (high // 2, wide // 2) if self.stride == 1 else (0, 0)
        return Unit(before, self.channels, self.kernel, self.stride, padding)


@dataclass(frozen=True)
class Branch:
    """Units one after another; `ends` stand beside each other on what the last of them gives."""

    chain: tuple[Row, ...]
    ends: tuple[Row, ...] = ()


class Pool(nn.Module):
    """The pooling of a block's last branch: 3 x 3, of stride 1 or, a maximum alone, 2."""

    def __init__(self, *, maximum: bool = False, stride: int = 1, counts_border: bool = True) -> None:
        super().__init__()
        self.maximum, self.stride, self.counts_border = maximum, stride, counts_border

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same, or of half the sides."""
        if self.maximum:
            return functional.max_pool2d(x, 3, self.stride, padding=1 if self.stride == 1 else 0)
        return functional.avg_pool2d(x, 3, 1, padding=1, count_include_pad=self.counts_border)


class Mixed(nn.Module):
    """A block: branches side by side and a pool, whose channels are put after another.

    `projection` is the unit behind the pool, None where the pool is taken as it is.
    """

    def __init__(self, before: int, branches: tuple[Branch, ...], pool: Pool, projection: Row | None) -> None:
        super().__init__()
        self.branches, self.pool, self.projection = branches, pool, projection
        self.channels = before if projection is None else projection.channels
        for branch in branches:
            width = before
            for row in branch.chain:
                self.add_module(row.name, row.unit(width))
                width = row.channels
            for row in branch.ends:
                self.add_module(row.name, row.unit(width))
            self.channels += sum(row.channels for row in branch.ends) or width
        if projection is not None:
            self.add_module(projection.name, projection.unit(before))

    def forward(self, x: Tensor) -> Tensor:
        """(N, before, H, W) -> (N, self.channels, ...)."""
        found: list[Tensor] = []
        for branch in self.branches:
            y = x
            for row in branch.chain:
                y = self.get_submodule(row.name)(y)
            found += [self.get_submodule(row.name)(y) for row in branch.ends] or [y]
        pooled = self.pool(x)
        found.append(pooled if self.projection is None else self.get_submodule(self.projection.name)(pooled))
        return torch.cat(found, 1)


class Inception(nn.Module):
    """The network, for scoring: random as it is made, its weights want no gradient.

    Parameters
    ----------
    classes : how many it tells apart
    counts_border : whether average pools count the zeros beyond the border as values
    ends_in_maximum : whether the last block's pool takes the maximum
    """

    TAPS: ClassVar = {64: "Conv2d_2b_3x3", 192: "Conv2d_4a_3x3", 768: "Mixed_6e", 2048: "Mixed_7c"}

    def __init__(self, classes: int, *, counts_border: bool, ends_in_maximum: bool) -> None:
        super().__init__()
        before = 3
        for row, padding in _STEM:
            self.add_module(row.name, Unit(before, row.channels, row.kernel, row.stride, padding))
            before = row.channels
        for name, (branches, projection) in _BLOCKS.items():
            maximum = projection is None or (ends_in_maximum and name == "Mixed_7c")
            pool = Pool(maximum=maximum, stride=2 if projection is None else 1, counts_border=counts_border)
            block = Mixed(before, branches, pool, projection)
            self.add_module(name, block)
            before = block.channels
        self.fc = nn.Linear(before, classes)
        self.requires_grad_(False).eval()

    def features(self, x: Tensor, width: int = 2048) -> Tensor:
        """Features (N, width), averaged over the places, of what a rule of `inception_inputs` gives (N, 3, 299, 299).

        Of 64 and 192 numbers behind the first and second pooling, of 768 behind `Mixed_6e`, of 2048 at the end.

        Raises
        ------
        ConfigError
            If the width is another, or the input is not (N, 3, H, W) with sides of at least 75.
        """
        if width not in self.TAPS:
            raise ConfigError(f"there are no features of {width} numbers; allowed are {', '.join(map(str, self.TAPS))}")
        if x.ndim != 4 or x.shape[1] != 3 or min(x.shape[2:]) < 75:
            raise ConfigError(f"the network takes (N, 3, H, W), sides of at least 75, not {tuple(x.shape)}")
        for name, layer in self.named_children():
            x = layer(x)
            if name in (self.TAPS[64], self.TAPS[192]):
                x = functional.max_pool2d(x, 3, 2)
            if name == self.TAPS[width]:
                break
        return x.mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of what a rule of `inception_inputs` gives (N, 3, 299, 299)."""
        logits: Tensor = self.fc(self.features(x))
        return logits


def fid_inception() -> Inception:
    """The network of FID and KID: 1008 classes, its pools as TensorFlow computed them in 2015."""
    return Inception(1008, counts_border=False, ends_in_maximum=True)


def torchvision_inception() -> Inception:
    """The `inception_v3` of torchvision, of 1000 classes: the network of PyTorch's Inception Scores."""
    return Inception(1000, counts_border=True, ends_in_maximum=False)


# With the padding of each; a pooling follows the third and the last
_STEM = (
    (Row("Conv2d_1a_3x3", 32, 3, 2), 0),
    (Row("Conv2d_2a_3x3", 32, 3), 0),
    (Row("Conv2d_2b_3x3", 64, 3), 1),
    (Row("Conv2d_3b_1x1", 80, 1), 0),
    (Row("Conv2d_4a_3x3", 192, 3), 0),
)
_ROW, _COLUMN = (1, 7), (7, 1)
_DOUBLE_3 = (Row("branch3x3dbl_1", 64), Row("branch3x3dbl_2", 96, 3))
_Block = tuple[tuple[Branch, ...], Row | None]


def _wide(projected: int) -> _Block:
    """Blocks 5b to 5d, of 35 x 35 places."""
    five = Branch((Row("branch5x5_1", 48), Row("branch5x5_2", 64, 5)))
    three = Branch((*_DOUBLE_3, Row("branch3x3dbl_3", 96, 3)))
    return (Branch((Row("branch1x1", 64),)), five, three), Row("branch_pool", projected)


def _long(c: int) -> _Block:
    """Blocks 6b to 6e, of 17 x 17 places: kernels of 7 x 7 in two parts."""
    seven = (Row("branch7x7_1", c), Row("branch7x7_2", c, _ROW), Row("branch7x7_3", 192, _COLUMN))
    double = (Row("branch7x7dbl_1", c), Row("branch7x7dbl_2", c, _COLUMN), Row("branch7x7dbl_3", c, _ROW))
    double_end = (Row("branch7x7dbl_4", c, _COLUMN), Row("branch7x7dbl_5", 192, _ROW))
    chains = ((Row("branch1x1", 192),), seven, (*double, *double_end))
    return tuple(Branch(chain) for chain in chains), Row("branch_pool", 192)


def _forked() -> _Block:
    """Blocks 7b and 7c, of 8 x 8 places: kernels of 3 x 3 as a row and a column side by side."""
    three_ends = (Row("branch3x3_2a", 384, (1, 3)), Row("branch3x3_2b", 384, (3, 1)))
    double_ends = (Row("branch3x3dbl_3a", 384, (1, 3)), Row("branch3x3dbl_3b", 384, (3, 1)))
    three = Branch((Row("branch3x3_1", 384),), three_ends)
    double = Branch((Row("branch3x3dbl_1", 448), Row("branch3x3dbl_2", 384, 3)), double_ends)
    return (Branch((Row("branch1x1", 320),)), three, double), Row("branch_pool", 192)


_SEVEN_DOWN = (Row("branch7x7x3_1", 192), Row("branch7x7x3_2", 192, _ROW), Row("branch7x7x3_3", 192, _COLUMN))
_BLOCKS: dict[str, _Block] = {
    "Mixed_5b": _wide(32),
    "Mixed_5c": _wide(64),
    "Mixed_5d": _wide(64),
    "Mixed_6a": (
        (Branch((Row("branch3x3", 384, 3, 2),)), Branch((*_DOUBLE_3, Row("branch3x3dbl_3", 96, 3, 2)))),
        None,
    ),
    "Mixed_6b": _long(128),
    "Mixed_6c": _long(160),
    "Mixed_6d": _long(160),
    "Mixed_6e": _long(192),
    "Mixed_7a": (
        (
            Branch((Row("branch3x3_1", 192), Row("branch3x3_2", 320, 3, 2))),
            Branch((*_SEVEN_DOWN, Row("branch7x7x3_4", 192, 3, 2))),
        ),
        None,
    ),
    "Mixed_7b": _forked(),
    "Mixed_7c": _forked(),
}
