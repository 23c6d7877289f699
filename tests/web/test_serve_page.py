"""docs/serve.md: its tables are what the server is, its examples run; run as a program, this writes the tables."""

import json
import re
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest
import typer
from clients import Place
from test_serving import end, start

from residiff.cli.app import app
from residiff.data import images
from residiff.web import Settings, faults
from residiff.web.http import Fields, api, guard
from residiff.web.http.forms import form_schema

PAGE = Path(__file__).parents[2] / "docs" / "serve.md"


def options():
    """Rows of the table of options: what the settings say of themselves."""
    told = {}
    for names, text in re.findall(r"^    ([\w, ]+) : (.*(?:\n        .*)*)", Settings.__doc__, re.MULTILINE):
        told |= {name: " ".join(text.split()) for name in names.split(", ")}
    command = typer.main.get_command(app).commands["serve"]
    for option in command.params:
        if option.name != "help":
            given = option.default
            default = "" if given in (None, [], ()) else f"{given:g}" if type(given) is float else given
            names = "/".join([option.opts[0], *option.secondary_opts])
            yield f"| `{names}` | {default} | {told['models' if option.name == 'model' else option.name]} |"


def fields():
    """Rows of the table of fields."""
    (content,) = form_schema()["content"].values()
    for name, facts in content["schema"]["properties"].items():
        yield f"| `{name}` | {facts['description']} |"


def written(text):
    """The page with its tables as they should be."""
    for mark, rows in (("fields", fields()), ("options", options())):
        before, after = text.split(f"<!-- {mark} -->")
        head, _, _ = before.rpartition("|---|\n")
        text = head + "|---|\n" + "\n".join(rows) + f"\n<!-- {mark} -->" + after
    return text


def test_the_tables_are_what_the_server_has():
    assert PAGE.read_text("utf-8") == written(PAGE.read_text("utf-8")), f"python {Path(__file__).name} writes them"


def test_every_code_is_on_the_page():
    text = PAGE.read_text("utf-8")
    sources = "".join(Path(module.__file__).read_text("utf-8") for module in (faults, api, guard))
    sources += (Path(faults.__file__).parent / "jobs.py").read_text("utf-8")
    codes = set(re.findall(r'(?:Failure|BusyError)\(\s*"([a-z_]+)"', sources))
    codes |= {code for _, code, _ in faults._KINDS}
    assert len(codes) >= 20 and {code for code in codes if f"`{code}`" not in text} == set()
    assert set(Fields.model_fields) >= {"steps", "seed"}


def test_the_command_has_the_defaults_of_the_settings():
    command = typer.main.get_command(app).commands["serve"]
    given = {option.name: option.default for option in command.params if option.name != "help"}
    given["models"] = tuple(given.pop("model") or ())
    assert given == asdict(Settings())
    for option in command.params:
        shown = re.search(r"; ([\d.]+)\.$", option.help)
        assert shown is None or shown[1] == str(option.default).removesuffix(".0"), option.name


def blocks():
    return re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def bundled(program):
    process, place = start(program)
    place.wait_ready()
    yield place
    assert end(process)[0] == 0


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_the_examples_run(bundled, photo, tmp_path):
    assert isinstance(bundled, Place)
    (tmp_path / "photo.jpg").write_bytes(photo(40, 60, "JPEG"))
    (tmp_path / "mask.png").write_bytes(photo(40, 60, bands=1))
    for block in blocks():
        script = "set -e\n" + block.replace("127.0.0.1:8000", f"127.0.0.1:{bundled.port}")
        subprocess.run(["bash", "-c", script], cwd=tmp_path, check=True, timeout=60)
    for name in ("restored.jpg", "restored.png", "lit.jpg", "bare.jpg", "doubt.png"):
        assert images.read(tmp_path / name).pixels.shape == (3, 40, 60)
    assert json.loads((tmp_path / "told.json").read_text())["state"] == "done"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
