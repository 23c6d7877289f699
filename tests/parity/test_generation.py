"""Parity of generation (x_in = 0) with the published sampling loops, 10 steps of 1000 levels, two heads."""

from __future__ import annotations

import pytest
import torch
from compare import assert_close, assert_close_absolute
from test_processes import RDDM_LENGTH, ClosedForm, Golden

from residiff.denoiser import Denoiser, coefficient_time, index_time
from residiff.prediction import Clamp, ResidualNoise
from residiff.sample import general, published_residual_first, walk
from residiff.schedule import RDDM, ConvertedDDPM, Increments, Schedule

STEPS = 10
TOGETHER = RDDM(residual=Increments("falling-power", 2), noise=Increments("mean"), total_noise=1.0)
SCHEDULES: dict[str, Schedule] = {"rddm_generation_exp0": ConvertedDDPM(), "rddm_generation_exp6": TOGETHER}


@pytest.mark.parametrize("name", SCHEDULES)
def test_coefficients_and_trajectory(golden: Golden, name: str) -> None:
    arrays, schedule = golden(name), SCHEDULES[name]
    apart = name == "rddm_generation_exp0"
    assert_close_absolute(schedule.table[:, 1], arrays["alphas_cumsum"])
    assert_close_absolute(schedule.table[:, 2], arrays["betas_cumsum"])
    denoiser = Denoiser(
        ClosedForm(arrays, RDDM_LENGTH),
        schedule,
        ResidualNoise(),
        time_input=coefficient_time if apart else index_time,
        shows_input=False,
        clamp=Clamp.RESIDUAL,
    )
    x_in = torch.zeros_like(arrays["noise"][0])
    x, levels = schedule.start(x_in, arrays["noise"][0]), schedule.levels(STEPS)
    if apart:  # noqa: SIM108  a line each reads better
        states = walk(denoiser, x, x_in, published_residual_first(levels))
    else:
        states = general(denoiser, x, x_in, levels)
    _, *later = [(state.x + 1) / 2 for state in states]
    assert_close(torch.stack(later), arrays["trajectory"], 5e-5)
