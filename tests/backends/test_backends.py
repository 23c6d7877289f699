"""Backends: each gives what eager torch gives, within its bound, at any size; what is missing is named."""

from __future__ import annotations

import json
import math
import shutil
import sys

import pytest
import torch
from PIL import Image

from residiff.backends import Backend, Folded, Prepared, cache, choosing, prepare
from residiff.backends.choosing import Candidate, automatic, fastest, size_class
from residiff.backends.compiled import half_network
from residiff.checkpoint import load_model
from residiff.data.images import Picture
from residiff.errors import ConfigError, ResourceError
from residiff.restore import Restorer, load
from residiff.restore.calibration import calls

EXACT = [Backend.EAGER, Backend.ONNX, Backend.OPENVINO, Backend.AUTO]
SIZES = [(1, 1), (9, 31), (40, 12)]


def picture(size, channels=3, seed=0):
    return Picture(torch.rand((channels, *size), generator=torch.Generator().manual_seed(seed)))


@pytest.fixture(scope="module")
def restorers(tiny_file):
    """The small model by each backend, each made once."""
    made = {}
    return lambda name: made.setdefault(name, load(tiny_file, "cpu", backend=name))


@pytest.fixture(scope="module")
def plain(tiny_file):
    """The model as it was trained, not folded."""
    model = load_model(tiny_file)
    restorer = Restorer(model, "cpu")
    restorer.denoiser = model.denoiser()
    return restorer


@pytest.mark.parametrize("name", EXACT)
def test_pictures_are_those_of_the_network_as_it_was_trained(restorers, plain, name):
    restorer = restorers(name)
    assert restorer.descriptor == plain.descriptor
    for seed, size in enumerate(SIZES):
        given = picture(size, seed=seed)
        ours, theirs = restorer.restore(given, seed=seed), plain.restore(given, seed=seed)
        assert ours.pixels.shape == (3, *size)
        assert float((ours.pixels - theirs.pixels).abs().max()) < 1e-4


@pytest.mark.parametrize("name", EXACT)
def test_batches_of_any_size_and_times_of_their_own(restorers, plain, name):
    network, before = restorers(name).denoiser.backbone, plain.denoiser.backbone
    multiple, source = before.size_multiple, torch.Generator().manual_seed(1)
    for count, rows, columns in ((1, 1, 2), (5, 3, 1)):
        x = torch.randn((count, before.in_channels, rows * multiple, columns * multiple), generator=source)
        times = (torch.linspace(0, 5, count),)
        with torch.inference_mode():
            for asked in (times, (times[0][:1].expand(count),)):
                pairs = zip(network(x, asked), before(x, asked), strict=True)
                assert max(float((ours - theirs).abs().max()) for ours, theirs in pairs) < 1e-4


def test_lossy_ones_are_near_and_no_more(restorers, plain):
    if "BF16" not in _capabilities():
        pytest.skip("this processor has no bfloat16")
    given = picture((24, 40))
    theirs = plain.restore(given).pixels
    off = float((restorers(Backend.OPENVINO_BF16).restore(given).pixels - theirs).abs().max())
    assert 1e-6 < off < 0.1


def _capabilities():
    import openvino

    return openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.mark.skipif("BF16" in _capabilities(), reason="this processor has bfloat16")
def test_bfloat16_is_refused_where_there_is_none(tiny_file):
    with pytest.raises(ConfigError, match="take the backend openvino"):
        load(tiny_file, backend="openvino-bf16")


def test_integers_are_calibrated_on_the_calls_of_the_model(untrained):
    model = untrained("sampling.steps=2")
    found = calls(model.denoiser(), model.recipe)
    assert len(found) == 2 * 6 and {len(t) for _, times in found for t in times} == {1}
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(found, calls(model.denoiser(), model.recipe), strict=True))
    mine = calls(model.denoiser(), model.recipe, [picture((130, 140), seed=3)])
    assert len(mine) == 2 and not torch.equal(mine[0][0], found[0][0])
    with pytest.raises(ConfigError, match="needed are 128 x 128"):
        calls(model.denoiser(), model.recipe, [picture((130, 40))])


