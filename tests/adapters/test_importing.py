"""What an import makes of a file: the recipe, what it asks for, and the model file in use."""

import dataclasses
import json

import pytest
import torch
from foreign import (
    ddim,
    ddpm_buffers,
    lightning,
    one,
    rddm_buffers,
    rddm_keys,
    shared,
    trainers,
    two,
    under,
    weights,
)
from safetensors.torch import save_file

import residiff
from residiff.adapters import ImportOptions, KeysError, import_model
from residiff.adapters.schedules import rddm_schedule
from residiff.checkpoint import load_model, save_model
from residiff.errors import ConfigError, ModelFileError
from residiff.prediction import Clamp
from residiff.schedule import DDPM, RDDM, ConvertedDDPM, DiffUIR, Increments, Resfusion

pytestmark = pytest.mark.usefixtures("reader_here")

SCHEDULES = [
    RDDM(total_noise=1.0),
    RDDM(total_noise=0.01),
    RDDM(total_noise=0.1, length=100),
    RDDM(residual=Increments("increasing"), noise=Increments("decreasing"), total_noise=0.25),
    RDDM(residual=Increments("mean"), noise=Increments("normal"), total_noise=0.01, length=500),
    RDDM(residual=Increments("falling-power", 2), noise=Increments("mean"), total_noise=1.0),
    RDDM(residual=Increments("falling-power", 1), noise=Increments("power", 1), total_noise=1.0),
    RDDM(residual=Increments("power", 0.3), noise=Increments("falling-power", 2.5), total_noise=0.5),
    ConvertedDDPM(),
    ConvertedDDPM(base=DDPM(betas="squared-cosine")),
    ConvertedDDPM(base=DDPM(betas="scaled-linear", beta_start=0.00085, beta_end=0.012)),
]


def same(ours, theirs):
    """Whether two schedules are one but for settings that do not matter to them."""
    return ours.kind == theirs.kind and torch.allclose(ours.table, theirs.table, atol=1e-9)


def saved(path, held):
    torch.save(held, path)
    return path


def resfusion(tmp_path, network=one, name="best.ckpt"):
    return saved(tmp_path / name, lightning(weights(network)))


def rddm(tmp_path, schedule=None, network=one, **more):
    buffers = rddm_buffers(schedule or SCHEDULES[0])
    prefix = "model.unet0." if network is one else "model."
    return saved(tmp_path / "model-5.pt", trainers({**buffers, **under(prefix, weights(network)), **more}))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_the_buffers_say_the_schedule(schedule):
    found = rddm_schedule(rddm_buffers(schedule))
    assert same(found, schedule)
    if isinstance(schedule, RDDM):
        assert found == schedule


@pytest.mark.parametrize("schedule", SCHEDULES[6:9], ids=str)
def test_the_schedule_comes_into_the_recipe(tmp_path, schedule):
    assert same(import_model(rddm(tmp_path, schedule)).recipe.schedule, schedule)


def test_a_schedule_that_is_not_known_must_be_given(tmp_path):
    buffers = rddm_buffers(SCHEDULES[0])
    buffers["betas_cumsum"] = buffers["betas_cumsum"] ** 1.001
    path = saved(tmp_path / "model-5.pt", {"model": {**buffers, **under("model.unet0.", weights(one))}})
    with pytest.raises(ConfigError, match=r"no schedule that is known; give it by --recipe, or by --set schedule"):
        import_model(path)
    given = import_model(path, ImportOptions(settings=("schedule.total_noise=0.5",)))
    assert given.recipe.schedule == RDDM(total_noise=0.5)
    assert import_model(path, ImportOptions(recipe="low-light")).recipe.schedule.total_noise == 0.01


