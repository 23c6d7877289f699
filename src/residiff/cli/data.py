"""`residiff data`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from residiff.cli import check
from residiff.cli.console import interruptible, note, progress, show_json, show_table

if TYPE_CHECKING:
    from residiff.data.sets import Done
    from residiff.restore import Outcome

app = typer.Typer(
    no_args_is_help=True, help="Training data that need no download.", epilog="Example: residiff data list"
)
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=LOW[,HIGH]", help="A parameter's range.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="The folder to write.")]
ListSplit = Literal["train", "test"]
ListOrder = Literal["name", "line"]
Kind = Annotated[str, typer.Option("--kind", "-k", help="A degradation; see `residiff data list`.")]
app.command("check", epilog=check.EXAMPLE)(check.check)


@app.command("list", epilog="Example: residiff data list --json")
def list_(json: Annotated[bool, typer.Option("--json", help="For a program to read.")] = False) -> None:
    """List the degradations and the ranges of their parameters."""
    from residiff.data.sets import degradations

    rows = degradations()
    if json:
        show_json(rows)
    else:
        show_table(rows)


@app.command("degrade", epilog="Example: residiff data degrade photos/ -o dark/ -k low-light")
def degrade(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A folder of clean pictures.")],
    output: Output,
    kind: Kind,
    settings: Settings = None,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 0,
) -> None:
    """Degrade a folder of pictures: degraded/ (and mask/) beside copies in clean/, a set to train on.

    A picture that cannot be read is left out and listed in failures.jsonl, and the command then ends with 3.
    """
    from residiff.data.sets import degrade_folder, parse_ranges

    _write_most(degrade_folder(source, output, kind, parse_ranges(settings or []), seed), output)


@app.command("make", epilog="Example: residiff data make -o set/ -k rain -n 485 --size 256")
def make(
    output: Output,
    kind: Kind,
    count: Annotated[int, typer.Option("--count", "-n", help="How many pairs.")] = 100,
    test: Annotated[int, typer.Option(help="How many more, in test/; the others are then in train/.")] = 0,
    size: Annotated[int, typer.Option(help="Width and height in pixels.")] = 256,
    settings: Settings = None,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 0,
) -> None:
    """Make a paired set of procedural pictures: clean/, degraded/ and, where there is one, mask/."""
    from residiff.data.sets import make_set, parse_ranges

    _write(make_set(output, kind, count, size, parse_ranges(settings or []), seed, test), output)


@app.command("layouts", epilog="Example: residiff data layouts --json")
def layouts(json: Annotated[bool, typer.Option("--json", help="For a program to read.")] = False) -> None:
    """List the layouts of published sets that `--data` takes, what their files are called and how many there are."""
    from residiff.data.catalog import published_layouts

    rows = published_layouts()
    if json:
        show_json(rows)
    else:
        show_table([{key: row[key] for key in ("name", "train", "test", "domains", "naming")} for row in rows])


@app.command("import", epilog="Example: residiff data import --clean gt.flist --degraded in.flist -o set/")
def import_(
    output: Output,
    clean: Annotated[Path, typer.Option(help="The list of clean pictures, a path a line (.flist).")],
    degraded: Annotated[Path | None, typer.Option(help="The list of degraded ones.")] = None,
    mask: Annotated[Path | None, typer.Option(help="The list of masks.")] = None,
    split: Annotated[ListSplit, typer.Option(help="What the pictures are for.")] = "train",
    by: Annotated[ListOrder, typer.Option(help="What belongs together: equal names, or what is on one line.")] = "name",
    root: Annotated[str, typer.Option(metavar="OLD=NEW", help="How paths began on another machine, and do here.")] = "",
) -> None:
    """Make a set of lists of paths, as RDDM trains on: a manifest train.csv or test.csv, which `--data` takes."""
    from residiff.data.catalog import import_lists, parse_root

    count = import_lists({"clean": clean, "degraded": degraded, "mask": mask}, output, split, by, parse_root(root))
    note(f"{count} rows in {output / f'{split}.csv'}")


@app.command("shard", epilog="Example: residiff data shard set/ -o shards/ --size 500")
def shard(
    source: Annotated[Path, typer.Argument(metavar="SET", help="The folder of a set, as `--data` takes.")],
    output: Output,
    layout: Annotated[str, typer.Option(help="How the set lies on the disk; see `residiff data layouts`.")] = "auto",
    split: Annotated[ListSplit, typer.Option(help="Which of its pictures.")] = "train",
    size: Annotated[int, typer.Option(min=1, metavar="MB", help="Of an archive.")] = 1000,
) -> None:
    """Pack a set into tar archives train/*.tar or test/*.tar, which read faster than many files, and train the same."""
    from residiff.data.catalog import open_set
    from residiff.data.shards import write_shards

    _write(write_shards(open_set(source, layout, split), output, split, size=size * 1_000_000), output, "samples")


def _write(names: Iterator[str], output: Path, what: str = "pairs") -> None:
    count = 0
    with progress() as bar:
        task = bar.add_task("writing", total=None)
        for count, _ in enumerate(interruptible(names), 1):  # noqa: B007
            bar.advance(task)
    note(f"{count} {what} in {output}")


def _write_most(pictures: Iterator[Done], output: Path) -> None:
    """As `_write`, but those that failed are told and listed in `failures.jsonl`; ends with 3 if there are any."""
    from residiff.restore import Job, Outcome, write_failures

    failed: list[Outcome] = []
    count = 0
    try:
        with progress() as bar:
            task = bar.add_task("writing", total=None)
            for done in interruptible(pictures):
                bar.advance(task)
                count += done.error is None
                if done.error is not None:
                    failed.append(Outcome(Job(done.source, output), done.error))
                    note(f"failed: {done.error}")
    finally:
        # What refuses the output before the first picture leaves the list of the set there alone
        if failed or count:
            write_failures(output / "failures.jsonl", failed)
    _end_with(count, failed, output)


def _end_with(count: int, failed: list[Outcome], output: Path) -> None:
    note(f"{count} pairs in {output}" + (f", {len(failed)} failed" if failed else ""))
    for each in failed:
        note(f"left out: {each.job.source}")
    if failed:
        note(f"why is in {output / 'failures.jsonl'}; mend them and write to another folder, or train without them")
        raise typer.Exit(3)
