"""What is saved is loaded, to the bit; and a file says what it is."""

import json
import tomllib
from itertools import product

import pytest
import safetensors
import torch

from residiff import checkpoint, files, tensorfile
from residiff.checkpoint import (
    ModelFile,
    TrainingState,
    check_keys,
    load_model,
    load_state,
    save_model,
    save_state,
)
from residiff.errors import CheckpointError, ConfigError, ModelFileError
from residiff.prediction import AnyPrediction
from residiff.recipe import parse
from residiff.schedule import AnySchedule

SCHEDULES = (
    'kind = "rddm"\nlength = 20',
    'kind = "resfusion"\nsteps = 5',
    'kind = "resfusion"\nlength = 20\nbetas = "squared-cosine"',
    'kind = "ddpm"\nlength = 20',
    'kind = "converted-ddpm"\nbase = { length = 20 }',
    'kind = "resshift"',
    'kind = "ir-sde"\nlength = 20',
    'kind = "i2sb"\nlength = 20',
    'kind = "indi"\nlength = 20',
    'kind = "cold-diffusion"\nlength = 20',
    'kind = "residual-flow"\nlength = 20',
    'kind = "bbdm"\nlength = 20',
    'kind = "diffuir"\nrddm = { length = 20 }',
)
PREDICTIONS = tuple(member.kind for member in AnyPrediction.__args__)
BACKBONES = (
    'kind = "nafnet"\nwidth = 4\nencoder = [1]\nmiddle = 0\ndecoder = [1]',
    'kind = "nafnet"\nwidth = 5\nencoder = [0, 1]\nmiddle = 1\ndecoder = [1, 0]\nfold = 1',
    'kind = "unet"\nwidth = 4\nmultipliers = [1, 2]\ngroups = 2',
    'kind = "unet"\nwidth = 6\nmultipliers = [1]\ngroups = 3',
    'kind = "unet"\nwidth = 4\nmultipliers = [1]\ngroups = 2\nshared = true',
    'kind = "ddim-unet"\nwidth = 32\nmultipliers = [1]\nblocks = 1\nattention = []\nimage_size = 16',
)
SHARED, DDIM_UNET = 4, 5


def fits(prediction, backbone):
    heads = next(member.heads for member in AnyPrediction.__args__ if member.kind == prediction)
    return heads == 2 if backbone == SHARED else heads == 1 or backbone != DDIM_UNET


PAIRS = [pair for pair in product(PREDICTIONS, range(len(BACKBONES))) if fits(*pair)]
CONFIGS = [(number % len(SCHEDULES), *PAIRS[number % len(PAIRS)]) for number in range(100)]


def recipe(schedule=0, prediction="residual", backbone=0, mask=False, shows_input=True):
    guard = "guard = 1e-6" if prediction == "noise" else ""
    return parse(f"""
        name = "tiny"
        task = "denoise"
        [schedule]\n{SCHEDULES[schedule]}
        [prediction]\nkind = "{prediction}"\n{guard}
        [network]\nmask = {str(mask).lower()}\nshows_input = {str(shows_input).lower()}
        [network.backbone]\n{BACKBONES[backbone]}
        [sampling]\nsteps = 2
        [data]\ncrop = 16\ndegrade = {{ name = "noise" }}
    """)


def fresh(chosen, seed=0):
    """A denoiser whose every weight counts."""
    denoiser = chosen.build().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in denoiser.parameters():
            value.add_(torch.randn(value.shape, generator=generator) / 4)
    return denoiser


def outputs(denoiser, chosen):
    generator = torch.Generator().manual_seed(5)
    x_t, x_in = torch.randn(2, 1, 3, 16, 16, generator=generator)
    mask = x_in[:, :1] if chosen.network.mask else None
    with torch.no_grad():
        estimate = denoiser(x_t, denoiser.schedule(2), x_in, mask)
    return estimate.x0, estimate.residual, estimate.noise


