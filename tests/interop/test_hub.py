"""The hub: what is laid out can be loaded, what is sent arrives whole, and what goes wrong is said with its mend."""

import json
import re
import sys
from types import SimpleNamespace

import httpx
import huggingface_hub
import pytest
import torch
from huggingface_hub import errors

import residiff
from residiff import models
from residiff.checkpoint import load_model
from residiff.errors import ConfigError, ModelFileError, ResourceError
from residiff.interop.cards import model_card
from residiff.interop.hub import from_pretrained, push_to_hub, save_pretrained
from residiff.models import HubOptions


@pytest.fixture
def image():
    return torch.rand(3, 16, 20, generator=torch.Generator().manual_seed(0))


def head_of(card):
    """The head as huggingface_hub reads it."""
    return huggingface_hub.ModelCard(card, ignore_metadata_errors=False).data


# ---------------------------------------------------------------- the layout


def test_what_is_laid_out_can_be_loaded(tiny_file, image, tmp_path):
    written = save_pretrained(tiny_file, tmp_path / "mine", licence="cc-by-4.0")
    assert [path.name for path in written] == ["model.safetensors", "config.json", "README.md"]
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {path.name for path in written}
    assert (tmp_path / "mine/model.safetensors").read_bytes() == tiny_file.read_bytes()
    expected = residiff.load(tiny_file, "cpu")(image)
    assert torch.equal(from_pretrained(tmp_path / "mine", device="cpu")(image), expected)
    assert torch.equal(residiff.load(tmp_path / "mine", "cpu")(image), expected)


def test_a_model_in_memory_is_laid_out_too(untrained, image, tmp_path):
    save_pretrained(untrained(), tmp_path)
    held = load_model(tmp_path)
    assert held.recipe == untrained().recipe and held.card == untrained().card
    save_pretrained(tmp_path, tmp_path / "again")
    assert load_model(tmp_path / "again").sha256 == held.sha256


