"""The papers' presets: what was published stands in them, what was not is marked, and each can be built and trained."""

import json
import math
from typing import NamedTuple

import pytest
import torch

from residiff import recipe as recipes
from residiff.data.settings import Augment, Pairing
from residiff.denoiser import MASK_FORMS
from residiff.nn import UNetSettings
from residiff.noise import seeded_noise
from residiff.prediction import Clamp
from residiff.recipe import override, read
from residiff.sample import ORDERS, walk
from residiff.schedule import GRIDS
from residiff.train import learning_rate, open_run, training_data
from residiff.train.rules import average_decay

PRESETS = [name for name in recipes.names() if read(name).origin]
RDDM, RESFUSION = "RDDM, CVPR 2024", "Resfusion, NeurIPS 2024"
# Of one U-Net that sees x_t, with x_in, and with a mask as RDDM and as Resfusion shows it; and of DDIM's at 32 and 64
ALONE, RESTORES, RGB_MASK, ONE_HOT = 36_251_779, 36_261_187, 36_270_595, 36_267_459
DDIM_32, DDIM_64 = 35_746_307, 78_700_803


class Facts(NamedTuple):
    """What the paper, or its code, says: nothing here is read from a recipe."""

    parameters: int
    levels: int
    steps: int
    crop: int
    updates: int
    batch: int
    rate: float
    optimiser: str
    loss: str
    noise: float  # its deviation where sampling starts


FACTS = {
    "rddm-raindrop": Facts(2 * RESTORES, 1000, 5, 256, 120_000, 1, 8e-5, "adam", "l1", 1.0),
    "rddm-istd": Facts(2 * RGB_MASK, 1000, 5, 256, 120_000, 1, 8e-5, "adam", "l1", 0.1),
    "rddm-istd-residual": Facts(RGB_MASK, 1000, 5, 256, 120_000, 1, 8e-5, "adam", "l1", 0.1),
    "rddm-istd-noise": Facts(RGB_MASK, 1000, 5, 256, 120_000, 1, 8e-5, "adam", "l1", 0.1),
    "rddm-lol": Facts(RESTORES, 1000, 2, 256, 80_000, 1, 8e-5, "adam", "l1", 0.1),
    "rddm-sid": Facts(RESTORES, 1000, 2, 256, 80_000, 1, 8e-5, "adam", "l1", 1.0),
    "rddm-gopro": Facts(2 * RESTORES, 1000, 2, 256, 120_000, 1, 8e-5, "adam", "l1", 0.1),
    "rddm-celeba-64": Facts(2 * ALONE, 1000, 10, 64, 100_000, 128, 2e-4, "radam", "l2", 1.0),
    "rddm-celeba-64-paths": Facts(2 * ALONE, 1000, 10, 64, 100_000, 128, 2e-4, "radam", "l2", 1.0),
    "rddm-celebahq-inpainting": Facts(2 * ALONE, 1000, 10, 64, 100_000, 64, 2e-4, "radam", "l2", 1.0),
    "rddm-dog-to-cat": Facts(2 * ALONE, 1000, 10, 64, 100_000, 64, 2e-4, "radam", "l2", 1.0),
    "rddm-male-to-cat": Facts(2 * ALONE, 1000, 10, 64, 100_000, 64, 2e-4, "radam", "l2", 1.0),
    **{
        f"resfusion-{data}{target}": Facts(size, 5, 5, 256, epochs * 5000, 32, 1.1e-4, "adamw", "l2", 0.75**0.5)
        for data, size, epochs in (("lol", RESTORES, 15), ("istd", ONE_HOT, 41), ("raindrop", RESTORES, 27))
        for target in ("", "-x0", "-residual")
    },
    **{
        f"resfusion-cifar10-{n}": Facts(DDIM_32, n, n, 32, 3000 * 390, 128, 2e-4, "adamw", "l2", 0.75**0.5)
        for n in (10, 20, 50, 100)
    },
    **{
        f"resfusion-{data}": Facts(DDIM_64, 50, 50, 64, 117_000, 128, 2e-4, "adamw", "l2", 0.75**0.5)
        for data in ("afhq", "celebahq")
    },
    "ddpm-cifar10": Facts(DDIM_32, 100, 100, 32, 1_170_000, 128, 2e-4, "adamw", "l2", 1.0),
}
LENGTHS = {10: 27, 20: 54, 50: 136, 100: 273}
SMALL = {
    "unet": ["network.backbone.width=8", "network.backbone.multipliers=[1, 2]", "network.backbone.groups=4"],
    "ddim-unet": [
        "network.backbone.width=32", "network.backbone.multipliers=[1]", "network.backbone.blocks=1",
        "network.backbone.attention=[]", "network.backbone.image_size=16",
    ],
}  # fmt: skip