def test_what_rddms_file_does_not_say_is_as_published(tmp_path):
    model = import_model(rddm(tmp_path, network=two))
    recipe = model.recipe
    assert (recipe.name, recipe.task) == ("model-5", "restore")
    assert (recipe.prediction.kind, recipe.network.clamp) == ("residual-noise", Clamp.RESIDUAL)
    assert (recipe.sampling.steps, recipe.sampling.eta, recipe.sampling.grid) == (5, 0.0, "published")
    assert model.card["imported_from"] == "RDDM" and model.card["step"] == 1000
    assert model.card["assumed"]["prediction.kind"] == "residual-noise"
    assert len(model.card["source_sha256"]) == 64
    unseen = import_model(saved(tmp_path / "b.pt", trainers(rddm_keys(weights(lambda: two(3)), False)))).recipe
    assert (unseen.task, unseen.network.shows_input, unseen.sampling.steps) == ("generate", False, 10)
    assert import_model(rddm(tmp_path, network=shared)).recipe.network.backbone.shared


@pytest.mark.parametrize(("alpha", "kind"), [(0.52, "residual"), (0.47, "noise")])
def test_aosa_says_what_it_settled_for(tmp_path, alpha, kind):
    recipe = import_model(rddm(tmp_path, alpha_res=torch.tensor(alpha))).recipe
    assert recipe.prediction.kind == kind
    assert getattr(recipe.prediction, "guard", 1e-6) == 1e-6


def test_aosa_undecided_must_be_told(tmp_path):
    path = rddm(tmp_path, **{"model.alpha_res": torch.tensor(0.502)})
    with pytest.raises(ConfigError, match=r"not settled .*0\.502.*--set prediction"):
        import_model(path)
    assert (
        import_model(path, ImportOptions(settings=("prediction.kind=residual",))).recipe.prediction.kind == "residual"
    )


def test_diffuirs_schedule_is_in_its_buffers(tmp_path):
    schedule = DiffUIR(rddm=RDDM(total_noise=0.25), taken=Increments("increasing"), total_taken=0.75)
    taken = 0.75 * schedule.taken(1000)
    path = rddm(tmp_path, schedule.rddm, delta=taken.float(), delta_cumsum=taken.cumsum(0).float())
    model = import_model(path)
    assert (model.card["imported_from"], model.recipe.network.time_input) == ("DiffUIR", "coefficient")
    assert model.recipe.schedule == schedule
    strange = taken.flip(0) ** 1.5
    path = rddm(tmp_path, schedule.rddm, delta=strange.float(), delta_cumsum=strange.cumsum(0).float())
    with pytest.raises(ConfigError, match="no schedule that is known"):
        import_model(path)


def test_resfusion_asks_for_t(tmp_path):
    path = resfusion(tmp_path)
    with pytest.raises(ConfigError, match=r"does not say T.*--length \(12 .*garbage") as caught:
        import_model(path)
    assert caught.value.exit_code == 2
    recipe = import_model(path, ImportOptions(length=12)).recipe
    assert recipe.schedule == Resfusion(length=12)
    assert (recipe.sampling.steps, recipe.sampling.eta, recipe.prediction.kind) == (5, 1.0, "resnoise")
    by_set = import_model(path, ImportOptions(settings=('schedule={kind="resfusion", steps=20}',))).recipe
    assert by_set.sampling.steps == 20
    assert import_model(resfusion(tmp_path, ddim), ImportOptions(length=54)).recipe.sampling.steps == 20
    with pytest.raises(ConfigError, match="length"):
        import_model(path, ImportOptions(length=0))


def test_a_length_is_for_resfusion_alone(tmp_path):
    with pytest.raises(ConfigError, match="--length is for Resfusion's files"):
        import_model(rddm(tmp_path), ImportOptions(length=12))


def test_a_recipe_gives_what_the_file_does_not_say(tmp_path):
    recipe = import_model(resfusion(tmp_path), ImportOptions(recipe="low-light", length=12, name="mine")).recipe
    preset = residiff_recipe("low-light")
    assert (recipe.name, recipe.task, recipe.data) == ("mine", "low-light", preset.data)
    assert (recipe.network.preprocess, recipe.prediction, recipe.sampling) == (
        "expose",
        preset.prediction,
        preset.sampling,
    )
    assert (recipe.network.backbone.kind, recipe.schedule.kind) == ("unet", "resfusion")


def residiff_recipe(name):
    from residiff import recipe

    return recipe.read(name)


