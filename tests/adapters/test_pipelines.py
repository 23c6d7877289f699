"""diffusers' pipelines against diffusers itself: the network, its sampling loop, and what is refused."""

import json
import os
import shutil
import sys
import types
import warnings

import pytest
import torch
from safetensors.torch import load_file

from residiff.adapters import KeysError, import_model, pipelines
from residiff.errors import ModelFileError, ResourceError
from residiff.prediction import Clamp
from residiff.restore import Restorer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import diffusers

pytestmark = [pytest.mark.usefixtures("reader_here"), pytest.mark.filterwarnings("ignore")]

# As google/ddpm-cifar10-32 and google/ddpm-celebahq-256, narrower
CIFAR = {"block_out_channels": (32, 64, 64, 64), "attention": 1, "layers_per_block": 2, "sample_size": 16}
CELEBA = {"block_out_channels": (32, 32, 64, 64, 96, 96), "attention": 4, "layers_per_block": 1, "sample_size": 64}


def unet(block_out_channels, attention, layers_per_block, sample_size, gain=1.0):
    levels = len(block_out_channels)
    down = ["AttnDownBlock2D" if level == attention else "DownBlock2D" for level in range(levels)]
    up = ["AttnUpBlock2D" if level == attention else "UpBlock2D" for level in reversed(range(levels))]
    fixed = {"norm_eps": 1e-6, "downsample_padding": 0, "freq_shift": 1, "flip_sin_to_cos": False}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = diffusers.UNet2DModel(
            sample_size=sample_size,
            block_out_channels=block_out_channels,
            layers_per_block=layers_per_block,
            down_block_types=down,
            up_block_types=up,
            attention_head_dim=None,
            **fixed,
        )
    network.conv_out.weight.data.mul_(gain)
    return network.eval()


def save(folder, network, scheduler, safe=True):
    diffusers.DDIMPipeline(network, scheduler).save_pretrained(folder, safe_serialization=safe)
    return folder


@pytest.fixture(scope="module")
def cifar(tmp_path_factory):
    return save(tmp_path_factory.mktemp("cifar") / "DDPM_Cifar10", unet(**CIFAR, gain=0.02), diffusers.DDIMScheduler())


@pytest.fixture
def edited(cifar, tmp_path):
    """A copy of the pipeline with other fields in one of its configurations."""

    def copy(part, **fields):
        folder = tmp_path / "pipe"
        shutil.copytree(cifar, folder, copy_function=os.link)
        name = pipelines.MODEL_CONFIG if part == "unet" else pipelines.SCHEDULER_CONFIG
        path = folder / part / name
        data = json.loads(path.read_text()) | fields
        path.unlink()
        path.write_text(json.dumps(data))
        return folder

    return copy


def ours(model, start, steps):
    """The result of the model's own sampler, from `start`; and the times that the network was told."""
    states = list(Restorer(model, "cpu").sample(torch.zeros_like(start), lambda: start, steps))
    return states[-1].x, [state.level.t for state in states[:-1]]


def theirs(network, scheduler, start, steps):
    scheduler.set_timesteps(steps)
    x = start
    with torch.inference_mode():
        for t in scheduler.timesteps:
            x = scheduler.step(network(x, t).sample, t, x, eta=0.0).prev_sample
    return x, scheduler.timesteps.tolist()


LOOPS = [(CIFAR, {"clip_sample": False}, 10), (CIFAR, {}, 7), (CELEBA, {"clip_sample": False}, 4)]
MORE_LOOPS = [
    (CIFAR, {}, 10),
    (CIFAR, {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}, 10),
    (CIFAR, {"beta_schedule": "squaredcos_cap_v2", "clip_sample": False, "num_train_timesteps": 400}, 10),
    (CIFAR, {"steps_offset": 1}, 10),
    (CIFAR, {"prediction_type": "sample", "clip_sample": False}, 5),
    (CELEBA, {}, 4),
]
LOOPS += [pytest.param(*loop, marks=pytest.mark.slow) for loop in MORE_LOOPS]


@pytest.mark.parametrize(("shape", "fields", "steps"), LOOPS, ids=str)
def test_sampling_is_diffusers_own(tmp_path, shape, fields, steps):
    clamped, size = fields.get("clip_sample", True), shape["sample_size"]
    # An untrained network is chaotic where x_0 is clamped: it is made to say little, so that rounding does not grow
    network, scheduler = unet(**shape, gain=0.02 if clamped else 1.0), diffusers.DDIMScheduler(**fields)
    model = import_model(save(tmp_path / "pipe", network, scheduler))
    start = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    (result, times), (expected, their_times) = (
        ours(model, start, steps),
        theirs(network, scheduler, start, steps),
    )
    assert times == their_times
    assert model.recipe.network.clamp == (Clamp.X0 if clamped else Clamp.NONE)
    assert float((result - expected).abs().max()) <= 1e-5 * float(expected.abs().max())


def test_the_pipeline_is_diffusers_own_as_well(cifar):
    """The whole DDIMPipeline, not its parts: from its own generator to the picture."""
    pipeline = diffusers.DDIMPipeline.from_pretrained(cifar)
    pipeline.set_progress_bar_config(disable=True)
    picture = pipeline(1, torch.Generator().manual_seed(4), num_inference_steps=5, output_type="np").images
    start = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(4))
    result, _ = ours(import_model(cifar), start, 5)
    made = ((result / 2 + 0.5).clamp(0, 1)).permute(0, 2, 3, 1)
    assert float((made - torch.from_numpy(picture)).abs().max()) <= 1e-5


