"""The Frechet distance: closed forms for Gaussians, an independent square root, and what random features tell apart."""

import numpy as np
import pytest
import scipy.linalg
import torch

from residiff.errors import ConfigError
from residiff.metrics import Moments, RandomFeatures, RunningMoments, frechet_distance, image_moments, moments
from residiff.seeds import generator


def draw(count, width, seed=0):
    source = generator(seed)
    mixing = torch.randn(width, width, generator=source, dtype=torch.float64)
    shift = torch.randn(width, generator=source, dtype=torch.float64)
    return torch.randn(count, width, generator=source, dtype=torch.float64) @ mixing + shift


def test_moments_are_numpys():
    vectors = draw(50, 4)
    found = moments(vectors)
    np.testing.assert_allclose(found.mean, vectors.numpy().mean(0))
    np.testing.assert_allclose(found.covariance, np.cov(vectors.numpy(), rowvar=False))


@pytest.mark.parametrize("count", [500, 5], ids=["full rank", "singular"])
def test_the_distance_is_the_formula_with_scipys_square_root(count):
    first, second = moments(draw(count, 8, 1)), moments(draw(count, 8, 2))
    root = scipy.linalg.sqrtm(first.covariance.numpy() @ second.covariance.numpy()).real
    trace = np.trace(first.covariance.numpy() + second.covariance.numpy() - 2 * root)
    expected = float((first.mean - second.mean).square().sum()) + trace
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-5)


def test_the_distance_of_commuting_gaussians_in_closed_form():
    """Diagonal covariances: the sum of (m1 - m2)^2 + (s1 - s2)^2."""
    first = Moments(torch.tensor([0.0, 1.0]).double(), torch.diag(torch.tensor([1.0, 4.0]).double()), 9)
    second = Moments(torch.tensor([3.0, 1.0]).double(), torch.diag(torch.tensor([9.0, 0.0]).double()), 9)
    assert frechet_distance(first, second) == pytest.approx(9 + 4 + 4)


def test_it_is_zero_for_itself_and_symmetric():
    first, second = moments(draw(99, 6, 3)), moments(draw(99, 6, 4))
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(first, second) == pytest.approx(frechet_distance(second, first))


def test_features_are_the_same_for_everybody_and_tell_edges_from_their_spectrum():
    features, again = RandomFeatures(), RandomFeatures()
    edges = (torch.arange(32) + torch.randint(32, (256, 1, 1, 1), generator=generator(0))) % 32 < 16
    pictures = edges.float().expand(256, 3, 32, 32) * 0.8 + 0.1
    assert torch.equal(features(pictures), again(pictures)) and features(pictures).shape == (256, 384)
    phases = torch.rand(256, 1, 32, 17, generator=generator(1)) * 6.283
    scrambled = torch.fft.irfft2(torch.fft.rfft2(pictures).abs() * torch.exp(1j * phases), s=(32, 32)).clamp(0, 1)
    first, second = (image_moments(half, features) for half in (pictures[:128].split(50), pictures[128:].split(50)))
    assert frechet_distance(first, image_moments([scrambled], features)) > 10 * frechet_distance(first, second)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ConfigError, match="needed is"):
        moments(torch.zeros(1, 4))
    with pytest.raises(ConfigError, match="cannot be compared"):
        frechet_distance(moments(draw(9, 3)), moments(draw(9, 4)))


@pytest.mark.parametrize("width", [1, 7, 64])
def test_isotropic_gaussians_in_closed_form(width):
    """|m|^2 + (s1 - s2)^2 d."""
    identity, shift = torch.eye(width).double(), torch.linspace(-1, 2, width).double()
    first, second = Moments(shift, 0.7**2 * identity, 9), Moments(torch.zeros(width).double(), 2.5**2 * identity, 9)
    expected = float(shift @ shift) + (2.5 - 0.7) ** 2 * width
    assert frechet_distance(first, second) == pytest.approx(expected, abs=1e-6)


def running(batches):
    found = RunningMoments()
    for batch in batches:
        found.update(batch)
    return found


def same(found, expected):
    scale = float(expected.covariance.abs().max())
    torch.testing.assert_close(found.mean, expected.mean, rtol=1e-12, atol=0)
    torch.testing.assert_close(found.covariance, expected.covariance, rtol=0, atol=1e-9 * scale)
    return found.count == expected.count


@pytest.mark.parametrize("sizes", [[100], [1, 99], [0, 30, 0, 69, 1], [10] * 10])
def test_moments_come_batch_by_batch(sizes):
    """Far from 0, where sums of squares would cancel."""
    vectors = draw(100, 5, 8) + 1e6
    assert same(running(vectors.split(sizes)).moments(), moments(vectors))


def test_many_processes_count_as_one():
    vectors = draw(90, 4, 9).float()
    parts = [running(part.split(7)) for part in vectors.split([40, 1, 0, 49])]
    for order in (parts, parts[::-1]):
        whole = RunningMoments()
        for part in order:
            whole.merge(part)
        assert same(whole.moments(), moments(vectors))
    assert parts[0].count == 40 and same(parts[0].moments(), moments(vectors[:40]))


def test_features_may_come_of_a_network_in_any_mode():
    features, found, weight = draw(20, 3), RunningMoments(), torch.ones(3, requires_grad=True)
    with torch.inference_mode():
        found.update(features[:8] * 1)
    found.update(features[8:] * weight)
    found.merge(running([features]))
    assert same(found.moments(), moments(torch.cat([features, features]))) and not found.moments().mean.requires_grad


def test_features_are_not_kept():
    found = running([torch.rand(1000, 8)] * 3)
    assert {name: value.numel() for name, value in vars(found).items() if torch.is_tensor(value)} == {
        "_mean": 8,
        "_scatter": 64,
    }


def test_features_of_another_kind_are_refused():
    found = running([torch.rand(1, 4)])
    with pytest.raises(ConfigError, match="at least 2"):
        found.moments()
    with pytest.raises(ConfigError, match="3 and 4 numbers"):
        found.update(torch.rand(2, 3))
    with pytest.raises(ConfigError, match=r"needed is \(N, D\)"):
        found.update(torch.rand(4))
    with pytest.raises(ConfigError, match="2 and 4 numbers"):
        found.merge(running([torch.rand(1, 2)]))
