"""Many pictures on the command line: the lock, the progress bar, the lists, and what is said at the end."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from residiff.cli.console import interruptible, note, progress, show_json, show_table
from residiff.files import lock, sweep

if TYPE_CHECKING:
    from residiff.restore import Failures, Job, Manifest, Options, Outcome, Restorer, Shard, There
    from residiff.restore.cluster import Cluster, Loading
    from residiff.restore.watch import Found

# Seconds between two looks at a folder
EVERY = 1.0
# Runs that are shorter need no figures
_SHORT = 5.0
_HINTS = 3
# Of what shards leave behind, the age at which no other can be writing it any more
_STALE = 3600.0


@dataclass(frozen=True)
class Run:
    """How pictures are restored into `output`; `held` says whether its lock is held already.

    Where `many` do it, `restorer` only says what can be.
    """

    restorer: Restorer
    options: Options
    output: Path
    resume: bool = False
    skip_existing: bool = False
    shard: Shard | None = None
    exactly: bool = False
    held: bool = False
    many: Many | None = None


@dataclass(frozen=True)
class Many:
    """The workers that restore, and the model that each of them loads."""

    cluster: Cluster
    loading: Loading


@contextlib.contextmanager
def hold(output: str, part: str | None = None, *, is_wanted: bool = True) -> Iterator[bool]:
    """Hold the output folder, before anything heavy is loaded, so that a second run ends at once; gives whether it is.

    What may be the name of a picture is not held yet: that is known only when the sources have been looked at.
    """
    place, label = Path(output), (part or "").replace("/", "-of-")
    is_folder = output != "-" and (place.is_dir() or not (place.exists() or place.suffix))
    found = re.fullmatch(r"(\d{1,6})-of-(\d{1,6})", label, re.ASCII)
    is_part = found is not None and 1 <= int(found[1]) <= int(found[2])
    if is_wanted and is_folder and (is_part or not label):
        with lock(place, label):
            yield True
    else:
        yield False


def run_jobs(jobs: list[Job], run: Run) -> None:
    """Do the jobs under a progress bar, list the failed ones in `failures.jsonl`, and end with 3 if there are any."""
    from residiff.restore import Failures
    from residiff.restore.manifest import FAILURES, path_of

    is_folder = any(job.target != run.output for job in jobs) or run.output.is_dir()
    folder = run.output if is_folder else run.output.parent
    part = run.shard.label if run.shard else ""
    with lock(folder, part) if is_folder and not run.held else contextlib.nullcontext():
        sweep({job.target.parent for job in jobs}, 0.0 if is_folder and not part else _STALE)
        tally = Tally(Failures(path_of(folder, FAILURES, run.shard)), several=run.many is not None)
        if is_folder:
            tally.failures.clear()
        with tally.closing(), progress("rate") as bar:
            task = bar.add_task("restoring", total=len(jobs), rate="")
            for outcome in interruptible(_restored(jobs, run, is_folder)):
                tally.take(outcome)
                bar.update(task, advance=1, rate=tally.rate)
    if tally.failures.count:
        raise typer.Exit(3)


def watch_run(run: Run, look: Callable[[], Found]) -> None:
    """Do what is found, and what comes, until a signal ends the program; what failed is tried anew once it changes."""
    from residiff.restore import Failures, Watcher
    from residiff.restore.manifest import FAILURES, path_of

    watcher, tally = Watcher(look), Tally(Failures(path_of(run.output, FAILURES, run.shard)))
    tally.failures.clear()
    with lock(run.output) if not run.held else contextlib.nullcontext(), tally.closing():
        while True:
            jobs, refused = watcher.ready()
            for outcome in refused:
                tally.take(outcome)
            sweep({job.target.parent for job in jobs})
            for outcome in interruptible(_restored(jobs, run, is_folder=True)):
                tally.take(outcome)
                if outcome.error is None and not outcome.skipped:
                    note(f"{outcome.job.source} -> {outcome.job.target}")
            time.sleep(EVERY)


def _restored(jobs: list[Job], run: Run, is_folder: bool) -> Iterator[Outcome]:
    from residiff.restore import Manifest, There, restore_all

    manifest = Manifest(run.output, run.shard) if is_folder else None
    there = There.SKIP if run.skip_existing else There.RESUME if run.resume else There.REPLACE
    try:
        if manifest is not None and there is There.RESUME:
            manifest.read()
        if run.many is None:
            yield from restore_all(jobs, run.restorer, run.options, there=there, manifest=manifest, exactly=run.exactly)
        else:
            yield from _by_many(jobs, run, run.many, there, manifest)
    finally:
        if manifest is not None:
            manifest.close()


def _by_many(jobs: list[Job], run: Run, many: Many, there: There, manifest: Manifest | None) -> Iterator[Outcome]:
    from residiff.restore.cluster import restore_on_ray

    fixed = (run.restorer, many.loading, run.options, many.cluster)
    yield from restore_on_ray(jobs, *fixed, there=there, manifest=manifest, exactly=run.exactly)


def show_estimate(jobs: list[Job], run: Run, as_json: bool) -> None:
    """Say what a run would take, and whether there is room; nothing is written."""
    from dataclasses import asdict

    from residiff.restore import Manifest, There, estimate, left_to_do

    manifest = Manifest(run.output, run.shard)
    manifest.read()
    there = There.SKIP if run.skip_existing else There.RESUME if run.resume else There.REPLACE
    left = left_to_do(jobs, run.restorer, run.options, there=there, manifest=manifest, exactly=run.exactly)
    found = asdict(estimate(left, run.restorer, run.options, run.output)) | {"there": len(jobs) - len(left)}
    if as_json:
        return show_json(found)
    shown: dict[str, object] = {
        "pictures": found["pictures"],
        "there already": found["there"],
        "unreadable": found["unreadable"],
        "megapixels": f"{found['pixels'] / 1e6:.1f}",
        "time": _duration(found["seconds"]),
        "space": f"{found['bytes'] / 1e6:,.1f} MB",
        "free": f"{found['free'] / 1e6:,.0f} MB",
    }
    show_table([shown])
    if found["bytes"] > found["free"]:
        note(f"there is too little room in {run.output}: free some, or take another folder")


class Tally:
    """What became of the pictures so far."""

    def __init__(self, failures: Failures, *, several: bool = False) -> None:
        self.failures, self.several = failures, several
        self.restored = self.skipped = self.alike = 0
        self.remade: Counter[str] = Counter()
        self.network = 0.0
        self.began = time.monotonic()

    def take(self, outcome: Outcome) -> None:
        """Count an outcome, and say what is wrong with it."""
        self.failures.add(outcome)
        if outcome.error is not None:
            note(f"failed: {outcome.error}")
            return
        self.skipped += outcome.skipped
        self.restored += not outcome.skipped
        self.network += outcome.seconds
        self.remade.update([outcome.remade] if outcome.remade else [])
        self.alike += bool(outcome.hint)
        if outcome.hint and self.alike <= _HINTS:
            note(f"hint: {outcome.hint}")

    @property
    def rate(self) -> str:
        """Pictures a second, and how many failed."""
        seconds = max(1e-3, time.monotonic() - self.began)
        failed = f", {self.failures.count} failed" if self.failures.count else ""
        return f"{self.restored / seconds:.2g} a second{failed}"

    @contextlib.contextmanager
    def closing(self) -> Iterator[None]:
        """At its end the list of failures is closed, and what was done is said, unless a fault ended it."""
        try:
            yield
            self.say()
        except SystemExit:
            self.say()
            raise
        finally:
            self.failures.close()

    def say(self) -> None:
        """Say what was done."""
        there = f", {self.skipped} there already" if self.skipped else ""
        note(f"{self.restored} restored, {self.failures.count} failed{there}")
        if self.remade:
            note(f"made again: {', '.join(f'{count} {why}' for why, count in self.remade.items())}")
        if self.alike > _HINTS:
            note(f"hint: {self.alike - _HINTS} more hardly differ from their input")
        seconds = time.monotonic() - self.began
        if self.restored > 1 and seconds > _SHORT:
            if self.several:
                share = f"{self.network / seconds:.2g} networks at work on average"
            else:
                share = f"{100 * self.network / seconds:.0f} % of the time the network's{_memory()}"
            note(f"{_duration(seconds)}, {self.rate}, {share}")


def _memory() -> str:
    # Windows has no such module
    if sys.platform == "win32":
        return ""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return f", at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6:.0f} MB of memory"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.2g} s" if seconds < 10 else f"{rest} s"