def test_the_configuration_is_the_recipe(tiny_file, tmp_path):
    save_pretrained(tiny_file, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    held = load_model(tiny_file)
    assert config["recipe"] == held.recipe.model_dump(mode="json", exclude_none=True)
    assert (config["library_name"], config["task"], config["card"]) == ("residiff", "denoise", held.card)


@pytest.mark.parametrize("name", ["denoise", "low-light", "shadow"])
def test_the_card_of_a_bundled_model_has_its_results(name):
    held = load_model(models.bundled()[name])
    card = model_card(held, f"somebody/{name}")
    data = head_of(card)
    assert (data.library_name, data.license, data.pipeline_tag) == ("residiff", "apache-2.0", "image-to-image")
    assert name in card and {"residiff", "diffusion"} <= set(data.tags)
    scores = {result.metric_type: result.metric_value for result in data.eval_results}
    own = held.card["figures"]["residiff"]
    assert scores == {"psnr": own["psnr"], "ssim": own["ssim"]}
    for method, row in held.card["figures"].items():
        assert re.search(rf"(?m)^\| {re.escape(method)} \|.*{row['psnr']}", card)
    assert held.recipe.toml().strip() in card and f'residiff.load("somebody/{name}")' in card


def test_the_card_of_a_run_has_its_validation(untrained):
    from dataclasses import replace

    held = replace(untrained(), card={"data": "mine", "iterations": 40, "validation": {"psnr": 31.5, "images": 8}})
    card = model_card(held, "mine")
    assert [one.metric_value for one in head_of(card).eval_results] == [31.5]
    assert "| validation | 31.5 | 8 |" in card and "| licence | not stated |" in card
    assert head_of(card).license is None


def test_a_card_holds_no_more_than_a_cell(untrained):
    """What a stranger's file says cannot write the head, a row, or a tag of its own."""
    from dataclasses import replace

    bad = "x\n---\nlicense: mit\n| a | b |\n<script>"
    held = replace(untrained(), card={"data": bad, "figures": {"residiff": {"psnr": 1.0}, bad: {"psnr": bad}}})
    card = model_card(held, "mine")
    assert head_of(card).license is None and len(head_of(card).eval_results) == 1
    head, body = card.split("\n---\n", 1)
    assert "license" not in head.replace("license: mit\\n", "") and "<script" not in body and "\n---\n" not in body


def test_a_generator_is_told_to_generate(untrained):
    held = untrained("task=generate", "network.shows_input=false")
    card = model_card(held, "mine")
    assert head_of(card).pipeline_tag == "unconditional-image-generation" and "residiff generate" in card


# ---------------------------------------------------------------- from the hub


def test_a_model_in_the_cache_is_loaded_by_its_id(hub, tiny_file, image):
    hub.put("somebody/tiny", "model.safetensors", tiny_file.read_bytes())
    hub.put("somebody/tiny", "model.safetensors", tiny_file.read_bytes(), revision="v1", commit="f" * 40)
    expected = residiff.load(tiny_file, "cpu")(image)
    for source, options in (
        ("somebody/tiny", {}),
        ("somebody/tiny@v1", {}),
        ("somebody/tiny", {"revision": "v1"}),
        ("somebody/tiny", {"cache_dir": hub.cache, "local_files_only": True}),
    ):
        assert torch.equal(from_pretrained(source, device="cpu", **options)(image), expected)
    assert torch.equal(residiff.load("somebody/tiny", "cpu")(image), expected)
    assert models.find("somebody/tiny@v1").parent.name == "f" * 40


def test_a_damaged_model_of_the_hub_is_found(hub, tiny_file):
    hub.put("somebody/tiny", "model.safetensors", tiny_file.read_bytes()[:-9])
    with pytest.raises(ModelFileError, match="SHA-256 does not match"):
        from_pretrained("somebody/tiny")


def test_the_options_reach_the_hub(monkeypatch, tiny_file, tmp_path):
    asked = []
    fake = SimpleNamespace(hf_hub_download=lambda *names, **options: asked.append((names, options)) or str(tiny_file))
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    from_pretrained("a/b", revision="r", token="secret", cache_dir=tmp_path, local_files_only=True, device="cpu")
    names, options = asked[0]
    assert names == ("a/b", "model.safetensors")
    assert options == {"revision": "r", "token": "secret", "cache_dir": tmp_path, "local_files_only": True}


def http(kind, text="first line\nsecond line", status=404):
    """An error of huggingface_hub's as it comes of a response."""
    request = httpx.Request("GET", "https://example.org")
    return kind(text, response=httpx.Response(status, request=request))


REFUSALS = {
    "repository": (http(errors.RepositoryNotFoundError), ModelFileError, "no 'a/b', or it is private.*hf auth login"),
    "consent": (http(errors.GatedRepoError, status=403), ModelFileError, "asks for consent"),
    "revision": (http(errors.RevisionNotFoundError), ModelFileError, "no such revision"),
    "file": (http(errors.RemoteEntryNotFoundError), ModelFileError, "no model.safetensors.*residiff models import a/b"),
    "cache": (errors.LocalEntryNotFoundError("x"), ResourceError, "not in the cache and the hub is out of reach"),
    "offline": (errors.OfflineModeIsEnabled("x"), ResourceError, "unset HF_HUB_OFFLINE"),
    "server": (http(errors.HfHubHTTPError, status=503), ResourceError, "first line; try again later$"),
    "network": (ConnectionError("refused"), ResourceError, "cannot fetch 'a/b' from the hub: refused; try again"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_said_with_its_mend(monkeypatch, name):
    error, kind, message = REFUSALS[name]

    def refuse(*names, **options):
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(kind, match=message) as told:
        models.find("a/b")
    assert "\n" not in str(told.value) and type(told.value) is kind


def test_offline_it_says_so_without_a_fake(hub):
    with pytest.raises(ResourceError, match="not in the cache and the hub is out of reach"):
        models.find("somebody/else")
    with pytest.raises(ResourceError, match="not in the cache"):
        models.find("somebody/else", HubOptions(local_files_only=True, cache_dir=hub.cache))


@pytest.mark.parametrize("source", ["a/b/c", "./a/b", "a/b.safetensors", "a b/c", "a/b@", "@a/b", "a/b@x y"])
def test_what_is_no_hub_id_is_not_looked_for_there(monkeypatch, source):
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *names, **options: pytest.fail("asked"))
    with pytest.raises(ModelFileError, match="no model"):
        models.find(source)


# ---------------------------------------------------------------- to the hub


def test_what_is_sent_can_be_loaded_by_its_id(hub, monkeypatch, tiny_file, image, tmp_path):
    monkeypatch.setattr(huggingface_hub, "HfApi", hub.api())
    address = push_to_hub(tiny_file, "somebody/sent", tmp_path / "sent", token="secret", private=True, licence="mit")
    assert address.startswith("https://example.org/somebody/sent/commit/")
    assert hub.calls == [
        ("token", "secret"),
        ("create", "somebody/sent", True, True),
        ("upload", "somebody/sent", "Model of residiff", None),
    ]
    expected = residiff.load(tiny_file, "cpu")(image)
    assert torch.equal(from_pretrained("somebody/sent", device="cpu")(image), expected)
    assert 'residiff.load("somebody/sent")' in (tmp_path / "sent/README.md").read_text()
    assert "secret" not in "".join(path.read_text("utf-8", "ignore") for path in (tmp_path / "sent").iterdir())


def test_only_what_belongs_there_is_sent(hub, monkeypatch, tiny_file, tmp_path):
    monkeypatch.setattr(huggingface_hub, "HfApi", hub.api())
    (tmp_path / "notes.txt").write_text("private")
    push_to_hub(tiny_file, "somebody/sent", tmp_path)
    assert not list(hub.cache.rglob("notes.txt"))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (http(errors.HfHubHTTPError, "401 Unauthorized", 401), r"refuses \(401 Unauthorized\).*hf auth login"),
        (errors.LocalTokenNotFoundError("no token"), "hf auth login"),
        (errors.OfflineModeIsEnabled("x"), "unset HF_HUB_OFFLINE"),
        (ConnectionError("refused"), "refused; see the network"),
    ],
)
def test_a_refusal_to_take_it_is_said(hub, monkeypatch, tiny_file, tmp_path, error, message):
    monkeypatch.setattr(huggingface_hub, "HfApi", hub.api(error))
    with pytest.raises(ResourceError, match=f"cannot send to 'a/b': .*{message}"):
        push_to_hub(tiny_file, "a/b", tmp_path)