def built(recipe):
    """The denoiser, of which nothing is allocated."""
    with torch.device("meta"):
        return recipe.build()


# ---------------------------------------------------------------- what was published


def test_every_preset_of_a_paper_is_pinned_here():
    assert set(FACTS) == set(PRESETS)
    assert all(name.startswith(("rddm-", "resfusion-", "ddpm-")) for name in FACTS)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_says_what_was_published(name):
    recipe, facts = read(name), FACTS[name]
    training = recipe.training
    assert recipe.origin.paper == (RDDM if name.startswith("rddm") else RESFUSION)
    assert recipe.compat == "paper"
    assert (len(recipe.schedule), recipe.sampling.steps) == (facts.levels, facts.steps)
    assert recipe.data.crop == facts.crop
    assert (training.iterations, training.batch) == (facts.updates, facts.batch)
    assert learning_rate(training, 0) == pytest.approx(facts.rate, rel=1e-9)
    assert (training.optimiser.kind, training.loss) == (facts.optimiser, facts.loss)
    assert (training.clip, training.weight_decay, training.precision) == (1, 0, "float32")
    assert (training.warm_up, training.start_share, training.posterior_weight) == (0, 0, 0)
    assert recipe.schedule(len(recipe.schedule) - 1).noise == pytest.approx(facts.noise, abs=6e-3)


@pytest.mark.parametrize("name", [name for name in PRESETS if name.startswith("rddm")])
def test_rddm_presets_share_what_its_code_shares(name):
    recipe = read(name)
    training = recipe.training
    assert (training.seed, training.accumulate, training.decay) == (10, 2, "constant")
    assert learning_rate(training, 0) == learning_rate(training, training.iterations - 1) == training.learning_rate
    # ema_pytorch: the weights themselves after updates 1, 11, ..., 101, then slower and slower to 0.995
    decays = [average_decay(training, update) for update in (1, 2, 101, 111, 112, 100_001)]
    assert decays == [0, 1, 0, pytest.approx(1 - 11 ** (-2 / 3)), 1, 0.995]
    assert recipe.sampling.eta == 0 and recipe.clamp is Clamp.RESIDUAL
    assert isinstance(recipe.network.backbone, UNetSettings) and not recipe.network.backbone.shared


@pytest.mark.parametrize("name", [name for name in PRESETS if name.startswith("resfusion")])
def test_resfusion_presets_share_what_its_code_shares(name):
    recipe, kind = read(name), name.rsplit("-", 1)[1]
    training = recipe.training
    assert (training.seed, training.accumulate, recipe.sampling.eta) == (2024, 1, 1)
    assert training.optimiser.amsgrad and training.optimiser.betas == (0.9, 0.999)
    assert recipe.prediction.kind == (kind if kind in ("x0", "residual") else "resnoise")
    assert recipe.clamp is (Clamp.X0 if kind in ("x0", "residual") else Clamp.NONE)
    assert recipe.schedule.length == {**LENGTHS, 5: 12}[recipe.sampling.steps]
    averaged = recipe.task in ("generate", "translate")
    assert {average_decay(training, update) for update in (1, 2, 5000)} == {0.9999 if averaged else 0}
    last = learning_rate(training, training.iterations - 1)
    assert last == pytest.approx(2e-4 if averaged else 3e-5, rel=1e-6)


def test_the_learning_rates_of_resfusion_are_scaled_by_the_batch():
    for name, rate, pairs in (("resfusion-lol", 8.8e-4, 32), ("resfusion-cifar10-10", 4e-4, 128)):
        training = read(name).training
        assert (training.learning_rate, training.reference_batch) == (rate, 256)
        assert learning_rate(training, 0) == pytest.approx(rate * pairs / 256, rel=1e-12)


@pytest.mark.parametrize(("name", "pairs"), [("lol", 485), ("istd", 1330), ("raindrop", 861)])
def test_the_learning_rate_of_resfusion_falls_once_an_epoch(name, pairs):
    training = read(f"resfusion-{name}").training
    assert training.epoch in (pairs // 32, pairs // 32 + 1)
    assert training.iterations == 5000 * training.epoch
    rates = [learning_rate(training, step) for step in range(3 * training.epoch)]
    assert len(set(rates)) == 3 and rates == sorted(rates, reverse=True)
    expected = [3e-5 + (1.1e-4 - 3e-5) * (1 + math.cos(math.pi * epoch / 5000)) / 2 for epoch in range(3)]
    assert rates[:: training.epoch] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("name", "times"), [("rddm-raindrop", [999, 799, 599, 399, 199]), ("rddm-lol", [999, 499])])
