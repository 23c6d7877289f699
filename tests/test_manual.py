"""The manual: its code runs, its commands parse, its links lead somewhere, and what it quotes is there."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import reference
import typer
from mathml import drawn
from pages import found_at, line_of
from PIL import Image

import residiff
from residiff.cli.app import COMMON, app
from residiff.schedule import AnySchedule

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in PAGES}
TEXTS |= {name: (ROOT / name).read_text("utf-8") for name in ("README.md", "benchmarks/README.md")}
FENCE = re.compile(r"^```([\w{}-]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# Commands that cannot be checked by the program's own parser, and why
NOT_PARSED = {
    "residiff train mine.toml --data pairs -o runs/sweep/rate-$rate-seed-$seed": "tests/test_recipe_page.py runs it",
}
# What is in Python that cannot be run here, and why
NOT_RUN = {"somebody/denoise": "asks the hub", "woven.toml": "needs the example of a plug-in to be installed"}
SHORTER = {'["training.iterations=20"]': '["training.iterations=2", "training.batch=1", "data.window=4"]'}


def fenced(text: str, *languages: str) -> list[str]:
    return [code for language, code in FENCE.findall(text) if language in languages]


def indented(text: str) -> list[str]:
    """Blocks that stand four spaces and more to the right, without these; those of lists too."""
    blocks = re.findall(r"(?:^(?: {4,}\S.*)\n(?:\n(?= {4,}\S))?)+", FENCE.sub("", text), re.MULTILINE)
    return [inspect.cleandoc("\n" + block) for block in blocks]


def shell_lines(text: str) -> list[str]:
    """The lines of a text's blocks that start residiff or Python, whole where they go on below."""
    blocks = fenced(text, "", "sh", "console") + indented(text)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    lines = [re.sub(r"\s+", " ", line.strip().removeprefix("$ ")) for line in lines]
    return [line for line in lines if re.match(r"(residiff|torchrun|python) ", line)]


def words_of(line: str) -> list[str]:
    """A command's words up to where the shell's own begin."""
    words = shlex.split(line, comments=True)
    end = next((at for at, word in enumerate(words) if re.fullmatch(r"[<>|;&]+", word)), len(words))
    return words[:end]


def command_of(words: list[str]) -> tuple[object, list[str], str]:
    """The command that words behind `residiff` mean, the rest of them, and its name."""
    command, name = typer.main.get_command(app), "residiff"
    while words and words[0] in getattr(command, "commands", {}):
        command, name, words = command.commands[words[0]], f"{name} {words[0]}", words[1:]
    return command, words, name


COMMANDS = [(page, line) for page, text in TEXTS.items() for line in dict.fromkeys(shell_lines(text))]


def test_there_are_commands_and_they_are_found():
    found = [line for _, line in COMMANDS if line.startswith("residiff ")]
    assert len(found) > 60 and len([line for _, line in COMMANDS if line.startswith("torchrun ")]) >= 1
    assert shell_lines("```console\n$ residiff restore a.png \\\n    -o b\n```\n\n    residiff env  # it\n") == [
        "residiff restore a.png -o b",
        "residiff env # it",
    ]


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=[f"{page}: {line}" for page, line in COMMANDS])
def test_the_commands_parse(page, line):
    if line in NOT_PARSED:
        return
    words = words_of(line)
    if words[0] == "python":
        assert (ROOT / words[1]).is_file()
        return
    if words[0] == "torchrun":
        words = words[words.index("residiff") :] if "residiff" in words else []
        if not words or words[1:] == ["train", "..."]:
            return
    check(words[1:])


def check(words):
    command, rest, name = command_of([word for word in words if word not in COMMON])
    assert "commands" not in vars(command), f"{name} {rest} is no command"
    command.make_context(name, rest)


@pytest.mark.parametrize("line", ["restore a.png -o b -m c --stepz 3", "restorr a.png", "models lst", "restore -m c"])
def test_a_command_that_is_wrong_does_not_parse(line):
    with pytest.raises((typer.BadParameter.__base__, AssertionError)):
        check(shlex.split(line))


def mentioned() -> list[tuple[str, str]]:
    """Commands within sentences."""
    return sorted({(page, code) for page, text in TEXTS.items() for code in re.findall(r"`(residiff [^`\n]+)`", text)})


