"""Real photographs to show and to measure on: those that come inside scikit-image. No model was trained on them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

from torch import Tensor

from residiff.data.images import Array, from_array
from residiff.errors import ResourceError


def photographs() -> dict[str, Tensor]:
    """The photographs by name, (3, H, W) in [0, 1], 8 bits deep, 300 to 512 pixels high; nothing is downloaded.

    Raises
    ------
    ResourceError
        If scikit-image is not installed.
    """
    data = _scikit_image_data()
    return {name: from_array(take(data)).pixels for name, take in PHOTOGRAPHS.items()}


def _scikit_image_data() -> ModuleType:
    try:
        return importlib.import_module("skimage.data")
    except ImportError as error:
        raise ResourceError('the photographs come from scikit-image; run `pip install "residiff[demo]"`') from error


def _first(images: tuple[Array, ...]) -> Array:
    return images[0]


# Those in colour that are part of the wheel, but for the medical and astronomical ones.
PHOTOGRAPHS: dict[str, Callable[[Any], Array]] = {
    "astronaut": lambda data: data.astronaut(),
    "coffee": lambda data: data.coffee(),
    "chelsea": lambda data: data.chelsea(),
    "rocket": lambda data: data.rocket(),
    "motorcycle": lambda data: _first(data.stereo_motorcycle()),
}
