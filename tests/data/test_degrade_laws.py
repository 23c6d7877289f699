"""Each degradation obeys the law that it is named after: variances, ratios, directions, areas."""

import math

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from scipy import ndimage

from residiff.data.degrade import fields, optics, shadows
from residiff.data.degrade.draws import to_linear, to_srgb
from residiff.data.degrade.table import degrade

PHOTOGRAPHS = ("astronaut", "coffee", "chelsea", "rocket")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def photograph(name, side=None):
    pixels = torch.from_numpy(getattr(skimage.data, name)().copy()).permute(2, 0, 1).float() / 255
    return pixels if side is None else pixels[:, 60 : 60 + side, 140 : 140 + side].contiguous()


def constant(value, height=64, width=64):
    return torch.full((3, height, width), float(value))


def psnr(one, other):
    return -10 * math.log10(max((one - other).square().mean().item(), 1e-12))


def quarter_means(masks):
    """The mean over `masks` (1, H, W) of each quarter of the image."""
    mean = torch.stack(masks).mean(0)[None]
    return torch.nn.functional.adaptive_avg_pool2d(mean, 2).flatten()


# Noise and light


@pytest.mark.parametrize("sigma", [2, 10, 25])
def test_noise_is_white_gaussian_of_the_wanted_deviation(sigma):
    error = (degrade("noise", constant(127 / 255, 256, 256), seeded(), {"sigma": sigma}).image * 255 - 127).double()
    rounded = math.sqrt(sigma**2 + 1 / 12)
    assert error.std().item() == pytest.approx(rounded, rel=0.01)
    assert abs(error.mean().item()) < 5 * sigma / math.sqrt(error.numel())
    assert (error / sigma).pow(4).mean().item() == pytest.approx(3, rel=0.05)
    for shifted in (error.roll(1, 1), error.roll(1, 2), error.roll(1, 0)):
        assert abs((error * shifted).mean().item()) / sigma**2 < 0.02


@pytest.mark.parametrize(("gain", "read"), [(0.01, 1e-6), (1e-6, 0.02), (0.003, 0.01)])
def test_sensor_noise_has_the_variance_of_counts_and_reading(gain, read):
    clean = constant(200 / 255, 256, 256)
    given = {"gain": gain, "read": read, "correlation": 0}
    light = to_linear(degrade("sensor-noise", clean, seeded(), given).image).double()
    expected = to_linear(clean)[0, 0, 0].item()
    assert light.mean().item() == pytest.approx(expected, rel=5e-3)
    assert light.var().item() == pytest.approx(gain * expected + read**2, rel=0.04)


def test_correlation_joins_neighbours_and_keeps_the_variance():
    def error(correlation):
        given = {"gain": 1e-6, "read": 0.02, "correlation": correlation}
        return to_linear(degrade("sensor-noise", constant(0.7, 256, 256), seeded(), given).image).double()

    alone, joined = error(0), error(0.5)
    assert joined.std().item() == pytest.approx(alone.std().item(), rel=0.02)
    rows = [np.corrcoef(each[0, :, 1:].flatten(), each[0, :, :-1].flatten())[0, 1] for each in (alone, joined)]
    # A kernel (w, 1, w) correlates neighbours by 2 w / (1 + 2 w^2).
    assert abs(rows[0]) < 0.02 and rows[1] == pytest.approx(1 / 1.5, abs=0.02)


def test_srgb_is_the_standards_curve():
    light = torch.linspace(0, 1, 1001)
    assert torch.allclose(to_linear(to_srgb(light)), light, atol=1e-6)
    assert to_linear(torch.tensor(0.5)).item() == pytest.approx(0.21404, abs=1e-5)
    assert to_linear(torch.tensor(0.04)).item() == pytest.approx(0.04 / 12.92, abs=1e-7)


def test_low_light_scales_linear_light():
    clean = photograph("astronaut", 64)
    given = {"exposure": 0.1, "gamma": 1, "grain": 0, "drift": 0}
    image = degrade("low-light", clean, seeded(), given).image
    light = np.where(clean <= 0.04045, clean / 12.92, ((clean + 0.055) / 1.055) ** 2.4) * 0.1
    dark = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(image.numpy() - dark).max() <= 0.5 / 255 + 1e-5
    darker = degrade("low-light", clean, seeded(), given | {"gamma": 2}).image
    assert np.abs(darker.numpy() - dark**2).max() <= 0.5 / 255 + 1e-5


