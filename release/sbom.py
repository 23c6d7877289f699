"""What residiff runs on, as a software bill of materials: CycloneDX 1.5, from the distributions that are installed.

For example: python release/sbom.py -o sbom.cdx.json

Those that residiff or one of its extras needs, however far down, are listed, each with version, licence, and what it
needs in turn; what is merely installed beside them is not. Equal installations give equal files but for the time.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import quote

ROOT = "residiff"
NAME = re.compile(r"^[A-Za-z0-9][\w.-]*")


def canonical(name: str) -> str:
    """A distribution's name as indexes have it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needs(found: Distribution) -> list[str]:
    """The names of the installed distributions that one asks for, those of its extras among them, sorted."""
    asked = {canonical(match[0]) for text in found.requires or () if (match := NAME.match(text))}
    return sorted(name for name in asked - {canonical(found.metadata["Name"])} if _installed(name) is not None)


def _installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def reached(root: str) -> dict[str, Distribution]:
    """`root` and what it needs, however far down, by canonical name, sorted."""
    found: dict[str, Distribution] = {}
    waiting = [root]
    while waiting:
        name = waiting.pop()
        there = _installed(name)
        if name in found or there is None:
            continue
        found[name] = there
        waiting += needs(there)
    return dict(sorted(found.items()))


def purl(name: str, found: Distribution) -> str:
    """The package's URL: "pkg:pypi/numpy@2.4.6" say."""
    return f"pkg:pypi/{name}@{quote(found.version)}"


def component(name: str, found: Distribution) -> dict[str, object]:
    """One entry."""
    licence = found.metadata["License-Expression"]
    named = {"licenses": [{"expression": licence}]} if licence else _classified(found)
    kind = "application" if name == ROOT else "library"
    return {"type": kind, "name": name, "version": found.version, "purl": purl(name, found)} | {
        "bom-ref": purl(name, found),
        **named,
    }


def _classified(found: Distribution) -> dict[str, object]:
    """The licences that a distribution's classifiers name, or else the first line of its free text."""
    told = [text.rpartition(" :: ")[2] for text in found.metadata.get_all("Classifier", []) if "License ::" in text]
    free = (found.metadata["License"] or "").strip().partition("\n")[0][:100]
    names = told or ([free] if free else [])
    return {"licenses": [{"license": {"name": name}} for name in names]} if names else {}


def document() -> dict[str, object]:
    """The whole list."""
    found = reached(ROOT)
    parts = {name: component(name, each) for name, each in found.items()}
    edges = [
        {"ref": purl(name, each), "dependsOn": [purl(need, found[need]) for need in needs(each)]}
        for name, each in found.items()
    ]
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    meta = {"timestamp": now, "component": parts.pop(ROOT)}
    head = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "metadata": meta}
    return head | {"components": list(parts.values()), "dependencies": edges}


def main() -> None:
    """Write it."""
    parser = argparse.ArgumentParser(description="Write a CycloneDX list of what residiff runs on.")
    parser.add_argument("-o", "--output", type=Path, default=Path("sbom.cdx.json"))
    output = parser.parse_args().output
    output.write_text(json.dumps(document(), indent=2) + "\n", "utf-8")
    print(output)


if __name__ == "__main__":
    main()
