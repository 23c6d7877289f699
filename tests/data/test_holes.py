"""Masks: areas and sides within their limits, anywhere in the image, the same shape at every size."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from residiff.data.degrade import strokes
from residiff.data.degrade.table import DEGRADATIONS, degrade

KINDS = [name for name in DEGRADATIONS if name.startswith("missing-")]
BY_AREA = {name: row.parameters[0].default for name, row in DEGRADATIONS.items() if name in KINDS}
BY_AREA = {name: bounds for name, bounds in BY_AREA.items() if DEGRADATIONS[name].parameters[0].name == "fraction"}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def flat(height=64, width=64):
    return torch.full((3, height, width), 0.2)


def mask_of(name, size, seed, given=None):
    return degrade(name, flat(*size), seeded(seed), given).mask


def extent(mask):
    rows, columns = np.nonzero(mask[0].numpy())
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1


# Every kind


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("size", [(64, 64), (37, 90)])
def test_a_hole_is_half_grey_and_the_rest_is_untouched(name, size):
    clean = torch.rand((3, *size), generator=seeded())
    for seed in range(5):
        image, mask = degrade(name, clean, seeded(seed))
        assert set(mask.unique().tolist()) <= {0.0, 1.0}
        hole = (mask == 1).expand_as(clean)
        assert (image[hole] == 0.5).all() and torch.equal(image[~hole], clean[~hole])


@pytest.mark.parametrize("name", KINDS)
def test_the_hole_does_not_look_at_the_picture(name):
    one = degrade(name, torch.rand((3, 40, 56), generator=seeded(1)), seeded(3)).mask
    assert torch.equal(one, mask_of(name, (40, 56), 3))


@pytest.mark.parametrize("name", KINDS)
def test_a_hole_has_the_same_shape_at_every_size(name):
    for seed in range(4):
        small, large = mask_of(name, (64, 80), seed), mask_of(name, (192, 240), seed)
        shrunk = torch.nn.functional.avg_pool2d(large, 3)
        assert (shrunk - small).abs().mean() < 0.05


@pytest.mark.parametrize("name", BY_AREA)
def test_areas_are_spread_over_their_default_range(name):
    low, high = BY_AREA[name]
    areas = [mask_of(name, (48, 48), seed).mean().item() for seed in range(80)]
    assert min(areas) > low - 0.02 and max(areas) < high + 0.02
    assert np.ptp(areas) > 0.85 * (high - low)
    assert np.mean(areas) == pytest.approx((low + high) / 2, abs=0.15 * (high - low))


@pytest.mark.parametrize("name", [name for name in KINDS if name not in ("missing-centre", "missing-border")])
def test_holes_do_not_favour_a_side(name):
    masks = torch.stack([mask_of(name, (32, 32), seed) for seed in range(400)])
    quarters = torch.nn.functional.adaptive_avg_pool2d(masks.mean(0)[None], 2).flatten()
    # Four standard errors of a quarter's mean
    spread = torch.nn.functional.adaptive_avg_pool2d(masks, 2).flatten(1).std(0).max()
    assert (quarters - quarters.mean()).abs().max() < 4 * spread / math.sqrt(len(masks))


def test_nothing_is_left_of_a_blank_image():
    image, mask = degrade("blank", torch.rand((3, 9, 13), generator=seeded()), seeded())
    assert mask is None and torch.equal(image, torch.full((3, 9, 13), 0.5))


# Boxes and borders


def test_the_published_centre_is_half_of_both_sides():
    mask = mask_of("missing-centre", (256, 256), 0, {"fraction": 0.25})
    assert extent(mask) == (64, 192, 64, 192) and mask.sum() == 128 * 128


def test_rectangles_keep_the_published_limits_and_reach_them():
    corners = np.array([extent(mask_of("missing-rectangle", (256, 256), seed)) for seed in range(300)])
    top, bottom, left, right = corners.T
    for low, high in ((top, bottom), (left, right)):
        assert (high - low).min() >= 88 and (high - low).max() <= 128
        assert np.ptp(high - low) > 36
        assert low.min() >= 20 and high.max() <= 236
        assert low.min() < 24 and high.max() > 232
    assert abs(np.corrcoef(bottom - top, right - left)[0, 1]) < 0.2, "the sides are drawn apart"


@pytest.mark.parametrize("size", [(60, 92), (1, 7)])
def test_a_rectangle_with_no_room_for_its_margin_is_in_the_middle(size):
    given = {"tall": 0.5, "wide": 0.5, "margin": 0.5}
    mask = mask_of("missing-rectangle", size, 2, given)
    assert torch.equal(mask, mask_of("missing-centre", size, 0, {"fraction": 0.25}))


def test_a_side_is_missing_as_a_whole_and_each_as_often():
    ends = []
    for seed in range(200):
        mask = mask_of("missing-side", (40, 60), seed, {"fraction": 0.3})
        top, bottom, left, right = extent(mask)
        assert mask.sum() == (bottom - top) * (right - left) == 0.3 * 40 * 60
        ends.append((top > 0, bottom < 40, left > 0, right < 60))
    ends = np.array(ends)
    assert (ends.sum(1) == 1).all() and ends.sum(0).min() > 30


def test_uncropping_to_all_sides_keeps_the_published_middle():
    mask = mask_of("missing-border", (256, 256), 0, {"fraction": 0.75})
    assert extent(1 - mask) == (64, 192, 64, 192) and (1 - mask).sum() == 128 * 128


# Strokes


def thickness_of(mask):
    """Twice the median distance to the outside along the middle lines, where it is the largest around."""
    distance = ndimage.distance_transform_edt(np.pad(mask[0].numpy(), 1, "edge"))
    return 2 * np.median(distance[(distance > 0) & (distance == ndimage.maximum_filter(distance, 5))])


@pytest.mark.parametrize("thickness", [0.05, 0.1, 0.15])
def test_free_form_strokes_are_as_thick_as_asked(thickness):
    given = {"strokes": 1, "thickness": thickness}
    widths = [thickness_of(mask_of("missing-free-form", (256, 256), seed, given)) for seed in range(25)]
    # Where a stroke turns or crosses itself it is wider
    assert np.quantile(widths, 0.2) == pytest.approx(256 * thickness, rel=0.1)


def test_scribbles_have_the_published_widths():
    widths = [thickness_of(mask_of("missing-irregular", (256, 256), seed, {"fraction": 0.15})) for seed in range(25)]
    assert min(widths) > 8 and max(widths) < 40 and np.ptp(widths) > 10


def test_zigzags_run_in_every_direction():
    """The published strokes all run to the right, because their flips are lost."""
    extent, headings = torch.tensor([50.0, 50.0]), []
    for seed in range(600):
        line = strokes._zigzag(extent / 100, 0.05, seeded(seed))
        headings.append(line[-1, 2:4] - line[0, :2])
    headings = torch.stack(headings)
    angle = torch.atan2(headings[:, 1], headings[:, 0])
    for turn in (1, 2):
        assert abs((turn * angle).cos().mean()) < 0.12 and abs((turn * angle).sin().mean()) < 0.12


def test_zigzags_swing_to_either_side_by_the_published_angles(monkeypatch):
    monkeypatch.setattr(strokes, "_inside", lambda path, _extent: path)
    counts, every = set(), []
    for seed in range(200):
        line = strokes._zigzag(torch.tensor([0.5, 0.5]), 0.05, seeded(seed))
        counts.add(len(line))
        step = line[:, 2:4] - line[:, :2]
        turns = torch.atan2(step[:, 1], step[:, 0]).diff().remainder(2 * math.pi).rad2deg()
        # From one side to the other by twice 48 to 96 degrees
        turns[1::2] = 360 - turns[1::2]
        every.append(turns)
    assert counts == set(range(4, 13))
    every = torch.cat(every)
    assert every.min() > 95.9 and every.max() < 192.1 and every.mean() == pytest.approx(144, abs=2)


def test_paths_stay_inside_the_image():
    extent = torch.tensor([0.5, 0.3])
    path = torch.randn((500, 2), generator=seeded()) * 3
    inside = strokes._inside(path, extent)
    assert (inside.abs() <= extent + 1e-6).all() and inside.abs().amax(0).min() > 0.29
    near = torch.tensor([[0.1, -0.2], [0.6, 0.35], [-0.7, -0.4]])
    mirrored = torch.tensor([[0.1, -0.2], [0.4, 0.25], [-0.3, -0.2]])
    torch.testing.assert_close(strokes._inside(near, extent), mirrored)


def test_a_hybrid_is_a_rectangle_and_strokes():
    for seed in range(10):
        both = mask_of("missing-hybrid", (96, 96), seed)
        box = mask_of("missing-rectangle", (96, 96), seed)
        assert (both >= box).all() and both.sum() > box.sum()
        thin = mask_of("missing-hybrid", (96, 96), seed, {"thickness": 0})
        assert (thin - box).mean() < 0.01
