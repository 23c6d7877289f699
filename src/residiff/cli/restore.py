"""`residiff restore`."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from residiff.cli.console import interruptible, note, progress, show_bytes

if TYPE_CHECKING:
    from residiff.restore import Job, Options, Outcome, Restorer

EXAMPLE = "Example: residiff restore photos/ -o restored/ -m low-light --recursive"


def restore(
    sources: Annotated[list[str], typer.Argument(metavar="IN...", help="Pictures or folders; - is stdin.")],
    output: Annotated[str, typer.Option("--output", "-o", help="A picture or folder to write; - is stdout.")],
    model: Annotated[str, typer.Option("--model", "-m", help="A bundled name, file, folder or hub id.")],
    mask: Annotated[Path | None, typer.Option(help="Where to work, white: a picture, or a folder of them.")] = None,
    steps: Annotated[int | None, typer.Option(help="Sampling steps; the model's own number by default.")] = None,
    budget: Annotated[str | None, typer.Option(metavar="TIME", help="... or as many as fit: 2s a picture.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    strength: Annotated[float, typer.Option(help="0 keeps the input, 1 takes the result.")] = 1.0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Sub-folders too, kept in shape.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Leave out what is already written.")] = False,
    format: Annotated[
        str | None, typer.Option(help="png, jpg, webp, tiff, avif, bmp; the input's by default, png on stdout.")
    ] = None,
    quality: Annotated[int, typer.Option(help="Of JPEG, WebP and AVIF, 1 to 100.")] = 95,
    bit_depth: Annotated[int | None, typer.Option(help="8 or 16; the input's by default.")] = None,
    suffix: Annotated[str, typer.Option(help="Put after the name: photo_restored.png.")] = "",
    max_pixels: Annotated[int, typer.Option(help="Refuse larger pictures.")] = 150_000_000,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe.")] = None,
    save_steps: Annotated[bool, typer.Option("--save-steps", help="Write x_t and x_0 of every step too.")] = False,
) -> None:
    """Restore pictures: shadows, low light, noise; any size, 8 or 16 bits, alpha and metadata kept."""
    from residiff.restore import Options, load, plan

    options = Options.checked(steps, seed, strength, format, quality, bit_depth, suffix, max_pixels, save_steps)
    seconds = _seconds(budget, steps)
    if "-" in (*sources, output):
        source = _piped(sources, output, save_steps)
        return _pipe(source, output, mask, _restoring(load(model, device, set_ or [], budget=seconds)), options)
    jobs = plan([Path(source) for source in sources], Path(output), options, mask, recursive=recursive)
    run_jobs(jobs, _restoring(load(model, device, set_ or [], budget=seconds)), options, Path(output), resume)


def _seconds(budget: str | None, steps: int | None) -> float | None:
    from residiff.errors import ConfigError
    from residiff.restore import parse_seconds

    if budget is not None and steps is not None:
        raise ConfigError("--steps says how many, and --budget chooses; leave one of them out")
    return None if budget is None else parse_seconds(budget)


def _restoring(restorer: Restorer) -> Restorer:
    from residiff.errors import ConfigError

    if restorer.recipe.task == "generate":
        raise ConfigError(f"model {restorer.descriptor.name!r} makes pictures from noise; use `residiff generate`")
    return restorer


def run_jobs(jobs: list[Job], restorer: Restorer, options: Options, output: Path, resume: bool) -> None:
    """Do the jobs under a progress bar, list the failed ones in `failures.jsonl`, and end with 3 if there are any."""
    from residiff.files import lock
    from residiff.restore import restore_all, write_failures

    is_folder = jobs[0].target != output
    failed: list[Outcome] = []
    skipped = 0
    with lock(output) if is_folder else nullcontext():
        try:
            with progress() as bar:
                task = bar.add_task("restoring", total=len(jobs))
                for outcome in interruptible(restore_all(jobs, restorer, options, resume=resume)):
                    bar.advance(task)
                    skipped += outcome.skipped
                    if outcome.error is not None:
                        failed.append(outcome)
                        note(f"failed: {outcome.error}")
        finally:
            if failed or is_folder:
                write_failures((output if is_folder else output.parent) / "failures.jsonl", failed)
    there = f", {skipped} there already" if skipped else ""
    note(f"{len(jobs) - len(failed) - skipped} restored, {len(failed)} failed{there}")
    if failed:
        raise typer.Exit(3)


def _piped(sources: list[str], output: str, save_steps: bool) -> Path | None:
    """The file to read, None for stdin; `ConfigError` unless there is one picture on each side."""
    from residiff.data.images import WRITABLE, WRITABLE_SUFFIXES
    from residiff.errors import ConfigError

    if save_steps:
        raise ConfigError("--save-steps writes files beside the result; name files, not a pipe")
    if output != "-" and Path(output).suffix.lower() not in WRITABLE_SUFFIXES:
        raise ConfigError(f"cannot write stdin to {output!r}; name a picture ending in {WRITABLE}")
    if sources == ["-"]:
        return None
    if len(sources) > 1 or not Path(sources[0]).is_file():
        raise ConfigError("a pipe takes one picture: give - for stdin, or one file that exists")
    return Path(sources[0])


def _pipe(source: Path | None, output: str, mask: Path | None, restorer: Restorer, options: Options) -> None:
    from residiff.data import images
    from residiff.data.images import Format
    from residiff.errors import ConfigError
    from residiff.files import write_bytes
    from residiff.restore import restore_bytes

    restorer.check(steps=options.steps, seed=options.seed, masked=mask is not None)
    named = None if output == "-" else images.format_of(Path(output))
    if named is not None and options.format not in (None, named):
        raise ConfigError(f"{output} says the format; leave out --format, or name the output to match")
    chosen = named or options.format or Format.PNG
    data = restore_bytes(source or sys.stdin.buffer.read(), mask, restorer, options, chosen)
    if output == "-":
        show_bytes(data)
    else:
        write_bytes(Path(output), data)
