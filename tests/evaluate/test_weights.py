"""Weights of metrics: found where they may lie, verified before they are read, and told how to be got."""

import importlib.util
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from residiff.adapters import archive
from residiff.errors import ConfigError, ModelFileError, ResourceError
from residiff.evaluate.weights import PUBLISHED_WEIGHTS, Published, find_weights, how_to_get

TORCHMETRICS = Path(importlib.util.find_spec("torchmetrics").origin).parent / "functional/image/lpips_models"


@pytest.mark.parametrize("name", PUBLISHED_WEIGHTS)
def test_every_row_says_what_to_fetch(name):
    row = PUBLISHED_WEIGHTS[name]
    assert re.fullmatch(r"[0-9a-f]{64}", row.sha256) and row.size > 0 and row.licence and row.purpose
    assert row.url.startswith("https://") and Path(row.file).name == row.file
    # Publishers put the first eight digits of the hash into the name
    digits = re.search(r"-([0-9a-f]{8})\.pth$", row.url)
    assert (digits is not None) == ("pytorch." in row.url or "pytorch-" in row.url)
    assert digits is None or (row.sha256.startswith(digits[1]) and row.url.endswith(f"/{row.file}"))
    sentence = how_to_get(name, Path("/weights"))
    assert all(word in sentence for word in (row.url, row.sha256, f"{row.size:,}", f"/weights/{row.file}"))


def test_rows_do_not_share_files():
    names = [name for row in PUBLISHED_WEIGHTS.values() for name in row.names]
    assert len(set(names)) == len(names)
    assert len({row.sha256 for row in PUBLISHED_WEIGHTS.values()}) == len(PUBLISHED_WEIGHTS) == 8


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_published_files_are_those_of_the_table(net):
    """The real files, as a package carries them, through the one reader of pickles."""
    found = find_weights(f"lpips-{net}", TORCHMETRICS)
    row = PUBLISHED_WEIGHTS[f"lpips-{net}"]
    assert (found.sha256, found.path.stat().st_size) == (row.sha256, row.size)
    assert sorted(found.tensors) == [f"lin{index}.model.1.weight" for index in range(5)]
    assert all(float(value.min()) >= 0 for value in found.tensors.values())


@pytest.fixture
def known(tmp_path, monkeypatch):
    """A folder with a file of the row "known"."""
    folder = tmp_path / "weights"
    folder.mkdir()
    save_file({"a": torch.ones(2)}, folder / "known.safetensors")
    digest = archive.sha256(folder / "known.safetensors")
    row = Published("Tests", "https://example.org/files/other.safetensors", "known.safetensors", digest, 80, "none")
    monkeypatch.setitem(PUBLISHED_WEIGHTS, "known", row)
    monkeypatch.delenv("RESIDIFF_WEIGHTS", raising=False)
    monkeypatch.chdir(tmp_path)
    return folder


def test_they_are_found_by_folder_file_and_variable(known, monkeypatch):
    path = known / "known.safetensors"
    for source in (known, str(known), path, str(path)):
        found = find_weights("known", source)
        assert found.path == path and torch.equal(found.tensors["a"], torch.ones(2))
        assert found.sha256 == archive.sha256(path)
    monkeypatch.setenv("RESIDIFF_WEIGHTS", str(known))
    assert find_weights("known").path == path
    path.rename(known / "other.safetensors")
    assert find_weights("known").path == known / "other.safetensors"


def test_what_is_absent_is_told_how_to_be_got(known, tmp_path, monkeypatch):
    row, empty = PUBLISHED_WEIGHTS["known"], tmp_path / "empty"
    empty.mkdir()
    for source, said in [(empty, f"{empty} holds none"), (tmp_path / "no.pth", "no.pth is not there")]:
        with pytest.raises(ResourceError, match=re.escape(said)) as caught:
            find_weights("known", source)
        assert row.url in str(caught.value) and row.sha256 in str(caught.value) and "Tests" in str(caught.value)
    assert f"to {empty / row.file}" in str(pytest.raises(ResourceError, find_weights, "known", empty).value)
    with pytest.raises(ResourceError, match=r"no folder is named.*\$RESIDIFF_WEIGHTS/known.safetensors"):
        find_weights("known")
    monkeypatch.setenv("RESIDIFF_WEIGHTS", str(empty))
    with pytest.raises(ResourceError, match=re.escape(str(empty / row.file))):
        find_weights("known")
    with pytest.raises(ConfigError, match="no weights are called 'alex'; known are alexnet, vgg16"):
        find_weights("alex")


def test_another_file_is_refused_before_it_is_read(known, monkeypatch):
    path = known / "known.safetensors"
    path.write_bytes(path.read_bytes() + b"\0")
    monkeypatch.setattr(archive, "read", lambda path: pytest.fail("it was read"))
    with pytest.raises(ModelFileError, match=f"its SHA-256 is {archive.sha256(path)}, expected is") as caught:
        find_weights("known", known)
    assert f"{path}@sha256:{archive.sha256(path)}" in str(caught.value)


def test_a_hash_of_ones_own_stands_in_for_the_tables(known, tmp_path):
    path = tmp_path / "converted.safetensors"
    save_file({"a": torch.zeros(3)}, path)
    with pytest.raises(ModelFileError, match="is not the file of 'known'"):
        find_weights("known", path)
    found = find_weights("known", f"{path}@sha256:{archive.sha256(path)}")
    assert torch.equal(found.tensors["a"], torch.zeros(3)) and found.sha256 == archive.sha256(path)
    with pytest.raises(ModelFileError, match="expected is 0000"):
        find_weights("known", f"{path}@sha256:{'0' * 64}")
    np.savez(tmp_path / "arrays.npz", a=np.ones(4))
    found = find_weights("known", f"{tmp_path / 'arrays.npz'}@sha256:{archive.sha256(tmp_path / 'arrays.npz')}")
    assert torch.equal(found.tensors["a"], torch.ones(4).double())


def test_files_on_the_hub_need_their_hash(known, tmp_path, monkeypatch):
    path, asked = known / "known.safetensors", []

    def hf_hub_download(repository, file):
        asked.append((repository, file))
        if repository == "some/missing":
            raise OSError("404")
        return str(path)

    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(hf_hub_download=hf_hub_download))
    with pytest.raises(ConfigError, match="give the hash: some/model/sub/a.pth@sha256"):
        find_weights("known", "some/model/sub/a.pth")
    found = find_weights("known", f"some/model/sub/a.safetensors@sha256:{archive.sha256(path)}")
    assert found.path == path and asked == [("some/model", "sub/a.safetensors")]
    with pytest.raises(ModelFileError, match="expected is 1111"):
        find_weights("known", f"some/model/a.pth@sha256:{'1' * 64}")
    with pytest.raises(ResourceError, match="cannot fetch some/missing/a.pth from the hub: 404"):
        find_weights("known", f"some/missing/a.pth@sha256:{'1' * 64}")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ResourceError, match="pip install huggingface_hub; or fetch https://example.org"):
        find_weights("known", f"some/model/a.pth@sha256:{'1' * 64}")
