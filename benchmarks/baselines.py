"""Classical methods to compare with, each a grid of settings of which the benchmark takes the best on its own pictures.

Tuning on the test favours the classical methods: within the grid, nothing of theirs could score higher.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from residiff.data.images import Array
from residiff.errors import ResourceError

OPENCV_H = (10, 14, 16, 17, 18, 19, 20, 22, 26)
OPENCV_COLOUR = (1.0, 2.0)
NL_MEANS_PATCHES = (5, 7)
NL_MEANS_H = (0.5, 0.6, 0.7, 0.8)
GAMMAS = tuple(round(0.2 + 0.02 * k, 2) for k in range(21))
CLIP_LIMITS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)


@dataclass(frozen=True)
class Sample:
    """One test picture: `clean` and `degraded` (3, H, W) in [0, 1], and `mask` (1, H, W) where the task gives one."""

    name: str
    clean: Tensor
    degraded: Tensor
    mask: Tensor | None = None


@dataclass(frozen=True)
class Candidate:
    """A method at one setting."""

    settings: str
    restore: Callable[[Sample], Tensor]


@dataclass(frozen=True)
class Method:
    """A named method with the settings to try."""

    name: str
    candidates: tuple[Candidate, ...]


def opencv_means() -> Method:
    """OpenCV's colour non-local means at its usual windows (7 and 21 pixels); the strengths are tuned."""
    cv2 = optional("cv2")
    candidates = (
        Candidate(f"h={h}, hColor={h * colour:g}", partial(_opencv, cv2=cv2, h=h, h_colour=h * colour))
        for h, colour in product(OPENCV_H, OPENCV_COLOUR)
    )
    return Method("OpenCV colour NL-means", tuple(candidates))


def nl_means(sigma: float) -> Method:
    """scikit-image's non-local means, told the noise's `sigma` (of 255); patch and strength are tuned."""
    restoration = optional("skimage.restoration")
    means = partial(_nl_means, restoration=restoration, sigma=sigma / 255)
    candidates = (
        Candidate(f"h={h:g} sigma, patch={patch}, distance=6", partial(means, patch=patch, h=h))
        for patch, h in product(NL_MEANS_PATCHES, NL_MEANS_H)
    )
    return Method("scikit-image NL-means", tuple(candidates))


def gamma() -> Method:
    """One exponent for all pictures."""
    candidates = (Candidate(f"gamma={value:g}", partial(_power, gamma=value)) for value in GAMMAS)
    return Method("best single gamma", tuple(candidates))


def equalised() -> Method:
    """Histogram equalisation of the value (HSV), or of all channels as one."""
    skimage = optional("skimage")
    return Method(
        "histogram equalisation",
        (
            Candidate("value channel", partial(_equalised_value, skimage=skimage)),
            Candidate("all channels", partial(_equalised, skimage=skimage)),
        ),
    )


def clahe() -> Method:
    """scikit-image's contrast-limited adaptive equalisation; the clip limit is tuned."""
    exposure = optional("skimage.exposure")
    adapted = partial(_clahe, exposure=exposure)
    return Method("CLAHE", tuple(Candidate(f"clip={limit:g}", partial(adapted, limit=limit)) for limit in CLIP_LIMITS))


def optional(name: str) -> ModuleType:
    """A module of the benchmark's extra; `ResourceError` where it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ResourceError(f'the benchmark needs {name}; run `pip install "residiff[benchmark]"`') from error


def _opencv(sample: Sample, cv2: ModuleType, h: float, h_colour: float) -> Tensor:
    levels = np.rint(_array(sample.degraded) * 255).astype(np.uint8)
    bgr = np.ascontiguousarray(levels[..., ::-1])
    return _tensor(cv2.fastNlMeansDenoisingColored(bgr, None, h, h_colour, 7, 21)[..., ::-1] / 255)


def _nl_means(sample: Sample, restoration: ModuleType, sigma: float, patch: int, h: float) -> Tensor:
    windows = {"patch_size": patch, "patch_distance": 6, "fast_mode": False}
    array = _array(sample.degraded)
    return _tensor(restoration.denoise_nl_means(array, h=h * sigma, sigma=sigma, channel_axis=2, **windows))


def _power(sample: Sample, gamma: float) -> Tensor:
    return sample.degraded**gamma


def _equalised_value(sample: Sample, skimage: ModuleType) -> Tensor:
    hsv = skimage.color.rgb2hsv(_array(sample.degraded))
    hsv[..., 2] = skimage.exposure.equalize_hist(hsv[..., 2])
    return _tensor(skimage.color.hsv2rgb(hsv))


def _equalised(sample: Sample, skimage: ModuleType) -> Tensor:
    flat: Array = skimage.exposure.equalize_hist(sample.degraded.flatten().numpy())
    return torch.from_numpy(flat).reshape(sample.degraded.shape).float()


def _clahe(sample: Sample, exposure: ModuleType, limit: float) -> Tensor:
    return _tensor(exposure.equalize_adapthist(_array(sample.degraded), clip_limit=limit))


def _array(image: Tensor) -> Array:
    array: Array = image.permute(1, 2, 0).numpy()
    return array


def _tensor(array: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1))).float()
