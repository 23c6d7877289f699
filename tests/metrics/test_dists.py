"""DISTS: the published names and numbers, each term in closed form, and the invariants of a distance."""

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve
from torch.nn import functional
from weighting import drawn, pair

from residiff.errors import ConfigError
from residiff.metrics.dists import DISTS, HanningPool
from residiff.metrics.lpips import vgg_lpips


@pytest.fixture(scope="module")
def metric():
    made = DISTS()
    made.load_state_dict(drawn({key: value.shape for key, value in made.state_dict().items()}, 1))
    return made


def test_names_and_shapes_are_those_of_the_published_files(metric):
    shapes = {key: tuple(value.shape) for key, value in metric.state_dict().items()}
    backbone = {key: tuple(value.shape) for key, value in vgg_lpips().state_dict().items() if "features" in key}
    assert shapes == backbone | {"alpha": (1, 1475, 1, 1), "beta": (1, 1475, 1, 1)}


def test_the_published_package_gives_the_same(metric):
    """Values of DISTS-pytorch 0.1 with these weights."""
    assert metric(*pair(2, 65, 80)).tolist() == pytest.approx([0.02124184, 0.02180213], rel=1e-4)


@pytest.mark.parametrize(("height", "width"), [(7, 8), (1, 5)])
def test_pooling_is_scipys_mean_of_squares(height, width):
    x = pair(2, height, width)[0].double() - 0.5
    window = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
    found = HanningPool(3).double()(x)
    assert found.shape == (2, 3, -(-height // 2), -(-width // 2))
    for n, c in np.ndindex(2, 3):
        expected = np.sqrt(convolve(x[n, c].numpy() ** 2, window, mode="constant")[::2, ::2] + 1e-12)
        np.testing.assert_allclose(found[n, c], expected, rtol=1e-12)


def by_hand(weights, images):
    """The image and five activations in float64."""
    x = (images - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    found = [images]
    for stage in [(0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)]:
        x = HanningPool(x.shape[1]).double()(x) if len(found) > 1 else x
        for place in stage:
            at = [weights[f"features.{place}.{word}"].double() for word in ("weight", "bias")]
            x = functional.conv2d(x, *at, padding=1).relu()
        found.append(x)
    return found


def test_the_formula_channel_by_channel_in_float64(metric):
    """1 - sum of alpha l + beta s, by numpy's means, variances and covariances."""
    weights = metric.state_dict()
    first, second = (images.double() for images in pair(1, 21, 34, 5))
    alpha, beta = (weights[word].double().flatten().numpy() for word in ("alpha", "beta"))
    whole, place, total = alpha.sum() + beta.sum(), 0, 0.0
    for maps in zip(by_hand(weights, first), by_hand(weights, second), strict=True):
        for x, y in zip(*(side[0].flatten(1).numpy() for side in maps), strict=True):
            covariance = np.cov(x, y, bias=True) + 1e-300
            texture = (2 * x.mean() * y.mean() + 1e-6) / (x.mean() ** 2 + y.mean() ** 2 + 1e-6)
            structure = (2 * covariance[0, 1] + 1e-6) / (covariance[0, 0] + covariance[1, 1] + 1e-6)
            total += (alpha[place] * texture + beta[place] * structure) / whole
            place += 1
    assert place == 1475
    found = DISTS().double()
    found.load_state_dict(weights)
    assert float(found(first, second)) == pytest.approx(1 - total, rel=1e-6)


def test_brightness_is_texture_and_contrast_is_structure():
    """With the weights of the image's own channels alone, both terms are known."""
    metric = DISTS().double()
    for weights in (metric.alpha, metric.beta):
        weights.zero_()
    plain = torch.rand(1, 3, 20, 20, dtype=torch.float64) * 0.4
    plain -= plain.mean((2, 3), keepdim=True)
    metric.alpha[0, :3] = 1
    texture = float(metric(plain + 0.25, plain * 2 + 0.5))
    assert texture == pytest.approx(1 - (2 * 0.125 + 1e-6) / (0.3125 + 1e-6), rel=1e-9)
    metric.alpha.zero_()
    metric.beta[0, 1] = 4
    variance = float(plain[0, 1].square().mean())
    structure = float(metric(plain + 0.25, plain * 2 + 0.5))
    assert structure == pytest.approx(1 - (4 * variance + 1e-6) / (5 * variance + 1e-6), rel=1e-9)


def test_it_is_a_distance_of_each_pair_alone(metric):
    first, second = pair(3, 40, 33)
    found = metric(first, second)
    assert torch.equal(metric(first, first), torch.zeros(3)) and (found > 0).all() and found.shape == (3,)
    torch.testing.assert_close(found, metric(second, first))
    torch.testing.assert_close(found[1:2], metric(first[1:2], second[1:2]))


def test_shapes_are_checked(metric):
    assert torch.isfinite(metric(*pair(1, 1, 1))).all()
    with pytest.raises(ConfigError, match="one shape"):
        metric(torch.zeros(1, 3, 40, 40), torch.zeros(1, 3, 40, 41))