def test_the_restoration_schedule_is_the_published_one(name, times):
    schedule = read(name).schedule
    levels = schedule.levels(len(times))
    assert [level.t for level in levels] == [*times, -1]
    residual = {999: 1, 799: 0.95984, 599: 0.83976, 499: 0.74975, 399: 0.63976, 199: 0.35984}
    noise = {999: 1, 799: 0.8001, 599: 0.6002, 499: 0.5002, 399: 0.4003, 199: 0.2004}
    for level in levels[:-1]:
        assert level.residual == pytest.approx(residual[level.t], abs=6e-5)
        assert level.noise == pytest.approx(noise[level.t] * FACTS[name].noise, abs=6e-5)


def test_generation_by_powers_begins_with_no_noise_and_ends_with_no_residual():
    first, *_, last = (read("rddm-celeba-64").schedule(t) for t in (0, 998, 999))
    assert first.noise == 0 and last.residual == pytest.approx(1) and last.noise == pytest.approx(1)
    assert read("rddm-celeba-64").schedule(998).residual == pytest.approx(1)


def test_translation_takes_the_converted_schedule():
    for name in ("rddm-dog-to-cat", "rddm-male-to-cat", "rddm-celeba-64-paths"):
        assert float(read(name).schedule.table[-1, 1]) == pytest.approx(0.99365, abs=1e-5)


@pytest.mark.parametrize("name", PRESETS)
def test_what_the_network_is_shown(name):
    recipe = read(name)
    network = recipe.network
    assert network.shows_input == (recipe.task not in ("generate", "translate", "inpaint"))
    assert network.mask == (recipe.task == "shadow")
    if network.mask:
        assert network.mask_form == ("rgb" if name.startswith("rddm") else "one-hot")
    assert network.preprocess == ("equalise" if name in ("rddm-lol", "rddm-sid") else "none")
    assert network.time_input == ("coefficient" if name.endswith("paths") else "index")
    paired = {"rddm": Pairing.ORDER, "resfusion": Pairing.UNPAIRED}.get(name.split("-")[0])
    assert recipe.data.pairing is (paired if recipe.task == "translate" else Pairing.NAME)


def test_pictures_are_turned_as_published():
    """RDDM's loader of pairs mirrors every one of them; what reads single pictures mirrors half."""
    always = {name for name in PRESETS if read(name).data.augment is Augment.ALWAYS_MIRROR}
    assert always == {name for name in PRESETS if name.startswith("rddm") and read(name).task != "generate"}
    assert {read(name).data.augment for name in set(PRESETS) - always} == {Augment.MIRROR}


def test_two_optimisers_where_two_are_published():
    alone = {"rddm-gopro", *(name for name in PRESETS if name.startswith("rddm") and FACTS[name].crop == 64)}
    assert {name for name in PRESETS if read(name).training.optimiser.per_head} == alone


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("rddm-istd", ["prediction.drive=residual"]),
        ("rddm-istd", ["prediction.drive=noise", "prediction.guard=1e-6"]),
        ("rddm-lol", ["prediction.kind=residual-noise"]),
        ("rddm-celeba-64-paths", ["sampling.order=simultaneous"]),
        ("ddpm-cifar10", ["sampling.eta=0", "sampling.steps=50"]),
    ],
)
def test_other_rows_are_a_setting_away(name, settings):
    recipe = read(name)
    changed = override(recipe, settings)
    assert changed != recipe and built(changed).prediction == changed.prediction
    assert all(setting in recipe.summary for setting in settings)


# ---------------------------------------------------------------- what was not


@pytest.mark.parametrize(
    ("name", "unknown"),
    [
        ("rddm-raindrop", set()),
        ("rddm-istd", {"training.iterations"}),
        ("rddm-gopro", {"schedule.total_noise", "training.iterations", "training.learning_rate", "training.loss",
                        "training.optimiser.kind", "training.optimiser.betas"}),
        ("resfusion-lol", set()),
        ("ddpm-cifar10", {"schedule.beta_start", "schedule.beta_end", "network.clamp", "network.backbone", "training"}),
    ],
)  # fmt: skip
def test_what_was_published_nowhere_is_named(name, unknown):
    assert set(read(name).origin.unknown) == unknown


