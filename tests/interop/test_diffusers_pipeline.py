"""diffusers' common checks of a pipeline, restated, and that it gives what `Restorer` gives, to 1e-5."""

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import residiff
from residiff.checkpoint import ModelFile
from residiff.errors import ConfigError, ResourceError
from residiff.interop.diffusers import (
    RDDMScheduler,
    ResfusionScheduler,
    ResidualDiffusionModel,
    ResidualDiffusionPipeline,
)
from residiff.noise import seeded_noise
from residiff.restore import Restorer


def quiet(pipe):
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="session")
def pipe(untrained):
    return quiet(ResidualDiffusionPipeline.from_model(untrained()))


@pytest.fixture(scope="session")
def image():
    return torch.rand(3, 21, 26, generator=torch.Generator().manual_seed(7))


SMALL = {"kind": "nafnet", "width": 8, "encoder": [1], "middle": 1, "decoder": [1]}
RECIPES = {
    "ancestral": [],
    "deterministic, direct": ["sampling.eta=0", "sampling.sampler=direct", "sampling.steps=3"],
    "resfusion": ["schedule.kind=resfusion", "schedule.length=12", "prediction.kind=resnoise", "network.clamp=x0"],
    "two heads, told coefficients": ["prediction.kind=residual-noise", "network.time_input=coefficient"],
    "self-conditioned": ["network.self_condition=true"],
    "a prepared picture": ["network.preprocess=expose"],
    "x_in is not shown": ["network.shows_input=false"],
    "tuned times": ["sampling.times=[[999, 300]]", "sampling.eta=0"],
}


@pytest.mark.parametrize("name", RECIPES)
def test_it_gives_what_the_restorer_gives(untrained, image, name):
    held = untrained(*RECIPES[name])
    ours, theirs = Restorer(held), quiet(ResidualDiffusionPipeline.from_model(held))
    found = theirs(image, output_type="pt", seed=4).images[0]
    assert (found - ours(image, seed=4)).abs().max() < 1e-5
    assert (found - ours(image, seed=5)).abs().max() > 1e-3 or held.recipe.sampling.eta == 0


@pytest.mark.parametrize("form", ["signed", "rgb", "one-hot"])
def test_a_mask_is_shown_as_the_restorer_shows_it(untrained, image, form):
    held = untrained("network.mask=true", f"network.mask_form={form}")
    mask = (image[:1] > 0.5).float()
    ours, theirs = Restorer(held), quiet(ResidualDiffusionPipeline.from_model(held))
    assert (theirs(image, mask, output_type="pt").images[0] - ours(image, mask)).abs().max() < 1e-5
    both = theirs(image[None].expand(2, -1, -1, -1), mask, output_type="pt").images
    assert (both[1] - ours(image, mask)).abs().max() < 1e-5


@pytest.mark.parametrize("name", ["denoise", "low-light"])
def test_a_bundled_model_gives_what_it_gives_here(image, name):
    theirs = quiet(ResidualDiffusionPipeline.from_model(name))
    found = theirs(image, output_type="pt", seed=1).images[0]
    assert (found - residiff.load(name, "cpu")(image, seed=1)).abs().max() < 1e-5


def test_saved_and_loaded_it_is_the_same(pipe, image, tmp_path):
    pipe.save_pretrained(tmp_path)
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {
        "model_index.json",
        "network/config.json",
        "network/diffusion_pytorch_model.safetensors",
        "scheduler/scheduler_config.json",
    }
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["_class_name"] == "ResidualDiffusionPipeline"
    # What a saved folder names must stay importable
    assert index["network"] == ["residiff.interop.diffusers.network", "ResidualDiffusionModel"]
    assert index["scheduler"] == ["residiff.interop.diffusers.schedulers", "RDDMScheduler"]
    again = quiet(ResidualDiffusionPipeline.from_pretrained(tmp_path))
    made = [one(image, output_type="pt").images for one in (pipe, again)]
    torch.testing.assert_close(*made, rtol=0, atol=0)
    kept = [{key: value for key, value in one.config.items() if key[0] != "_"} for one in (pipe, again)]
    assert kept[0] == kept[1]


