"""`residiff data check`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from residiff.cli.console import interruptible, note, out, progress, show_json, show_table

if TYPE_CHECKING:
    from residiff.data.check import Examined, Finding, Listing, Report, Wanted
    from residiff.recipe import Recipe

EXAMPLE = "Example: residiff data check photos/ --recipe rain -o report.csv"
SHOWN = 10


def check(
    path: Annotated[Path, typer.Argument(metavar="SET", help="The folder of a set, as `residiff train --data` takes.")],
    layout: Annotated[str, typer.Option(help="How the set lies on the disk; see `residiff data layouts`.")] = "auto",
    domains: Annotated[str, typer.Option(help="Which of its kinds of pictures: dog, or dog,cat.")] = "",
    mask: Annotated[bool | None, typer.Option(help="Masks are needed, or not looked at; the default: if any.")] = None,
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="Check against its crop, masks and memory too.")] = "",
    quick: Annotated[bool, typer.Option("--quick/--pixels", help="Names and first bytes alone.")] = False,
    workers: Annotated[int, typer.Option(help="Processes that read pictures; 0 is none beside this one.")] = 0,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write all findings as CSV.")] = None,
    json: Annotated[bool, typer.Option("--json", help="For a program to read.")] = False,
) -> None:
    """Say what is wrong with a set before training: partners, sizes, files, copies, leaks, alignment, masks.

    Ends with 3 if there are errors, with 2 if there is no such set. Warnings may be meant to be so.
    """
    from residiff.data.check import judge

    chosen = _recipe(recipe)
    wanted = _wanted(chosen, mask, tuple(name.strip() for name in domains.split(",") if name.strip()))
    listing = _listed(path, chosen.data.layout if chosen and layout == "auto" else layout, wanted)
    report = judge(listing, _examined(listing, wanted, quick, workers), wanted, crop=_crop(chosen))
    if output is not None:
        report.write(output)
    _show(report, _memory(chosen) if chosen else {}, json)


def _recipe(name: str) -> Recipe | None:
    from residiff import recipe

    return recipe.read(name) if name else None


def _wanted(recipe: Recipe | None, mask: bool | None, domains: tuple[str, ...]) -> Wanted:
    """What the recipe needs of the set, masks and domains as the user says. Pictures of two domains are no pairs."""
    from residiff.data.check import Wanted
    from residiff.data.settings import Pairing

    if recipe is None:
        return Wanted(Pairing.UNPAIRED if len(domains) == 2 else Pairing.NAME, domains, mask)
    data = recipe.data
    needs_mask = True if recipe.network.mask or data.from_masks else None
    return Wanted(data.pairing, domains or data.domains, needs_mask if mask is None else mask)


def _listed(path: Path, layout: str, wanted: Wanted) -> Listing:
    """What `list_set` gives; its errors name the options here, not a recipe's settings."""
    from residiff.data.check import list_set
    from residiff.errors import ConfigError

    try:
        return list_set(path, layout, wanted)
    except ConfigError as error:
        text = str(error).replace("data.domains", "--domains").replace("data.layout", "--layout")
        raise ConfigError(text) from error


def _crop(recipe: Recipe | None) -> tuple[int, int] | None:
    """The least size of a picture; none where pictures are resized or padded first."""
    from residiff.data.settings import Resize

    if recipe is None or recipe.data.pad or recipe.data.resize is not Resize.NONE:
        return None
    return recipe.data.crop_size


def _examined(listing: Listing, wanted: Wanted, quick: bool, workers: int) -> Iterator[Examined]:
    """What `examine` gives, under a progress bar, with the rate at the end."""
    from residiff.data.check import examine

    start, count = time.monotonic(), 0
    with progress() as bar:
        task = bar.add_task("looking", total=listing.size)
        for one in interruptible(examine(listing, wanted, quick=quick, workers=workers)):
            count += 1
            bar.advance(task)
            yield one
    note(f"looked at {count} in {time.monotonic() - start:.1f} s, {count / (time.monotonic() - start):.0f} a second")


def _memory(recipe: Recipe) -> dict[str, int]:
    """What a batch of pairs and a step of training take, in bytes."""
    from residiff.data.check import batch_bytes
    from residiff.train.memory import footprint

    batch = batch_bytes(recipe.training.batch, recipe.data.crop_size, mask=recipe.network.mask)
    return {"batch": batch, "training step": footprint(recipe).total}


def _show(report: Report, memory: dict[str, int], json: bool) -> None:
    """The report on stdout, a line on stderr; ends with 3 if there are errors."""
    from residiff.data.check import Severity, in_words

    if json:
        show_json(report.as_json() | {"memory": memory})
    else:
        words: list[dict[str, object]] = [{"figure": key, "value": in_words(size)} for key, size in memory.items()]
        show_table(report.sheet.rows() + words, report.title)
        for one in _first(report.findings):
            out.out("\n".join(one.shown()))  # never wrapped, so that paths can be copied
    counts = [f"{report.count(severity)} {severity.value}s" for severity in Severity]
    note(", ".join(counts))
    if report.count(Severity.ERROR):
        raise typer.Exit(3)


def _first(findings: Iterable[Finding]) -> list[Finding]:
    """The first few of each kind; says how many more there are."""
    met: Counter[str] = Counter()
    shown = []
    for one in findings:
        met[one.fault.value] += 1
        if met[one.fault.value] <= SHOWN:
            shown.append(one)
    for kind, count in met.items():
        if count > SHOWN:
            note(f"{kind}: {count - SHOWN} more; --json or -o FILE tells all")
    return shown
