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
    from residiff.reports import check_page, figures, open_comparison, write_comparison

    if output is None and not json:
        raise ConfigError("name the page with -o report.html, or ask for the figures with --json")
    if output is not None:
        check_page(output, pictures)
    opened = open_comparison(
        results, truth, mask, degraded=degraded, labels=label or [], protocol=protocol, measure=measure,
        baseline=baseline, layout=layout, recursive=recursive, partial=partial, weights=weights,
        processes=processes or os.cpu_count() or 1,
    )  # fmt: skip
    comparison = opened.compared(_counted)
    for method in comparison.methods:
        if method.note:
            note(f"{method.label}: {method.note}")
    if json:
        show_json(figures(comparison))
    else:
        _show(comparison)
    if output is not None:
        size = write_comparison(comparison, output, pictures, lambda items, total: _counted(items, total, "pictures"))
        note(f"wrote {output}, {size / 1e6:.1f} MB")


def _counted(items: Iterator[Item], total: int, what: str) -> Iterator[Item]:
    """The items, under a progress bar."""
    with progress() as bar:
        task = bar.add_task(what, total=total)
        for item in interruptible(items):
            yield item
            bar.advance(task)


def _show(comparison: Comparison) -> None:
    from residiff.reports import difference_table, mean_table

    show_table(mean_table(comparison), f"{comparison.protocol.name}, version {comparison.protocol.version}")
    show_table(difference_table(comparison), f"against {comparison.methods[comparison.baseline].label}")