@pytest.mark.parametrize("number", range(len(CONFIGS)))
def test_weights_and_outputs_survive_to_the_bit(tmp_path, number):
    schedule, prediction, backbone = CONFIGS[number]
    chosen = recipe(schedule, prediction, backbone, mask=number % 2 == 0, shows_input=number % 3 > 0)
    denoiser = fresh(chosen, number)
    card = {"steps": number, "figures": {"psnr": 30.123456789, "é": [1, None, "x"]}}
    path = tmp_path / "model.safetensors"
    save_model(path, ModelFile(chosen, denoiser.backbone.state_dict(), card))
    model = load_model(path)
    assert (model.recipe, model.card) == (chosen, card)
    assert model.weights.keys() == denoiser.backbone.state_dict().keys()
    for key, value in denoiser.backbone.state_dict().items():
        assert value.dtype == model.weights[key].dtype
        assert torch.equal(value, model.weights[key])
    loaded = model.denoiser()
    assert not loaded.training
    assert not any(value.requires_grad for value in loaded.parameters())
    for before, after in zip(outputs(denoiser, chosen), outputs(loaded, chosen), strict=True):
        assert torch.equal(before, after)


def test_the_configurations_have_a_bit_of_everything():
    assert len(set(CONFIGS)) == 100
    schedules, predictions, backbones = (set(column) for column in zip(*CONFIGS, strict=True))
    assert schedules == set(range(len(SCHEDULES)))
    assert {tomllib.loads(table)["kind"] for table in SCHEDULES} == {member.kind for member in AnySchedule.__args__}
    assert predictions == set(PREDICTIONS)
    assert backbones == set(range(len(BACKBONES)))


@pytest.fixture(scope="module")
def model():
    chosen = recipe()
    return ModelFile(chosen, fresh(chosen).backbone.state_dict(), {"steps": 3})


def test_an_equal_model_gives_an_equal_file(tmp_path, model):
    first, second = tmp_path / "a", tmp_path / "b"
    save_model(first, model)
    save_model(second, load_model(first))
    assert load_model(first).sha256 == load_model(second).sha256


def test_the_hash_is_that_of_the_file_with_the_hash_set_to_zeros(tmp_path, model):
    path = tmp_path / "model.safetensors"
    save_model(path, model)
    data, digest = path.read_bytes(), load_model(path).sha256
    assert data.count(digest.encode()) == 1
    assert files.sha256(data.replace(digest.encode(), b"0" * 64)) == digest


def test_any_reader_of_safetensors_can_read_it(tmp_path, model):
    path = tmp_path / "model.safetensors"
    save_model(path, model)
    with safetensors.safe_open(path, "pt") as file:
        facts = file.metadata()
        assert set(file.keys()) == set(model.weights)
        assert all(torch.equal(file.get_tensor(key), value) for key, value in model.weights.items())
    assert (facts["format"], facts["format_version"], facts["kind"]) == ("residiff", "1", "model")
    assert parse(facts["recipe"]) == model.recipe
    assert json.loads(facts["card"]) == {"steps": 3}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_file_of_half_the_size(tmp_path, model, dtype):
    save_model(tmp_path / "whole", model)
    save_model(tmp_path / "half", model, dtype)
    count = sum(value.numel() for value in model.weights.values())
    assert (tmp_path / "whole").stat().st_size - (tmp_path / "half").stat().st_size == pytest.approx(2 * count, abs=200)
    half = load_model(tmp_path / "half")
    for key, value in half.denoiser().backbone.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, model.weights[key].to(dtype).float())


def test_weights_in_any_memory_layout_are_saved(tmp_path, model):
    layouts = {key: value.transpose(0, -1).contiguous().transpose(0, -1) for key, value in model.weights.items()}
    save_model(tmp_path / "file", ModelFile(model.recipe, layouts))
    loaded = load_model(tmp_path / "file").weights
    assert all(torch.equal(loaded[key], value) for key, value in model.weights.items())


def test_the_folder_of_a_run_stands_for_its_model(tmp_path, model):
    save_model(tmp_path / "model.safetensors", model)
    assert load_model(tmp_path).sha256 == load_model(tmp_path / "model.safetensors").sha256