def test_low_light_has_read_noise_and_shot_noise_of_the_wanted_size():
    given = {"exposure": 0.5, "gamma": 1, "drift": 0, "grain": 5}
    for value in (0.5, 1.0):
        image = degrade("low-light", constant(value, 192, 192), seeded(), given).image.double()
        light = to_linear(torch.tensor(value)).item() * 0.5
        assert to_linear(image).var().item() == pytest.approx(light * 0.005 + 0.005**2, rel=0.05)


def test_low_light_drifts_the_white_balance_within_bounds():
    given = {"exposure": 0.5, "gamma": 1, "grain": 0, "drift": 0.2}
    gains = []
    for seed in range(20):
        image = degrade("low-light", constant(0.8, 2, 2), seeded(seed), given).image
        gains.append(to_linear(image)[:, 0, 0] / (to_linear(torch.tensor(0.8)) * 0.5))
    gains = torch.stack(gains)
    assert gains.min() > 0.78 and gains.max() < 1.22
    assert gains.std() > 0.05 and (gains[:, 0] - gains[:, 2]).abs().mean() > 0.05


def test_low_light_inputs_score_as_dark_photographs_do():
    scores = {}
    for name in PHOTOGRAPHS:
        clean = photograph(name)[:, ::2, ::2]
        scores[name] = [psnr(degrade("low-light", clean, seeded(seed)).image, clean) for seed in range(12)]
    every = np.concatenate(list(scores.values()))
    inside = (every >= 7) & (every <= 12)
    assert inside.mean() > 0.7, scores
    for name in ("astronaut", "coffee", "chelsea"):
        assert 7 < np.median(scores[name]) < 12, scores


# Colour


def test_grey_is_the_luma_that_pillow_takes():
    clean = photograph("coffee", 96)
    image = degrade("grey", clean, seeded()).image
    assert torch.equal(image[0], image[1]) and torch.equal(image[0], image[2])
    stored = Image.fromarray((clean * 255).round().byte().permute(1, 2, 0).numpy()).convert("L")
    assert np.abs(image[0].numpy() * 255 - np.array(stored)).max() <= 1
    colours = torch.eye(3).view(3, 3, 1)  # red, green and blue in rows
    assert (degrade("grey", colours, seeded()).image[0, :, 0] * 255).round().tolist() == [76, 150, 29]


def test_night_scales_the_light_and_tints_it():
    image = degrade("night", constant(200 / 255), seeded(), {"light": 0.2, "blue": 0.5, "colour": 0.3}).image
    ratio = (to_linear(image) / to_linear(constant(200 / 255))).mean((1, 2))
    torch.testing.assert_close(ratio, torch.tensor([0.1, 0.2, 0.3]), atol=0.004, rtol=0)


@pytest.mark.parametrize("colour", [0, 0.5, 1])
def test_night_leaves_the_wanted_share_of_colour(colour):
    clean = photograph("coffee", 96)
    image = degrade("night", clean, seeded(), {"light": 1, "blue": 0, "colour": colour}).image
    light, left = to_linear(clean), to_linear(image)
    luminance = (light * torch.tensor([0.2126, 0.7152, 0.0722]).view(3, 1, 1)).sum(0)
    assert (left - (luminance + colour * (light - luminance))).abs().max() < 0.006


def test_the_default_night_is_dark_blue_and_pale():
    for name in PHOTOGRAPHS:
        clean = photograph(name)[:, ::4, ::4]
        for seed in range(3):
            red, _, blue = (to_linear(degrade("night", clean, seeded(seed)).image)).mean((1, 2))
            sunny_red, _, sunny_blue = to_linear(clean).mean((1, 2))
            assert blue / red > 1.5 * sunny_blue / sunny_red
            assert blue < 0.5 * sunny_blue + 0.05


# Shadows


