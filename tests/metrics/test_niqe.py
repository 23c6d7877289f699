"""NIQE: the fits in closed form, the whole by an independent path, a published package's number, and what it ranks."""

import numpy as np
import pytest
import scipy.ndimage
import scipy.special
import scipy.stats
import torch
from torch.nn import functional

from residiff.errors import ConfigError
from residiff.metrics.natural import asymmetric_gaussian, normalised, patch_features
from residiff.metrics.naturalness import Pristine, fit_pristine, image_features, matlab_grey, niqe
from residiff.seeds import generator


def halved(image, height, width):
    """Means of 2 x 2 pixels: any resize will do here."""
    assert (2 * height, 2 * width) == tuple(image.shape[1:])
    return functional.avg_pool2d(image, 2)


def texture(height, width, seed=0):
    """Grey levels (1, H, W) with detail of every size, nowhere flat."""
    source = generator(seed)
    image = torch.zeros(1, 1, height, width, dtype=torch.float64)
    for cell in (1, 2, 4, 8, 16, 32):
        coarse = torch.randn(1, 1, height // cell + 1, width // cell + 1, generator=source, dtype=torch.float64)
        image += functional.interpolate(coarse, (height, width), mode="bilinear") * cell**0.5 * 4
    return (image[0] + 128).round().clamp(0, 255)


def simple():
    """Pristine parameters that anybody can write down."""
    return Pristine(torch.linspace(0.2, 1.5, 36).double(), torch.eye(36).double() * 0.3, "simple")


@pytest.mark.parametrize(("shape", "left", "right"), [(2.0, 1.0, 1.0), (1.0, 0.5, 2.0), (0.6, 0.3, 0.2), (4.0, 3, 1)])
def test_the_fit_finds_what_was_drawn(shape, left, right):
    """Quantiles of both sides, in the share b_l : b_r that the density gives them."""
    count = 40_000
    below = round(count * left / (left + right))
    sides = []
    for size, scale, sign in [(below, left, -1), (count - below, right, 1)]:
        levels = (np.arange(size) + 0.5) / size
        sides.append(sign * scale * scipy.stats.gennorm.ppf((1 + levels) / 2, shape))
    values = torch.from_numpy(np.concatenate(sides))[None]
    found = [float(value) for value in asymmetric_gaussian(values)]
    assert found == pytest.approx([shape, left, right], rel=1e-2)


def test_a_normal_patch_has_the_features_of_the_normal_law():
    """Independent coefficients N(0, s^2): a = 2, b = s sqrt 2; products are alike on both sides, of mean 0."""
    patch = torch.randn(1, 700, 700, generator=generator(1), dtype=torch.float64) * 3
    found = patch_features(patch)[0]
    assert found.shape == (18,)
    assert found[:2].tolist() == pytest.approx([2, 3 * 2**0.5], rel=0.02)
    for a, mean, left, right in found[2:].view(4, 4).tolist():
        assert a < 1 and abs(mean) < 0.1 and left == pytest.approx(right, rel=0.03)


def test_patches_without_one_sign_are_not_numbers():
    """As in MATLAB, where the shape is then the table's first."""
    found = patch_features(torch.ones(1, 8, 8, dtype=torch.float64))[0]
    assert found.isnan().tolist() == [False, True] + [False, True, True, False] * 4
    assert found[[0, 2, 6, 10, 14]].tolist() == [0.2] * 5


def fit_by_search(values):
    shapes = np.linspace(0.2, 10, 9801)
    table = scipy.special.gamma(2 / shapes) ** 2 / scipy.special.gamma(1 / shapes) / scipy.special.gamma(3 / shapes)
    left, right = (np.sqrt((side**2).mean()) for side in (values[values < 0], values[values > 0]))
    g = left / right
    rho = np.abs(values).mean() ** 2 / (values**2).mean() * (g**3 + 1) * (g + 1) / (g**2 + 1) ** 2
    a = shapes[np.abs(table - rho).argmin()]
    scale = np.sqrt(scipy.special.gamma(1 / a) / scipy.special.gamma(3 / a))
    return a, left * scale, right * scale


def niqe_by_loops(image, mean, covariance):
    """Window in two dimensions, patches and table searched one by one, the inverse solved for."""
    y, x = np.mgrid[-3:4, -3:4]
    window = np.exp(-(x**2 + y**2) / (2 * (7 / 6) ** 2))
    window /= window.sum()
    rows = None
    for size in (96, 48):
        mu = scipy.ndimage.correlate(image, window, mode="nearest")
        sigma = np.sqrt(np.abs(scipy.ndimage.correlate(image**2, window, mode="nearest") - mu**2))
        c, found = (image - mu) / (sigma + 1), []
        for i, j in np.ndindex(image.shape[0] // size, image.shape[1] // size):
            patch = c[i * size : (i + 1) * size, j * size : (j + 1) * size]
            a, left, right = fit_by_search(patch)
            row = [a, (left + right) / 2]
            for down, along in [(0, 1), (1, 0), (1, 1), (1, -1)]:
                a, left, right = fit_by_search(patch * np.roll(np.roll(patch, down, 0), along, 1))
                row += [a, (right - left) * scipy.special.gamma(2 / a) / scipy.special.gamma(1 / a), left, right]
            found.append(row)
        rows = np.array(found) if rows is None else np.hstack([rows, found])
        image = (image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2]) / 4
    off = mean - rows.mean(0)
    return np.sqrt(off @ np.linalg.solve((covariance + np.cov(rows, rowvar=False)) / 2, off))


def test_the_whole_is_the_definition():
    luma, pristine = texture(192, 288), simple()
    expected = niqe_by_loops(luma[0].numpy(), pristine.mean.numpy(), pristine.covariance.numpy())
    assert niqe(luma, pristine, halved) == pytest.approx(expected, rel=1e-9)


def test_the_published_package_gives_the_same():
    """BasicSR 1.4.2's `niqe` with these parameters, of this resize and of its own."""
    assert niqe(texture(200, 300, 3), simple(), halved) == pytest.approx(13.0686918411, rel=1e-9)
    assert niqe(texture(200, 300, 3), simple()) == pytest.approx(13.07651271, rel=1e-7)


def test_black_patches_count_as_far_as_they_can_be_measured():
    """MATLAB's nanmean takes every number that is one, nancov the whole rows alone."""
    luma, pristine = texture(192, 384, 3), simple()
    luma[:, :96, 96:192] = 0
    features = image_features(luma, halved)[0].numpy()
    partly = np.isnan(features).any(1)
    assert partly.sum() == 1 and not np.isnan(features).all(1).any()
    off = pristine.mean.numpy() - np.nanmean(features, 0)
    spread = (pristine.covariance.numpy() + np.cov(features[~partly], rowvar=False)) / 2
    assert niqe(luma, pristine, halved) == pytest.approx(np.sqrt(off @ np.linalg.solve(spread, off)), rel=1e-9)


def test_what_is_left_over_is_cut_off():
    luma = texture(230, 310, 4)
    assert niqe(luma, simple(), halved) == niqe(luma[:, :192, :288], simple(), halved)
    assert niqe(luma.byte(), simple(), halved) == niqe(luma, simple(), halved)


def test_coefficients_are_blind_to_brightness_and_of_variance_below_one():
    luma = texture(96, 96, 5)[0] / 2
    found, deviation = normalised(luma)
    torch.testing.assert_close(normalised(luma + 60)[0], found, rtol=0, atol=1e-9)
    assert 0.3 < float(found.std()) < 1 and abs(float(found.mean())) < 0.1 and bool((deviation >= 0).all())


def test_a_fit_knows_its_own_kind():
    """Photographs alike are near, noise and blur far, the more the farther."""
    pristine = fit_pristine(
        [texture(384, 384, seed) for seed in range(10, 14)], "texture", threshold=0.0, resize=halved
    )
    luma, noise = texture(384, 384, 20), torch.randn(384, 384, generator=generator(6))
    blurred = [torch.from_numpy(scipy.ndimage.gaussian_filter(luma[0].numpy(), s))[None].round() for s in (1, 2)]
    noisy = [(luma + s * noise).round().clamp(0, 255) for s in (10, 40)]
    own = niqe(luma, pristine, halved)
    for milder, stronger in (blurred, noisy):
        assert 2 * own < niqe(milder, pristine, halved) < niqe(stronger, pristine, halved)


def test_an_image_is_nowhere_from_itself():
    luma = texture(384, 384, 7)
    pristine = fit_pristine([luma], "itself", threshold=0.0, resize=halved)
    assert niqe(luma, pristine, halved) == pytest.approx(0, abs=1e-6)
    features, _ = image_features(luma, halved)
    np.testing.assert_allclose(pristine.mean, features.numpy().mean(0))
    np.testing.assert_allclose(pristine.covariance, np.cov(features.numpy(), rowvar=False))


def test_only_sharp_patches_are_fitted():
    luma = texture(384, 192, 8)
    soft = luma.clone()
    soft[:, :192] = 128 + (soft[:, :192] - 128) * 0.5
    sharp = fit_pristine([soft], "own", resize=halved)
    features, sharpness = image_features(soft, halved)
    assert (sharpness > 0.75 * sharpness.max()).tolist() == [False] * 4 + [True] * 4
    np.testing.assert_allclose(sharp.mean, features[4:].mean(0))
    assert not np.allclose(sharp.mean, fit_pristine([soft], "own", threshold=0.0, resize=halved).mean)


def test_grey_levels_are_matlabs():
    colours = torch.tensor([[0, 255, 255, 0, 0, 10], [0, 255, 0, 255, 0, 200], [0, 255, 0, 0, 255, 77]])
    found = matlab_grey(colours.to(torch.uint8)[:, None])
    assert found.flatten().tolist() == [0, 255, 76, 150, 29, 129] and found.shape == (1, 1, 6)
    with pytest.raises(ConfigError, match="torch.uint8 of"):
        matlab_grey(torch.zeros(3, 4, 4))


def test_what_cannot_be_measured_is_refused():
    for shape in [(1, 95, 300), (3, 200, 200), (200, 200)]:
        with pytest.raises(ConfigError, match=r"needs \(1, H, W\) of at least 96 x 96"):
            niqe(torch.zeros(shape), simple(), halved)
    with pytest.raises(ConfigError, match="1 of 1 patches"):
        niqe(texture(100, 100), simple(), halved)
    with pytest.raises(ConfigError, match="not finite"):
        niqe(torch.full((1, 200, 200), torch.nan), simple(), halved)
    with pytest.raises(ConfigError, match="another name"):
        fit_pristine([texture(200, 200)], "published", resize=halved)
    with pytest.raises(ConfigError, match="no photographs"):
        fit_pristine([], "own", resize=halved)
    with pytest.raises(ConfigError, match=r"\(35,\) and \(36, 36\)"):
        Pristine(torch.zeros(35), torch.zeros(36, 36), "own")
    with pytest.raises(ConfigError, match="not finite"):
        Pristine(torch.full((36,), torch.inf), torch.zeros(36, 36), "own")
