"""Exposure before the network: one gain in linear light, the same in training and restoring."""

import pytest
import torch

from residiff.checkpoint import ModelFile
from residiff.data.draws import to_linear
from residiff.data.preprocess import BRIGHT_SHARE, LARGEST_GAIN, MEAN_LIGHT, expose, unchanged
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


def silent(model):
    """The model with a network that says zero: it predicts no residual, so that x_0 = x_in."""
    weights = {key: torch.zeros_like(value) if "ending" in key else value for key, value in model.weights.items()}
    return ModelFile(model.recipe, weights)


@pytest.mark.parametrize(("name", "preprocess"), [("none", unchanged), ("expose", expose)])
def test_restoring_and_training_see_the_same_image(untrained, tmp_path, name, preprocess):
    model = silent(untrained(f"network.preprocess={name}", "sampling.eta=0.0", "training.loss=l1", "training.batch=1"))
    clean, degraded = 0.5 + dark(2), dark(3)
    restored = Restorer(model, "cpu")(degraded)
    torch.testing.assert_close(restored, preprocess(degraded), rtol=0, atol=1e-5)
    run = Run(model.recipe, tmp_path)
    run.denoiser.backbone.load_state_dict(model.weights)
    loss = run._loss((clean[None], degraded[None], clean[None, :0]), torch.Generator().manual_seed(0))
    assert loss.item() == pytest.approx(2 * float((preprocess(degraded) - clean).abs().mean()), rel=1e-4)
