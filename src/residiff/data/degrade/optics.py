"""Blur by a moving camera and by a lens out of focus: convolutions of the linear light, rounded to 8 bits.

A kernel sums to one and the border is mirrored, so that a constant image stays as it is.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from residiff.data.degrade.draws import Degraded, Parameter, Range, check_clean, to_8_bit, to_linear, to_srgb

LENGTH = Parameter("length", "length of the camera's path in pixels", (6, 24), (0, 500))
ANGLE = Parameter("angle", "direction of the path in degrees", (0, 180), (-360, 360))
BEND = Parameter("bend", "degrees by which the path turns from end to end", (-90, 90), (-360, 360))
RADIUS = Parameter("radius", "radius of the circle of confusion in pixels", (1.5, 6), (0, 100))


def motion_blur(
    clean: Tensor,
    generator: torch.Generator,
    *,
    length: Range = LENGTH.default,
    angle: Range = ANGLE.default,
    bend: Range = BEND.default,
) -> Degraded:
    """A camera that moves: `length` in [0, 500] pixels (larger is worse), `angle` and `bend` in degrees."""
    check_clean(clean)
    size = LENGTH.draw(length, generator)
    direction = math.radians(ANGLE.draw(angle, generator))
    return _blurred(clean, motion_kernel(size, direction, math.radians(BEND.draw(bend, generator))))


def defocus_blur(clean: Tensor, generator: torch.Generator, *, radius: Range = RADIUS.default) -> Degraded:
    """A lens out of focus: a disc of `radius` in [0, 100] pixels; larger is worse."""
    check_clean(clean)
    return _blurred(clean, disc_kernel(RADIUS.draw(radius, generator)))


def motion_kernel(length: float, angle: float, bend: float) -> Tensor:
    """The path (k, k), k odd, sum 1: an arc of `length` pixels whose heading turns by `bend`, `angle` in its middle."""
    heading = angle + bend * torch.linspace(-0.5, 0.5, 4 * math.ceil(length) + 1, dtype=torch.float64)
    path = torch.stack([heading.sin(), heading.cos()]).cumsum(1) * (length / heading.numel())
    path -= path.mean(1, keepdim=True)
    half = math.ceil(path.abs().max().item())
    places = torch.arange(-half, half + 1, dtype=torch.float64)
    # Each point of the path is shared among its four neighbours, as in bilinear interpolation.
    rows, columns = (1 - (places - path[:, :, None]).abs()).clamp_(min=0)
    kernel: Tensor = rows.T @ columns
    return (kernel / kernel.sum()).float()


def disc_kernel(radius: float) -> Tensor:
    """A disc (k, k), k odd, sum 1, with an edge one pixel soft."""
    half = math.ceil(radius)
    places = torch.arange(-half, half + 1, dtype=torch.float64)
    kernel: Tensor = (radius + 0.5 - torch.hypot(places[:, None], places)).clamp_(0, 1)
    return (kernel / kernel.sum()).float()


def convolve(image: Tensor, kernel: Tensor) -> Tensor:
    """`image` (C, H, W) convolved with `kernel` (k, k), k odd, its border mirrored as often as needed."""
    half = kernel.shape[0] // 2
    height, width = image.shape[1:]
    padded = image[:, _mirrored(height, half)][:, :, _mirrored(width, half)]
    size = (height + 2 * half, width + 2 * half)
    product = torch.fft.rfft2(padded) * torch.fft.rfft2(kernel, s=size)
    convolved: Tensor = torch.fft.irfft2(product, s=size)
    return convolved[:, 2 * half :, 2 * half :]


def _mirrored(length: int, margin: int) -> Tensor:
    """Indices of a line of `length` with `margin` more at both ends, mirrored about the end pixels."""
    if length == 1:
        return torch.zeros(1 + 2 * margin, dtype=torch.long)
    folded = torch.arange(-margin, length + margin).remainder(2 * length - 2)
    return torch.minimum(folded, 2 * length - 2 - folded)


def _blurred(clean: Tensor, kernel: Tensor) -> Degraded:
    """The blur of the light of `clean`."""
    return Degraded(to_8_bit(to_srgb(convolve(to_linear(clean), kernel))))
