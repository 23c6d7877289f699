"""`residiff restore`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from residiff.cli.console import note, progress

if TYPE_CHECKING:
    from residiff.restore import Job, Options, Restorer

EXAMPLE = "Example: residiff restore photos/ -o restored/ -m low-light --recursive"


def restore(
    sources: Annotated[list[str], typer.Argument(metavar="IN...", help="Pictures or folders; - is stdin.")],
    output: Annotated[str, typer.Option("--output", "-o", help="A picture or folder to write; - is stdout.")],
    model: Annotated[str, typer.Option("--model", "-m", help="A bundled name, file, folder or hub id.")],
    mask: Annotated[Path | None, typer.Option(help="Where to work, white: a picture, or a folder of them.")] = None,
    steps: Annotated[int | None, typer.Option(help="Sampling steps; the model's own number by default.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    strength: Annotated[float, typer.Option(help="0 keeps the input, 1 takes the result.")] = 1.0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Sub-folders too, kept in shape.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Leave out what is already written.")] = False,
    format: Annotated[str | None, typer.Option(help="png, jpg, webp, tiff, avif, bmp; the input's by default.")] = None,
    quality: Annotated[int, typer.Option(help="Of JPEG, WebP and AVIF, 1 to 100.")] = 95,
    bit_depth: Annotated[int | None, typer.Option(help="8 or 16; the input's by default.")] = None,
    suffix: Annotated[str, typer.Option(help="Put after the name: photo_restored.png.")] = "",
    max_pixels: Annotated[int, typer.Option(help="Refuse larger pictures.")] = 150_000_000,
) -> None:
    """Restore pictures: shadows, low light, noise; any size, 8 or 16 bits, alpha and metadata kept."""
    from residiff.restore import Options, load, plan

    options = Options.checked(steps, seed, strength, format, quality, bit_depth, suffix, max_pixels)
    if "-" in sources:
        return _pipe(sources, output, mask, load(model, device), options)
    jobs = plan([Path(source) for source in sources], Path(output), options, mask, recursive=recursive)
    _run(jobs, load(model, device), options, Path(output), resume)


def _run(jobs: list[Job], restorer: Restorer, options: Options, output: Path, resume: bool) -> None:
    from residiff.restore import restore_all, write_failures

    failed = []
    with progress() as bar:
        task = bar.add_task("restoring", total=len(jobs))
        for outcome in restore_all(jobs, restorer, options, resume=resume):
            bar.advance(task)
            if outcome.error is not None:
                failed.append(outcome)
                note(f"failed: {outcome.error}")
    note(f"{len(jobs) - len(failed)} restored, {len(failed)} failed")
    if failed:
        folder = output if output.is_dir() else output.parent
        write_failures(folder / "failures.jsonl", failed)
        raise typer.Exit(3)


def _pipe(sources: list[str], output: str, mask: Path | None, restorer: Restorer, options: Options) -> None:
    from residiff.data import images
    from residiff.data.images import Format
    from residiff.errors import ConfigError

    if len(sources) > 1:
        raise ConfigError("stdin stands alone: give - or files, not both")
    matte = None if mask is None else images.read(mask)
    picture = images.read(sys.stdin.buffer.read(), max_pixels=options.max_pixels)
    result = restorer.restore(picture, matte, steps=options.steps, seed=options.seed, strength=options.strength)
    if output == "-":
        data = images.encode(result, options.format or Format.PNG, quality=options.quality, bit_depth=options.bit_depth)
        sys.stdout.buffer.write(data)
    else:
        images.write(Path(output), result, format=options.format, quality=options.quality, bit_depth=options.bit_depth)
