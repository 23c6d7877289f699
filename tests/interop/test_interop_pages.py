"""The pages on diffusers, the hub and plug-ins: their Python runs, block after block, and so do their commands."""

import re
import shlex
import sys
from pathlib import Path

import huggingface_hub
import pytest
from installing import EXAMPLE, install_example

from residiff import models
from residiff.cli import main

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGES = ("diffusers", "hub", "plugins")


def blocks(page, language):
    """The fenced blocks of one language."""
    text = (DOCS / f"{page}.md").read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def desk(tmp_path, monkeypatch, picture_file, hub, site):
    """A folder with what the pages name, a hub that has one model, and the example of a plug-in."""
    install_example(site)
    (tmp_path / "woven.toml").write_text((EXAMPLE / "woven.toml").read_text("utf-8"))
    picture_file("photo.png", (24, 32, 3))
    hub.put("somebody/denoise", "model.safetensors", models.bundled()["denoise"].read_bytes())
    hub.put("somebody/denoise", "model.safetensors", models.bundled()["denoise"].read_bytes(), "v1", "f" * 40)
    monkeypatch.setattr(huggingface_hub, "HfApi", hub.api())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_its_python_runs(page, desk):
    names = {}
    found = blocks(page, "python")
    assert found
    for number, code in enumerate(found):
        exec(compile(code, f"{page}.md, block {number}", "exec"), names)


@pytest.mark.parametrize("page", PAGES)
def test_its_commands_run(page, desk, monkeypatch):
    lines = [line.split("  #")[0] for block in blocks(page, "sh") for line in block.splitlines()]
    for line in lines:
        if not line.startswith("residiff "):
            continue
        monkeypatch.setattr(sys, "argv", shlex.split(line))
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code, line
