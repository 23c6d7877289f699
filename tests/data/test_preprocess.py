"""Exposure and equalisation before the network, the same in training and restoring."""

import numpy as np
import pytest
import torch

from residiff.checkpoint import ModelFile
from residiff.data.degrade.draws import to_linear
from residiff.data.pairs import Pair
from residiff.data.preprocess import (
    BRIGHT_SHARE,
    BY_HISTOGRAM,
    LARGEST_GAIN,
    MEAN_LIGHT,
    PREPROCESS,
    equalise,
    expose,
    histogram,
)
from residiff.restore import Restorer
from residiff.train import Run


def dark(seed=0, light=0.05):
    source = torch.Generator().manual_seed(seed)
    return light + 0.1 * torch.rand((3, 24, 24), generator=source)


def test_it_is_one_gain_in_linear_light():
    image = dark()
    ratio = to_linear(expose(image)) / to_linear(image)
    torch.testing.assert_close(ratio, ratio[0, 0, 0].expand_as(ratio), rtol=1e-4, atol=0)


def test_the_mean_is_brought_to_middle_grey():
    assert float(to_linear(expose(dark())).mean()) == pytest.approx(MEAN_LIGHT, rel=1e-4)


def test_lights_are_not_burnt_for_the_mean():
    image = dark()
    image[:, :4] = 0.9
    light = to_linear(expose(image)).flatten()
    assert float(light.mean()) < MEAN_LIGHT
    assert float(light.kthvalue(round(BRIGHT_SHARE * len(light))).values) == pytest.approx(1, rel=1e-3)


def test_a_bright_image_stays_as_it_is():
    image = 0.6 + dark()
    torch.testing.assert_close(expose(image), image, rtol=0, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 5, 7)])
def test_flat_images_stay_finite(shape, value):
    image = torch.full(shape, value)
    torch.testing.assert_close(expose(image), image, rtol=0, atol=1e-6)


def test_the_gain_has_an_end():
    image = torch.full((3, 4, 4), 1e-3)
    ratio = to_linear(expose(image)) / to_linear(image)
    assert float(ratio.max()) == pytest.approx(LARGEST_GAIN, rel=1e-3)


def test_each_image_of_a_batch_has_its_own_gain():
    images = torch.stack([dark(0), dark(1, light=0.2)])
    torch.testing.assert_close(expose(images), torch.stack([expose(images[0]), expose(images[1])]))


# Equalisation


def levels_of(image):
    return (image * 255).round().to(torch.uint8).numpy()


def skewed(seed, shape):
    """8-bit values whose histogram has holes and a heavy foot."""
    source = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=source) ** 3 * 200).round() / 255


def evened(plane):
    """The formula in double precision, level by level."""
    total, lowest = plane.size, np.count_nonzero(plane == plane.min())
    below = np.array([np.count_nonzero(plane <= level) for level in range(256)])
    return np.rint(255.0 * (below - lowest) / (total - lowest))[plane]


@pytest.mark.parametrize("shape", [(3, 24, 31), (1, 2, 5), (3, 64, 64), (2, 3, 8, 9)])
def test_equalisation_is_the_formula_for_each_channel(shape):
    image = skewed(sum(shape), shape)
    before = image.clone()
    result = equalise(image)
    assert torch.equal(image, before) and result.dtype == torch.float32 and result.shape == shape
    planes = levels_of(image).reshape(-1, *shape[-2:])
    expected = np.stack([evened(plane) for plane in planes]).reshape(shape)
    # Half a level is rounded in single precision, as by OpenCV
    assert np.abs(levels_of(result) - expected).max() <= 1
    assert np.mean(levels_of(result) != expected) < 0.01


def test_halves_are_rounded_as_by_opencv():
    # 1773 of 1970 values above the lowest: 229.5, which is even at 230, but less in single precision
    image = torch.cat([torch.zeros(1), torch.full((1773,), 0.2), torch.full((197,), 0.6)]).view(1, 1, -1)
    assert levels_of(equalise(image))[0, 0, [0, 1, -1]].tolist() == [0, 229, 255]


@pytest.mark.parametrize("seed", range(4))
def test_equalisation_is_opencvs(seed):
    cv2 = pytest.importorskip("cv2")
    image = skewed(seed, (3, 40 + seed, 37))
    expected = np.stack([cv2.equalizeHist(plane) for plane in levels_of(image)])
    np.testing.assert_array_equal(levels_of(equalise(image)), expected)


def test_equalised_values_spread_evenly_from_black_to_white():
    source = torch.Generator().manual_seed(0)
    image = equalise(0.2 + 0.1 * torch.rand((1, 256, 256), generator=source))
    assert image.min() == 0 and image.max() == 1
    sums = torch.stack([(image <= share).float().mean() for share in (0.25, 0.5, 0.75)])
    torch.testing.assert_close(sums, torch.tensor([0.25, 0.5, 0.75]), atol=0.04, rtol=0)


def test_equalisation_keeps_the_order_of_a_channels_tones():
    image = skewed(1, (3, 32, 32))
    for plane, result in zip(image.flatten(1), equalise(image).flatten(1), strict=True):
        assert (result[plane.argsort()].diff() >= 0).all()


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_equalisation_leaves_a_flat_channel(value):
    image = torch.cat([torch.full((1, 5, 7), round(value * 255) / 255), skewed(0, (2, 5, 7))])
    assert torch.equal(equalise(image)[0], image[0])


def silent(model):
    """The model with a network that says zero: it predicts no residual, so that x_0 = x_in."""
    weights = {key: torch.zeros_like(value) if "ending" in key else value for key, value in model.weights.items()}
    return ModelFile(model.recipe, weights)


class Alike(Pair):
    """Pairs that are all this one."""

    source = "one pair"
    size = 1

    def __call__(self, _index):
        return Pair(*self)


@pytest.mark.parametrize(("name", "preprocess"), PREPROCESS.items())
def test_restoring_and_training_see_the_same_image(untrained, tmp_path, name, preprocess):
    model = silent(untrained(f"network.preprocess={name}", "sampling.eta=0.0", "training.loss=l1", "training.batch=1"))
    clean, degraded = 0.5 + dark(2), dark(3)
    restored = Restorer(model, "cpu")(degraded)
    torch.testing.assert_close(restored, preprocess(degraded), rtol=0, atol=1e-5)
    run = Run(model.recipe, tmp_path)
    run.begin_from(model)
    first = next(run.train(Alike(clean, degraded, clean[:0]), 0))
    assert first.loss == pytest.approx(2 * float((preprocess(degraded) - clean).abs().mean()), rel=1e-4)


@pytest.mark.parametrize("depth", [255, 65535])
@pytest.mark.parametrize("name", BY_HISTOGRAM)
def test_by_rows_as_by_the_whole(name, depth):
    source = torch.Generator().manual_seed(1)
    image = (torch.rand(3, 60, 40, generator=source).pow(3) * 0.4 * depth).round() / depth
    counts = sum(histogram(image[:, top : top + 7]) for top in range(0, 60, 7))
    assert counts.shape == (3, 65536) and int(counts.sum()) == image.numel()
    apply = BY_HISTOGRAM[name](counts)
    rows = torch.cat([apply(image[:, top : top + 11]) for top in range(0, 60, 11)], dim=1)
    torch.testing.assert_close(rows, PREPROCESS[name](image), rtol=0, atol=2e-5)