def test_a_part_is_saved_and_loaded_alone(pipe, tmp_path):
    pipe.network.save_pretrained(tmp_path)
    again = ResidualDiffusionModel.from_pretrained(tmp_path)
    weights = pipe.network.state_dict()
    assert all(torch.equal(weights[key], value) for key, value in again.state_dict().items())
    x, t = torch.randn(2, 6, 8, 8), torch.tensor([3, 5])
    assert torch.equal(again(x, t).sample, pipe.network(x, t, return_dict=False)[0])
    assert again(x, 3).sample.shape == (2, 3, 8, 8)


def test_a_saved_folder_may_have_another_scheduler(pipe, tmp_path, image):
    pipe.save_pretrained(tmp_path)
    swapped = RDDMScheduler.from_config(pipe.scheduler.config, eta=0.0, total_noise=0.5)
    again = quiet(ResidualDiffusionPipeline.from_pretrained(tmp_path, scheduler=swapped))
    assert again.scheduler.config.total_noise == 0.5
    assert not torch.allclose(again(image, output_type="pt").images, pipe(image, output_type="pt").images)


def test_its_components_make_it_again(pipe, image):
    assert set(pipe.components) == {"network", "scheduler"}
    settings = {key: pipe.config[key] for key in ("default_steps", "shows_input", "preprocess")}
    again = quiet(ResidualDiffusionPipeline(**pipe.components, **settings))
    assert torch.equal(again(image, output_type="pt").images, pipe(image, output_type="pt").images)
    other = quiet(ResidualDiffusionPipeline.from_pipe(pipe))
    assert torch.equal(other(image, output_type="pt").images, pipe(image, output_type="pt").images)


def test_a_variant_in_half_precision_is_saved_and_loaded(untrained, image, tmp_path):
    whole = quiet(ResidualDiffusionPipeline.from_model(untrained("sampling.eta=0")))
    expected = whole(image, output_type="pt").images
    whole.to(torch.float16).save_pretrained(tmp_path, variant="fp16")
    assert (tmp_path / "network/diffusion_pytorch_model.fp16.safetensors").is_file()
    again = quiet(ResidualDiffusionPipeline.from_pretrained(tmp_path, variant="fp16"))
    assert (again(image, output_type="pt").images - expected).abs().max() < 0.01
    half = ResidualDiffusionPipeline.from_pretrained(tmp_path, variant="fp16", dtype=torch.bfloat16)
    assert half.network.dtype == torch.bfloat16


def test_parts_are_swapped_by_hand(image):
    network = ResidualDiffusionModel(
        backbone={"kind": "nafnet", "width": 8, "encoder": [1], "middle": 1, "decoder": [1]}
    )
    made = quiet(ResidualDiffusionPipeline(network, ResfusionScheduler(), default_steps=5))
    assert made(image, output_type="pt").images.shape == (1, 3, 21, 26)


@pytest.mark.parametrize("kind", ["pil", "np", "pt"])
def test_outputs_are_of_the_kind_that_is_asked_for(pipe, image, kind):
    pixels = (image * 255).round().to(torch.uint8)
    given = {"pil": Image.fromarray(pixels.permute(1, 2, 0).numpy()), "np": image.permute(1, 2, 0).numpy(), "pt": image}
    expected = pipe(pixels.float() / 255 if kind == "pil" else image, output_type="pt").images
    images = pipe(given[kind], output_type=kind).images
    if kind == "pil":
        assert isinstance(images[0], Image.Image) and images[0].mode == "RGB" and images[0].size == (26, 21)
        assert np.abs(np.asarray(images[0]) / 255 - expected[0].permute(1, 2, 0).numpy()).max() < 0.5 / 255 + 1e-5
    elif kind == "np":
        assert images.shape == (1, 21, 26, 3) and np.array_equal(images[0], expected[0].permute(1, 2, 0).numpy())
    else:
        assert images.shape == (1, 3, 21, 26) and torch.equal(images, expected)
    assert float(expected.min()) >= 0 and float(expected.max()) <= 1
    (tuple_,) = pipe(given[kind], output_type=kind, return_dict=False)
    assert type(tuple_) is type(images)


