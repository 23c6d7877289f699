"""A hub of our own: repositories as folders, in the layout of huggingface_hub's cache."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from residiff import plugins
from residiff.recipe import schema

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub:
    """What stands for the hub: `put` adds a file to a repository's snapshot, as if it had been fetched before."""

    def __init__(self, cache):
        self.cache = Path(cache)
        self.calls = []

    def put(self, repository, name, data, revision="main", commit=COMMIT):
        place = self.cache / ("models--" + repository.replace("/", "--"))
        (place / "refs").mkdir(parents=True, exist_ok=True)
        (place / "refs" / revision).write_text(commit)
        file = place / "snapshots" / commit / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def api(self, refusal=None):
        """In the place of `HfApi`: it raises `refusal`, or puts what is uploaded into the cache."""
        hub = self

        class Api:
            def __init__(self, token=None):
                hub.calls.append(("token", token))

            def create_repo(self, repository, *, private=False, exist_ok=False):
                hub.calls.append(("create", repository, private, exist_ok))
                if refusal is not None:
                    raise refusal

            def upload_folder(self, *, repo_id, folder_path, allow_patterns, commit_message, revision):
                hub.calls.append(("upload", repo_id, commit_message, revision))
                for name in allow_patterns:
                    hub.put(repo_id, name, (Path(folder_path) / name).read_bytes(), revision or "main")
                return SimpleNamespace(commit_url=f"https://example.org/{repo_id}/commit/{COMMIT}")

        return Api


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that cannot be reached, with a cache of its own that may be filled."""
    import huggingface_hub.constants
    import huggingface_hub.file_download

    made = FakeHub(tmp_path / "cache")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(made.cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return made


@pytest.fixture
def site(tmp_path_factory, monkeypatch):
    """A folder on the path for packages to be installed in; what is known of plug-ins is forgotten after it."""
    folder = tmp_path_factory.mktemp("site")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    before = set(sys.modules)
    _forget()
    yield folder
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]
    _forget()


def _forget():
    plugins.found.cache_clear()
    plugins.Plugin.load.cache_clear()
    schema.shared_schema.cache_clear()
