"""`residiff restore` where one side is stdin or stdout."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from residiff.cli.console import note, show_bytes

if TYPE_CHECKING:
    from residiff.restore import Options, Restorer


def piped(sources: list[str], output: str, alone: bool) -> Path | None:
    """The file to read, None for stdin; `ConfigError` unless there is one picture on each side.

    `alone` says that none of the options is given that are for files beside the result, or for many.
    """
    from residiff.data.images import WRITABLE, WRITABLE_SUFFIXES
    from residiff.errors import ConfigError

    if not alone:
        options = "--save-steps, --dry-run, --watch, --frames, --shard, --resume and --skip-existing"
        raise ConfigError(f"{options} are for files; name files, not a pipe")
    if output != "-" and Path(output).suffix.lower() not in WRITABLE_SUFFIXES:
        raise ConfigError(f"cannot write stdin to {output!r}; name a picture ending in {WRITABLE}")
    if sources == ["-"]:
        return None
    if len(sources) > 1 or not Path(sources[0]).is_file():
        raise ConfigError("a pipe takes one picture: give - for stdin, or one file that exists")
    return Path(sources[0])


def pipe(source: Path | None, output: str, mask: Path | None, restorer: Restorer, options: Options) -> None:
    """Restore one picture from stdin or a file to stdout or a file."""
    from residiff.data import images
    from residiff.data.images import Format
    from residiff.errors import ConfigError
    from residiff.files import write_bytes
    from residiff.restore import restore_bytes

    restorer.check(steps=options.steps, seed=options.seed, masked=mask is not None, keep=options.keep)
    named = None if output == "-" else images.format_of(Path(output))
    if named is not None and options.format not in (None, named):
        raise ConfigError(f"{output} says the format; leave out --format, or name the output to match")
    chosen = named or options.format or Format.PNG
    result = restore_bytes(source or sys.stdin.buffer.read(), mask, restorer, options, chosen)
    if output == "-":
        show_bytes(result.data)
    else:
        write_bytes(Path(output), result.data)
    if result.hint:
        note(f"hint: {result.hint}")