def test_settings_come_last(tmp_path):
    chosen = ImportOptions(length=12, settings=("task=rain", "sampling.steps=3", "prediction.kind=x0", "data.crop=64"))
    model = import_model(resfusion(tmp_path), chosen)
    assert (model.recipe.task, model.recipe.sampling.steps, model.recipe.data.crop) == ("rain", 3, 64)
    assert model.recipe.clamp is Clamp.X0
    assert model.card["assumed"].keys() == {"schedule.betas", "sampling.eta", "network.backbone.groups"}
    stirred = import_model(resfusion(tmp_path), ImportOptions(length=12, settings=("sampling.eta=0.0",)))
    assert (stirred.recipe.sampling.steps, stirred.recipe.sampling.eta) == (5, 0.0)
    with pytest.raises(ConfigError, match="2 heads, the file 1"):
        import_model(resfusion(tmp_path), ImportOptions(length=12, settings=("prediction.kind=residual-noise",)))
    with pytest.raises(KeysError):
        import_model(resfusion(tmp_path), ImportOptions(length=12, settings=("network.backbone.width=16",)))


OBJECTIVES = {"noise": torch.ones_like, "x0": lambda snr: snr}


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_ddpm_says_schedule_and_objective(tmp_path, kind):
    schedule = DDPM(betas="squared-cosine", length=400)
    table = {**ddpm_buffers(schedule, OBJECTIVES[kind]), **under("model.", weights(lambda: one(3)))}
    recipe = import_model(saved(tmp_path / "a.pt", trainers(table, table))).recipe
    assert same(recipe.schedule, schedule) and recipe.prediction.kind == kind
    assert (recipe.task, recipe.network.shows_input, recipe.network.clamp) == ("generate", False, Clamp.X0)
    assert recipe.sampling.steps == 250


def test_ddpm_of_another_kind(tmp_path):
    buffers = ddpm_buffers(DDPM(), lambda snr: snr / (snr + 1))
    path = saved(tmp_path / "a.pt", trainers({**buffers, **under("model.", weights(lambda: one(3)))}))
    with pytest.raises(ConfigError, match="v-prediction"):
        import_model(path)
    own = ddpm_buffers(DDPM(), torch.ones_like)
    twice = saved(tmp_path / "b.pt", trainers({**own, **under("model.", weights(one))}))
    assert import_model(twice).recipe.network.self_condition
    sigmoid = {**own, "alphas_cumprod": own["alphas_cumprod"] ** 1.1}
    with pytest.raises(ConfigError, match="no schedule that is known"):
        import_model(saved(tmp_path / "c.pt", trainers({**sigmoid, **under("model.", weights(lambda: one(3)))})))


@pytest.mark.parametrize("table", ["", "params", "net/inner"])
def test_bare_weights_need_a_schedule_and_a_prediction(tmp_path, table):
    held = under("generator.", weights(one))
    for name in reversed(table.split("/") if table else []):
        held = {name: held}
    path = saved(tmp_path / "Some File_v2.pth", held)
    with pytest.raises(ConfigError, match="nothing of the schedule"):
        import_model(path)
    with pytest.raises(ConfigError, match="what the network predicts"):
        import_model(path, ImportOptions(settings=("schedule.length=100",)))
    model = import_model(path, ImportOptions(settings=("schedule.length=100", "prediction.kind=residual")))
    assert model.recipe.name == "some-file-v2" and len(model.recipe.schedule) == 100


def test_safetensors_are_read_as_well(tmp_path):
    save_file(under("unet0.", weights(one)), tmp_path / "a.safetensors")
    model = import_model(tmp_path / "a.safetensors", ImportOptions(recipe="denoise"))
    assert all(torch.equal(model.weights[key], value) for key, value in weights(one).items())


