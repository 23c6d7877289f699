"""What `make docs` does beside Sphinx: it writes pages by the program, and leads from papers.md to the code."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import reference
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

import residiff

REST = "(rest)"
NAME = re.compile(r"residiff(\.\w+)+")


def found_at(name: str) -> object:
    """The module, or the attribute of one, that a dotted name means; AttributeError where there is none."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            value: object = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            value = getattr(value, part)
        return value
    raise AttributeError(name)


def line_of(name: str) -> str:
    """Where a name is defined, "schedule/level.py:52" say."""
    value = inspect.unwrap(getattr(found_at(name), "func", found_at(name)))
    try:
        path, line = Path(inspect.getsourcefile(value) or ""), inspect.getsourcelines(value)[1]
    except TypeError:
        path, line = _assigned(name)
    return f"{path.relative_to(Path(residiff.__file__).parent).as_posix()}:{max(line, 1)}"


def _assigned(name: str) -> tuple[Path, int]:
    """The file and line where a table or a type is given its name, which does not know them itself."""
    room, _, word = name.rpartition(".")
    file = Path(inspect.getsourcefile(importlib.import_module(room)) or "")
    for path in sorted(file.parent.glob("*.py") if file.name == "__init__.py" else [file]):
        for line, text in enumerate(path.read_text("utf-8").splitlines(), 1):
            if re.match(rf"{word}\b.* = ", text):
                return path, line
    raise AttributeError(name)


def _write(app: Sphinx) -> None:
    folder = Path(app.srcdir) / "reference"
    made = reference.pages()
    for name, text in made.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
    for path in folder.rglob("*.md"):
        if path.relative_to(folder).as_posix() not in made:
            path.unlink()


def _read(app: Sphinx, page: str, source: list[str]) -> None:
    """Links to the benchmarks lead to the manual's copy; the home page's list takes in what it does not name."""
    source[0] = source[0].replace("(../benchmarks/README.md)", "(reference/benchmarks.md)")
    if REST in source[0]:
        listed = set(re.findall(r"^[\w-]+$", source[0], re.MULTILINE)) | {page}
        rest = sorted(path.stem for path in Path(app.srcdir).glob("*.md") if path.stem not in listed)
        source[0] = source[0].replace(REST, "\n".join(rest))


def _lead_to_code(app: Sphinx, tree: nodes.document) -> None:
    """Names of the package on the page of the papers become links to the reference, with their line behind them."""
    if app.env.docname != "papers":
        return
    for literal in list(tree.findall(nodes.literal)):
        name = literal.astext()
        if NAME.fullmatch(name):
            link = addnodes.pending_xref(
                "", literal.deepcopy(), refdomain="py", reftype="obj", reftarget=name, refexplicit=True, refdoc="papers"
            )
            literal.replace_self([link, nodes.Text(f" ({line_of(name)})")])


def setup(app: Sphinx) -> ExtensionMetadata:
    """Hang the three in."""
    app.connect("builder-inited", _write)
    app.connect("source-read", _read)
    app.connect("doctree-read", _lead_to_code)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
