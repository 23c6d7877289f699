"""The quality benchmark: its pictures, its scores with restorers of known quality, and its command."""

from __future__ import annotations

import importlib
import io
import json
import math
import sys
from pathlib import Path
from statistics import fmean
from types import ModuleType, SimpleNamespace

import pytest
import torch
from rich.console import Console
from torch import Tensor

import residiff
from residiff.errors import ConfigError, ResourceError
from residiff.metrics import psnr
from residiff.photographs import photographs

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def quality() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module("quality")
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def baselines(quality) -> ModuleType:
    return sys.modules["baselines"]


def unchanged(image: Tensor, mask: Tensor | None = None, *, steps: int | None = None, seed: int = 0) -> Tensor:
    return image


class Oracle:
    """Knows the truth of a task's pictures, and gives it blended with the input."""

    def __init__(self, samples, share: float) -> None:
        self.truths = {sample.degraded.sum().item(): sample.clean for sample in samples}
        self.share = share
        self.calls: list[tuple[bool, int | None, int]] = []

    def __call__(self, image: Tensor, mask: Tensor | None = None, *, steps: int | None = None, seed: int = 0) -> Tensor:
        self.calls.append((mask is not None, steps, seed))
        return torch.lerp(image, self.truths[image.sum().item()], self.share)


def task(quality, name: str, *methods):
    """A task of the benchmark with quick baselines."""
    whole = quality.TASKS[name]
    return quality.Task(name, whole.samples, whole.metrics, lambda: methods)


def test_photographs():
    found = photographs()
    assert {"astronaut", "coffee", "chelsea", "rocket"} <= set(found)
    for image in found.values():
        assert image.dtype == torch.float32
        assert image.shape[0] == 3
        assert min(image.shape[1:]) >= 256
        assert torch.equal((image * 255).round() / 255, image)
        assert 0.1 < image.mean() < 0.9
    assert photographs()["coffee"].equal(found["coffee"])


