"""What is shipped: the wheel holds all that the program opens, the Dockerfile's steps are sound, the notebook runs."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import typer
import yaml
from PIL import Image

import residiff
from residiff.cli.app import app

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PACKAGE = ROOT / "src" / "residiff"
# Of the program's parts that the image needs and that this version may not have yet
SERVES = "serve" in typer.main.get_command(app).commands


def instructions(text: str) -> list[tuple[str, str]]:
    """A Dockerfile's instructions in their order: name and the rest, continued lines joined."""
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in text.splitlines() if line)]


STEPS = instructions((ROOT / "Dockerfile").read_text("utf-8"))


def of(name: str) -> list[str]:
    return [rest for step, rest in STEPS if step == name]


def test_what_the_image_is_made_of_is_there_and_let_through():
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").split() if line.startswith("!")]
    copied = [word for rest in of("COPY") for word in rest.split()[:-1]]
    assert sorted(copied) == sorted(kept) and all((ROOT / name).exists() for name in copied)
    # All that the build backend reads
    assert {PROJECT["readme"], *PROJECT["license-files"], "src", "pyproject.toml", "constraints.txt"} <= set(copied)


def test_what_the_image_installs_exists():
    installs = [shlex.split(rest) for rest in of("RUN") if " pip install " in rest]
    torch, own = installs
    assert torch[-1] == "torch" and torch[torch.index("--index-url") + 1] == "$TORCH_INDEX"
    assert [rest.partition("=")[0] for rest in of("ARG")] == ["TORCH_INDEX"]
    extras = re.fullmatch(r"\.\[(.*)\]", own[-1])[1].split(",")
    assert "web" in extras and set(extras) <= set(PROJECT["optional-dependencies"])
    assert all(words[words.index("-c") + 1] == "constraints.txt" for words in installs)


def test_the_image_has_a_python_that_is_supported():
    (base,) = of("FROM")
    version = re.match(r"python:(\d+\.\d+)", base)[1]
    assert f"Programming Language :: Python :: {version}" in PROJECT["classifiers"]


def test_the_image_runs_as_nobody_and_fetches_nothing():
    names = [name for name, _ in STEPS]
    (user,) = of("USER")
    assert user not in ("root", "0") and names.index("USER") > max(at for at, name in enumerate(names) if name == "RUN")
    assert f"useradd --create-home --uid 10001 {user}" in of("RUN")[-1]
    assert "HF_HUB_OFFLINE=1" in " ".join(of("ENV"))


def test_the_health_check_asks_where_the_server_listens():
    (check,), (start,), (port,) = of("HEALTHCHECK"), of("CMD"), of("EXPOSE")
    code = json.loads(check.partition("CMD ")[2])
    assert code[:2] == ["python", "-c"] and f"http://127.0.0.1:{port}/healthz" in code[2]
    compile(code[2], "healthcheck", "exec")
    words = json.loads(start)
    assert words[words.index("--port") + 1] == port and words[words.index("--host") + 1] == "0.0.0.0"


@pytest.mark.skipif(not SERVES, reason="this version of residiff has no server")
def test_what_the_image_starts_parses():
    program, words = json.loads(of("ENTRYPOINT")[0]), json.loads(of("CMD")[0])
    assert program == ["residiff"] and program[0] in PROJECT["scripts"]
    typer.main.get_command(app).commands[words[0]].make_context(words[0], words[1:])


def test_the_page_says_that_no_image_was_built():
    assert "No image was built" in (ROOT / "docs" / "install.md").read_text("utf-8")


OFFLINE = """
import sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        raise AssertionError(f"{event} {arguments}")

sys.addaudithook(refuse)
import socket, torch, residiff
if sys.argv[1:]:
    socket.create_connection(("127.0.0.1", 9))
residiff.load("denoise")(torch.full((3, 16, 16), 0.5))
"""


def test_importing_and_restoring_open_no_connection(python):
    done = python(OFFLINE)
    assert done.returncode == 0, done.stderr
    planted = python(OFFLINE, "connect")
    assert planted.returncode != 0 and "AssertionError: socket." in planted.stderr


# -- the notebook


NOTEBOOK = json.loads((ROOT / "examples" / "quickstart.ipynb").read_text("utf-8"))


