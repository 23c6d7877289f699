"""The pages of the manual that the program writes about itself: commands, modules, settings of recipes, HTTP."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import typer

import residiff
from residiff.cli.app import app
from residiff.errors import ResourceError
from residiff.recipe.schema import shared_schema

ROOT = Path(__file__).parent.parent.parent
# Modules of the core, which have no list of public names: what they define is public
CORE = ("checkpoint", "curve", "denoiser", "errors", "noise", "prediction", "sample")
SECTION = re.compile(
    r"^(Parameters|Attributes|Raises|Returns|Yields)\n-+\n(.*?)(?=\n\n\S|\Z)", re.DOTALL | re.MULTILINE
)


def pages() -> dict[str, str]:
    """The generated pages, by their names below reference/ (with their suffix)."""
    made = {"command-line.md": command_line(), "recipe-settings.md": recipe_settings(), "http.md": http()}
    names = list(modules())
    made |= {f"python/{name}.md": module_page(name) for name in names}
    made["python.md"] = python_index(names)
    made["benchmarks.md"] = (ROOT / "benchmarks" / "README.md").read_text("utf-8").replace("../docs/", "../")
    return made | {"models.md": models()}


def models() -> str:
    """The cards of the bundled models."""
    cards = [path.read_text("utf-8") for path in sorted((ROOT / "src" / "residiff" / "models").glob("*.md"))]
    return "# Bundled models\n\n" + "\n".join(re.sub(r"^#", "##", card, flags=re.MULTILINE) for card in cards)


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, tuple("---" for _ in head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


# -- the command line


def command_line() -> str:
    """Every command with its arguments and options."""
    text = "# Command line\n\nThis page is written by the program; `residiff COMMAND --help` says the same.\n"
    return text + "".join(_command(*each) for each in commands())


def commands(command: Any = None, path: tuple[str, ...] = ("residiff",)) -> Iterator[tuple[str, Any]]:
    """Each command by its whole name, groups before what is in them."""
    command = typer.main.get_command(app) if command is None else command
    yield " ".join(path), command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))


def _command(name: str, command: Any) -> str:
    context = command.context_class(command, info_name=name)
    records = [record for parameter in command.params if (record := parameter.get_help_record(context))]
    rows = [(f"`{usage}`", escaped(said)) for usage, said in records]
    options = f"\n{table(('', 'what'), rows)}" if rows else ""
    example = (command.epilog or "").removeprefix("Example: ").partition(". The options")[0]
    return f"\n## {name}\n\n{escaped(command.help or '')}\n{options}\n```console\n$ {example}\n```\n"


# -- Python


def modules() -> Iterator[str]:
    """The public modules: those that list their public names, and the core."""
    yield "residiff"
    for found in sorted(pkgutil.walk_packages(residiff.__path__, "residiff."), key=lambda each: each.name):
        name = found.name.partition(".")[2]
        if name in CORE or (found.ispkg and name != "cli" and _lists(found.name)):
            yield found.name


def _lists(name: str) -> bool:
    """Whether a package lists its public names; not asked of what cannot be imported here."""
    spec = find_spec(name)
    origin = Path(spec.origin) if spec and spec.origin else None
    return origin is not None and "__all__" in origin.read_text("utf-8")


def public_names(module: ModuleType) -> list[str]:
    """What a module says is public; where it does not say, what it defines."""
    listed = getattr(module, "__all__", None)
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    return sorted(listed) if listed is not None else sorted(name for name in own if not name.startswith("_"))


def python_index(names: list[str]) -> str:
    """The page that the modules' pages hang below."""
    entries = "\n".join(f"python/{name}" for name in names)
    head = "# Python\n\nEvery public name, as its module says of it. Pictures are (N, C, H, W) in [0, 1] unless said.\n"
    return f"{head}\n```{{toctree}}\n:maxdepth: 1\n\n{entries}\n```\n"