@pytest.mark.parametrize("shape", [CIFAR, CELEBA])
def test_the_network_is_diffusers_own(tmp_path, shape):
    network = unet(**shape)
    model = import_model(save(tmp_path / "pipe", network, diffusers.DDPMScheduler()))
    size = shape["sample_size"]
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([3, 987])
    with torch.inference_mode():
        (output,) = model.denoiser().backbone(x, (t.float(),))
        expected = network(x, t).sample
    assert float((output - expected).abs().max()) <= 1e-5 * float(expected.abs().max())
    backbone = model.recipe.network.backbone
    assert backbone.attention == (size >> shape["attention"],)
    assert (model.recipe.task, model.recipe.prediction.kind, model.recipe.schedule.kind) == (
        "generate",
        "noise",
        "converted-ddpm",
    )


def test_names_and_facts(cifar):
    model = import_model(cifar)
    assert model.recipe.name == "ddpm-cifar10"
    assert model.card["imported_from"] == "diffusers" and model.card["source"] == "diffusion_pytorch_model.safetensors"
    assert (model.recipe.sampling.grid, model.recipe.sampling.eta, model.recipe.sampling.steps) == ("leading", 0.0, 50)


def test_pickled_weights_and_older_names(cifar, tmp_path):
    folder = tmp_path / "pipe"
    shutil.copytree(cifar, folder)
    weights = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for new, name in old.items():
        weights = {key.replace(f".{new}.", f".{name}."): value for key, value in weights.items()}
    assert any(".query." in key for key in weights)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    torch.save(weights, folder / "unet" / "diffusion_pytorch_model.bin")
    model, expected = import_model(folder), import_model(cifar)
    assert all(torch.equal(model.weights[key], value) for key, value in expected.weights.items())


def test_a_bare_model_folder(cifar, tmp_path):
    """google's first pipelines: everything in one folder."""
    for part in ("unet", "scheduler"):
        shutil.copytree(cifar / part, tmp_path / "bare", dirs_exist_ok=True)
    assert import_model(tmp_path / "bare").weights.keys() == import_model(cifar).weights.keys()


REFUSED = {
    "norm_eps": 1e-5,
    "freq_shift": 0,
    "flip_sin_to_cos": True,
    "downsample_padding": 1,
    "norm_num_groups": 16,
    "attention_head_dim": 8,
    "act_fn": "gelu",
    "in_channels": 4,
    "out_channels": 6,
    "resnet_time_scale_shift": "scale_shift",
    "add_attention": False,
    "class_embed_type": "timestep",
    "time_embedding_type": "fourier",
    "center_input_sample": True,
    "mid_block_scale_factor": 2,
    "down_block_types": ["DownBlock2D"] * 3 + ["ResnetDownsampleBlock2D"],
    "up_block_types": ["UpBlock2D"] * 4,
    "block_out_channels": [32, 48, 64, 64],
    "sample_size": 20,
    "some_new_field": 1,
    "_class_name": "UNet2DConditionModel",
}
REFUSED_SCHEDULERS = {
    "beta_schedule": "sigmoid",
    "prediction_type": "v_prediction",
    "trained_betas": [0.1, 0.2],
    "thresholding": True,
    "clip_sample_range": 2.0,
    "timestep_spacing": "linspace",
    "steps_offset": 3,
    "set_alpha_to_one": False,
    "rescale_betas_zero_snr": True,
    "some_new_field": 1,
    "_class_name": "PNDMScheduler",
}
NAMED = {"_class_name": "cannot be imported", "down_block_types": "ResnetDownsampleBlock2D", "sample_size": "= 20"}


@pytest.mark.parametrize("field", REFUSED)
def test_networks_of_another_kind_are_refused_by_name(edited, field):
    with pytest.raises(ModelFileError, match=NAMED.get(field, field)):
        import_model(edited("unet", **{field: REFUSED[field]}))


@pytest.mark.parametrize("field", REFUSED_SCHEDULERS)
def test_schedulers_of_another_kind_are_refused_by_name(edited, field):
    with pytest.raises(ModelFileError, match=NAMED.get(field, field)):
        import_model(edited("scheduler", **{field: REFUSED_SCHEDULERS[field]}))


def test_a_network_of_another_size_than_its_configuration_is_reported(edited):
    with pytest.raises(KeysError) as caught:
        import_model(edited("unet", layers_per_block=1))
    assert caught.value.report.unexpected and not caught.value.report.missing


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"_class_name": 3}', "[" * 100_000])
def test_a_broken_configuration_is_refused(edited, content):
    folder = edited("unet")
    (folder / "unet" / "config.json").unlink()
    (folder / "unet" / "config.json").write_text(content)
    with pytest.raises(ModelFileError):
        import_model(folder)


def test_an_incomplete_folder_is_refused(edited, tmp_path):
    folder = edited("unet")
    (folder / "scheduler" / "scheduler_config.json").unlink()
    with pytest.raises(ModelFileError, match="scheduler_config.json"):
        import_model(folder)
    with pytest.raises(ModelFileError, match="holds no diffusion_pytorch_model"):
        import_model(tmp_path)


def test_a_hub_id_is_fetched(cifar, monkeypatch):
    asked = []

    def snapshot_download(repository, allow_patterns):
        asked.append((repository, allow_patterns))
        if repository.startswith("no/"):
            raise OSError("no such repository")
        return str(cifar)

    hub = types.SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    model = import_model("google/ddpm-cifar10-32")
    assert model.recipe.name == "ddpm-cifar10-32"
    assert asked[0][0] == "google/ddpm-cifar10-32" and "model_index.json" in asked[0][1]
    with pytest.raises(ResourceError, match="cannot fetch no/model"):
        import_model("no/model")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ResourceError, match="pip install huggingface_hub"):
        import_model("google/ddpm-cifar10-32")
