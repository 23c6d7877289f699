"""Every degradation is a seeded pure function within its documented range."""

import inspect
import math

import pytest
import skimage.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from residiff.data.degrade.draws import Parameter
from residiff.data.degrade.table import DEGRADATIONS, degrade
from residiff.errors import ConfigError

ROWS = tuple(DEGRADATIONS)
FIXED = ("grey", "blank")
MASKED = (
    "shadow", "missing-centre", "missing-box", "missing-rectangle", "missing-brush", "missing-irregular",
    "missing-free-form", "missing-hybrid", "missing-side", "missing-border",
)  # fmt: skip

# Row, parameter, and values from mild to severe.
SEVERITY = (
    ("noise", "sigma", (0, 5, 25, 100)),
    ("sensor-noise", "gain", (1e-6, 0.001, 0.01, 0.1)),
    ("sensor-noise", "read", (1e-6, 0.003, 0.02, 0.1)),
    ("low-light", "exposure", (1, 0.5, 0.1, 0.01)),
    ("shadow", "coverage", (0, 0.1, 0.4, 0.9)),
    ("shadow", "light", (1, 0.7, 0.4, 0)),
    ("rain", "amount", (0, 1, 5, 30)),
    ("rain", "strength", (0, 0.3, 0.6, 1)),
    ("raindrops", "drops", (0, 10, 40, 150)),
    ("raindrops", "size", (0.001, 0.02, 0.05, 0.15)),
    ("motion-blur", "length", (0, 3, 8, 20)),
    ("defocus-blur", "radius", (0, 1, 3, 8)),
    ("jpeg", "quality", (100, 70, 30, 5)),
    ("haze", "density", (0, 0.5, 1.5, 5)),
    ("missing-centre", "fraction", (0, 0.1, 0.3, 0.9)),
    ("missing-box", "fraction", (0, 0.1, 0.3, 0.9)),
    ("missing-rectangle", "tall", (0, 0.1, 0.3, 0.9)),
    ("missing-rectangle", "wide", (0, 0.1, 0.3, 0.9)),
    ("missing-brush", "fraction", (0, 0.1, 0.3, 0.9)),
    ("missing-irregular", "fraction", (0, 0.1, 0.3, 0.9)),
    ("missing-free-form", "strokes", (1, 4, 12, 50)),
    ("missing-free-form", "thickness", (0.01, 0.05, 0.2, 0.9)),
    ("missing-hybrid", "thickness", (0.01, 0.05, 0.2, 0.9)),
    ("missing-side", "fraction", (0, 0.1, 0.3, 0.9)),
    ("missing-border", "fraction", (0, 0.1, 0.3, 0.9)),
    ("night", "light", (1, 0.5, 0.1, 0.01)),
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def photograph(name, side=None):
    pixels = torch.from_numpy(getattr(skimage.data, name)().copy()).permute(2, 0, 1).float() / 255
    return pixels if side is None else pixels[:, 60 : 60 + side, 140 : 140 + side].contiguous()


def constant(value, height=64, width=64):
    return torch.full((3, height, width), float(value))


def psnr(one, other):
    return -10 * math.log10(max((one - other).square().mean().item(), 1e-12))


# Every row


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (6, 1), (2, 3), (33, 47)])
def test_any_size_stays_in_range_and_leaves_its_input(name, size):
    clean = torch.rand((3, *size), generator=seeded(1))
    before = clean.clone()
    for seed in range(3):
        image, mask = degrade(name, clean, seeded(seed))
        assert torch.equal(clean, before)
        assert image.dtype == torch.float32 and image.shape == clean.shape and image.isfinite().all()
        assert image.min() >= 0 and image.max() <= 1
        assert image.data_ptr() != clean.data_ptr()
        assert (mask is not None) is DEGRADATIONS[name].gives_mask is (name in MASKED)
        if mask is not None:
            assert mask.dtype == torch.float32 and mask.shape == (1, *size)
            assert mask.isfinite().all() and mask.min() >= 0 and mask.max() <= 1


@pytest.mark.parametrize("name", ROWS)
def test_the_seed_decides_everything(name):
    clean = photograph("coffee", 64)
    state = torch.get_rng_state()
    first, again, other = (degrade(name, clean, seeded(seed)) for seed in (5, 5, 6))
    assert torch.equal(first.image, again.image)
    assert first.mask is None or torch.equal(first.mask, again.mask)
    assert torch.equal(first.image, other.image) is (name in FIXED)
    assert torch.equal(torch.get_rng_state(), state), "the global generator was used"


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_black_and_white_images_stay_in_range(name, value):
    image = degrade(name, constant(value, 20, 31), seeded()).image
    assert image.isfinite().all() and image.min() >= 0 and image.max() <= 1


@pytest.mark.parametrize("name", ROWS)
def test_both_ends_of_every_limit_work(name):
    clean = photograph("astronaut", 24)
    for parameter in DEGRADATIONS[name].parameters:
        for end in parameter.limits:
            image = degrade(name, clean, seeded(), {parameter.name: end}).image
            assert image.isfinite().all() and image.min() >= 0 and image.max() <= 1


@pytest.mark.parametrize("name", ROWS)
def test_results_hold_8_bits_where_they_are_touched(name):
    clean = (torch.rand((3, 40, 40), generator=seeded()) * 0.999).clamp(min=1e-3)
    image, mask = degrade(name, clean, seeded())
    touched = image[image != clean]
    stored = touched[touched != 0.5]  # what is missing
    assert touched.numel() > 0
    assert torch.allclose(stored * 255, (stored * 255).round(), atol=1e-4)