@pytest.mark.parametrize("seed", range(8))
def test_shadow_leaves_the_lit_pixels_bit_identical(seed):
    clean = torch.rand((3, 90, 131), generator=seeded(9))
    image, matte = degrade("shadow", clean, seeded(seed), {"coverage": (0.05, 0.4)})
    lit = (matte == 0).expand_as(clean)
    assert 0.1 < lit.float().mean() < 1
    assert torch.equal(image[lit], clean[lit])
    assert (image <= clean + 0.5 / 255 + 1e-6).all()


@pytest.mark.parametrize("size", [(128, 128), (60, 251), (300, 40)])
@pytest.mark.parametrize("coverage", [0.05, 0.3, 0.6])
def test_shadow_covers_the_wanted_share(size, coverage):
    for seed in range(4):
        matte = degrade("shadow", constant(0.5, *size), seeded(seed), {"coverage": coverage}).mask
        assert (matte > 0.5).float().mean().item() == pytest.approx(coverage, abs=2 / 128**2 + 1e-3)


def test_shadow_scales_linear_light_and_is_bluish():
    clean = constant(200 / 255, 96, 96)
    given = {"light": 0.4, "cast": 0.2, "coverage": 0.4}
    image, matte = degrade("shadow", clean, seeded(2), given)
    ratio = to_linear(image) / to_linear(clean)
    full = matte[0] == 1
    assert full.any()
    assert torch.allclose(ratio[:, full].mean(1), torch.tensor([0.32, 0.4, 0.48]), atol=0.006)
    half = (matte - 0.5).abs() < 0.02
    assert half.any() and ratio[1][half[0]].mean().item() == pytest.approx(0.7, abs=0.02)


def test_penumbra_has_the_wanted_width():
    """The level set |f - c| < width / 2 of a distance has an area of about its width times the shadow's outline."""
    shares = []
    for penumbra in (0.02, 0.04, 0.08):
        mattes = [shadows.shadow_matte(192, 192, 0.3, penumbra, seeded(seed)) for seed in range(12)]
        shares.append(np.mean([((matte > 0) & (matte < 1)).float().mean().item() for matte in mattes]))
        steepest = max(torch.diff(matte, dim=2).abs().max().item() for matte in mattes)
        assert steepest < 1.5 / (0.4 * penumbra * 192) * 1.7
    assert 1.6 < shares[1] / shares[0] < 2.4 and 1.5 < shares[2] / shares[1] < 2.3


def test_shadows_differ_and_do_not_favour_a_side():
    mattes = [shadows.shadow_matte(32, 32, 0.3, 0.05, seeded(seed)) for seed in range(150)]
    quarters = quarter_means(mattes)
    assert quarters.min() > 0.22 and quarters.max() < 0.38
    assert torch.stack(mattes).std(0).min() > 0.25


def test_capsules_are_at_their_distance():
    points = torch.tensor([[0.0, 3.0, -1.0, 1.0], [2.0, 4.0, 0.0, 0.5]]).view(2, 1, 4)
    strokes = torch.tensor([[0.0, 0.0, 2.0, 0.0, 0.5], [3.0, 5.0, 3.0, 5.0, 0.25]])
    distance = fields.capsules(points, strokes).flatten()
    assert torch.allclose(distance, torch.tensor([1.5, 0.75, 0.5, 0.0]), atol=1e-6)


@pytest.mark.parametrize(("share", "count"), [(0, 0), (0.1, 1), (0.5, 5), (1, 10)])
def test_the_quantile_is_reached_by_its_share(share, count):
    field = torch.rand((1, 2, 5), generator=seeded())
    assert (field <= fields.quantile(field, share)).sum() == count


# Weather


def test_rain_only_brightens_and_is_sparse():
    image = degrade("rain", constant(0.3, 128, 128), seeded(), {"amount": 2, "strength": 0.8}).image
    change = image - constant(0.3, 128, 128)
    assert change.min() > -0.5 / 255 - 1e-6 and change.max() > 0.2
    assert (change.abs() < 0.02).float().mean() > 0.4
    assert torch.equal(image[0], image[1]), "rain is grey"