def test_photographs_without_scikit_image(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    with pytest.raises(ResourceError, match=r'pip install "residiff\[demo\]"'):
        photographs()


def test_noisy_pictures(quality):
    samples = quality.noisy_samples()
    assert [sample.name for sample in samples] == ["astronaut", "coffee", "chelsea", "rocket"]
    assert all(sample.clean.shape == (3, 256, 256) for sample in samples)
    assert fmean(psnr(sample.degraded, sample.clean) for sample in samples) == pytest.approx(20.54, abs=0.02)
    assert all(torch.equal(a.degraded, b.degraded) for a, b in zip(samples, quality.noisy_samples(), strict=True))


def test_dark_pictures_lie_in_the_range(quality):
    samples = quality.dark_samples()
    assert len(samples) >= 12
    assert len({sample.name.split("-")[0] for sample in samples}) >= 4
    assert all(7 <= psnr(sample.degraded, sample.clean) <= 12 for sample in samples)


def test_shadows_and_their_masks(quality):
    samples = quality.shadow_samples()
    assert len(samples) == 20
    for sample in samples:
        lit = sample.mask[0] == 0
        assert lit.any()
        assert torch.equal(sample.degraded[:, lit], sample.clean[:, lit])
        assert quality.lit_psnr(sample.degraded, sample) == math.inf
        assert quality.shadow_psnr(sample.degraded, sample) < psnr(sample.degraded, sample.clean)


def test_scores_of_restorers_of_known_quality(quality):
    denoise = task(quality, "denoise")
    oracle = Oracle(denoise.samples(), 0.9)
    start, ours = (run.result for run in quality.evaluate(denoise, oracle, 3))
    assert oracle.calls == [(False, 3, 0)] * 4
    assert ours.mean("psnr") - start.mean("psnr") == pytest.approx(20, abs=0.5)  # a tenth of the error; then rounding
    assert ours.mean("ssim") > 0.95 > start.mean("ssim")
    assert quality.summary([start, ours]).startswith("denoise: +19.") or "+20." in quality.summary([start, ours])


def test_doing_nothing_gains_nothing(quality, monkeypatch):
    monkeypatch.setattr(quality, "DRAWS", 1)
    start, ours = (run.result for run in quality.evaluate(task(quality, "low-light"), unchanged, None))
    assert ours.scores == start.scores
    assert quality.summary([start, ours]) == "low-light: +0.00 dB over the input"


def test_shadow_scores_both_sides_of_the_mask(quality, monkeypatch):
    monkeypatch.setattr(quality, "DRAWS", 1)
    shadow = task(quality, "shadow")
    samples = shadow.samples()
    oracle = Oracle(samples, 1.0)

    def spills(image: Tensor, mask: Tensor | None = None, *, steps: int | None = None, seed: int = 0) -> Tensor:
        return torch.where(mask == 0, oracle(image, mask) * 0.5, oracle(image, mask))

    perfect = quality.evaluate(shadow, oracle, None)[-1].result
    assert oracle.calls[0][0]
    assert perfect.mean("psnr_shadow") == perfect.mean("psnr_lit") == math.inf
    spilled = quality.evaluate(shadow, spills, None)[-1].result
    assert spilled.mean("psnr_shadow") == math.inf
    assert max(spilled.scores["psnr_lit"]) < 20
    with pytest.raises(ConfigError, match="has no mask"):
        quality.lit_psnr(samples[0].degraded, quality.noisy_samples()[0])


def test_the_best_setting_is_taken(quality, baselines):
    sample = baselines.Sample("grey", torch.full((3, 16, 16), 0.5), torch.full((3, 16, 16), 0.25))
    best = quality.run(task(quality, "denoise"), baselines.gamma(), [sample])
    assert best.result.settings == "gamma=0.5"
    assert best.result.mean("psnr") > 45


@pytest.fixture
def corner(quality, baselines, monkeypatch):
    """A 48 x 48 piece of the first picture of a task."""
    monkeypatch.setattr(quality, "DRAWS", 1)

    def cut(name: str):
        first = quality.TASKS[name].samples()[0]
        return baselines.Sample(first.name, first.clean[:, :48, 180:228], first.degraded[:, :48, 180:228].contiguous())

    return cut


@pytest.mark.parametrize(
    ("name", "method", "gain"),
    [
        ("denoise", lambda baselines: baselines.nl_means(25), 7),
        ("low-light", lambda baselines: baselines.equalised(), 3),
        ("low-light", lambda baselines: baselines.clahe(), 3),
    ],
)
def test_classical_methods_work(quality, baselines, corner, name, method, gain):
    sample = corner(name)
    result = quality.run(task(quality, name), method(baselines), [sample]).result
    assert result.mean("psnr") > psnr(sample.degraded, sample.clean) + gain


def test_opencv_sees_blue_first(baselines, corner):
    seen = []

    def denoise(image, _, h, h_colour, template, search):
        seen.append((image[0, 0].tolist(), h, h_colour, template, search))
        return image

    sample = corner("denoise")
    output = baselines._opencv(sample, SimpleNamespace(fastNlMeansDenoisingColored=denoise), 10, 20)
    assert seen == [((sample.degraded[:, 0, 0] * 255).round().int().tolist()[::-1], 10, 20, 7, 21)]
    assert torch.allclose(output, sample.degraded, atol=1e-6)


def test_missing_extra_is_named(baselines, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ResourceError, match=r'needs cv2; run `pip install "residiff\[benchmark\]"`'):
        baselines.opencv_means()


def test_command_writes_numbers_and_pictures(quality, baselines, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(quality.TASKS, "shadow", task(quality, "shadow"))
    half = quality.Method("half", baselines.gamma().candidates[:1])
    monkeypatch.setitem(quality.TASKS, "denoise", task(quality, "denoise", half))
    monkeypatch.setattr(quality, "DRAWS", 1)
    asked = []
    monkeypatch.setattr(residiff, "load", lambda name: asked.append(name) or unchanged, raising=False)
    options = ["--tasks", "denoise", "shadow", "--model", "shadow=mine.safetensors", "--json", f"{tmp_path}/q.json"]
    assert quality.main([*options, "--pictures", str(tmp_path)]) == 0
    assert asked == ["denoise", "mine.safetensors"]
    printed = capsys.readouterr().out
    assert "denoise: mean of 4 pictures" in printed
    assert "denoise: +0.00 dB over the input" in printed
    found = json.loads((tmp_path / "q.json").read_text())
    assert [(row["task"], row["method"]) for row in found["results"]] == [
        *(("denoise", method) for method in ("input", "half", "residiff")),
        *(("shadow", method) for method in ("input", "residiff")),
    ]
    assert found["results"][-1]["mean"]["psnr_lit"] is None
    assert len(found["results"][-1]["scores"]["psnr_shadow"]) == 5
    assert {"date", "machine"} <= set(found)
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["denoise.png", "shadow.png"]


@pytest.mark.parametrize("pair", ["denoise", "other=x"])
def test_bad_models_are_refused(quality, pair, capsys):
    assert quality.main(["--model", pair]) == 2
    assert "give NAME=PATH with NAME one of denoise, low-light, shadow" in capsys.readouterr().err


def test_table_shows_the_least_outside_and_gains(quality):
    scores = {"psnr_shadow": (20.0, 30.0), "psnr_lit": (41.0, 99.0), "psnr": (25.0, 25.0), "ssim": (0.5, 0.7)}
    start = quality.Result("shadow", "input", "", 0.0, ("a", "b"), {**scores, "psnr_shadow": (10.0, 10.0)})
    ours = quality.Result("shadow", "residiff", "own steps", 0.5, ("a", "b"), scores)
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(quality.table([start, ours]))
    last = next(line for line in console.export_text().splitlines() if "residiff" in line)
    assert [cell.strip() for cell in last.strip("│").split("│")] == [
        "residiff", "25.00", "+15.00", "41.00", "25.00", "+0.00", "0.6000", "0.50", "own steps",
    ]  # fmt: skip