def module_page(name: str) -> str:
    """A module's docstring and those of its public names."""
    try:
        module = importlib.import_module(name)
    except (ImportError, ResourceError) as error:
        return f"# {name}\n\nIt needs what is not installed here: {escaped(str(error))}.\n"
    parts = [_described(name, each, getattr(module, each)) for each in public_names(module)]
    return f"# {name}\n\n```{{py:module}} {name}\n```\n\n{prose(module.__doc__)}\n\n" + "\n".join(parts)


def _described(module: str, name: str, value: object) -> str:
    if inspect.isclass(value):
        methods = [_method(each, member) for each, member in vars(value).items() if not each.startswith("_")]
        return _directive("class", f"{name}{_signature(value)}", module, "\n".join([prose(value.__doc__), *methods]), 4)
    if callable(value) and inspect.isfunction(inspect.unwrap(value)):
        return _directive("function", f"{name}{_signature(value)}", module, prose(value.__doc__), 4)
    return _directive("data", name, module, _of_data(value), 4)


def _of_data(value: object) -> str:
    if isinstance(value, dict):
        return "By name: " + ", ".join(f"`{key}`" for key in value) + "."
    return f"`{value!r}`" if len(repr(value)) <= 200 else "A type."


def _method(name: str, member: object) -> str:
    inner = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
    if isinstance(inner, (property, cached_property)):
        return _directive("property", name, "", prose(inner.__doc__), 3)
    if inspect.isfunction(inner) and inner.__doc__:
        bound = not isinstance(member, staticmethod)
        return _directive("method", f"{name}{_signature(inner, bound=bound)}", "", prose(inner.__doc__), 3)
    return ""


class _Written:
    """An annotation as it was written, for a signature to show."""

    def __init__(self, text: object) -> None:
        self.text = inspect.formatannotation(text) if not isinstance(text, str) else text

    def __repr__(self) -> str:
        return self.text


def _signature(value: Callable[..., object], *, bound: bool = False) -> str:
    """The parameters as they were written, the first left out where it is `bound`."""
    try:
        found = inspect.signature(value)
    except ValueError:
        return ""
    empty = inspect.Parameter.empty
    parameters = [
        each if each.annotation is empty else each.replace(annotation=_Written(each.annotation))
        for each in list(found.parameters.values())[bound:]
    ]
    result = empty if found.return_annotation is empty else _Written(found.return_annotation)
    text = str(found.replace(parameters=parameters, return_annotation=result))
    return re.sub(r"<[^<>]*>", "...", text).replace("\n", " ").removesuffix(" -> None")


def _directive(kind: str, signature: str, module: str, body: str, fence: int) -> str:
    where = f":module: {module}\n" if module else ""
    return f"{'`' * fence}{{py:{kind}}} {signature}\n{where}\n{body}\n{'`' * fence}\n"


def prose(docstring: str | None) -> str:
    """A docstring as Markdown: its sections as lists, what Markdown would take for markup escaped."""
    text = inspect.cleandoc(docstring or "")
    return "\n".join(
        line if line.startswith("    ") else escaped(line) for line in SECTION.sub(_section, text).splitlines()
    )


def _section(found: re.Match[str]) -> str:
    """A section's entries, each of a line and those indented below it, as a list."""
    entries = re.split(r"\n(?=\S)", found[2])
    if found[1] in ("Parameters", "Attributes"):
        parts = [entry.partition(" : ") for entry in entries]
        lines = [f"* `{name}`{': ' if said else ''}{' '.join(said.split())}" for name, _, said in parts]
    else:
        lines = ["* " + ": ".join(" ".join(part.split()) for part in entry.split("\n", 1)) for entry in entries]
    return f"**{found[1]}**\n\n" + "\n".join(lines)


