"""The kinds of image that people hold: PIL images, arrays and tensors, turned into pictures and back."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from residiff.data.images import Picture, from_array, from_pil, to_array, to_pil
from residiff.errors import ConfigError

Array = npt.NDArray[np.generic]
AnyImage = TypeVar("AnyImage", Image.Image, Array, Tensor)


def to_picture(image: Image.Image | Array | Tensor) -> Picture:
    """A PIL image, array (H, W[, C]) or tensor (C, H, W) as a picture; `ConfigError` if it is none of these."""
    if isinstance(image, Image.Image):
        return from_pil(image)
    if isinstance(image, np.ndarray):
        return from_array(image)
    if not isinstance(image, Tensor):
        kind = type(image).__name__
        raise ConfigError(f"cannot restore a {kind}; give a PIL image, an array (H, W, C) or a tensor (C, H, W)")
    if image.dim() != 3 or not image.is_floating_point():
        raise ConfigError(f"the tensor is {tuple(image.shape)} {image.dtype}; needed is (C, H, W) float in [0, 1]")
    return from_array(image.detach().float().cpu().permute(1, 2, 0).numpy())


def like(image: AnyImage, result: Picture) -> AnyImage:
    """`result` as the kind of image that `image` is."""
    if isinstance(image, Image.Image):
        return to_pil(result)
    planes = torch.stack(result.planes)
    if isinstance(image, Tensor):
        return planes.to(image.device, image.dtype)
    array = planes.permute(1, 2, 0).numpy() if np.issubdtype(image.dtype, np.floating) else to_array(result)
    return array.reshape(image.shape).astype(image.dtype)
