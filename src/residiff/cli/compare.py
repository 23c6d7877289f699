"""`residiff compare`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from residiff.cli.console import interruptible, note, progress, show_json, show_table

if TYPE_CHECKING:
    from residiff.reports import Comparison

EXAMPLE = "Example: residiff compare runs/5-steps runs/1-step --gt truth/ -o report.html"
Item = TypeVar("Item")

Results = Annotated[
    list[Path], typer.Argument(metavar="A B...", help="Folders of results, or what `evaluate --save` wrote.")
]
Truth = Annotated[Path, typer.Option("--gt", help="The true pictures, of the same names; or a data set.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="An .html file: a page that needs nothing else.")]
Mask = Annotated[Path | None, typer.Option(help="Where the region is, white: a folder.")]
Name = Annotated[str, typer.Option("--protocol", "-p", metavar="NAME", help="See `residiff protocols list`.")]
Degraded = Annotated[Path | None, typer.Option("--input", help="What the methods were given; a data set brings it.")]
Measure = Annotated[str, typer.Option(help="Sorts pictures and stands against cost; psnr where there is one.")]
Pictures = Annotated[int, typer.Option(help="That the page shows at most, the worst cases first.")]
Labels = Annotated[list[str] | None, typer.Option("--label", metavar="NAME", help="Of each result, in their order.")]
Baseline = Annotated[str, typer.Option(metavar="LABEL", help="With what the others are compared; the first.")]
Layout = Annotated[str | None, typer.Option(metavar="NAME", help="Of a data set; see `residiff data layouts`.")]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", help="Pictures in sub-folders, too.")]
Partial = Annotated[bool, typer.Option("--partial", help="Leave out what not all have, and say so.")]
Processes = Annotated[int | None, typer.Option(help="That score at once; one for each core by default.")]
Weights = Annotated[str | None, typer.Option(help="Of LPIPS and others: a file, folder or hub address.")]
Json = Annotated[bool, typer.Option("--json", help="Print the figures for a program to read.")]


def compare(
    results: Results,
    truth: Truth,
    output: Output = None,
    mask: Mask = None,
    protocol: Name = "rgb-8bit-full",
    degraded: Degraded = None,
    measure: Measure = "",
    pictures: Pictures = 12,
    label: Labels = None,
    baseline: Baseline = "",
    layout: Layout = None,
    recursive: Recursive = False,
    partial: Partial = False,
    processes: Processes = None,
    weights: Weights = None,
    json: Json = False,
) -> None:
    """Lay results on the same pictures side by side: one page with figures, worst cases, sliders and error maps."""
    from residiff.errors import ConfigError
    from residiff.reports import Ground, check_page, open_comparison

    if output is None and not json:
        raise ConfigError("name the page with -o report.html, or ask for the figures with --json")
    if output is not None:
        check_page(output, pictures)
    at_once = processes or os.cpu_count() or 1
    ground = Ground(truth, mask, protocol, layout, recursive, partial, weights, at_once)
    opened = open_comparison(results, ground, degraded=degraded, labels=label or [], measure=measure, baseline=baseline)
    comparison = opened.compared(_counted)
    _show(comparison, json)
    if output is not None:
        _write(comparison, output, pictures)


def _counted(items: Iterator[Item], total: int, what: str) -> Iterator[Item]:
    """The items, under a progress bar."""
    with progress() as bar:
        task = bar.add_task(what, total=total)
        for item in interruptible(items):
            yield item
            bar.advance(task)


def _show(comparison: Comparison, json: bool) -> None:
    from residiff.reports import difference_table, figures, mean_table

    for method in comparison.methods:
        if method.note:
            note(f"{method.label}: {method.note}")
    if json:
        show_json(figures(comparison))
        return
    show_table(mean_table(comparison), f"{comparison.protocol.name}, version {comparison.protocol.version}")
    show_table(difference_table(comparison), f"against {comparison.methods[comparison.baseline].label}")


def _write(comparison: Comparison, output: Path, pictures: int) -> None:
    from residiff.reports import write_comparison

    size = write_comparison(comparison, output, pictures, lambda items, total: _counted(items, total, "pictures"))
    note(f"wrote {output}, {size / 1e6:.1f} MB")