def test_the_notebook_is_one():
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    cells = NOTEBOOK["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells) >= 10
    for cell in cells:
        wanted = {"cell_type", "id", "metadata", "source"}
        wanted |= {"execution_count", "outputs"} if cell["cell_type"] == "code" else set()
        assert cell.keys() == wanted and all(line.endswith("\n") for line in cell["source"][:-1])
        # Nothing of a run is kept
        assert not cell.get("outputs") and cell.get("execution_count") is None


def test_the_notebook_runs_and_shows_what_it_says(capsys):
    names: dict[str, object] = {"__name__": "notebook"}
    shown = []
    for cell in (cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"):
        *lines, last = "".join(cell["source"]).splitlines()
        is_picture = last.startswith("to_pil(")
        exec("\n".join(lines if is_picture else [*lines, last]), names)
        if is_picture:
            shown.append(eval(last, names))
    before, after, mean = (float(text) for text in re.findall(r"([\d.]+) dB", capsys.readouterr().out))
    assert after > before + 6 and mean > after - 0.1
    assert len(shown) == 3 and all(isinstance(picture, Image.Image) for picture in shown)


# -- citation, bill of materials


def test_the_citation_is_of_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert cited["cff-version"] == "1.2.0" and cited["type"] == "software"
    assert (cited["title"], str(cited["version"]), cited["license"]) == ("residiff", residiff.__version__, "Apache-2.0")
    assert [paper["year"] for paper in cited["references"]] == [2024, 2024]
    assert all("name" in author or "family-names" in author for author in cited["authors"])


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "release" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_bill_of_materials_is_whole():
    made = script("sbom").document()
    assert (made["bomFormat"], made["specVersion"], made["version"]) == ("CycloneDX", "1.5", 1)
    whole = [made["metadata"]["component"], *made["components"]]
    names = {part["name"] for part in whole}
    assert {"residiff", "torch", "numpy", "pyvips", "typer"} <= names and len(names) == len(whole)
    references = {part["bom-ref"] for part in whole}
    edges = {edge["ref"]: edge["dependsOn"] for edge in made["dependencies"]}
    assert edges.keys() == references and all(set(needed) <= references for needed in edges.values())
    own = next(ref for ref in references if ref.startswith("pkg:pypi/residiff@"))
    assert any(ref.startswith("pkg:pypi/torch@") for ref in edges[own])
    assert all(re.fullmatch(r"pkg:pypi/[a-z0-9-]+@[\w.%]+", ref) for ref in references)


def test_the_lock_has_a_hash_for_each_constraint_but_torch():
    """`make lock` writes it anew, whenever constraints.txt changes."""
    text = (ROOT / "constraints.txt").read_text("utf-8")
    wanted = {re.sub(r"[-_.]+", "-", line.lower()) for line in script("lock").pinned(text)}
    rows = [line for line in (ROOT / "requirements-ci.lock").read_text("utf-8").splitlines() if line[0] != "#"]
    assert all(re.fullmatch(r"[a-z0-9.-]+==\S+ --hash=sha256:[0-9a-f]{64}", row) for row in rows)
    assert {re.sub(r"[-_.]+", "-", row.partition(" ")[0]) for row in rows} == wanted
    assert "torch==" in text and not any(row.startswith("torch==") for row in rows)


def test_a_lock_is_made_of_what_pip_reports():
    parts = {
        "metadata": {"name": "A_b", "version": "1.0"},
        "download_info": {"archive_info": {"hashes": {"sha256": "9"}}},
    }
    assert script("lock").locked({"install": [parts]}) == "a-b==1.0 --hash=sha256:9\n"


# -- the wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT]
    subprocess.run(command, check=True, timeout=280)
    (path,) = folder.glob("*.whl")
    return path


def data_files():
    """Whatever lies in the package but its modules."""
    found = [path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    return {path.relative_to(PACKAGE.parent).as_posix() for path in found}


def test_the_package_has_models_recipes_templates_and_its_marker_of_types():
    suffixes = {Path(name).suffix for name in data_files()}
    assert {".safetensors", ".toml", ".html"} <= suffixes and "residiff/py.typed" in data_files()


@pytest.mark.slow
def test_the_wheel_holds_all_that_the_program_opens(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = archive.read(next(name for name in names if name.endswith("METADATA"))).decode()
    modules = {path.relative_to(PACKAGE.parent).as_posix() for path in PACKAGE.rglob("*.py")}
    assert data_files() | modules <= names
    assert {name.partition("/")[0] for name in names} == {"residiff", f"residiff-{residiff.__version__}.dist-info"}
    assert set(re.findall(r"^Provides-Extra: (\S+)", metadata, re.MULTILINE)) == set(PROJECT["optional-dependencies"])


@pytest.mark.slow
def test_what_the_wheel_installs_works_in_an_empty_environment(wheel, tmp_path):
    """As the image has it: the wheel in an environment of its own, beside this one's packages, in an empty folder."""
    place, work = tmp_path / "environment", tmp_path / "data"
    work.mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    packages = next(place.glob("lib/python*/site-packages"))
    pip = [sys.executable, "-m", "pip", "-q", "install", "--no-deps", "--target", packages, wheel]
    subprocess.run(pip, check=True, timeout=280)
    # By a path alone, so that what is installed here for development is not
    beside = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "beside.pth").write_text("\n".join(beside) + "\n")
    Image.new("RGB", (40, 32), "grey").save(work / "photo.png")
    environment = {"PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}

    def run(*words):
        command = [place / "bin" / "python", "-m", "residiff", *words]
        return subprocess.run(command, env=environment, cwd=work, capture_output=True, text=True, timeout=200)

    done = run("restore", "photo.png", "-o", "out.png", "-m", "denoise")
    assert done.returncode == 0, done.stderr
    with Image.open(work / "out.png") as restored:
        assert restored.size == (40, 32)
    where = subprocess.run(
        [place / "bin" / "python", "-c", "import residiff; print(residiff.__file__)"],
        env=environment, cwd=work, capture_output=True, text=True,
    )  # fmt: skip
    assert Path(where.stdout.strip()).is_relative_to(packages)
    if SERVES:
        assert run("serve", "--help").returncode == 0
