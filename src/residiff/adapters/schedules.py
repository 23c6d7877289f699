"""Which schedule the buffers of a checkpoint were computed from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from residiff.adapters.keys import Shape, Shapes
from residiff.schedule import BETAS, DDPM, RDDM, ConvertedDDPM, DiffUIR, Increments

# Of coefficients up to 1, cumulated in float32
TOLERANCE = 2e-5
ENDS = ((1e-4, 0.02), (0.00085, 0.012))

Buffers = Mapping[str, Tensor]


def buffer_shapes(buffers: Buffers, names: Sequence[str]) -> dict[str, Shape]:
    """The shape that each of `names` must have: (T,), T being the most common length."""
    lengths = [len(buffers[name]) for name in names if name in buffers and buffers[name].dim() == 1]
    length = max(set(lengths), key=lengths.count, default=1000)
    return dict.fromkeys(names, (length,))


def are_there(buffers: Buffers, needed: Shapes) -> bool:
    """Whether every one needed is there, of its shape."""
    return all(name in buffers and tuple(buffers[name].shape) == shape for name, shape in needed.items())


def rddm_schedule(buffers: Buffers) -> RDDM | ConvertedDDPM | None:
    """RDDM's schedule with these cumulative coefficients, or a converted DDPM's; None if it is none that is known."""
    residual, noise = buffers["alphas_cumsum"].double(), buffers["betas_cumsum"].double()
    length = len(residual)
    for base in _ddpm_schedules(length):
        converted = ConvertedDDPM(base=base)
        _, r, n, _ = converted.coefficients()
        if _close(r, residual) and _close(n, noise):
            return converted
    total = float(f"{float(noise[-1] ** 2):.5g}")
    if not 0 < total <= 100 or length > RDDM.max_length:
        return None
    first = _increments(residual, buffers["alphas"])
    second = _increments(noise**2 / total, buffers["betas2"])
    if first is None or second is None:
        return None
    return RDDM(length=length, residual=first, noise=second, total_noise=total)


def diffuir_schedule(buffers: Buffers) -> DiffUIR | None:
    """DiffUIR's schedule with these cumulative coefficients; None if it is none that is known."""
    rest, taken = rddm_schedule(buffers), buffers["delta_cumsum"].double()
    total = float(f"{float(taken[-1]):.5g}")
    if not isinstance(rest, RDDM) or not 0 < total < 1:
        return None
    increments = _increments(taken / total, buffers["delta"])
    return None if increments is None else DiffUIR(rddm=rest, taken=increments, total_taken=total)


def ddpm_schedule(buffers: Buffers) -> DDPM | None:
    """DDPM's schedule with these `alphas_cumprod`; None if it is none that is known."""
    power = buffers["alphas_cumprod"].double()
    return next((base for base in _ddpm_schedules(len(power)) if _close(base.signal_power, power)), None)


def _ddpm_schedules(length: int) -> Iterator[DDPM]:
    """The published ones of that length; some scale the ends of beta so that A_T stays the same."""
    if length > DDPM.max_length:
        return
    for betas in BETAS:
        for start, end in (*ENDS, (1e-4 * 1000 / length, 0.02 * 1000 / length)):
            if end < 1:
                yield DDPM(length=length, betas=betas, beta_start=start, beta_end=end)  # type: ignore[arg-type]


def _increments(cumulative: Tensor, increments: Tensor) -> Increments | None:
    """The shape whose cumulated increments are nearest to these, if near enough."""

    def error(shape: Increments) -> float:
        return float((shape(len(cumulative)).cumsum(0) - cumulative).abs().max())

    best = min(_shapes(increments), key=error)
    return best if error(best) <= TOLERANCE else None


def _shapes(increments: Tensor) -> Iterator[Increments]:
    yield from (Increments(shape) for shape in ("decreasing", "increasing", "mean", "normal"))
    yield Increments("power", _exponent(increments))
    yield Increments("falling-power", _exponent(increments.flip(0)))


def _exponent(increments: Tensor) -> float:
    """The a of P(x, a): the middle increment is (1/2)^a of the last one."""
    last = len(increments) - 1
    middle = max(1, last // 2)
    ratio = (increments[middle].double() / increments[-1].double()).clamp(1e-30, 1)
    if last < 2 or not torch.isfinite(ratio):
        return 1.0
    return min(100.0, round(float(ratio.log() / torch.tensor(middle / last, dtype=torch.float64).log()), 3))


def _close(ours: Tensor, theirs: Tensor) -> bool:
    return ours.shape == theirs.shape and float((ours - theirs).abs().max()) <= TOLERANCE
