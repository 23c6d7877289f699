"""LPIPS: the published names and numbers, the formula in an independent form, and the invariants of a distance."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from weighting import drawn, pair

from residiff.errors import ConfigError
from residiff.metrics.lpips import LPIPS, alex_lpips, vgg_lpips

ALEXNET = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
VGG16 = {
    place: (after, before, 3)
    for place, before, after in [
        (0, 3, 64), (2, 64, 64), (5, 64, 128), (7, 128, 128), (10, 128, 256), (12, 256, 256), (14, 256, 256),
        (17, 256, 512), (19, 512, 512), (21, 512, 512), (24, 512, 512), (26, 512, 512), (28, 512, 512),
    ]
}  # fmt: skip
LAYERS = {
    alex_lpips: (ALEXNET, (64, 192, 384, 256, 256), 2_469_696),
    vgg_lpips: (VGG16, (64, 128, 256, 512, 512), 14_714_688),
}
EITHER = pytest.mark.parametrize("make", LAYERS)


def weighted(make, seed=1):
    metric = make()
    metric.load_state_dict(drawn({key: value.shape for key, value in metric.state_dict().items()}, seed))
    return metric


@EITHER
def test_names_and_shapes_are_those_of_the_published_files(make):
    convolutions, widths, count = LAYERS[make]
    expected = {f"features.{place}.weight": (a, b, k, k) for place, (a, b, k) in convolutions.items()}
    expected |= {f"features.{place}.bias": (a,) for place, (a, _, _) in convolutions.items()}
    assert sum(torch.Size(shape).numel() for shape in expected.values()) == count
    expected |= {f"lin{index}.model.1.weight": (1, width, 1, 1) for index, width in enumerate(widths)}
    assert {key: tuple(value.shape) for key, value in make().state_dict().items()} == expected


PUBLISHED = {alex_lpips: [0.17154087, 0.17165196], vgg_lpips: [0.14981474, 0.14923495]}


@EITHER
def test_the_published_package_gives_the_same(make):
    """Values of lpips 0.1.4 (and torchmetrics 1.9) with these weights, `normalize=True`."""
    assert weighted(make)(*pair(2, 65, 80)).tolist() == pytest.approx(PUBLISHED[make], rel=1e-4)


def alexnet_by_hand(weights, x):
    """Five activations in float64, by the paper's table of layers."""
    at = {key: value.double() for key, value in weights.items()}
    found = []
    for place, stride, padding, pooled in [(0, 4, 2, 0), (3, 1, 2, 1), (6, 1, 1, 1), (8, 1, 1, 0), (10, 1, 1, 0)]:
        x = functional.max_pool2d(x, 3, 2) if pooled else x
        x = functional.conv2d(x, at[f"features.{place}.weight"], at[f"features.{place}.bias"], stride, padding).relu()
        found.append(x)
    return found


def vgg16_by_hand(weights, x):
    at = {key: value.double() for key, value in weights.items()}
    found = []
    for stage in [(0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)]:
        x = functional.max_pool2d(x, 2) if found else x
        for place in stage:
            x = functional.conv2d(x, at[f"features.{place}.weight"], at[f"features.{place}.bias"], 1, 1).relu()
        found.append(x)
    return found


@pytest.mark.parametrize(("make", "by_hand"), [(alex_lpips, alexnet_by_hand), (vgg_lpips, vgg16_by_hand)])
def test_the_formula_by_cosines_in_float64(make, by_hand):
    """|u - v|^2 is expanded: w u^2 + w v^2 - 2 w u v, the norms divided out last."""
    metric, (first, second) = weighted(make, 2), pair(1, 37, 50, 3)
    weights = metric.state_dict()
    centre = torch.tensor([0.485, 0.456, 0.406]).double()[:, None, None]
    spread = torch.tensor([0.229, 0.224, 0.225]).double()[:, None, None]
    sides = [by_hand(weights, (images.double() - centre) / spread) for images in (first, second)]
    total = 0.0
    for index, (a, b) in enumerate(zip(*sides, strict=True)):
        w = weights[f"lin{index}.model.1.weight"].double()
        norms = [(side.square().sum(1, keepdim=True)) for side in (a, b)]
        places = w * (a.square() / norms[0] + b.square() / norms[1] - 2 * a * b / (norms[0] * norms[1]).sqrt())
        total += float(places.nan_to_num().sum()) / (a.shape[2] * a.shape[3])
    assert float(metric.double()(first, second)) == pytest.approx(total, rel=1e-6)


def test_a_network_of_one_layer_in_closed_form():
    """Channels (r, g, b, 1) of what is shown: two places, one of them equal, angles known."""
    convolution = nn.Conv2d(3, 4, 1)
    metric = LPIPS(nn.Sequential(convolution, nn.ReLU()), (1,), (4,), 1)
    convolution.weight.copy_(torch.eye(4, 3)[..., None, None])
    convolution.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 1.0]))
    metric.get_parameter("lin0.model.1.weight").copy_(torch.tensor([2.0, 5.0, 7.0, 3.0]).view(1, 4, 1, 1))
    neutral = (torch.tensor([-0.030, -0.088, -0.188]) / 2 + 0.5).view(3, 1, 1).expand(3, 1, 2)
    first, second = neutral.clone(), neutral.clone()
    second[0, 0, 1] += 0.458 / 2  # red by one deviation: (0, 0, 0, 1) becomes (1, 0, 0, 1) / sqrt 2
    half = 0.5**0.5
    expected = (2 * half**2 + 3 * (1 - half) ** 2) / 2
    assert float(metric(first[None], second[None])) == pytest.approx(expected, rel=1e-5)


@EITHER
def test_it_is_a_distance_of_each_pair_alone(make):
    metric, (first, second) = weighted(make), pair(3, 40, 33)
    found = metric(first, second)
    assert torch.equal(metric(first, first), torch.zeros(3)) and (found > 0).all() and found.shape == (3,)
    torch.testing.assert_close(found, metric(second, first))
    torch.testing.assert_close(found[1:2], metric(first[1:2], second[1:2]))


def test_images_may_want_gradients_and_the_weights_do_not():
    metric, (first, second) = weighted(alex_lpips), pair(1, 31, 31)
    metric(first.requires_grad_(), second).sum().backward()
    assert first.grad.abs().sum() > 0
    assert not any(weight.requires_grad for weight in metric.parameters()) and not metric.training


@pytest.mark.parametrize(("make", "least"), [(alex_lpips, 31), (vgg_lpips, 16)])
def test_shapes_are_checked(make, least):
    metric = make()
    assert torch.isfinite(metric(*pair(1, least, least))).all()
    with pytest.raises(ConfigError, match=f"{least} x {least - 1} pixels; needed are at least {least}"):
        metric(*pair(1, least - 1, least))
    for shape in [(3, 40, 40), (1, 1, 40, 40)]:
        with pytest.raises(ConfigError, match=r"one shape \(N, 3, H, W\)"):
            metric(torch.zeros(shape), torch.zeros(shape))
    with pytest.raises(ConfigError, match="one shape"):
        metric(torch.zeros(1, 3, 40, 40), torch.zeros(1, 3, 40, 41))