def test_files_without_a_known_network_are_refused(tmp_path):
    with pytest.raises(ModelFileError, match="no network that is known"):
        import_model(saved(tmp_path / "a.pt", {"state_dict": {f"layer{i}.weight": torch.ones(2) for i in range(30)}}))
    several = {name: weights(one, seed) for seed, name in enumerate(("first", "second"))}
    with pytest.raises(ModelFileError, match="several networks, in the tables 'first', 'second'"):
        import_model(saved(tmp_path / "b.pt", several))
    with pytest.raises(ConfigError, match="allowed are ema, plain"):
        import_model(saved(tmp_path / "b.pt", several), ImportOptions(weights="both"))


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    broken = weights(one)
    broken["final_conv.bias"][1] = float("nan")
    with pytest.raises(ModelFileError, match="not finite: denoising_module.final_conv.bias"):
        import_model(saved(tmp_path / "a.ckpt", lightning(broken)), ImportOptions(length=12))
    whole = weights(one)
    whole["final_conv.bias"] = torch.ones(3, dtype=torch.int64)
    with pytest.raises(ModelFileError, match="not floating point"):
        import_model(saved(tmp_path / "b.ckpt", lightning(whole)), ImportOptions(length=12))


def test_half_precision_becomes_single(tmp_path):
    halved = {key: value.half() for key, value in weights(one).items()}
    model = import_model(saved(tmp_path / "a.ckpt", lightning(halved)), ImportOptions(length=12))
    assert {value.dtype for value in model.weights.values()} == {torch.float32}


def test_an_imported_model_restores(tmp_path, cli, picture_file):
    path = resfusion(tmp_path)
    out = tmp_path / "models" / "imported.safetensors"
    ended = cli("models", "import", path, "-o", out, "--length", 12, "--set", "task=rain")
    assert ended.code == 0 and "wrote" in ended.err and b"resnoise" in ended.out
    picture = picture_file("in.png", (18, 21, 3))
    assert cli("restore", picture, "-o", tmp_path / "out.png", "-m", out).code == 0
    restorer = residiff.load(out, "cpu")
    assert (restorer.descriptor.steps, restorer.descriptor.task) == (5, "rain")
    image = torch.rand(3, 18, 21, generator=torch.Generator().manual_seed(0))
    assert restorer(image, seed=3).shape == image.shape


@pytest.mark.parametrize(("network", "form"), [(lambda: one(8), "one-hot"), (lambda: one(9), "rgb")])
def test_an_imported_model_with_a_mask_restores(tmp_path, network, form):
    held = lightning(weights(network)) if form == "one-hot" else trainers(rddm_keys(weights(network), True))
    options = ImportOptions(length=12 if form == "one-hot" else None)
    model = import_model(saved(tmp_path / "a.ckpt", held), options)
    save_model(tmp_path / "a.safetensors", model)
    assert load_model(tmp_path / "a.safetensors").recipe == model.recipe
    image = torch.rand(3, 12, 14, generator=torch.Generator().manual_seed(0))
    restorer = residiff.load(tmp_path / "a.safetensors", "cpu")
    white, black = (restorer(image, torch.full((1, 12, 14), value)) for value in (1.0, 0.0))
    assert white.shape == image.shape and not torch.equal(white, black)


def test_json_says_all(tmp_path, cli):
    ended = cli("models", "import", resfusion(tmp_path), "-o", tmp_path / "a.safetensors", "--length", 12, "--json")
    told = json.loads(ended.out)
    assert (told["recipe"]["schedule"]["length"], told["card"]["imported_from"]) == (12, "Resfusion")
    broken = weights(one)
    gone = [key for key in broken if ".norm.bias" in key]
    held = lightning({key: value for key, value in broken.items() if key not in gone})
    path = saved(tmp_path / "b.ckpt", held)
    ended = cli("models", "import", path, "-o", tmp_path / "b.safetensors", "--length", 12, "--json")
    told = json.loads(ended.out)
    assert (ended.code, told["missing"]) == (4, sorted(f"denoising_module.{key}" for key in gone))
    assert not (tmp_path / "b.safetensors").exists()


def test_without_t_the_command_ends_as_a_usage_error(tmp_path, cli):
    ended = cli("models", "import", resfusion(tmp_path), "-o", tmp_path / "a.safetensors")
    assert ended.code == 2 and "--length" in ended.err
    assert not (tmp_path / "a.safetensors").exists()


def test_options_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ImportOptions().length = 3
