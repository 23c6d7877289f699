"""The three rules by which images reach Inception, each against loops over pixels, and the wrappers that apply them."""

import math

import numpy as np
import pytest
import torch
from weighting import drawn

from residiff.errors import ConfigError
from residiff.metrics.inception import Inception, fid_inception
from residiff.metrics.inception_inputs import (
    InceptionFeatures,
    ScoreClasses,
    pytorch_fid_input,
    score_input,
    tensorflow_input,
    tensorflow_resize,
)
from residiff.seeds import generator


def draw(height, width, count=1):
    return torch.rand(count, 3, height, width, generator=generator(height))


def by_loops(plane, height, width, place):
    """Bilinear interpolation of a numpy plane, pixel by pixel; `place(i, n, m)` is where output pixel i of m lies."""
    rows, columns = plane.shape
    out = np.zeros((height, width))
    for i, j in np.ndindex(height, width):
        u, v = place(i, rows, height), place(j, columns, width)
        top, left = math.floor(u), math.floor(v)
        for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)):
            share = (u - top if y else 1 - u + top) * (v - left if x else 1 - v + left)
            out[i, j] += share * plane[min(top + y, rows - 1), min(left + x, columns - 1)]
    return out


def corners(i, n, m):
    return i * n / m


def centres(i, n, m):
    return max((i + 0.5) * n / m - 0.5, 0)


@pytest.mark.parametrize(("height", "width"), [(5, 7), (33, 64), (13, 13)])
def test_tensorflows_resize(height, width):
    image = draw(height, width)
    found = tensorflow_resize(image, 13, 20)
    for plane, expected in zip(found[0], image[0], strict=True):
        np.testing.assert_allclose(plane, by_loops(expected.numpy(), 13, 20, corners), atol=1e-5)


def test_tensorflows_resize_is_not_centred():
    """A step of two pixels to four: the first of them is kept whole, the last is doubled."""
    step = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    assert tensorflow_resize(step, 1, 4).flatten().tolist() == [0, 0.5, 1, 1]


@pytest.mark.parametrize(("rule", "gain", "offset"), [(pytorch_fid_input, 2, -1), (score_input, 1, 0)])
@pytest.mark.parametrize(("height", "width"), [(20, 31), (310, 301)])
def test_rules_between_pixel_centres(rule, gain, offset, height, width):
    image = draw(height, width)
    found = rule(image)
    assert found.shape == (1, 3, 299, 299)
    expected = by_loops(image[0, 1].numpy(), 299, 299, centres) * gain + offset
    np.testing.assert_allclose(found[0, 1], expected, atol=1e-4)


def test_tensorflows_rule_cuts_to_grey_levels():
    image = draw(20, 31)
    found = tensorflow_input(image)
    levels = (image[0, 2].double().numpy() * 255).astype(np.uint8)
    expected = (by_loops(levels.astype(float), 299, 299, corners) - 128) / 128
    np.testing.assert_allclose(found[0, 2], expected, atol=1e-5)
    assert torch.equal(tensorflow_input((image * 255).byte()), found)


def test_every_grey_level_survives_being_a_float():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    for kind in (torch.float32, torch.float64):
        found = tensorflow_input(levels.to(kind) / 255).float()
        torch.testing.assert_close(found, tensorflow_input(levels), rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def network():
    made = fid_inception()
    made.load_state_dict(drawn({key: value.shape for key, value in made.state_dict().items()}, 1))
    return made


@pytest.mark.parametrize("rule", [pytorch_fid_input, tensorflow_input])
def test_features_are_of_the_rule(network, rule):
    images = draw(30, 40, 2)
    found = InceptionFeatures(network, rule, 192)(images)
    assert torch.equal(found, network.features(rule(images), 192)) and found.shape == (2, 192)
    assert InceptionFeatures(network, rule)(images[:1]).shape == (1, 2048)


def test_classes_are_probabilities(network):
    small = Inception(7, counts_border=True, ends_in_maximum=False)
    images = draw(30, 40, 2)
    found = ScoreClasses(small)(images)
    torch.testing.assert_close(found.sum(1), torch.ones(2))
    torch.testing.assert_close(found.log().diff(dim=1), small(score_input(images)).diff(dim=1))


@pytest.mark.parametrize("rule", [pytorch_fid_input, score_input, tensorflow_input])
def test_what_is_no_batch_of_colour_is_refused(rule):
    whole = torch.zeros(1, 40, 40, dtype=torch.uint8), torch.zeros(1, 3, 40, 40, dtype=torch.int64)
    for images in (torch.zeros(3, 40, 40), torch.zeros(1, 1, 40, 40), *whole):
        with pytest.raises(ConfigError, match=r"floats in \[0, 1\] of \(N, 3, H, W\)"):
            rule(images)
