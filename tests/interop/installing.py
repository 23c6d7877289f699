"""Packages with entry points, "installed" by a folder on the path that holds a module and its metadata."""

import tomllib
from pathlib import Path

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "plugin"


def install(site, name, module, entries, version="0.1"):
    """Write package `name` with a module's text (by its file name) and `entries`, {group: {name: "module:object"}}."""
    for file, text in module.items():
        (site / file).write_text(text, "utf-8")
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [
        f"[{group}]\n" + "".join(f"{entry} = {target}\n" for entry, target in names.items())
        for group, names in entries.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))


def install_example(site):
    """The example, as pip would."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text("utf-8"))["project"]
    module = {"residiff_weave.py": (EXAMPLE / "residiff_weave.py").read_text("utf-8")}
    install(site, project["name"], module, project["entry-points"], project["version"])
