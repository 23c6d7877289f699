"""KID: the estimator by a double loop, Gaussian clouds in closed form, and what its subsets are."""

import itertools

import pytest
import torch

from residiff.errors import ConfigError
from residiff.metrics.kernel import kernel_distance, squared_mmd
from residiff.seeds import generator


def draw(count, width, seed, shift=0.0):
    return torch.randn(count, width, generator=generator(seed), dtype=torch.float64) + shift


def by_loops(first, second):
    """The definition, pair by pair."""

    def kernel(x, y):
        return (sum(a * b for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3

    x, y = first.tolist(), second.tolist()
    within = [[kernel(a, b) for a, b in itertools.permutations(side, 2)] for side in (x, y)]
    across = [kernel(a, b) for a, b in itertools.product(x, y)]
    return sum(sum(values) / len(values) for values in within) - 2 * sum(across) / len(across)


@pytest.mark.parametrize(("n", "m", "width"), [(2, 2, 1), (5, 8, 3), (7, 4, 16)])
def test_the_estimate_is_the_definition(n, m, width):
    first, second = draw(n, width, n), draw(m, width, 50 + m, 0.5)
    assert squared_mmd(first, second) == pytest.approx(by_loops(first, second), rel=1e-10)
    assert squared_mmd(second, first) == pytest.approx(by_loops(first, second), rel=1e-10)


def expected_kernel(a, s, b, t):
    """E (x . y / d + 1)^3 of x ~ N(a, s^2 I), y ~ N(b, t^2 I), independent."""
    d, ab, aa, bb = len(a), float(a @ b), float(a @ a), float(b @ b)
    second = ab**2 + s**2 * bb + t**2 * aa + d * s**2 * t**2
    third = ab**3 + 3 * ab * t**2 * aa + 3 * s**2 * ab * (bb + (d + 2) * t**2)
    return 1 + 3 * ab / d + 3 * second / d**2 + third / d**3


def cloud(mean, deviation):
    """2 d points with the moments of N(mean, deviation^2 I) up to the third, exactly."""
    spokes = torch.eye(len(mean), dtype=torch.float64) * deviation * len(mean) ** 0.5
    return torch.cat([mean + spokes, mean - spokes])


def test_gaussian_clouds_in_closed_form():
    """A kernel of degree 3 sees three moments; the unbiased estimate leaves out the diagonal, which is known."""
    a, b, s, t = torch.tensor([0.3, -1.0, 0.5, 2.0]).double(), torch.tensor([1.0, 0.0, -0.4, 0.2]).double(), 0.7, 1.9
    first, second = cloud(a, s), cloud(b, t)
    within = []
    for points, mean, deviation in [(first, a, s), (second, b, t)]:
        n, diagonal = len(points), float(((points.square().sum(1) / 4 + 1) ** 3).sum())
        within.append((n**2 * expected_kernel(mean, deviation, mean, deviation) - diagonal) / (n * (n - 1)))
    expected = sum(within) - 2 * expected_kernel(a, s, b, t)
    assert squared_mmd(first, second) == pytest.approx(expected, rel=1e-10)


def test_the_estimate_is_unbiased():
    """Its mean over draws from two Gaussians is the true distance, within four standard errors."""
    a, b = torch.zeros(3).double(), torch.full((3,), 0.5).double()
    truth = expected_kernel(a, 1, a, 1) + expected_kernel(b, 1.2, b, 1.2) - 2 * expected_kernel(a, 1, b, 1.2)
    found = torch.tensor([squared_mmd(draw(10, 3, k), draw(12, 3, 9000 + k) * 1.2 + b) for k in range(2000)])
    error = float(found.std()) / len(found) ** 0.5
    assert abs(float(found.mean()) - truth) < 4 * error < 0.2 * truth


def test_sets_of_one_kind_are_nothing_apart_on_average_and_others_are():
    same = kernel_distance(draw(600, 8, 1), draw(600, 8, 2), subsets=20, size=200)
    other = kernel_distance(draw(600, 8, 1), draw(600, 8, 2, 0.3), subsets=20, size=200)
    assert abs(same.mean) < 0.02 < other.mean and 0 < same.deviation < 0.05


def test_a_set_against_itself_is_below_zero():
    """The pairs of an image with itself count on one side alone: the price of no bias."""
    features = draw(40, 4, 3)
    found = squared_mmd(features, features)
    assert found == pytest.approx(by_loops(features, features), rel=1e-9) and found < 0


def test_subsets_are_drawn_by_the_seed_without_repeats():
    first, second = draw(30, 4, 4), draw(25, 4, 5)
    found = kernel_distance(first, second, subsets=6, size=10, seed=7)
    assert found == kernel_distance(first, second, subsets=6, size=10, seed=7)
    assert found != kernel_distance(first, second, subsets=6, size=10, seed=8) and found.deviation > 0
    one, two = (kernel_distance(first, second, subsets=count, size=10, seed=7) for count in (1, 2))
    assert one.deviation == 0 and two.deviation == pytest.approx(abs(two.mean - one.mean), rel=1e-9)
    whole = kernel_distance(first[:25], second, subsets=3, size=25)
    assert whole.mean == pytest.approx(squared_mmd(first[:25], second), rel=1e-9)
    assert whole.deviation == pytest.approx(0, abs=1e-9)


def test_float32_features_lose_nothing_more():
    first, second = draw(50, 2048, 6).float(), draw(50, 2048, 7).float()
    assert squared_mmd(first, second) == squared_mmd(first.double(), second.double())


def test_shapes_are_checked():
    with pytest.raises(ConfigError, match=r"needed are \(N, D\)"):
        squared_mmd(torch.zeros(4, 3), torch.zeros(4, 2))
    with pytest.raises(ConfigError, match="5 and 4 features; each set needs at least 5"):
        kernel_distance(torch.zeros(5, 3), torch.zeros(4, 3), size=5)
    with pytest.raises(ConfigError, match="size is 1"):
        kernel_distance(torch.zeros(5, 3), torch.zeros(5, 3), size=1)
