"""Schedules are mathematics: ends, monotony, grids, published figures, and a clear refusal of everything else."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from residiff.errors import ConfigError
from residiff.schedule import (
    DDPM,
    GRIDS,
    RDDM,
    ConvertedDDPM,
    Grid,
    Increments,
    Level,
    Resfusion,
    Schedule,
    even_grid,
    injected_variance,
    mixed,
    published_grid,
    quadratic_grid,
)
from residiff.schedule.ddpm import BETAS
from residiff.schedule.rddm import SHAPES

MEMBERS: list[Schedule] = [
    RDDM(),
    RDDM(length=50, residual=Increments("falling-power", 2.0), noise=Increments("power", 0.5), total_noise=1.0),
    RDDM(length=30, residual=Increments("normal"), noise=Increments("mean"), total_noise=0.0),
    Resfusion(length=12),
    Resfusion(length=273),
    Resfusion(steps=20, betas="squared-cosine"),
    DDPM(),
    DDPM(length=100, betas="squared-cosine"),
    DDPM(length=100, betas="scaled-linear"),
    ConvertedDDPM(),
]
every_member = pytest.mark.parametrize("schedule", MEMBERS, ids=lambda schedule: f"{schedule.kind}{len(schedule)}")

increments = st.builds(Increments, st.sampled_from(sorted(SHAPES)), st.floats(0, 100))
lengths = st.one_of(st.integers(1, 40), st.integers(1, 1500))
ends = st.tuples(st.floats(1e-6, 0.999), st.floats(1e-6, 0.999)).map(sorted)
ddpms = st.builds(
    lambda length, betas, ends: DDPM(length=length, betas=betas, beta_start=ends[0], beta_end=ends[1]),
    lengths,
    st.sampled_from(sorted(BETAS)),
    ends,
)
schedules = st.one_of(
    st.builds(RDDM, length=lengths, residual=increments, noise=increments, total_noise=st.floats(0, 100)),
    ddpms,
    st.builds(ConvertedDDPM, base=ddpms),
)


def ratio(level: Level) -> float:
    """n / d, the noise against its memory."""
    if level.noise == 0:
        return 0.0
    return float(level.noise) / float(level.memory) if level.memory else math.inf


def assert_sound(schedule: Schedule) -> None:
    """All finite, within bounds, and on the way to the clean end."""
    assert schedule.table.dtype == torch.float64
    assert schedule.table.shape == (len(schedule), 5)
    assert torch.isfinite(schedule.table).all()
    a, r, n, d, _ = schedule.table.unbind(1)
    for column in (a, r, d):
        assert ((column >= 0) & (column <= 1)).all()
    assert (n >= 0).all()
    for column, sign in ((a, -1), (r, 1), (n, 1)):
        assert (sign * column.diff() >= 0).all()
    ratios = [ratio(schedule(t)) for t in range(-1, len(schedule))]
    assert ratios[0] == 0
    assert ratios == sorted(ratios)


@every_member
def test_levels_run_from_the_start_to_the_clean_end(schedule: Schedule) -> None:
    levels = schedule.levels()
    assert len(levels) == len(schedule) + 1
    assert [level.t for level in levels] == list(range(len(schedule) - 1, -2, -1))
    assert levels[-1] is Level.clean
    assert levels[0] == schedule(len(schedule) - 1)
    assert schedule(-1) is Level.clean


@every_member
def test_members_are_sound(schedule: Schedule) -> None:
    assert_sound(schedule)


@settings(max_examples=500, deadline=None)
@given(schedule=schedules)
def test_any_accepted_setting_is_sound(schedule: Schedule) -> None:
    assert_sound(schedule)


def test_the_clean_level_is_the_clean_image() -> None:
    x0, residual, noise = torch.randn(3, 1, 3, 2, 2).unbind(0)
    assert torch.equal(Level.clean.mix(x0, residual, noise), x0)


# Those of diffusers begin lower
FROM_THE_START = sorted(name for name in GRIDS if not name.startswith("leading"))


@settings(max_examples=300, deadline=None)
@given(count=st.integers(1, 2000), data=st.data(), grid=st.sampled_from(FROM_THE_START))
def test_grids_decrease_strictly_from_the_start(count: int, data: st.DataObject, grid: str) -> None:
    steps = data.draw(st.one_of(st.integers(1, count), st.integers(max(1, count - 3), count)))
    times = GRIDS[grid](count, steps)
    assert len(times) == steps
    assert times[0] == count - 1
    assert times[-1] >= 0
    assert all(later < earlier for earlier, later in zip(times, times[1:], strict=False))
    if steps == count:
        assert times == tuple(range(count - 1, -1, -1))


@pytest.mark.parametrize("grid", [GRIDS[name] for name in FROM_THE_START], ids=FROM_THE_START)
def test_grids_take_every_count_of_steps(grid: Grid) -> None:
    schedule = RDDM(length=37)
    for steps in range(1, 38):
        levels = schedule.levels(steps, grid)
        assert len(levels) == steps + 1
        assert levels[0].t == 36 and levels[-1] is Level.clean
        times = [level.t for level in levels]
        assert times == sorted(set(times), reverse=True)


@every_member
@pytest.mark.parametrize("beyond", [0, -1, -1000, "one more", math.nan, math.inf])
def test_other_counts_of_steps_are_refused(schedule: Schedule, beyond: float | str) -> None:
    steps = len(schedule) + 1 if isinstance(beyond, str) else beyond
    with pytest.raises(ConfigError, match="steps is"):
        schedule.levels(steps)  # type: ignore[arg-type]


@every_member
def test_times_outside_the_schedule_are_refused(schedule: Schedule) -> None:
    for t in (-2, len(schedule)):
        with pytest.raises(ConfigError, match="time is"):
            schedule(t)
    for t in (-1, -2, len(schedule)):
        with pytest.raises(ConfigError, match="time is"):
            schedule(torch.tensor([0, t]))


@every_member
def test_a_batch_of_times_is_the_levels_one_by_one(schedule: Schedule) -> None:
    times = torch.tensor([0, 1, len(schedule) - 1, len(schedule) // 2])
    batch = schedule(times)
    for index, t in enumerate(times.tolist()):
        single = schedule(t)
        for name in (field.name for field in dataclasses.fields(Level)):
            column = getattr(batch, name)
            assert column.shape == (4, 1, 1, 1)
            assert column[index].item() == pytest.approx(getattr(single, name), rel=1e-6)


INVALID: dict[str, Callable[[], Schedule]] = {
    "no levels": lambda: RDDM(length=0),
    "negative length": lambda: RDDM(length=-5),
    "too long": lambda: RDDM(length=100_001),
    "negative noise": lambda: RDDM(total_noise=-1e-9),
    "too much noise": lambda: RDDM(total_noise=101),
    "nan noise": lambda: RDDM(total_noise=math.nan),
    "infinite noise": lambda: RDDM(total_noise=math.inf),
    "unknown shape": lambda: RDDM(residual=Increments("linear")),  # type: ignore[arg-type]
    "negative exponent": lambda: RDDM(noise=Increments("power", -1.0)),
    "nan exponent": lambda: RDDM(noise=Increments("power", math.nan)),
    "large exponent": lambda: RDDM(noise=Increments("power", 101.0)),
    "ddpm without levels": lambda: DDPM(length=0),
    "unknown betas": lambda: DDPM(betas="quadratic"),  # type: ignore[arg-type]
    "no first beta": lambda: DDPM(beta_start=0.0),
    "falling betas": lambda: DDPM(beta_start=0.02, beta_end=1e-4),
    "beta of one": lambda: DDPM(beta_end=1.0),
    "nan beta": lambda: DDPM(beta_end=math.nan),
    "resfusion without length": lambda: Resfusion(),
    "resfusion with both": lambda: Resfusion(length=12, steps=5),
    "resfusion length zero": lambda: Resfusion(length=0),
    "resfusion steps negative": lambda: Resfusion(steps=-5),
    "resfusion one step": lambda: Resfusion(steps=1),
    "resfusion unknown betas": lambda: Resfusion(length=12, betas="scaled-linear"),  # type: ignore[arg-type]
    "resfusion threshold": lambda: Resfusion(length=12, threshold=0.5),
    "resfusion nan threshold": lambda: Resfusion(length=12, threshold=math.nan),
    "resfusion negative threshold": lambda: Resfusion(length=12, threshold=-0.1),
}


@pytest.mark.parametrize("build", INVALID.values(), ids=INVALID)
def test_invalid_schedules_are_refused_at_once(build: Callable[[], Schedule]) -> None:
    with pytest.raises(ConfigError):
        build()


@pytest.mark.parametrize("betas", ["linear", "squared-cosine"])
def test_every_resfusion_length_is_right_or_refused(betas: str) -> None:
    usable = 0
    for length in range(1, 301):
        try:
            schedule = Resfusion(length=length, betas=betas)  # type: ignore[arg-type]
        except ConfigError:
            continue
        usable += 1
        assert_sound(schedule)
        start = schedule.levels()[0]
        assert float(start.signal) == pytest.approx(0.5, abs=0.01)
        assert float(start.signal) + float(start.residual) == pytest.approx(1)
    assert usable >= 295


@pytest.mark.parametrize("betas", ["linear", "squared-cosine"])
def test_resfusion_keeps_the_steps_it_is_asked_for(betas: str) -> None:
    for steps in range(2, 40):
        try:
            schedule = Resfusion(steps=steps, betas=betas)  # type: ignore[arg-type]
        except ConfigError as error:
            assert str(steps) in str(error)  # noqa: PT017
            continue
        assert len(schedule) == steps


@given(length=st.integers(2, 2000), threshold=st.floats(0, 0.49))
@settings(max_examples=100, deadline=None)
def test_resfusion_ends_within_its_threshold(length: int, threshold: float) -> None:
    try:
        schedule = Resfusion(length=length, threshold=threshold)
    except ConfigError:
        return
    assert_sound(schedule)
    assert abs(float(schedule.levels()[0].signal) - 0.5) <= threshold + 1e-12


# Micro-anchors: printed by the published code.
GRID_ANCHORS = {2: (999, 499), 5: (999, 799, 599, 399, 199), 10: tuple(range(999, 0, -100))}
ACCELERATION_ANCHORS = {
    "linear": {4: (10, 11), 5: (12, 13), 6: (14, 16), 8: (20, 22), 10: (25, 27), 15: (39, 41), 20: (53, 54)}
    | {30: (80, 81), 50: (134, 137), 100: (271, 273), 273: (741, 743), 368: (1000, 1000)},
    "squared-cosine": {5: (7, 7), 6: (8, 9), 10: (14, 15), 20: (29, 30), 50: (74, 76), 100: (150, 151)},
}


@pytest.mark.parametrize("steps", GRID_ANCHORS)
def test_published_grid(steps: int) -> None:
    assert published_grid(1000, steps) == GRID_ANCHORS[steps]


def test_other_grids() -> None:
    assert even_grid(1000, 4) == (999, 666, 333, 0)
    assert quadratic_grid(1001, 5) == (1000, 562, 250, 62, 0)
    assert even_grid(10, 1) == quadratic_grid(10, 1) == published_grid(10, 1) == (9,)


def test_published_rddm_coefficients() -> None:
    levels = RDDM(total_noise=1.0).levels(5)[:-1]
    residuals, noises = [level.residual for level in levels], [level.noise for level in levels]
    assert residuals == pytest.approx([1, 0.95984, 0.83976, 0.63976, 0.35984], abs=5e-6)
    assert noises == pytest.approx([1, 0.8001, 0.6002, 0.4003, 0.2004], abs=5e-5)
    assert [level.noise for level in RDDM(total_noise=0.01).levels(5)[:-1]] == pytest.approx([n / 10 for n in noises])


def test_published_resfusion_coefficients() -> None:
    schedule = Resfusion(length=12)
    levels = schedule.levels()[-2::-1]
    power = [float(level.signal) ** 2 for level in levels]
    assert power == pytest.approx([0.991667, 0.833902, 0.575518, 0.310431, 0.25], abs=1e-6)
    resnoise = [level.resnoise for level in levels]
    assert resnoise == pytest.approx([0.0457, 0.2126, 0.3559, 0.4788, 0.4564], abs=5e-5)
    variances = [injected_variance(t, s, 1) for s, t in zip(levels, levels[1:], strict=False)]
    assert variances == pytest.approx([0.007982, 0.121243, 0.283538, 0.178983], abs=1e-6)
    assert levels[-1].noise == pytest.approx(0.8660, abs=5e-5)


@pytest.mark.parametrize(
    ("betas", "steps", "length"),
    [(betas, steps, end) for betas, rows in ACCELERATION_ANCHORS.items() for steps, row in rows.items() for end in row],
)
def test_published_acceleration_points(betas: str, steps: int, length: int) -> None:
    assert len(Resfusion(length=length, betas=betas)) == steps  # type: ignore[arg-type]


def test_converted_ddpm_keeps_a_little_of_the_residual() -> None:
    assert ConvertedDDPM().levels()[0].residual == pytest.approx(0.99365, abs=5e-6)


def test_resfusion_is_whole_where_nothing_is_cut() -> None:
    power, reach = Resfusion(length=273).accelerated
    assert (len(power), reach, len(Resfusion(length=273))) == (273, 100, 100)
    power, reach = Resfusion(length=12).accelerated
    assert (len(power), reach) == (5, 5)


@every_member
def test_schedules_and_levels_are_frozen(schedule: Schedule) -> None:
    field = dataclasses.fields(schedule)[1].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(schedule, field, 7)
    with pytest.raises(dataclasses.FrozenInstanceError):
        schedule(0).noise = 0.0  # type: ignore[misc]
    assert schedule == dataclasses.replace(schedule)
    assert hash(schedule) == hash(dataclasses.replace(schedule))


@pytest.mark.parametrize(("schedule", "left"), [(RDDM(), 0), (Resfusion(length=12), 0), (Resfusion(length=273), 0.02)])
def test_the_start_says_nothing_of_the_clean_image_or_little(schedule: Schedule, left: float) -> None:
    level = schedule.levels()[0]
    assert abs(float(level.signal) - float(level.residual)) <= left + 1e-12


def test_starts() -> None:
    x_in, noise = torch.full((1, 1, 1, 1), 0.5), torch.full((1, 1, 1, 1), 2.0)
    assert RDDM().start(x_in, noise).item() == pytest.approx(0.5 + 0.1 * 2)
    assert Resfusion(length=12).start(x_in, noise).item() == pytest.approx(0.5 * 0.5 + math.sqrt(0.75) * 2)
    assert DDPM().start(x_in, noise).item() == 2
    assert ConvertedDDPM().start(x_in, noise).item() == 2.5


def test_mixed_takes_the_noise_of_one_and_the_residual_of_the_other() -> None:
    high, low = RDDM(length=10)(8), RDDM(length=10)(3)
    level = mixed(low, high)
    assert (level.t, level.signal, level.residual) == (3, low.signal, low.residual)
    assert (level.t_noise, level.noise, level.memory) == (8, high.noise, high.memory)


@every_member
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_injected_variance_is_zero_without_eta_and_at_the_end(schedule: Schedule, eta: float) -> None:
    levels = schedule.levels()
    for t, s in zip(levels, levels[1:], strict=False):
        variance = injected_variance(t, s, eta)
        assert 0 <= variance <= eta * float(s.noise) ** 2
    assert injected_variance(levels[-2], Level.clean, eta) == 0