@pytest.mark.parametrize("name", ROWS)
def test_the_table_tells_the_functions_parameters_and_defaults(name):
    row = DEGRADATIONS[name]
    options = list(inspect.signature(row.function).parameters.values())[2:]
    assert [(option.name, option.default) for option in options] == [(p.name, p.default) for p in row.parameters]
    assert row.function.__name__.replace("_", "-") == name
    for parameter in row.parameters:
        parameter.check(parameter.default)
        parameter.check(parameter.limits)
        assert parameter.name in row.function.__doc__, "a parameter without documentation"
        assert row.summary and parameter.summary


@pytest.mark.parametrize(("name", "parameter", "values"), SEVERITY, ids=lambda value: str(value))
def test_severity_is_monotone(name, parameter, values):
    clean = photograph("astronaut", 96)
    scores = [psnr(degrade(name, clean, seeded(3), {parameter: value}).image, clean) for value in values]
    assert all(mild > severe for mild, severe in zip(scores, scores[1:], strict=False)), scores


def test_every_row_has_a_severity():
    assert {name for name, _, _ in SEVERITY} == {name for name in ROWS if DEGRADATIONS[name].parameters}


# Parameters


def test_draws_are_uniform_or_log_uniform_and_reach_the_ends():
    generator = seeded()
    flat = Parameter("p", "", (2, 4), (0, 9))
    log = Parameter("p", "", (0.01, 1), (0.001, 9), log=True)
    even = torch.tensor([flat.draw((2, 4), generator) for _ in range(2000)])
    skew = torch.tensor([log.draw((0.01, 1), generator) for _ in range(2000)]).log10()
    assert even.min() >= 2 and even.max() <= 4 and abs(even.mean() - 3) < 0.05
    assert abs(even.std() - 2 / math.sqrt(12)) < 0.03
    assert skew.min() >= -2.001 and skew.max() <= 0 and abs(skew.mean() + 1) < 0.05


@given(st.floats(0.001, 9), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_equal_ends_fix_the_value(value, seed):
    for log in (False, True):
        assert Parameter("p", "", (1, 2), (0.001, 9), log).draw((value, value), seeded(seed)) == value


def test_fixing_one_parameter_leaves_the_other_draws():
    clean = photograph("coffee", 64)
    masks = [degrade("shadow", clean, seeded(4), given).mask for given in ({}, {"light": 0.5}, {"cast": (0.1, 0.2)})]
    assert torch.equal(masks[0], masks[1]) and torch.equal(masks[0], masks[2])


def test_a_number_is_a_range_with_equal_ends():
    clean = photograph("coffee", 32)
    one = degrade("noise", clean, seeded(), {"sigma": 20})
    assert torch.equal(one.image, degrade("noise", clean, seeded(), {"sigma": (20, 20)}).image)
    assert torch.equal(one.image, DEGRADATIONS["noise"].function(clean, seeded(), sigma=(20, 20)).image)


@pytest.mark.parametrize("bad", [(50, 5), (-1, 5), (5, 256), (math.nan, 5), (5, math.inf), (5, math.nan)])
def test_a_bad_range_is_named_with_what_is_allowed(bad):
    with pytest.raises(ConfigError, match=r"sigma = .* 0 <= low <= high <= 255"):
        degrade("noise", constant(0.5), seeded(), {"sigma": bad})


@pytest.mark.parametrize("name", ROWS)
def test_every_function_checks_every_parameter(name):
    for parameter in DEGRADATIONS[name].parameters:
        with pytest.raises(ConfigError, match=parameter.name):
            degrade(name, constant(0.5), seeded(), {parameter.name: parameter.limits[1] * 1.01})
        with pytest.raises(ConfigError, match=parameter.name):
            degrade(name, constant(0.5), seeded(), {parameter.name: parameter.limits[0] - 1e-3})


def test_unknown_names_get_a_hint():
    clean = constant(0.5)
    with pytest.raises(ConfigError, match="'low-ligth' is not a degradation: did you mean 'low-light'"):
        degrade("low-ligth", clean, seeded())
    with pytest.raises(ConfigError, match="'sigam' is not a parameter of noise: did you mean 'sigma'"):
        degrade("noise", clean, seeded(), {"sigam": 3})
    with pytest.raises(ConfigError, match="choose from noise, sensor-noise"):
        degrade("zzz", clean, seeded())
    with pytest.raises(ConfigError, match="one number or"):
        degrade("noise", clean, seeded(), {"sigma": (1, 2, 3)})


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize(
    "clean",
    [
        torch.zeros(1, 8, 8),
        torch.zeros(8, 8, 3),
        torch.zeros(1, 3, 8, 8),
        torch.zeros(3, 0, 8),
        torch.zeros(3, 8, 8, dtype=torch.float64),
        torch.full((3, 8, 8), 1.01),
        torch.full((3, 8, 8), -0.01),
        torch.full((3, 8, 8), math.nan),
    ],
    ids=["grey", "channels-last", "batch", "empty", "double", "above", "below", "nan"],
)
def test_every_function_refuses_a_bad_image(name, clean):
    with pytest.raises(ConfigError, match="clean"):
        degrade(name, clean, seeded())