def test_masks_come_with_procedural_pictures_alone(untrained):
    model = untrained("network.mask=true", "data.degrade.name=shadow")
    x, _ = calls(model.denoiser(), model.recipe)[0]
    assert x.shape[1] == 7
    with pytest.raises(ConfigError, match="have no masks"):
        Restorer(model, "cpu", "openvino-int8", [picture((130, 140))])


@pytest.mark.slow
def test_8_bits_lose_less_than_a_third_of_a_decibel_on_photographs(tmp_path):
    from residiff.photographs import photographs

    source, scores = torch.Generator().manual_seed(0), {"eager": [], "openvino-int8": []}
    pairs = []
    for clean in photographs().values():
        part = clean[:, :256, :256]
        pairs.append((part, (part + 25 / 255 * torch.randn(part.shape, generator=source)).clamp(0, 1)))
    for name, found in scores.items():
        restorer = load("denoise", "cpu", backend=name)
        for clean, noisy in pairs:
            result = restorer.restore(Picture(noisy)).pixels
            found.append(-10 * math.log10(float((result - clean).square().mean())))
    loss = sum(a - b for a, b in zip(scores["eager"], scores["openvino-int8"], strict=True)) / len(pairs)
    assert -0.3 < loss < 0.3


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles by a C++ compiler")
def test_compiled_pictures_are_the_same(restorers, plain):
    given = picture((24, 40))
    off = (restorers("compile").restore(given).pixels - plain.restore(given).pixels).abs().max()
    assert float(off) < 1e-4


def test_half_precision_gives_float32_of_its_own(plain):
    network = Folded(plain.denoiser.backbone)
    kept = []

    def run(x, times):
        kept.append(network(x, times))
        return kept[-1]

    x, times = torch.rand(2, network.in_channels, 8, 8), (torch.ones(1),)
    (ours,) = half_network(network, torch.bfloat16, run)(x, times)
    assert ours.dtype == torch.float32 and ours.data_ptr() != kept[0][0].data_ptr()
    assert 1e-6 < float((ours - network(x, times)[0]).abs().max()) < 0.1


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("name", ["", "Eager", "tensorrt"])
def test_what_is_no_backend_is_refused(tiny_file, name):
    with pytest.raises(ConfigError, match="allowed are auto, eager, compile, onnx"):
        load(tiny_file, backend=name)


def test_cards_and_compilers_that_are_not_there(tiny_file, monkeypatch):
    with pytest.raises(ConfigError, match="needs a graphics card, but the model is on cpu"):
        load(tiny_file, "cpu", backend="cuda")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ResourceError, match="install g"):
        load(tiny_file, "cpu", backend="compile")


@pytest.mark.parametrize(
    ("backend", "module", "extra"),
    [("onnx", "onnxruntime", "onnx"), ("openvino", "openvino", "openvino"), ("openvino-int8", "nncf", "openvino")],
)
def test_a_missing_package_names_its_extra(tiny_file, monkeypatch, backend, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ResourceError, match=rf'needs {module}; run `pip install "residiff\[{extra}\]"`'):
        load(tiny_file, "cpu", backend=backend)


def test_libraries_of_the_cpu_take_no_model_elsewhere(plain):
    denoiser = plain.denoiser.with_backbone(plain.denoiser.backbone)
    denoiser.to("meta")
    with pytest.raises(ConfigError, match="runs on the CPU, but the model is on meta"):
        prepare(denoiser, Backend.ONNX)


# ---------------------------------------------------------------- choosing, and what is remembered


@pytest.fixture
def network(untrained):
    return Folded(untrained().denoiser().backbone)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "residiff"


def slow(seconds, asked):
    """A candidate that takes so long, and notes that it was asked."""

    def make(network):
        def run(x, times):
            asked.append(seconds)
            import time

            time.sleep(seconds)
            return network(x, times)

        return Prepared(network, run)

    return make


def missing(network):
    raise ResourceError("not here")


