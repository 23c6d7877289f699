"""A folder of noisy pictures of mixed sizes, for benchmarks of whole folders."""

from __future__ import annotations

from pathlib import Path

import torch

from residiff.data import images
from residiff.data.images import Picture
from residiff.data.synthetic import clean_image
from residiff.seeds import generator

SIDES = (160, 192, 224, 256, 320)


def make_pictures(folder: Path, count: int, sides: tuple[int, ...] = SIDES, suffix: str = ".png") -> None:
    """So many noisy procedural pictures, whose sizes are mixed as a seed has it."""
    source = generator(0)
    for number in range(count):
        height, width = (sides[int(torch.randint(len(sides), (), generator=source))] for _ in range(2))
        clean = clean_image(number, (height, width))
        noisy = (clean + 25 / 255 * torch.randn(clean.shape, generator=source)).clamp(0, 1)
        images.write(folder / f"{number:04d}{suffix}", Picture(noisy))
