"""One update in its variants: precisions, layouts, recomputed activations, dropout, several averages."""

import math
import shutil

import pytest
import torch
from runs import TINY, One, equal, finished, pairs, resumed, same_files, stopped, table, weights_of

from residiff.checkpoint import load_model
from residiff.recipe import override
from residiff.train import Run

DROPOUT = (
    "network.backbone={kind='ddim-unet', width=32, multipliers=[1], blocks=1, attention=[], image_size=16, dropout=0.3}"
)


@pytest.mark.parametrize(
    "settings",
    [
        ["training.precision=bfloat16", "training.channels_last=true"],
        ["training.precision=float16", "training.averages=[0.5, 0.99]"],
        ["training.checkpointed=true", DROPOUT],
        [DROPOUT, "training.accumulate=2"],
        ["training.decay=plateau", "training.epoch=2", "training.plateau={factor=0.5, patience=0, cooldown=0}"],
    ],
    ids=["bfloat16", "float16", "checkpointed", "dropout", "plateau"],
)
def test_every_variant_continues_exactly(tmp_path, settings):
    recipe = override(TINY, ["training.iterations=6", *settings])
    finished(tmp_path / "whole", recipe)
    stopped(tmp_path / "parts", 3, recipe)
    list(resumed(tmp_path / "parts", recipe).train(pairs(recipe)))
    assert same_files(tmp_path / "whole", tmp_path / "parts")


def test_dropout_depends_on_the_seed_and_not_on_the_global_generator(tmp_path):
    recipe = override(TINY, ["training.iterations=3", DROPOUT])
    torch.manual_seed(1)
    finished(tmp_path / "one", recipe)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    finished(tmp_path / "two", recipe)
    assert table(tmp_path / "one") == table(tmp_path / "two")
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state), "training leaves it alone"
    other = override(recipe, ["network.backbone.dropout=0.0"])
    finished(tmp_path / "three", other)
    assert table(tmp_path / "one") != table(tmp_path / "three")


def test_each_average_is_its_closed_form_and_written(tmp_path):
    recipe = override(TINY, ["training.averages=[0.5, 0.0]", "training.ema_rise=constant"])
    run = Run(recipe, tmp_path)
    expected = {decay: {key: value.double() for key, value in weights_of(run).items()} for decay in (0.9, 0.5, 0.0)}
    for _ in run.train(pairs(recipe)):
        for decay, average in expected.items():
            for key, value in weights_of(run).items():
                average[key] = decay * average[key] + (1 - decay) * value.double()
    files = {0.9: "model.safetensors", 0.5: "model-0.5.safetensors", 0.0: "model-0.0.safetensors"}
    for decay, average in expected.items():
        found = load_model(tmp_path / files[decay])
        assert all((found.weights[key].double() - value).abs().max() < 1e-6 for key, value in average.items())
    assert load_model(tmp_path / files[0.5]).card["average"] == 0.5
    assert equal(dict(load_model(tmp_path / files[0.0]).weights), weights_of(run))


def test_recomputed_activations_change_nothing(tmp_path):
    for name, settings in {"kept": [], "recomputed": ["training.checkpointed=true"]}.items():
        finished(tmp_path / name, override(TINY, ["training.iterations=3", *settings]))
    assert table(tmp_path / "kept") == table(tmp_path / "recomputed")
    kept, recomputed = (load_model(tmp_path / name).weights for name in ("kept", "recomputed"))
    assert equal(dict(kept), dict(recomputed))


@pytest.mark.parametrize("settings", [["training.channels_last=true"], ["training.precision=float16"]], ids=str)
def test_layout_and_precision_change_little(tmp_path, settings):
    finished(tmp_path / "plain", override(TINY, ["training.iterations=4"]))
    finished(tmp_path / "other", override(TINY, ["training.iterations=4", *settings]))
    plain, other = ([float(row[1]) for row in table(tmp_path / name)] for name in ("plain", "other"))
    assert other == pytest.approx(plain, rel=2e-2)
    assert settings == ["training.channels_last=true"] or other != plain, "float16 is not float32"


def test_a_loss_scaled_too_far_is_scaled_less_and_the_update_left_out(tmp_path):
    recipe = override(TINY, ["training.precision=float16", "training.iterations=3"])
    run = Run(recipe, tmp_path)
    run.learner.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=2000)
    before = weights_of(run)
    steps = run.train(One())
    first = next(steps)
    assert math.isfinite(first.loss) and not math.isfinite(first.gradient_norm)
    assert equal(weights_of(run), before)
    assert run.learner.scaler.get_scale() == 2.0**126
    assert "gradient" in run.log.events("overflow")[0]
    steps.close()
    assert resumed(tmp_path, recipe).learner.scaler.get_scale() == 2.0**126


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a compiler")
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_network_learns_the_same(tmp_path):
    finished(tmp_path / "plain", override(TINY, ["training.iterations=4"]))
    finished(tmp_path / "compiled", override(TINY, ["training.iterations=4", "training.compiled=true"]))
    plain, compiled = ([float(row[1]) for row in table(tmp_path / name)] for name in ("plain", "compiled"))
    assert compiled == pytest.approx(plain, rel=1e-4)
    assert load_model(tmp_path / "compiled").denoiser()