def escaped(text: str) -> str:
    """`text` with what stands outside of backticks kept from being markup."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"(?<!\\)([<$])", r"\\\1", part) for part in parts)


# -- recipes


def recipe_settings() -> str:
    """Every setting of a recipe, from its schema."""
    schema = shared_schema()
    tables = {"Recipe": schema, **schema["$defs"]}
    text = "# Settings of recipes\n\nThis page is written from the schema of recipes (`residiff recipes schema`);\n"
    text += "[how recipes are written](../recipe-language.md) has a page of its own.\n"
    return text + "".join(_settings(name, each) for name, each in tables.items())


def _settings(name: str, found: dict[str, Any]) -> str:
    if "enum" in found:
        choices = ", ".join(f"`{choice}`" for choice in found["enum"])
        return f"\n## {name}\n\n{escaped(found['description'])}\n\nAllowed: {choices}.\n"
    rows = [
        (f"`{key}`", _type(each), f"`{_default(each)}`" if "default" in each else "", escaped(each["description"]))
        for key, each in found.get("properties", {}).items()
    ]
    listed = table(("setting", "type", "default", "what"), rows) if rows else ""
    return f"\n## {name}\n\n{escaped(found['description'])}\n\n{listed}"


def _default(setting: dict[str, Any]) -> str:
    value = setting["default"]
    if isinstance(value, str):
        return f'"{value}"'
    return {"None": "nothing"}.get(str(value), "..." if isinstance(value, dict) and value else str(value))


def _type(setting: dict[str, Any]) -> str:
    if "$ref" in setting:
        name = setting["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in setting:
        return " or ".join(dict.fromkeys(_type(each) for each in setting["anyOf"]))
    if "const" in setting:
        return f'`"{setting["const"]}"`'
    if "enum" in setting:
        return " or ".join(f'`"{each}"`' for each in setting["enum"])
    kind = {"null": "nothing"}.get(setting.get("type", ""), setting.get("type", "anything"))
    return f"{kind}{_range(setting)}"


def _range(setting: dict[str, Any]) -> str:
    words = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    said = [f"{word} {_number(setting[key])}" for key, word in words.items() if key in setting]
    return f" {' '.join(said)}" if said else ""


def _number(value: float) -> str:
    return f"{int(value):,}" if float(value).is_integer() else f"{value:g}"


# -- HTTP


def http() -> str:
    """Every address of the server, from its OpenAPI document; a word where this residiff has none."""
    head = "# HTTP\n\nThis page is written from the server's own document, `/openapi.json`.\n"
    document = openapi()
    if not document:
        return head + "\nThe server needs packages that are not installed here: `pip install 'residiff[web]'`.\n"
    paths = [(path, verb, each) for path, verbs in document["paths"].items() for verb, each in verbs.items()]
    bodies = document.get("components", {}).get("schemas", {}).items()
    answers = "".join(_body(name, each) for name, each in bodies if not name.endswith("ValidationError"))
    return head + "".join(_address(*each) for each in paths) + "\n## What is answered\n" + answers


def openapi() -> dict[str, Any]:
    """The server's OpenAPI document; empty where it cannot be imported. No server is started for it."""
    try:
        if find_spec("residiff.web.http") is None:
            return {}
        from residiff.web import Settings
        from residiff.web.http.app import create_app
    except ImportError:
        return {}
    return dict(create_app(SimpleNamespace(settings=Settings())).openapi())


def _address(path: str, verb: str, found: dict[str, Any]) -> str:
    text = f"\n## {verb.upper()} {path}\n\n{escaped(found.get('description', found.get('summary', '')))}\n"
    for kind, content in found.get("requestBody", {}).get("content", {}).items():
        text += f"\nA body of `{kind}`:\n\n{_fields(content['schema'])}"
    rows = [(code, escaped(each["description"])) for code, each in sorted(found["responses"].items())]
    return f"{text}\n{table(('code', 'when'), rows)}"


def _body(name: str, schema: dict[str, Any]) -> str:
    return f"\n### {name}\n\n{escaped(schema.get('description', ''))}\n\n{_fields(schema)}"


def _fields(schema: dict[str, Any]) -> str:
    needed = schema.get("required", ())
    rows = [
        (f"`{key}`", f"{_type(each)}{', required' if key in needed else ''}", escaped(each.get("description", "")))
        for key, each in schema.get("properties", {}).items()
    ]
    return table(("field", "type", "what"), rows) if rows else ""