def test_the_fastest_is_chosen_for_each_size_and_remembered(network, place):
    asked = []
    rows = [
        Candidate(Backend.EAGER, slow(0.02, asked)),
        Candidate(Backend.ONNX, slow(0.0, asked)),
        Candidate(Backend.OPENVINO, missing),
    ]
    x, times = torch.rand(1, network.in_channels, 8, 8), (torch.ones(1),)
    automatic(network, rows)(x, times)
    assert asked.count(0.02) == 3 and asked[-1] == 0.0
    (entry,) = place.iterdir()
    assert json.loads(entry.read_bytes()[64:]) == {"backend": "onnx"}
    asked.clear()
    chosen = automatic(network, rows)
    chosen(x, times)
    assert asked == [0.0]
    chosen(torch.rand(4, network.in_channels, 8, 8), times)
    assert asked.count(0.02) == 3 and len(list(place.iterdir())) == 2


def test_a_broken_entry_is_measured_anew(network, place):
    asked = []
    rows = [Candidate(Backend.EAGER, slow(0.0, asked)), Candidate(Backend.ONNX, slow(0.02, asked))]
    x, times = torch.rand(1, network.in_channels, 8, 8), (torch.ones(1),)
    automatic(network, rows)(x, times)
    (entry,) = place.iterdir()
    whole = entry.read_bytes()
    for damaged in (b"", whole[:70], whole[:-3] + b"xx}", b"{}"):
        entry.write_bytes(damaged)
        asked.clear()
        automatic(network, rows)(x, times)
        assert len(asked) > 2 and cache._whole(entry) is not None


def test_one_that_has_gone_since_gives_way_to_the_first(network, place):
    rows = [Candidate(Backend.EAGER, slow(0.02, [])), Candidate(Backend.ONNX, slow(0.0, []))]
    x, times = torch.rand(1, network.in_channels, 8, 8), (torch.ones(1),)
    automatic(network, rows)(x, times)
    gone = [rows[0], Candidate(Backend.ONNX, missing)]
    assert automatic(network, gone)(x, times)[0].shape == (1, 3, 8, 8)


def test_one_alone_is_not_measured(network):
    assert fastest({Backend.EAGER: None}, None, None) is Backend.EAGER  # type: ignore[dict-item,arg-type]


def test_auto_never_takes_what_loses():
    from residiff.backends.preparing import _candidates

    names = {row.name for row in _candidates(torch.device("cpu"))}
    assert names == {Backend.EAGER, Backend.ONNX, Backend.OPENVINO}
    assert {row.name for row in _candidates(torch.device("meta"))} == {Backend.EAGER}
    assert choosing.size_class(torch.zeros(1, 3, 256, 256)) == size_class(torch.zeros(4, 3, 128, 128)) == 17


def test_keys_know_weights_and_threads(untrained):
    one, same, other = (Folded(untrained(seed=seed).denoiser().backbone) for seed in (0, 0, 1))
    assert cache.key(one, "a") == cache.key(same, "a")
    assert len({cache.key(one, "a"), cache.key(one, "b"), cache.key(other, "a")}) == 3
    before, threads = cache.key(one), torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    assert cache.key(one) != before
    torch.set_num_threads(threads)


def test_a_cache_that_cannot_be_written_is_done_without(monkeypatch, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cache.remembered("name", lambda: b"made") == b"made"


# ---------------------------------------------------------------- the command


def test_restore_takes_a_backend(cli, tiny_file, picture_file, tmp_path):
    source = picture_file("in.png", (20, 30, 3))
    results = []
    for backend in ("eager", "onnx"):
        target = tmp_path / f"{backend}.png"
        assert cli("restore", source, "-o", target, "-m", tiny_file, "--backend", backend).code == 0
        with Image.open(target) as image:
            results.append(torch.tensor(list(image.convert("RGB").tobytes())).int())
    assert int((results[0] - results[1]).abs().max()) <= 1
    said = cli("restore", source, "-o", tmp_path / "x.png", "-m", tiny_file, "--backend", "fast")
    assert said.code == 2 and "allowed are auto" in said.err
    said = cli("restore", source, "-o", tmp_path / "x.png", "-m", tiny_file, "--calibrate", tmp_path)
    assert said.code == 2 and "--calibrate is for --backend openvino-int8" in said.err