@pytest.mark.parametrize("name", PRESETS)
def test_show_marks_the_lines_of_what_is_unknown(cli, name):
    """Each of the settings, and no other line, is marked, whatever table it stands in."""
    text = cli("recipes", "show", name).out.decode()
    settings = text.partition("\nname = ")[2].splitlines()
    table, found = "", set()
    for line in settings:
        table = line.partition("]")[0][1:] if line.startswith("[") else table
        if line.endswith("# not published"):
            found.add(table if line.startswith("[") else f"{table}.{line.partition(' = ')[0]}")
    origin = read(name).origin
    assert found == set(origin.unknown)
    told = " ".join(line[2:] for line in text.splitlines() if line.startswith("# "))
    assert f"{origin.paper}. {origin.row}." in told
    assert f"{FACTS[name].parameters:,} parameters" in told and all(key in told for key in origin.unknown)


def test_the_list_says_where_a_preset_is_from(cli):
    rows = {row["name"]: row for row in json.loads(cli("recipes", "list", "--json").out)}
    assert rows["tiny"]["origin"] is None
    assert rows["rddm-sid"]["origin"]["unknown"] == list(read("rddm-sid").origin.unknown)
    assert {name: (rows[name]["steps"], rows[name]["parameters"]) for name in FACTS} == {
        name: (facts.steps, facts.parameters) for name, facts in FACTS.items()
    }
    lines = cli("recipes", "list").out.decode().splitlines()
    assert len(lines) == 1 + len(rows) and max(map(len, lines)) <= 80
    gopro = next(line for line in lines if line.startswith("rddm-gopro "))
    assert gopro.split() == ["rddm-gopro", "deblur", "RDDM", "2", "72.5M", "6"]


# ---------------------------------------------------------------- each works


NETWORKS = {(FACTS[name].parameters, read(name).in_channels): name for name in PRESETS}


@pytest.mark.parametrize("name", NETWORKS.values())
def test_the_network_takes_what_it_is_shown(name):
    recipe, side = read(name), FACTS[name].crop
    denoiser = built(recipe)
    with torch.device("meta"):
        x = torch.empty(1, 3, side, side)
        mask = MASK_FORMS[recipe.network.mask_form].encode(x[:, :1]) if recipe.network.mask else None
        outputs = denoiser.outputs(x, denoiser.schedule(recipe.sampling.steps - 1), x, mask)
    assert [output.shape for output in outputs] == [x.shape] * recipe.prediction.heads


class _Silent(torch.nn.Module):
    """A network that predicts nothing but zeros."""

    def __init__(self, heads):
        super().__init__()
        self.heads = heads

    def forward(self, x, times):
        assert len(times) == self.heads
        return (torch.zeros_like(x[:, :3]),) * self.heads


@pytest.mark.parametrize("name", PRESETS)
def test_it_is_built_and_the_sampler_takes_its_levels(name):
    recipe = read(name)
    settings, denoiser = recipe.sampling, built(recipe)
    assert sum(parameter.numel() for parameter in denoiser.parameters()) == FACTS[name].parameters
    denoiser.backbone = _Silent(recipe.prediction.heads)
    x_in = torch.full((1, 3, 8, 8), 0.25)
    mask = MASK_FORMS[recipe.network.mask_form].encode(x_in[:, :1]) if recipe.network.mask else None
    noise = seeded_noise(0, x_in.shape)
    moves = ORDERS[settings.order](recipe.schedule.levels(settings.steps, GRIDS[settings.grid]))
    states = list(
        walk(
            denoiser.estimator(), recipe.schedule.start(x_in, noise()), x_in, moves, mask, eta=settings.eta, noise=noise
        )
    )
    assert len(states) - 1 == (2 if name.endswith("paths") else 1) * FACTS[name].steps
    assert states[-1].level.t == -1 and all(torch.isfinite(state.x).all() for state in states)


@pytest.mark.parametrize("name", PRESETS)
def test_it_trains_on_procedural_pictures_of_the_published_size(name):
    recipe = override(read(name), ["data.window=2"])
    pair = training_data(recipe, None).training(0)
    side = FACTS[name].crop
    assert pair.clean.shape == pair.degraded.shape == (3, side, side)
    assert pair.mask.shape[0] > 0 or not recipe.network.mask
    assert (pair.clean - pair.degraded).abs().mean() > 1e-3


@pytest.mark.parametrize(
    "name", ["rddm-gopro", "rddm-istd-noise", "rddm-lol", "rddm-male-to-cat", "resfusion-istd-x0", "ddpm-cifar10"]
)
def test_a_small_one_is_trained(name, tmp_path):
    recipe = read(name)
    size = ["data.crop=16", "data.picture=16", "training.batch=2", "training.iterations=2"]
    small = override(recipe, [*SMALL[recipe.network.backbone.kind], *size])
    with open_run(small, tmp_path) as run:
        losses = [progress.loss for progress in run.train(training_data(small, None).training)]
    assert len(losses) == 2 and all(0 < loss < 10 for loss in losses)
