"""What is done to a picture before it is trained on: another size, a black border, a crop and a turn.

Pure functions of tensors (C, H, W) in [0, 1]; whatever is drawn at random comes from a generator that is given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from residiff.data.settings import Augment, Resize
from residiff.errors import ConfigError

# Height, then width
Size: TypeAlias = tuple[int, int]

LONGEST = 1024
# Published for CelebA's 218 x 178 aligned pictures: row and column of the middle, and half the side
FACE = (121, 89)
FACE_RADIUS = 64


def size_of(image: Tensor) -> Size:
    """Height and width of (C, H, W)."""
    return image.shape[-2], image.shape[-1]


def resize(image: Tensor, how: Resize, crop: Size, *, is_mask: bool = False) -> Tensor:
    """`image` (C, H, W) made another size before a crop of `crop` is cut from it; in [0, 1] still.

    Bicubic with antialiasing, as Pillow's but for the rounding to 8 bits. Masks are resized linearly: each value is
    then the share of its place that is masked, thin strokes are not lost as by the nearest neighbour, and nothing
    overshoots.

    Raises
    ------
    ConfigError
        If a picture is too small to cut CelebA's face from.
    """
    cut = _face(image) if how is Resize.CELEBA else image
    return _scaled(cut, TARGETS[how](size_of(cut), crop), is_mask)


def _scaled(image: Tensor, size: Size, is_mask: bool) -> Tensor:
    """The width first, and clamped after it as after the height: so does Pillow with 8 bits, and it shows at edges."""
    mode = "bilinear" if is_mask else "bicubic"
    for target in ((image.shape[1], size[1]), size):
        if target != size_of(image):
            image = functional.interpolate(image[None], target, mode=mode, antialias=True)[0].clamp_(0, 1)
    return image


def _face(image: Tensor) -> Tensor:
    (row, column), (height, width) = FACE, size_of(image)
    if height < row + FACE_RADIUS or width < column + FACE_RADIUS:
        least = f"{column + FACE_RADIUS} x {row + FACE_RADIUS}"
        raise ConfigError(f"{width} x {height} pixels are too few for data.resize celeba, which takes {least} or more")
    return image[:, row - FACE_RADIUS : row + FACE_RADIUS, column - FACE_RADIUS : column + FACE_RADIUS]


def _own(size: Size, crop: Size) -> Size:
    return size


def _crops(size: Size, crop: Size) -> Size:
    return crop


def _covering(size: Size, crop: Size) -> Size:
    """The smallest size in proportion, rounded down, that holds the crop."""
    height, width = size
    if height * crop[1] >= width * crop[0]:
        return height * crop[1] // width, crop[1]
    return crop[0], width * crop[0] // height


def _multiple_of_16(size: Size, crop: Size) -> Size:
    """In proportion where the longer side is over 1024, each side then rounded up to a multiple of 16."""
    longest = max(*size, LONGEST)
    # Minus signs round up
    height, width = (-(-side * LONGEST // longest) for side in size)
    return -(-height // 16) * 16, -(-width // 16) * 16


def padded(image: Tensor, size: Size) -> Tensor:
    """`image` (C, H, W) continued in black to the right and below until it is `size` or larger, as RDDM does."""
    (height, width), (least_height, least_width) = size_of(image), size
    if height >= least_height and width >= least_width:
        return image
    return functional.pad(image, (0, max(0, least_width - width), 0, max(0, least_height - height)))


class Window(NamedTuple):
    """Which part of a picture is shown, and how: its corner, its size, and one of eight turns."""

    top: int
    left: int
    height: int
    width: int
    turn: int = 0

    def cut(self, image: Tensor) -> Tensor:
        """The part (C, height, width), mirrored from turn 4 on, after that number of quarter turns."""
        part = image[:, self.top : self.top + self.height, self.left : self.left + self.width]
        part = part.rot90(self.turn % 4, (1, 2))
        return (part.flip(2) if self.turn >= 4 else part).contiguous()


def draw(below: int, source: torch.Generator) -> int:
    """A whole number from 0 to `below` - 1."""
    return int(torch.randint(below, (1,), generator=source))


def draw_window(size: Size, crop: Size, augment: Augment, source: torch.Generator) -> Window:
    """Any part of `crop` of a picture of `size`, turned as `augment` allows."""
    (height, width), turns = crop, TURNS[augment]
    top, left = draw(size[0] - height + 1, source), draw(size[1] - width + 1, source)
    return Window(top, left, height, width, turns[draw(len(turns), source)])


def centre_window(size: Size, crop: Size) -> Window:
    """The part of `crop` in the middle of a picture of `size`, unturned."""
    return Window((size[0] - crop[0]) // 2, (size[1] - crop[1]) // 2, *crop)


# Quarter turns, from 4 on mirrored after them
TURNS: dict[Augment, range] = {
    Augment.TURNS: range(8),
    Augment.MIRROR: range(0, 8, 4),
    Augment.ALWAYS_MIRROR: range(4, 5),
    Augment.NONE: range(1),
}
TARGETS: dict[Resize, Callable[[Size, Size], Size]] = {
    Resize.NONE: _own,
    Resize.SQUASH: _crops,
    Resize.SHORT_SIDE: _covering,
    Resize.MULTIPLE_16: _multiple_of_16,
    Resize.CELEBA: _crops,
}