@pytest.mark.parametrize("name", ["gone", "gone/model.safetensors", "folder", "nul\0"])
def test_a_missing_file_is_named(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(ModelFileError, match="cannot read model file"):
        load_model(tmp_path / name)


def test_weights_that_do_not_fit_are_all_named(model):
    weights = dict(model.weights)
    weights["extra"] = torch.zeros(1)
    del weights["ending.bias"]
    weights["intro.bias"] = torch.zeros(7)
    with pytest.raises(ModelFileError) as caught:
        ModelFile(model.recipe, weights).denoiser()
    message = str(caught.value)
    assert "missing: ending.bias" in message
    assert "unexpected: extra" in message
    assert "intro.bias is (7,), the recipe needs (4,)" in message
    assert caught.value.exit_code == 4


def test_keys_that_fit_pass(model):
    check_keys(model.weights, dict(reversed(model.weights.items())))


def test_weights_are_compared_before_a_network_is_made(model, monkeypatch):
    def allocated(_self):
        raise AssertionError("a network was made for weights that do not fit it")

    monkeypatch.setattr(type(model.recipe), "build", allocated)
    with pytest.raises(ModelFileError, match="missing"):
        ModelFile(model.recipe, {}).denoiser()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", checkpoint.WEIGHT_TYPES)
def test_weights_that_are_not_finite_are_refused_unless_allowed(tmp_path, model, value, dtype):
    weights = {key: tensor.clone() for key, tensor in model.weights.items()}
    weights["intro.bias"][-1] = value
    path = tmp_path / "model.safetensors"
    save_model(path, ModelFile(model.recipe, weights), dtype)
    with pytest.raises(ModelFileError, match=r"not finite: intro.bias;"):
        load_model(path)
    found = load_model(path, allow_not_finite=True).weights["intro.bias"]
    assert not torch.isfinite(found).all()


def test_at_most_five_weights_that_are_not_finite_are_named(tmp_path, model):
    path = tmp_path / "model.safetensors"
    save_model(path, ModelFile(model.recipe, {key: value / 0 for key, value in model.weights.items()}))
    with pytest.raises(ModelFileError) as caught:
        load_model(path)
    assert str(caught.value).count(",") == 4


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64, torch.float64, torch.uint8])
def test_weights_of_another_type_are_refused(tmp_path, model, dtype):
    path = tmp_path / "model.safetensors"
    save_model(path, ModelFile(model.recipe, {"intro.bias": torch.ones(4)}), dtype)
    for allow in (False, True):
        with pytest.raises(ModelFileError, match=rf"intro.bias \({dtype}\)"):
            load_model(path, allow_not_finite=allow)


# Training states


@pytest.fixture
def state(model):
    tensors = {f"weights.{key}": value for key, value in model.weights.items()}
    return TrainingState(
        model.recipe, 17, "procedural", tensors | {"optimiser.0.step": torch.tensor(17.0), "count": torch.tensor(3)}
    )


def test_a_training_state_survives_to_the_bit(tmp_path, state):
    save_state(tmp_path / "state", state)
    loaded = load_state(tmp_path / "state")
    assert (loaded.recipe, loaded.step) == (state.recipe, 17)
    assert loaded.tensors.keys() == state.tensors.keys()
    for key, value in state.tensors.items():
        assert (loaded.tensors[key].dtype, loaded.tensors[key].shape) == (value.dtype, value.shape)
        assert torch.equal(loaded.tensors[key], value)


@pytest.mark.parametrize("name", ["gone", "folder"])
def test_a_state_that_cannot_be_read_is_a_checkpoint_error(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(CheckpointError, match=f"cannot continue from .*{name}"):
        load_state(tmp_path / name)


def test_a_model_is_no_state_and_a_state_no_model(tmp_path, model, state):
    save_model(tmp_path / "model", model)
    save_state(tmp_path / "state", state)
    with pytest.raises(CheckpointError, match="holds a model, not a training state"):
        load_state(tmp_path / "model")
    with pytest.raises(ModelFileError, match="holds a training state, not a model"):
        load_model(tmp_path / "state")


@pytest.mark.parametrize("step", ["", "x", "1e3", "9" * 5000])
def test_a_state_of_no_step_is_refused(tmp_path, state, step):
    facts = {"recipe": state.recipe.toml(), "step": step}
    with (tmp_path / "state").open("wb") as file:
        tensorfile.write(file, state.tensors, "training state", facts)
    with pytest.raises(CheckpointError):
        load_state(tmp_path / "state")


def test_what_is_not_whole_never_replaces_what_is(tmp_path, model, monkeypatch):
    path = tmp_path / "model.safetensors"
    save_model(path, model)
    before = path.read_bytes()
    broken = ModelFile(model.recipe, model.weights, {"card": object()})
    with pytest.raises(TypeError):
        save_model(path, broken)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_state_error_is_a_model_file_error_and_no_config_error():
    assert issubclass(CheckpointError, ModelFileError)
    assert not issubclass(ModelFileError, ConfigError)
