"""Images as diffusers' users give and take them: PIL images, arrays (N, H, W, C) and tensors (N, C, H, W) in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from residiff.data.images import Array, Picture, to_pil
from residiff.errors import ConfigError
from residiff.restore.kinds import to_picture
from residiff.restore.planes import fill_hidden

Images: TypeAlias = "Image.Image | Array | Tensor | Sequence[Image.Image | Array | Tensor]"
Results: TypeAlias = "list[Image.Image] | Array | Tensor"


def batch_of(images: Images) -> Tensor:
    """One image or several as (N, C, H, W) float32 in [0, 1], C 1 where all are grey, or else 3; alpha is left out.

    Raises
    ------
    ConfigError
        If there is none, or their sizes differ.
    """
    pictures = [to_picture(image) for image in _each(images)]
    sizes = {tuple(picture.pixels.shape[1:]) for picture in pictures}
    if len(sizes) != 1:
        told = " and ".join(f"{width} x {height}" for height, width in sorted(sizes)) or "none at all"
        raise ConfigError(f"images of one call are of one size, not {told}; give them in calls of their own")
    return torch.stack([_colours(picture) for picture in pictures])


def _each(images: Images) -> Sequence[Image.Image | Array | Tensor]:
    if isinstance(images, (np.ndarray, Tensor)):
        return list(images) if images.ndim == 4 else [images]
    return images if isinstance(images, Sequence) else [images]


def _colours(picture: Picture) -> Tensor:
    pixels = picture.pixels if picture.alpha is None else fill_hidden(picture.pixels, picture.alpha)
    return pixels.expand(3, -1, -1)


def _as_array(batch: Tensor) -> Array:
    return batch.permute(0, 2, 3, 1).numpy()


def _as_pil(batch: Tensor) -> list[Image.Image]:
    return [to_pil(Picture(pixels)) for pixels in batch]


# What `output_type` names, made of (N, 3, H, W) float32 in [0, 1]
OUTPUT_TYPES: dict[str, Callable[[Tensor], Results]] = {"pil": _as_pil, "np": _as_array, "pt": lambda batch: batch}
