"""`models export`: the graph gives what the network gives, the JSON is the sampler, the example needs no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from residiff.checkpoint import save_model
from residiff.errors import ConfigError, ModelFileError
from residiff.inference import sampled
from residiff.noise import seeded_noise
from residiff.restore import Restorer, exporting
from residiff.restore.exporting import export_model, sampler_facts

EXAMPLE = Path(__file__).parents[2] / "examples/run_onnx.py"
SETTINGS = {
    "eta": ("sampling.steps=3", "sampling.eta=0.5"),
    "one": ("sampling.steps=1", "sampling.eta=0"),
    "direct": ("sampling.steps=3", "sampling.eta=0", "sampling.sampler=direct"),
    "multistep": ("sampling.steps=4", "sampling.eta=0", "sampling.sampler=multistep"),
    "self": ("sampling.steps=3", "network.self_condition=true"),
    "x0": ("sampling.steps=3", "prediction.kind=x0"),
    "both": ("sampling.steps=3", "prediction.kind=residual-noise", "sampling.order=residual-first"),
}


def mixed(weights, things):
    return sum(w * thing for name, values in weights.items() for w, thing in zip(values, things[name], strict=False))


@torch.inference_mode()
@pytest.mark.parametrize("name", SETTINGS)
def test_the_facts_are_the_sampler(untrained, name):
    recipe = untrained(*SETTINGS[name]).recipe
    denoiser = untrained(*SETTINGS[name]).denoiser()
    facts = json.loads(json.dumps(sampler_facts(recipe)))
    x_in = torch.rand(1, 3, 8, 8) * 2 - 1
    noise = [torch.randn(1, 3, 8, 8) for _ in range(facts["noise_fields"])]
    drawn = iter(noise)
    *_, last = sampled(denoiser, recipe, x_in, lambda: next(drawn))
    assert next(drawn, None) is None
    things = {"x_in": [x_in], "noise": noise, "x0": [], "residual": [], "eps": []}
    for call in facts["calls"]:
        x_t = mixed(call["x_t"], things)
        previous = things["x0"][-1] if things["x0"] else torch.zeros_like(x_in)
        seen = {"previous_x0": previous, "x_t": x_t, "x_in": x_in}
        given = torch.cat([seen[key] for key in facts["shown"]], dim=1)
        outputs = denoiser.backbone(given, tuple(torch.tensor([time]) for time in call["times"]))
        parts = [x_t, x_in, *outputs]
        for key, of in (("x0", "x0"), ("residual", "residual"), ("eps", "noise")):
            things[key].append(sum(w * part for w, part in zip(call["estimate"][of], parts, strict=True)))
    assert float((mixed(facts["result"], things) - last.x).abs().max()) < 1e-5


def test_the_facts_name_what_the_model_is_shown(untrained):
    facts = sampler_facts(untrained("network.mask=true", "network.preprocess=expose", "network.clamp=x0").recipe)
    assert facts["shown"] == ["x_t", "x_in", "mask"] and facts["mask_form"] == "signed"
    assert (facts["preprocess"], facts["clamp"], facts["size_multiple"]) == ("expose", "x0", 4)
    level = facts["calls"][0]["level"]
    assert level["signal"] == pytest.approx(1) and level["residual"] == pytest.approx(1) and level["memory"] == 1
    with pytest.raises(ConfigError, match="steps is 0"):
        sampler_facts(untrained().recipe, 0)


@pytest.mark.parametrize("format", ["onnx", "torch"])
def test_a_graph_and_its_sampler_are_written(untrained, tmp_path, format):
    done = export_model(untrained(), tmp_path, format)
    assert done.difference < 1e-4
    assert done.graph.name == f"tiny{exporting.FORMATS[format]}" and done.sampler.name == "tiny.json"
    assert json.loads(done.sampler.read_text())["graph"] == done.graph.name


def test_a_graph_that_differs_is_not_written(untrained, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "_outputs", lambda data, format, given: [given[0][:, :3]])
    with pytest.raises(ModelFileError, match="it is not written"):
        export_model(untrained(), tmp_path / "a.pt2")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "format", "said"), [("a.onnx", "torch", "of format onnx"), ("a", "trt", "allowed are")]
)
def test_formats_that_do_not_fit_are_refused(untrained, tmp_path, name, format, said):
    with pytest.raises(ConfigError, match=said):
        export_model(untrained(), tmp_path / name, format)


def test_the_example_restores_without_torch(untrained, cli, tmp_path, draw):
    """It is run where neither torch nor residiff can be imported; at most one grey level off."""
    model = untrained("sampling.steps=3")
    save_model(tmp_path / "model.safetensors", model)
    source = tmp_path / "in.png"
    Image.fromarray(draw((21, 34, 3))).save(source)
    said = cli("models", "export", tmp_path / "model.safetensors", "-o", tmp_path / "out", "--json")
    assert said.code == 0 and json.loads(said.out)["difference"] < 1e-4
    facts = tmp_path / "out/tiny.json"
    draw_field = seeded_noise(0, (1, 3, 24, 36))
    fields = [draw_field()[0].numpy() for _ in range(json.loads(facts.read_text())["noise_fields"])]
    assert len(fields) > 1
    np.save(tmp_path / "noise.npy", np.stack(fields))
    before = "import sys; sys.modules['torch'] = sys.modules['residiff'] = None; import runpy; sys.argv = sys.argv[1:]"
    run = [sys.executable, "-c", f"{before}; runpy.run_path(sys.argv[0], run_name='__main__')", EXAMPLE]
    subprocess.run([*run, facts, source, tmp_path / "a.png", "--noise", tmp_path / "noise.npy"], check=True)
    theirs = Restorer(model, "cpu")(Image.open(source))
    ours = np.asarray(Image.open(tmp_path / "a.png"), int)
    assert np.abs(ours - np.asarray(theirs, int)).max() <= 1 and ours.shape == (21, 34, 3)
    subprocess.run([*run, facts, source, tmp_path / "b.png"], check=True)
    assert not np.array_equal(np.asarray(Image.open(tmp_path / "b.png")), ours)


def test_the_example_is_short():
    assert len(EXAMPLE.read_text().splitlines()) <= 60
