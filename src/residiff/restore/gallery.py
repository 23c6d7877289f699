"""Where generated pictures go: a file each in a folder, and a grid of all."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from residiff import files
from residiff.data import images
from residiff.data.images import Picture
from residiff.errors import ConfigError

MAX_IN_GRID = 400
GAP = 2


@dataclass(frozen=True)
class Generated:
    """A picture (3, H, W) in [0, 1], the seed of its noise, and the moments (x_t, estimate of x_0) that were kept."""

    seed: int
    picture: Tensor
    moments: tuple[tuple[Tensor, Tensor], ...] = ()


class Gallery:
    """Writes pictures as they are made.

    Parameters
    ----------
    output : a folder, or the name of one picture, which then holds the grid alone
    count : how many will come
    moments : whether the moments of each are written as well, which needs a folder

    Raises
    ------
    ConfigError
        If `output` is a picture's name and moments are wanted, or it is a file of no format that can be written.
    """

    def __init__(self, output: Path, count: int, *, moments: bool = False) -> None:
        self.is_picture = output.suffix.lower() in images.WRITABLE_SUFFIXES and not output.is_dir()
        if output.is_file() and not self.is_picture:
            raise ConfigError(f"{output} is a file; name a folder, or a picture ending in {images.WRITABLE}")
        if moments and self.is_picture:
            raise ConfigError(f"the steps of each picture need a folder; {output} is the name of a picture")
        self.output = output
        self.digits = max(3, len(str(count - 1)))
        self.tiles: list[Tensor] = []
        self.count = 0

    def lock(self) -> AbstractContextManager[None]:
        """Hold the folder, where there is one; `LockedError` if another run has it."""
        return nullcontext() if self.is_picture else files.lock(self.output)

    def add(self, made: Generated) -> None:
        """Write one picture, and its moments if there are any."""
        name = f"{self.count:0{self.digits}d}"
        self.count += 1
        if len(self.tiles) < MAX_IN_GRID:
            self.tiles.append(made.picture)
        if self.is_picture:
            return
        images.write(self.output / f"{name}.png", Picture(made.picture))
        write_moments(self.output / f"{name}.steps", made.moments)

    def finish(self) -> Path:
        """Write the grid (of the first 400) and say what was written."""
        path = self.output if self.is_picture else self.output / "grid.png"
        images.write(path, Picture(tiled(self.tiles)))
        return self.output


def write_moments(folder: Path, moments: tuple[tuple[Tensor, Tensor], ...]) -> None:
    """Write x_t and the estimate of x_0, (3, H, W) in [0, 1], of each step as `00-x.png` and `00-x0.png`."""
    for old in folder.glob("[0-9]*-x*.png") if moments else ():
        old.unlink()
    digits = max(2, len(str(len(moments) - 1)))
    for number, pair in enumerate(moments):
        for name, picture in zip(("x", "x0"), pair, strict=True):
            images.write(folder / f"{number:0{digits}d}-{name}.png", Picture(picture))


def tiled(pictures: list[Tensor]) -> Tensor:
    """Pictures (3, H, W) of one size side by side in rows, as square as can be, white between and after them."""
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    height, width = (side + GAP for side in pictures[0].shape[1:])
    sheet = torch.ones(3, rows * height - GAP, columns * width - GAP)
    for index, picture in enumerate(pictures):
        top, left = index // columns * height, index % columns * width
        sheet[:, top : top + height - GAP, left : left + width - GAP] = picture
    return sheet
