"""What a sampling run went through: numbers of every state, and pictures of a few."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from residiff.denoiser import from_model
from residiff.metrics import psnr
from residiff.sample import State
from residiff.schedule import Level

# A strip of ten columns still fits a wide screen
LONGEST_SIDE, SHORTEST_SIDE = 256, 128
MOST_MOMENTS = 24


class Run(NamedTuple):
    """A sampling run of one picture, and the (height, width) of that picture, which the states are padded from."""

    states: Iterable[State]
    size: tuple[int, int]


class Numbers(NamedTuple):
    """One state in numbers, of values in [-1, 1]; those of the estimates are None at the end, where none is made.

    `change` is the root of the mean square of x_t minus the state before; `x0_psnr` that of the estimate of x_0 against
    the truth, in dB, where there is one.
    """

    step: int
    t: float
    t_noise: float
    signal: float
    residual: float
    noise: float
    x_rms: float
    change: float | None
    x0_rms: float | None
    residual_rms: float | None
    noise_rms: float | None
    x0_psnr: float | None


class Moment(NamedTuple):
    """One state as pictures (3, H, W) in the model's range, made to fit a strip."""

    numbers: Numbers
    x: Tensor
    x0: Tensor
    residual: Tensor
    noise: Tensor


class Record(NamedTuple):
    """Numbers of all states, pictures of at most twice `MOST_MOMENTS` of them, the last among them, and the last x."""

    numbers: list[Numbers]
    moments: list[Moment]
    end: Tensor


def record(run: Run, truth: Tensor | None = None) -> Record:
    """Walk through the run and keep what is shown of it; `truth` (1 or 3, H, W) in [0, 1] is the clean picture.

    Raises
    ------
    ConfigError
        If the truth is of another size.
    """
    numbers: list[Numbers] = []
    moments: list[Moment] = []
    stride = 1
    before: Tensor | None = None
    for step, (state, is_last) in enumerate(_until_last(run.states)):
        x, *estimates = planes(state, run.size)
        numbers.append(_measured(step, state.level, x, before, None if is_last else estimates, truth))
        if is_last or step % stride == 0:
            moments.append(Moment(numbers[-1], *map(_fitted, (x, *estimates))))
        if len(moments) > 2 * MOST_MOMENTS:
            moments, stride = moments[::2], 2 * stride
        before = x
    return Record(numbers, moments, x)


def planes(state: State, size: tuple[int, int]) -> list[Tensor]:
    """x_t and the estimates of x_0, R and eps, each (C, H, W), without the padding."""
    estimate = state.estimate
    height, width = size
    whole = (state.x, estimate.x0, estimate.residual, estimate.noise)
    return [plane[0, :, :height, :width].float().cpu() for plane in whole]


def evenly(moments: Sequence[Moment], count: int) -> list[Moment]:
    """At most `count` of them, the first and the last among them."""
    chosen = {round(k * (len(moments) - 1) / (count - 1)) for k in range(count)}
    return [moments[k] for k in sorted(chosen)]


def picture(x: Tensor) -> Tensor:
    """An image in the model's range as one in [0, 1]."""
    return from_model(x)


def signed(values: Tensor, span: float) -> Tensor:
    """Values as an image in [0, 1]: zero is the middle grey, -span black and span white."""
    return (0.5 + values / (2 * span if span else 1)).clamp(0, 1)


def span_of(images: Iterable[Tensor]) -> float:
    """What all but one in 200 of the magnitudes stay under, in the image where that is most."""
    return max(float(np.quantile(image.abs().numpy(), 0.995)) for image in images)


def rms(values: Tensor) -> float:
    """The root of the mean square, computed in float64."""
    return math.sqrt(values.double().square().mean().item())


def _until_last(states: Iterable[State]) -> Iterator[tuple[State, bool]]:
    """Each state, and whether it is the last."""
    for state, following in pairwise(chain(states, [None])):
        if state is not None:
            yield state, following is None


def _measured(
    step: int, level: Level, x: Tensor, before: Tensor | None, estimates: list[Tensor] | None, truth: Tensor | None
) -> Numbers:
    made = [None] * 3 if estimates is None else [rms(estimate) for estimate in estimates]
    return Numbers(
        step=step,
        t=float(level.t),
        t_noise=float(level.t_noise),
        signal=float(level.signal),
        residual=float(level.residual),
        noise=float(level.noise),
        x_rms=rms(x),
        change=None if before is None else rms(x - before),
        x0_rms=made[0],
        residual_rms=made[1],
        noise_rms=made[2],
        x0_psnr=None if estimates is None or truth is None else score_against(truth, estimates[0]),
    )


def score_against(truth: Tensor, x: Tensor) -> float:
    """PSNR in dB of `x` (3, H, W) in the model's range; a grey truth is compared with the mean of the channels."""
    image = from_model(x)
    return psnr(image.mean(0, keepdim=True) if truth.shape[0] == 1 else image, truth)


def _fitted(image: Tensor) -> Tensor:
    """Large images shrunk, tiny ones enlarged by a whole factor."""
    height, width = image.shape[1:]
    longest = max(height, width)
    if longest <= LONGEST_SIDE:
        factor = max(1, SHORTEST_SIDE // longest)
        return image.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
    size = [max(1, round(side * LONGEST_SIDE / longest)) for side in (height, width)]
    return F.interpolate(image[None], size, mode="bilinear", antialias=True)[0]