def test_mistakes_are_found_before_anything_is_written(tiny_file, tmp_path, monkeypatch):
    place = tmp_path / "out"
    with pytest.raises(ConfigError, match="repository is 'mine'; give owner/name"):
        push_to_hub(tiny_file, "mine", place)
    with pytest.raises(ConfigError, match="licence is 'Apache 2'"):
        save_pretrained(tiny_file, place, licence="Apache 2")
    with pytest.raises(ModelFileError, match="no model 'nothing'"):
        save_pretrained("nothing", place)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ResourceError, match="pip install huggingface_hub"):
        push_to_hub(tiny_file, "a/b", place)
    assert not place.exists()


# ---------------------------------------------------------------- the command


def test_the_command_lays_out_and_sends(cli, hub, monkeypatch, tiny_file, tmp_path):
    done = cli("models", "share", tiny_file, "-o", tmp_path / "out", "--json")
    assert done.code == 0 and len(json.loads(done.out)["written"]) == 3
    monkeypatch.setattr(huggingface_hub, "HfApi", hub.api())
    done = cli("models", "share", tiny_file, "-o", tmp_path / "out", "--to", "somebody/it", "--licence", "mit")
    assert done.code == 0 and "wrote https://example.org/somebody/it" in done.err
    info = cli("models", "info", "somebody/it", "--json")
    assert json.loads(info.out)["sha256"] == load_model(tiny_file).sha256