@pytest.mark.parametrize("slant", [-60, -30, 0, 30, 60])
def test_rain_falls_at_the_wanted_slant(slant):
    given = {"slant": slant, "amount": 5, "length": 30, "strength": 0.9}
    veil = degrade("rain", constant(0.0, 160, 160), seeded(), given).image[0].numpy()
    across, down = ndimage.gaussian_filter(veil, 1, (0, 1)), ndimage.gaussian_filter(veil, 1, (1, 0))
    # The streaks run along the eigenvector of the structure tensor with the least change.
    tensor = [[(across * across).sum(), (across * down).sum()], [(across * down).sum(), (down * down).sum()]]
    x, y = np.linalg.eigh(np.array(tensor))[1][:, 0]
    found = math.degrees(math.atan(x / y))
    assert found == pytest.approx(slant, abs=4)


def test_raindrops_turn_the_scene_upside_down_inside_and_leave_the_rest():
    clean = torch.linspace(0, 1, 128).view(1, -1, 1).expand(3, 128, 128).contiguous()
    stored = (clean * 255).round() / 255
    image = degrade("raindrops", clean, seeded(1), {"drops": 6, "size": 0.15}).image
    inside = (image - stored).abs().amax(0) > 2 / 255
    assert 0.02 < inside.float().mean() < 0.5
    label, count = ndimage.label(inside.numpy())
    slopes = []
    for drop in range(1, count + 1):
        rows = np.nonzero(label == drop)[0]
        if len(rows) > 150:
            slopes.append(np.polyfit(rows, image[0].numpy()[label == drop], 1)[0])
    assert slopes and np.median(slopes) < 0


def test_haze_tends_to_the_airlight_and_grows_upwards():
    clean = photograph("coffee", 96)
    thick = degrade("haze", clean, seeded(), {"density": 10, "airlight": 0.8}).image
    assert (thick[:, :10] - 0.8).abs().max() < 0.05
    image = degrade("haze", clean, seeded(), {"density": 1.5, "airlight": 0.9}).image
    assert image[:, :20].std() < 0.6 * clean[:, :20].std()
    grey = degrade("haze", constant(0.1, 64, 64), seeded(), {"density": 1.5, "airlight": 0.9}).image
    assert grey[:, :16].mean() > grey[:, -16:].mean() + 0.1


# Blur and compression


@pytest.mark.parametrize("length", [0, 0.3, 1, 7.5, 30])
@pytest.mark.parametrize(("angle", "bend"), [(0, 0), (1.0, 0), (2.5, 1.5), (0.4, -4)])
def test_the_motion_kernel_sums_to_one_and_is_centred(length, angle, bend):
    kernel = optics.motion_kernel(length, angle, bend).double()
    assert kernel.shape[0] == kernel.shape[1] and kernel.shape[0] % 2 == 1
    assert kernel.min() >= 0 and kernel.sum().item() == pytest.approx(1, abs=1e-6)
    places = torch.arange(kernel.shape[0]) - kernel.shape[0] // 2
    assert abs((kernel.sum(1) * places).sum().item()) < 1e-4
    assert abs((kernel.sum(0) * places).sum().item()) < 1e-4


def test_a_straight_motion_kernel_is_a_line_of_its_length_and_angle():
    kernel = optics.motion_kernel(21, math.pi / 6, 0).double()
    places = torch.arange(kernel.shape[0]) - kernel.shape[0] // 2
    down, right = (kernel.sum(1) * places**2).sum(), (kernel.sum(0) * places**2).sum()
    cross = (kernel * torch.outer(places, places)).sum()
    # The variance of a segment of length L is L^2 / 12; bilinear sharing adds at most 1/4 to each axis.
    assert (down + right).item() == pytest.approx(21**2 / 12, rel=0.03)
    assert 0.5 * math.atan2(2 * cross, right - down) == pytest.approx(math.pi / 6, abs=0.01)


@pytest.mark.parametrize("radius", [0, 0.4, 1, 2.5, 7])
def test_the_disc_kernel_is_flat_round_and_sums_to_one(radius):
    kernel = optics.disc_kernel(radius)
    assert kernel.sum().item() == pytest.approx(1, abs=1e-6)
    assert torch.equal(kernel, kernel.T) and torch.equal(kernel, kernel.flip(0))
    if radius >= 2:
        assert 1 / kernel.max().item() == pytest.approx(math.pi * radius**2, rel=0.2)


