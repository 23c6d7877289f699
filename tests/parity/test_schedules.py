"""Our schedules against the published ones: every array of the two schedule files, and Resfusion's map from T to T'."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import pytest
import torch
from compare import assert_close, assert_close_absolute
from torch import Tensor

from residiff.errors import ConfigError
from residiff.prediction import Estimate
from residiff.sample import step
from residiff.schedule import DDPM, RDDM, ConvertedDDPM, Increments, Resfusion, injected_variance

Golden = Callable[[str], dict[str, Tensor]]

LINEAR = {"increased": "increasing", "decreased": "decreasing", "average": "mean"}
POWER = {"increased": "power", "decreased": "falling-power", "average": "mean", "normal": "normal"}
BETAS: dict[str, Literal["linear", "squared-cosine"]] = {"LinearPro": "linear", "CosinePro": "squared-cosine"}
MAP_FILE = "resfusion_T_to_Tacc.csv"


class Comparison(NamedTuple):
    key: str
    actual: Tensor
    expected: Tensor


def assert_coefficients(actual: Tensor, expected: Tensor) -> None:
    """1e-5 absolute, and 1e-5 of the largest value as well: many of these are small all over."""
    assert_close_absolute(actual, expected, 1e-5)
    assert_close(actual, expected, 1e-5)


def number(part: str, prefix: str) -> float:
    assert part.startswith(prefix), f"{part} where {prefix}<number> belongs"
    return float(part.removeprefix(prefix))


def rddm_values(golden: dict[str, Tensor]) -> Iterator[Comparison]:
    for key, expected in golden.items():
        family, *rest = key.split("/")
        yield Comparison(key, RDDM_FAMILIES[family](*rest), expected)


def linear(kind: str, length: str, scale: str) -> Tensor:
    return Increments(LINEAR[kind])(int(number(length, "T"))) * number(scale, "scale")


def power(kind: str, length: str, ratio: str) -> Tensor:
    return Increments(POWER[kind], number(ratio, "ratio"))(int(number(length, "T")))


def converted(betas: str, length: str, name: str) -> Tensor:
    schedule = ConvertedDDPM(base=DDPM(length=int(number(length, "T")), betas=betas))
    _, residual, noise, _ = schedule.coefficients()
    return {"alphas_cumsum": residual, "betas_cumsum": noise, "betas2_cumsum": noise**2}[name]


def restoration_buffer(length: str, scale: str, name: str) -> Tensor:
    return BUFFERS[name](RDDM(length=int(number(length, "T")), total_noise=number(scale, "scale")))


def residuals(schedule: RDDM) -> Tensor:
    return torch.tensor([schedule(t).residual for t in range(-1, len(schedule))], dtype=torch.float64)


def noises(schedule: RDDM) -> Tensor:
    return torch.tensor([schedule(t).noise for t in range(-1, len(schedule))], dtype=torch.float64)


def posterior_means(schedule: RDDM) -> Tensor:
    """(T, 3): what our ancestral step makes of x_t, R and x_0, found by showing it one of them at a time."""
    x_t, residual, x0 = torch.eye(3, dtype=torch.float64)
    rows = []
    for t in range(len(schedule)):
        level = schedule(t)
        estimate = Estimate(x0, residual, (x_t - x0 - level.residual * residual) / level.noise)
        rows.append(step(x_t, estimate, level, schedule(t - 1), eta=1, noise=lambda: torch.zeros(3)))
    return torch.stack(rows)


def posterior_variance(schedule: RDDM) -> Tensor:
    variances = [injected_variance(schedule(t), schedule(t - 1), 1) for t in range(len(schedule))]
    return torch.tensor(variances, dtype=torch.float64)


BUFFERS: dict[str, Callable[[RDDM], Tensor]] = {
    "alphas": lambda schedule: residuals(schedule).diff(),
    "alphas_cumsum": lambda schedule: residuals(schedule)[1:],
    "one_minus_alphas_cumsum": lambda schedule: _guarded(1 - residuals(schedule)[1:]),
    "betas2": lambda schedule: (noises(schedule) ** 2).diff(),
    "betas": lambda schedule: (noises(schedule) ** 2).diff().sqrt(),
    "betas2_cumsum": lambda schedule: noises(schedule)[1:] ** 2,
    "betas_cumsum": lambda schedule: noises(schedule)[1:],
    "posterior_mean_coef1": lambda schedule: posterior_means(schedule)[:, 0],
    "posterior_mean_coef2": lambda schedule: posterior_means(schedule)[:, 1],
    "posterior_mean_coef3": lambda schedule: posterior_means(schedule)[:, 2],
    "posterior_variance": posterior_variance,
    "posterior_log_variance_clipped": lambda schedule: posterior_variance(schedule).clamp(min=1e-20).log(),
}
RDDM_FAMILIES: dict[str, Callable[..., Tensor]] = {
    "linear": linear,
    "power": power,
    "ddim_to_rddm": converted,
    "restoration_buffers": restoration_buffer,
}


def _guarded(share: Tensor) -> Tensor:
    """The published code puts 1e-6 where nothing of x_0 is left."""
    return torch.cat([share[:-1], torch.tensor([1e-6], dtype=torch.float64)])


def resfusion_values(golden: dict[str, Tensor]) -> Iterator[Comparison]:
    for key, expected in golden.items():
        betas, length, name = key.split("/")
        schedule = Resfusion(length=int(number(length, "T")), betas=BETAS[betas])
        yield Comparison(key, RESFUSION_VALUES[name](schedule), expected)


def signal_power(schedule: Resfusion) -> Tensor:
    return schedule.accelerated[0]


def power_before(schedule: Resfusion) -> Tensor:
    """A_(t-1), which the published code takes to be A_0 at t = 0."""
    whole = signal_power(schedule)
    return torch.cat([whole[:1], whole[:-1]])


def alphas(schedule: Resfusion) -> Tensor:
    whole = signal_power(schedule)
    return torch.cat([whole[:1], whole[1:] / whole[:-1]])


def posterior_betas(schedule: Resfusion) -> Tensor:
    before, whole = power_before(schedule), signal_power(schedule)
    return (1 - before) / (1 - whole) * (1 - alphas(schedule))


RESFUSION_VALUES: dict[str, Callable[[Resfusion], Tensor]] = {
    "T_acc": lambda schedule: torch.tensor(schedule.accelerated[1]),
    "alphas": alphas,
    "betas": lambda schedule: 1 - alphas(schedule),
    "alphas_hat": signal_power,
    "alphas_hat_t_minus_1": power_before,
    "betas_hat": posterior_betas,
}
FILES: dict[str, Callable[[dict[str, Tensor]], Iterator[Comparison]]] = {
    "rddm_schedules": rddm_values,
    "resfusion_schedules": resfusion_values,
}


@pytest.mark.parametrize("name", FILES)
def test_schedules_are_the_golden_ones(golden: Golden, name: str) -> None:
    values = list(FILES[name](golden(name)))
    assert values, "the file is empty"
    for key, actual, expected in values:
        try:
            assert_coefficients(actual, expected)
        except AssertionError as error:
            raise AssertionError(f"{key}: {error}") from None


@pytest.mark.parametrize("name", FILES)
def test_every_coefficient_shifted_by_a_hundredth_is_noticed(golden: Golden, name: str) -> None:
    for _, actual, expected in FILES[name](golden(name)):
        shifted = expected.double().clone()
        shifted.view(-1)[-1] += 0.01 * expected.double().abs().max()
        with pytest.raises(AssertionError, match="1 of"):
            assert_coefficients(actual, shifted)


def test_resfusion_injects_the_golden_posterior_variance(golden: Golden) -> None:
    """betas_hat as the sampler uses it, from the levels; t = 0 apart, where no noise is added."""
    values = golden("resfusion_schedules")
    for key in (key for key in values if key.endswith("/betas_hat")):
        betas, length, _ = key.split("/")
        schedule = Resfusion(length=int(number(length, "T")), betas=BETAS[betas])
        variances = [injected_variance(schedule(t), schedule(t - 1), 1) for t in range(len(schedule))]
        assert variances[0] == 0
        assert_coefficients(torch.tensor(variances[1:]), values[key][1 : len(schedule)])


def published_map(folder: Path) -> list[dict[str, str]]:
    path = folder / MAP_FILE
    if not path.is_file():
        pytest.fail(f"no golden file {path}; set RESIDIFF_GOLDEN to a folder that has it", pytrace=False)
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def agrees(row: dict[str, str]) -> bool:
    """Equal where the published code has a value; elsewhere a correct schedule or a clear error."""
    try:
        whole, reach = Resfusion(length=int(row["T"]), betas=BETAS[row["schedule"]]).accelerated
    except ConfigError:
        return not has_value(row)
    signal = float(whole[reach - 1].sqrt())
    if has_value(row):
        return reach == float(row["T_acc"]) and abs(signal - float(row["sqrt_alpha_bar_at_T_acc"])) <= 1e-5
    return bool(torch.isfinite(whole).all()) and abs(signal - 0.5) <= 0.01


def has_value(row: dict[str, str]) -> bool:
    try:
        return float(row["T_acc"]) > 0 and math.isfinite(float(row["sqrt_alpha_bar_at_T_acc"]))
    except ValueError:  # the published code's own error message stands there
        return False


@pytest.mark.parametrize("name", [MAP_FILE])
def test_acceleration_points_are_the_golden_ones(golden_folder: Path, name: str) -> None:
    rows = published_map(golden_folder)
    assert any(map(has_value, rows))
    assert [row for row in rows if not agrees(row)] == []


def test_a_wrong_acceleration_point_is_noticed(golden_folder: Path) -> None:
    rows = [row for row in published_map(golden_folder) if has_value(row)]
    for row in rows:
        assert not agrees({**row, "T_acc": str(int(row["T_acc"]) + 1)})
        signal = float(row["sqrt_alpha_bar_at_T_acc"])
        assert not agrees({**row, "sqrt_alpha_bar_at_T_acc": str(signal * 1.01)})