@pytest.mark.parametrize(("page", "code"), mentioned(), ids=[code for _, code in mentioned()])
def test_commands_within_sentences_are_there(page, code):
    words = code.split()[1:]
    if words[0].isupper():
        return
    command, rest, name = command_of([word for word in words if word not in COMMON])
    assert name != "residiff", f"{page}: {code}"
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    given = {word.partition("=")[0] for word in rest if word.startswith("-") and len(word) > 1}
    assert given <= known | {"-h", "--help"}, f"{page}: {code}"


# -- Python


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with all that the pages' Python opens."""
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    for name in ("photo.jpg", "photo.png", "restored/a.png", "truth/a.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
    (tmp_path / "SID").mkdir()
    np.save(tmp_path / "SID" / "0.npy", pixels)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def python_blocks(text: str) -> list[str]:
    return fenced(text, "python") + [code for code in indented(text) if re.match(r"(from|import) \w+", code)]


# Those of the README are run by tests/test_readme.py
WITH_PYTHON = [page for page, text in TEXTS.items() if page != "README.md" and python_blocks(text)]


@pytest.mark.parametrize("page", WITH_PYTHON)
def test_the_python_runs(page, desk):
    names = {"__name__": "page", "image": Image.new("RGB", (64, 48))}
    for code in python_blocks(TEXTS[page]):
        if any(fragment in code for fragment in NOT_RUN):
            continue
        for long, short in SHORTER.items():
            code = code.replace(long, short)
        exec(compile(code, page, "exec"), names)


def test_there_is_python_in_the_pages():
    assert set(WITH_PYTHON) >= {
        f"docs/{name}.md" for name in ("index", "papers", "restoring", "training", "evaluation", "data")
    }


# -- what is quoted


NAMES = set(re.findall(r"`(residiff(?:\.\w+)+)`", "\n".join(TEXTS.values())))
# Of packages' entry points, and no modules
NAMES -= {f"residiff.{group}" for group in ("schedules", "backbones", "degradations", "datasets", "metrics")}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_named_piece_of_code_exists(name):
    assert found_at(name) is not None


@pytest.mark.parametrize("name", re.findall(r"`(residiff(?:\.\w+)+)`", TEXTS["docs/papers.md"]))
def test_the_papers_lead_to_lines_that_hold_the_name(name):
    path, _, line = line_of(name).rpartition(":")
    lines = (Path(residiff.__file__).parent / path).read_text("utf-8").splitlines()
    # A decorated thing begins with its decorators
    assert re.search(rf"\b{name.rpartition('.')[2]}\b", "\n".join(lines[int(line) - 1 : int(line) + 2]))


def test_a_name_that_is_not_there_is_found_out():
    with pytest.raises(AttributeError):
        found_at("residiff.schedule.Level.mixx")


def test_both_papers_are_told_symbol_by_symbol():
    table = TEXTS["docs/papers.md"].partition("## Symbol by symbol")[2].partition("\n## ")[0]
    rows = [row for row in table.splitlines() if row.startswith("| ")][2:]
    assert len(rows) >= 20 and all(re.search(r"`residiff(\.\w+)+` \|$", row) for row in rows)
    family = TEXTS["docs/papers.md"].partition("## The family in one page")[2].partition("\n## ")[0]
    members = set(re.findall(r"schedule\.(\w+)`", family))
    assert {kind.__name__ for kind in AnySchedule.__args__} <= members


def formulas() -> list[str]:
    text = FENCE.sub("", "\n".join(TEXTS[f"docs/{path.name}"] for path in PAGES))
    blocks = re.findall(r"^\$\$\n(.*?)^\$\$$", text, re.DOTALL | re.MULTILINE)
    text = re.sub(r"^ {4,}.*$", "", text, flags=re.MULTILINE)
    rest = re.sub(r"`[^`\n]*`", "", re.sub(r"^\$\$\n.*?^\$\$$", "", text, flags=re.DOTALL | re.MULTILINE))
    return blocks + re.findall(r"\$([^$\n]+)\$", rest)


def test_every_formula_is_drawn():
    assert len(formulas()) > 150
    for formula in set(formulas()):
        assert drawn(formula).startswith("<math"), formula
    index_below, index_behind = (
        "<munderover>",
        r"<msubsup>\s*<mover>\s*<mi>β</mi>\s*<mo.*>ˉ</mo>\s*</mover>\s*<mi>t</mi>",
    )
    made = drawn(r"\bar{\beta}_t^2")
    assert index_below not in made and re.search(index_behind, made)
    assert "<munder>" in drawn(r"\arg\min_t A_t") and "<munder" in drawn(r"\sum_{i \le t} a", as_block=True)


def templates() -> list[str]:
    """Every text in the package, what is put into it as "{}"."""
    found = []
    for path in Path(residiff.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


TEMPLATES = templates()
MESSAGES = re.findall(r"^### `(.*)`$", TEXTS["docs/troubleshooting.md"], re.MULTILINE)


def is_said(message: str) -> bool:
    """Whether a text of the package has all that is quoted, in its order, with something where dots stand."""
    parts = message.split("...")
    wanted = re.compile(".*".join(map(re.escape, parts)), re.DOTALL)
    return any(all(part in text for part in parts) and wanted.search(text) for text in TEMPLATES)


@pytest.mark.parametrize("message", MESSAGES)
def test_every_message_of_the_troubleshooting_is_said_by_the_program(message):
    assert is_said(message)


def test_messages_that_nobody_says_are_found_out():
    assert len(MESSAGES) >= 35 and not is_said("no pictures found in ...; look at the moon")


def test_every_exit_code_is_told():
    told = {int(code) for code in re.findall(r"^\| (\d+)", TEXTS["docs/troubleshooting.md"], re.MULTILINE)}
    errors = [value for value in vars(import_module("residiff.errors")).values() if hasattr(value, "exit_code")]
    assert {error.exit_code for error in errors} <= told


# -- links


def slugs(text: str) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


def dead_links(page: str, text: str) -> list[str]:
    dead = []
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", FENCE.sub("", text)):
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        if not path.exists() or (anchor and anchor not in slugs(path.read_text("utf-8"))):
            dead.append(target)
    return dead


@pytest.mark.parametrize("page", TEXTS)
def test_no_link_is_dead(page):
    assert dead_links(page, TEXTS[page]) == []


def test_dead_links_are_found():
    assert dead_links("docs/a.md", "[x](data.md) [y](daata.md) [z](data.md#layouts) [w](data.md#no)") == [
        "daata.md",
        "data.md#no",
    ]


# -- what the program writes


def test_the_references_name_every_command_option_and_setting():
    made = reference.pages()
    commands = list(reference.commands())
    assert len(commands) > 30
    for name, command in commands:
        part = made["command-line.md"].partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        for parameter in (each for each in command.params if not each.hidden):
            assert parameter.param_type_name == "argument" or parameter.opts[0] in part, f"{name} {parameter.name}"
    for setting in ("total_noise", "learning_rate", "readjusted", "from_masks"):
        assert f"| `{setting}` |" in made["recipe-settings.md"]
    assert "`1 < 2`" in reference.escaped("`1 < 2` < 3") and reference.escaped("a < b") == "a \\< b"


@pytest.mark.parametrize("name", list(reference.modules()))
def test_every_public_name_is_documented(name):
    module = pytest.importorskip(name)
    bare = [
        each
        for each in reference.public_names(module)
        if (inspect.isclass(value := getattr(module, each)) or inspect.isfunction(value)) and not value.__doc__
    ]
    assert (module.__doc__ or "").strip() and bare == []
    assert all(f"}} {each}" in reference.module_page(name) for each in reference.public_names(module))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_manual_is_built_without_a_warning_and_asks_no_server_for_anything(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", tmp_path / "trees"]
    done = subprocess.run([*command, DOCS, tmp_path / "html"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    for page in (tmp_path / "html").rglob("*.html"):
        text = page.read_text("utf-8")
        assert not re.search(r"<(?:script|link|img|iframe)\b[^>]*(?:src|href)=\"(?:https?:)?//", text), page
    assert "<math" in (tmp_path / "html" / "papers.html").read_text("utf-8")