@pytest.mark.parametrize("size", [(17, 23), (5, 40), (2, 3), (1, 9)])
def test_convolution_agrees_with_scipy_at_a_mirrored_border(size):
    image = torch.rand((3, *size), generator=seeded())
    kernel = optics.motion_kernel(9, 0.7, 1.0)
    expected = [ndimage.convolve(plane.double().numpy(), kernel.double().numpy(), mode="mirror") for plane in image]
    assert np.abs(optics.convolve(image, kernel).numpy() - np.stack(expected)).max() < 1e-6


@pytest.mark.parametrize("name", ["motion-blur", "defocus-blur"])
@pytest.mark.parametrize("value", [0, 3, 128, 254, 255])
def test_blur_keeps_a_constant_image(name, value):
    clean = constant(value / 255, 30, 41)
    assert torch.allclose(degrade(name, clean, seeded()).image, clean, atol=1e-6)


def test_blur_mixes_light_and_not_grey_levels():
    clean = torch.zeros(3, 32, 32)
    clean[:, :, ::2] = 1
    image = degrade("motion-blur", clean, seeded(), {"length": 16, "angle": 0, "bend": 0}).image
    assert image[:, :, 12:20].mean().item() == pytest.approx(0.7354, abs=0.02)


def test_jpeg_is_close_at_the_best_quality_and_blocky_at_the_worst():
    clean = photograph("coffee", 96)
    assert psnr(degrade("jpeg", clean, seeded(), {"quality": 100}).image, clean) > 35
    image = degrade("jpeg", clean, seeded(), {"quality": 3}).image
    step = torch.diff(image, dim=2).abs().mean((0, 1))
    assert step[7::8].mean() > 2 * step[[i for i in range(95) if i % 8 != 7]].mean()


# Holes


@pytest.mark.parametrize(
    "name", ["missing-centre", "missing-box", "missing-brush", "missing-irregular", "missing-side", "missing-border"]
)
@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.25, 0.7, 1.0])
@pytest.mark.parametrize("size", [(64, 64), (50, 93)])
def test_holes_have_the_wanted_area_and_filling(name, fraction, size):
    clean = torch.rand((3, *size), generator=seeded())
    for seed in range(3):
        image, mask = degrade(name, clean, seeded(seed), {"fraction": fraction})
        assert set(mask.unique().tolist()) <= {0.0, 1.0}
        assert mask.mean().item() == pytest.approx(fraction, abs=0.016)
        hole = (mask == 1).expand_as(clean)
        assert (image[hole] == 0.5).all() and torch.equal(image[~hole], clean[~hole])


def extent(mask):
    rows, columns = np.nonzero(mask[0].numpy())
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1


def test_the_centre_is_in_the_middle():
    top, bottom, left, right = extent(degrade("missing-centre", constant(0.2, 60, 80), seeded()).mask)
    assert abs(top - (60 - bottom)) <= 1 and abs(left - (80 - right)) <= 1


def test_boxes_are_boxes_anywhere_with_the_wanted_aspect():
    corners = []
    for seed in range(30):
        mask = degrade("missing-box", constant(0.2, 60, 60), seeded(seed), {"fraction": 0.1, "aspect": (0.5, 2)}).mask
        top, bottom, left, right = extent(mask)
        assert mask.sum() == (bottom - top) * (right - left)
        assert 0.45 < (bottom - top) / (right - left) < 2.2
        corners.append((top, left))
    assert np.ptp(corners, 0).min() > 25


def test_brush_strokes_are_few_thin_and_everywhere():
    clean = constant(0.2, 96, 96)
    masks = [degrade("missing-brush", clean, seeded(seed), {"fraction": 0.15}).mask for seed in range(60)]
    for mask in masks:
        # A stroke that leaves the image may come back in.
        assert 1 <= ndimage.label(mask[0].numpy())[1] <= 16
        assert ndimage.distance_transform_edt(mask[0].numpy()).max() < 20
    quarters = quarter_means(masks)
    assert quarters.min() > 0.1 and quarters.max() < 0.2


def test_more_strokes_make_more_parts():
    def parts(strokes):
        given = {"fraction": 0.05, "strokes": strokes}
        masks = [degrade("missing-brush", constant(0.2, 96, 96), seeded(seed), given).mask for seed in range(10)]
        return np.mean([ndimage.label(mask[0].numpy())[1] for mask in masks])

    assert parts(1) < 2 < parts(20)