def test_lists_and_batches_are_the_same(pipe, image):
    two = [image, image.flip(2)]
    as_list = pipe(two, output_type="pt").images
    assert torch.equal(as_list, pipe(torch.stack(two), output_type="pt").images)
    assert len(pipe([Image.new("RGB", (8, 8)), Image.new("L", (8, 8))]).images) == 2


def test_a_batch_gives_what_single_calls_give(pipe, image):
    batch = torch.stack([image, image.flip(1), image.flip(2)])
    together = pipe(batch, output_type="pt", seed=2).images
    alone = torch.cat([pipe(one, output_type="pt", seed=2).images for one in batch])
    assert (together - alone).abs().max() < 1e-5
    generators = [torch.Generator().manual_seed(seed) for seed in (1, 2, 3)]
    together = pipe(batch, output_type="pt", generator=generators).images
    alone = pipe(batch[1], output_type="pt", generator=torch.Generator().manual_seed(2)).images
    assert (together[1:2] - alone).abs().max() < 1e-5


def test_the_same_generator_gives_the_same_and_another_another(pipe, image):
    made = [pipe(image, output_type="pt", generator=torch.Generator().manual_seed(seed)).images for seed in (0, 0, 1)]
    assert torch.equal(made[0], made[1]) and not torch.allclose(made[0], made[2])
    assert torch.equal(pipe(image, output_type="pt").images, pipe(image, output_type="pt", seed=0).images)


