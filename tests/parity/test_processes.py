"""Both methods whole - noising, losses, estimates, sampling - against the published code, on golden inputs.

The network is the closed form of tests/golden/README.md: tanh of a linear map of cat(x_t, x_in) plus the time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from compare import assert_close, assert_close_absolute
from torch import Tensor, nn

from residiff.denoiser import Denoiser, to_model
from residiff.prediction import (
    X0,
    Clamp,
    Noise,
    Prediction,
    Residual,
    ResidualAddNoise,
    ResidualNoise,
    ResNoise,
    X0AddNoise,
    X0Noise,
)
from residiff.sample import NoiseSource, State, general
from residiff.schedule import RDDM, Resfusion, Schedule

Golden = Callable[[str], dict[str, Tensor]]
Arrays = dict[str, Tensor]

RDDM_LENGTH = 1000
RDDM_PREDICTIONS: dict[str, Prediction] = {
    "pred_res_noise": ResidualNoise(),
    "pred_x0_noise": X0Noise(),
    "pred_res_add_noise": ResidualAddNoise(),
    "pred_x0_add_noise": X0AddNoise(),
    "pred_res": Residual(),
    "pred_noise": Noise(guard=1e-6),
}
RESFUSION_PREDICTIONS: dict[str, Prediction] = {"epsilon": ResNoise(), "sample": X0(), "residual": Residual()}
RESFUSION_BETAS: dict[str, Literal["linear", "squared-cosine"]] = {"LinearPro": "linear", "CosinePro": "squared-cosine"}

RDDM_FILES = [f"rddm_process_{name}_scale{scale}" for name in RDDM_PREDICTIONS for scale in ("0.01", "1")]
RESFUSION_FILES = [
    f"resfusion_process_{mode}_{settings}"
    for mode in RESFUSION_PREDICTIONS
    for settings in ("LinearPro_T12", "LinearPro_T100", "CosinePro_T20")
]


class ClosedForm(nn.Module):
    """out[i] = tanh(W[i] x + u[i] t / scale), one output a head."""

    size_multiple = 1

    def __init__(self, golden: Arrays, scale: float) -> None:
        super().__init__()
        weight, shift = golden["W"], golden["u"]
        self.weight = weight if weight.dim() == 3 else weight[None]
        self.shift = shift if shift.dim() == 2 else shift[None]
        self.scale = scale

    def forward(self, x: Tensor, times: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(self._head(x, *head) for head in zip(self.weight, self.shift, times, strict=True))

    def _head(self, x: Tensor, weight: Tensor, shift: Tensor, time: Tensor) -> Tensor:
        moved = shift * time[:, None] / self.scale
        return torch.tanh(torch.einsum("oc,nchw->nohw", weight, x) + moved[:, :, None, None])


class Comparison(NamedTuple):
    key: str
    actual: Tensor
    expected: Tensor
    check: Callable[[Tensor, Tensor], None]


def single(actual: Tensor, expected: Tensor) -> None:
    assert_close_absolute(actual, expected, 1e-5)


def estimated(actual: Tensor, expected: Tensor) -> None:
    assert_close(actual, expected, 1e-5)


def walked(actual: Tensor, expected: Tensor) -> None:
    assert_close_absolute(actual, expected, 5e-5)


def exactly(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def tape(noise: Tensor) -> NoiseSource:
    """The draws of a golden run in their order."""
    draws = iter(noise)
    return lambda: next(draws)


def states(run: Iterator[State]) -> Tensor:
    return torch.stack([state.x for state in run])


def images(golden: Arrays) -> tuple[Tensor, Tensor]:
    return to_model(golden["x0"]), to_model(golden["x_in"])


def rddm_values(golden: Arrays, name: str) -> Iterator[Comparison]:
    kind, scale = re.fullmatch(r"rddm_process_(.*)_scale(.*)", name).groups()  # type: ignore[union-attr]

    def denoiser(length: int) -> Denoiser:
        schedule = RDDM(length=length, total_noise=float(scale))
        return Denoiser(ClosedForm(golden, RDDM_LENGTH), schedule, RDDM_PREDICTIONS[kind], clamp=Clamp.RESIDUAL)

    yield from rddm_training(golden, denoiser(RDDM_LENGTH))
    for key in (key for key in golden if key.endswith("/trajectory")):
        yield rddm_trajectory(golden, key, denoiser)


def rddm_training(golden: Arrays, denoiser: Denoiser) -> Iterator[Comparison]:
    x0, x_in = images(golden)
    level = denoiser.schedule(golden["t"])
    x_t = level.mix(x0, x_in - x0, golden["eps"])
    estimate = denoiser(x_t, level, x_in)
    yield Comparison("q_sample", x_t, golden["q_sample"], single)
    for key, loss in (("loss_l1", F.l1_loss), ("loss_l2", F.mse_loss)):
        actual = denoiser.loss(x0, x_in, golden["t"], noise=golden["eps"], loss=loss)
        yield Comparison(key, actual, golden[key], single)
    yield Comparison("pred_res", estimate.residual, golden["pred_res"], estimated)
    yield Comparison("pred_noise", estimate.noise, golden["pred_noise"], estimated)
    yield Comparison("pred_x0", estimate.x0, golden["pred_x0"], estimated)


def rddm_trajectory(golden: Arrays, key: str, denoiser: Callable[[int], Denoiser]) -> Comparison:
    """`ddim_eta<eta>/trajectory` in as many steps as it has, or `ancestral_T<T>/trajectory` with all of its T."""
    sampler, setting = re.fullmatch(r"(ddim_eta|ancestral_T)(\d+)/trajectory", key).groups()  # type: ignore[union-attr]
    ancestral = sampler == "ancestral_T"
    model = denoiser(int(setting) if ancestral else RDDM_LENGTH)
    x_in, draw = images(golden)[1], tape(golden[key.replace("trajectory", "noise")])
    levels = model.schedule.levels(len(golden[key]) - 1)
    eta = 1 if ancestral else int(setting)
    start = model.schedule.start(x_in, draw())
    run = general(model, start, x_in, levels, eta=eta, noise=draw, consistent=ancestral)
    return Comparison(key, (states(run) + 1) / 2, golden[key], walked)


def resfusion_values(golden: Arrays, name: str) -> Iterator[Comparison]:
    mode, betas, length = re.fullmatch(r"resfusion_process_(.*)_(.*)_T(\d+)", name).groups()  # type: ignore[union-attr]
    schedule = Resfusion(length=int(length), betas=RESFUSION_BETAS[betas])
    prediction = RESFUSION_PREDICTIONS[mode]
    clamp = Clamp.NONE if mode == "epsilon" else Clamp.X0
    model = Denoiser(ClosedForm(golden, 1), schedule, prediction, clamp=clamp)
    x0, x_in = images(golden)
    yield Comparison("T_acc", torch.tensor(len(schedule)), golden["T_acc"], exactly)
    for key, loss in (("loss_L1", F.smooth_l1_loss), ("loss_L2", F.mse_loss)):
        actual = model.loss(x0, x_in, golden["t"], noise=golden[f"{key}/noise"], loss=loss)
        yield Comparison(key, actual, golden[key], single)
    draw = tape(golden["noise"])
    run = general(model, schedule.start(x_in, draw()), x_in, schedule.levels(), eta=1, noise=draw)
    yield Comparison("trajectory", states(run), golden["trajectory"], walked)


def values(golden: Arrays, name: str) -> list[Comparison]:
    return list((rddm_values if name.startswith("rddm") else resfusion_values)(golden, name))


@pytest.mark.parametrize("name", RDDM_FILES + RESFUSION_FILES)
def test_process_is_the_golden_one(golden: Golden, name: str) -> None:
    for key, actual, expected, check in values(golden(name), name):
        try:
            check(actual, expected)
        except AssertionError as error:
            raise AssertionError(f"{key}: {error}") from None


@pytest.mark.parametrize("name", RDDM_FILES + RESFUSION_FILES)
def test_every_golden_result_shifted_by_a_hundredth_is_noticed(golden: Golden, name: str) -> None:
    arrays = golden(name)
    for key, actual, expected, check in values(arrays, name):
        shifted = expected.double().clone()
        shifted.view(-1)[-1] += 0.01 * shifted.abs().max()
        with pytest.raises(AssertionError):
            check(actual.double(), shifted)
        assert key in arrays


@pytest.mark.parametrize("name", [RDDM_FILES[0], RESFUSION_FILES[0]])
def test_every_golden_input_shifted_by_a_hundredth_is_noticed(golden: Golden, name: str) -> None:
    """Of a tape the first draw is shifted, since nothing reads Resfusion's last one."""
    arrays = golden(name)
    results = {comparison.key for comparison in values(arrays, name)}
    for key in arrays.keys() - results - {"t"}:
        shifted = arrays[key].clone()
        drawn = shifted[0] if shifted.dim() == 5 else shifted
        drawn.view(-1)[-1] += 0.01 * shifted.abs().max()
        with pytest.raises(AssertionError):
            for comparison in values({**arrays, key: shifted}, name):
                comparison.check(comparison.actual, comparison.expected)


@pytest.mark.parametrize("name", [f"rddm_process_{kind}_scale0.01" for kind in ("pred_res_noise", "pred_res")])
@pytest.mark.parametrize("eta", [0, 1])
def test_single_rddm_steps_are_the_golden_ones(golden: Golden, name: str, eta: int) -> None:
    """Each step alone, begun from the published state: no error is carried from one to the next."""
    arrays = golden(name)
    kind = name.removeprefix("rddm_process_").removesuffix("_scale0.01")
    schedule: Schedule = RDDM(length=RDDM_LENGTH, total_noise=0.01)
    model = Denoiser(ClosedForm(arrays, RDDM_LENGTH), schedule, RDDM_PREDICTIONS[kind], clamp=Clamp.RESIDUAL)
    trajectory, draw = to_model(arrays[f"ddim_eta{eta}/trajectory"]), tape(arrays[f"ddim_eta{eta}/noise"])
    x_in = images(arrays)[1]
    single(schedule.start(x_in, draw()), trajectory[0])
    levels = schedule.levels(len(trajectory) - 1)
    for k, x in enumerate(trajectory[:-1]):
        *_, end = general(model, x, x_in, levels[k : k + 2], eta=eta, noise=draw)
        single(end.x, trajectory[k + 1])
