"""The command line: each command parses, calls one function of the library, and shows what it gave."""

from __future__ import annotations

from residiff.cli.app import main

__all__ = ["main"]