def test_the_noise_may_be_given(untrained, image):
    held = untrained("sampling.eta=0")
    theirs = quiet(ResidualDiffusionPipeline.from_model(held))
    multiple = theirs.network.size_multiple
    noise = seeded_noise(6, (1, 3, -(-21 // multiple) * multiple, -(-26 // multiple) * multiple))()
    found = theirs(image, latents=noise, output_type="pt").images[0]
    assert (found - Restorer(held)(image, seed=6)).abs().max() < 1e-5


@pytest.mark.parametrize("steps", [None, 1, 4])
def test_steps_are_as_many_as_asked(pipe, image, steps):
    seen = []
    pipe(image, num_inference_steps=steps, callback_on_step_end=lambda p, i, t, k: seen.append((i, t)) or k)
    assert len(seen) == (steps or pipe.config.default_steps)
    assert [i for i, _ in seen] == list(range(len(seen))) and seen[0][1] == 999


def test_a_callback_sees_tensors_and_may_change_them(pipe, image):
    plain = pipe(image, output_type="pt").images

    def black_at_the_end(pipeline, step, timestep, tensors):
        assert pipeline is pipe and set(tensors) == {"latents", "estimate"}
        assert all(len(value) == 1 and value.shape[1] == 3 for value in tensors.values())
        last = step == pipeline.config.default_steps - 1
        return {"latents": torch.full_like(tensors["latents"], -1.0) if last else tensors["latents"]}

    changed = pipe(
        image,
        output_type="pt",
        callback_on_step_end=black_at_the_end,
        callback_on_step_end_tensor_inputs=["latents", "estimate"],
    ).images
    assert float(changed.max()) == 0 and float(plain.max()) > 0


def test_a_callback_may_stop_it_at_the_estimate_so_far(pipe, image):
    estimates = []

    def stop(pipeline, step, timestep, tensors):
        estimates.append(tensors["estimate"])
        pipeline._interrupt = True
        return {}

    found = pipe(
        image,
        num_inference_steps=5,
        output_type="pt",
        callback_on_step_end=stop,
        callback_on_step_end_tensor_inputs=["estimate"],
    ).images
    assert len(estimates) == 1 and pipe.interrupt
    torch.testing.assert_close(found, ((estimates[0] + 1) / 2).clamp(0, 1)[..., :21, :26])
    pipe(image, num_inference_steps=1)
    assert not pipe.interrupt


def test_in_half_precision_it_is_nearly_the_same(untrained, image):
    held = untrained("sampling.eta=0")
    whole = quiet(ResidualDiffusionPipeline.from_model(held))
    half = quiet(ResidualDiffusionPipeline.from_model(held)).to(torch.bfloat16)
    assert half.network.dtype == torch.bfloat16
    found = half(image, output_type="pt").images
    assert found.dtype == torch.float32
    assert (found - whole(image, output_type="pt").images).abs().max() < 0.1


MISTAKES = {
    "steps": ({"num_inference_steps": 0}, "steps is 0; allowed are 1 to 1000"),
    "output": ({"output_type": "jpg"}, "output_type is 'jpg'; allowed are pil, np, pt"),
    "mask": ({"mask": torch.zeros(1, 4, 4)}, "takes no mask; leave it out"),
    "seed": ({"seed": -1}, "seed is -1"),
    "noise": ({"latents": torch.zeros(1, 3, 2, 2)}, r"latents are \(1, 3, 2, 2\); needed are \(1, 3, "),
    "callback": (
        {"callback_on_step_end_tensor_inputs": ["prompt"]},
        r"has \['prompt'\]; allowed are latents, estimate",
    ),
    "sizes": ({"image": [torch.zeros(3, 4, 4), torch.zeros(3, 5, 4)]}, "of one size, not 4 x 4 and 4 x 5"),
    "generators": ({"generator": [torch.Generator()] * 2}, "2 generators for 1 images; give one, or one each"),
    "nothing": ({"image": []}, "none at all"),
    "a path": ({"image": "photo.png"}, "cannot restore a str; give a PIL image"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named(pipe, image, name):
    changes, message = MISTAKES[name]
    with pytest.raises(ConfigError, match=message):
        pipe(**({"image": image} | changes))


def test_a_mask_that_does_not_fit_is_named(untrained, image):
    needs = quiet(ResidualDiffusionPipeline.from_model(untrained("network.mask=true")))
    for mask, message in (
        (None, "needs a mask"),
        (torch.zeros(1, 3, 3), "mask is 3 x 3, the image 26 x 21"),
        (torch.zeros(2, 1, 21, 26), "2 masks for 1 images"),
    ):
        with pytest.raises(ConfigError, match=message):
            needs(image, mask)


WAYS = {
    "ddpm": ["schedule.kind=ddpm", "network.shows_input=true"],
    "heun": ["sampling.sampler=heun", "sampling.eta=0"],
    "order": ["prediction.kind=residual-noise", "sampling.order=residual-first"],
}


@pytest.mark.parametrize("name", WAYS)
def test_a_model_that_walks_otherwise_is_refused_with_the_mend(untrained, name):
    held: ModelFile = untrained(*WAYS[name])
    with pytest.raises(ConfigError, match="residiff.load takes the model as it is"):
        ResidualDiffusionPipeline.from_model(held)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"mask_form": "grey"}, "mask_form is 'grey'"), ({"preprocess": "blur"}, "preprocess is 'blur'")],
)
def test_a_setting_that_is_none_is_named(pipe, settings, message):
    with pytest.raises(ConfigError, match=message):
        ResidualDiffusionPipeline(pipe.network, pipe.scheduler, **settings)


def test_a_backbone_that_is_none_is_named():
    with pytest.raises(ConfigError, match=r"backbone: .*'nafnet'"):
        ResidualDiffusionModel(backbone={"kind": "resnet"})
    with pytest.raises(ConfigError, match=r"backbone: .*widht"):
        ResidualDiffusionModel(backbone={"kind": "nafnet", "widht": 8})


def test_without_diffusers_the_pip_command_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("residiff.interop.diffusers")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ResourceError, match=r'pip install "residiff\[diffusers\]"'):
        import residiff.interop.diffusers  # noqa: F401
