"""constraints.txt with the SHA-256 of each file: what continuous integration may install, byte for byte.

For example: python release/lock.py > requirements-ci.lock

pip finds the files and their hashes, and downloads none of them (from its version 24 on). They are those for this
system and this Python. torch is left out, for its file depends on the index that it is taken from.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

CONSTRAINTS = Path(__file__).parent.parent / "constraints.txt"
LEFT_OUT = ("torch",)
# Those that are published as source alone
FROM_SOURCE = ("pyvips",)
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
HEAD = f"""\
# What continuous integration may install beside torch, on {sys.platform} and Python {PYTHON}:
#   pip install --require-hashes --no-deps -r requirements-ci.lock
# Made of constraints.txt by release/lock.py
"""


def pinned(text: str) -> list[str]:
    """The lines "name==version" of constraints, but for what is left out."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [line for line in lines if line.partition("==")[0] not in LEFT_OUT]


def found(names: list[str]) -> dict[str, object]:
    """What pip reports that it would install."""
    with tempfile.TemporaryDirectory() as folder:
        wanted, report = Path(folder) / "wanted.txt", Path(folder) / "report.json"
        wanted.write_text("\n".join(names) + "\n")
        options = ["--dry-run", "--ignore-installed", "--no-deps", "--only-binary", ":all:", "--report", report]
        options += [word for name in FROM_SOURCE for word in ("--no-binary", name)]
        command = [sys.executable, "-m", "pip", "install", "-q", *options, "-r", wanted]
        subprocess.run(command, check=True, stdout=sys.stderr)
        return dict(json.loads(report.read_text("utf-8")))


def locked(report: dict[str, object]) -> str:
    """The lines of a report, sorted by name."""
    rows = []
    for each in report["install"]:
        meta, digest = each["metadata"], each["download_info"]["archive_info"]["hashes"]["sha256"]
        rows.append(f"{meta['name'].lower().replace('_', '-')}=={meta['version']} --hash=sha256:{digest}")
    return "\n".join(sorted(rows)) + "\n"


if __name__ == "__main__":
    print(HEAD + locked(found(pinned(CONSTRAINTS.read_text("utf-8")))), end="")
