"""The doctor of training sets: names all that is wrong with one, and with which files, before anything is trained.

    listing = list_set(folder)
    report = judge(listing, examine(listing))

`examine` reads each picture once, a pair at a time, and keeps a kilobyte or two of each pair; the loop is the caller's.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from residiff.data.catalog import AUTO
from residiff.data.check.duplicates import check_duplicates
from residiff.data.check.findings import Fault, Finding, Severity, finding
from residiff.data.check.listing import Listing, Wanted, list_set
from residiff.data.check.looks import Examined, check_head, examine_entry
from residiff.data.check.names import Entry, check_names, check_paths, entries
from residiff.data.check.sheet import Sheet, sheet_of
from residiff.data.check.verdicts import MOST_DOUBTFUL, check_alignment, check_pictures
from residiff.data.settings import Pairing
from residiff.errors import check_range
from residiff.files import write_bytes
from residiff.parallel import spread

_ORDER = list(Severity)


@dataclass(frozen=True)
class Report:
    """What was found, the worst first, and the figures of the set."""

    title: str
    findings: tuple[Finding, ...]
    sheet: Sheet

    def count(self, severity: Severity) -> int:
        """How many findings are of that severity."""
        return sum(one.severity is severity for one in self.findings)

    def as_json(self) -> dict[str, object]:
        """All of it, for JSON."""
        counts = {severity.value: self.count(severity) for severity in Severity}
        findings = [one.as_json() for one in self.findings]
        return {"set": self.title, "counts": counts, "findings": findings, "sheet": self.sheet.as_json()}

    def write(self, path: Path) -> None:
        """Write the findings as CSV, one a row: severity, kind, files, what, mend."""
        table = io.StringIO()
        writer = csv.DictWriter(table, ("severity", "kind", "files", "what", "mend"), lineterminator="\n")
        writer.writeheader()
        writer.writerows(one.row() for one in self.findings)
        write_bytes(path, table.getvalue().encode())


def check_set(
    path: Path,
    layout: str = AUTO,
    wanted: Wanted | None = None,
    *,
    crop: tuple[int, int] | None = None,
    quick: bool = False,
    workers: int = 0,
) -> Report:
    """All that is wrong with the set at `path`: `list_set`, `examine` and `judge` in one.

    Raises
    ------
    ConfigError
        If `path` is no set, or not of the layout, or `workers` is not in [0, 256].
    """
    wanted = wanted or Wanted()
    listing = list_set(path, layout, wanted)
    examined = examine(listing, wanted, quick=quick, workers=workers)
    return judge(listing, examined, wanted, crop=crop)


def examine(
    listing: Listing, wanted: Wanted | None = None, *, quick: bool = False, workers: int = 0
) -> Iterator[Examined]:
    """Look at the pictures of a set, in order; yields what was seen of each key.

    With `quick`, at names and first bytes alone. The work is done here, or by as many `workers`, processes of one
    thread each.
    """
    check_range("workers", workers, 0, 256)
    look = partial(_glance if quick else _examine, paired=is_paired(wanted))
    everything = [entry for split in listing.splits for entry in entries(split)]
    return spread(look, everything, workers) if workers else map(look, everything)


def judge(
    listing: Listing, examined: Iterable[Examined], wanted: Wanted | None = None, *, crop: tuple[int, int] | None = None
) -> Report:
    """The report on a set of which everything was examined; `crop` is the (height, width) that pictures must have."""
    paired = is_paired(wanted)
    seen = list(_thinned(examined))
    found = list(listing.findings)
    found += [one for split in listing.splits for one in check_names(split, paired=paired)]
    found += check_paths(listing.splits)
    found += {one: None for each in seen for one in each.findings}
    found += check_pictures(seen, crop) + check_duplicates(seen) + (check_alignment(seen) if paired else [])
    pairs = {split.name: split.size for split in listing.splits}
    found += _counts(listing, pairs)
    found.sort(key=lambda one: _ORDER.index(one.severity))
    return Report(listing.title, tuple(found), sheet_of(seen, pairs, listing.published))


def is_paired(wanted: Wanted | None) -> bool:
    """Whether pictures of one name belong together."""
    return wanted is None or wanted.pairing is Pairing.NAME


def _examine(entry: Entry, *, paired: bool) -> Examined:
    return examine_entry(entry, paired=paired)


def _glance(entry: Entry, *, paired: bool) -> Examined:
    found = tuple(one for part in entry.parts.values() for one in check_head(part))
    return Examined(entry.split, entry.key, {}, found)


def _thinned(examined: Iterable[Examined]) -> Iterator[Examined]:
    """The same without the reduced pictures of doubtful pairs, when there are too many to keep."""
    doubtful = 0
    for one in examined:
        alignment = one.alignment
        doubtful += alignment is not None and alignment.small is not None
        if alignment is not None and doubtful > MOST_DOUBTFUL:
            one = replace(one, alignment=replace(alignment, small=None))
        yield one


def _counts(listing: Listing, pairs: dict[str, int]) -> list[Finding]:
    """Splits of another number of pairs than is published."""
    return [
        finding(Fault.COUNT, (split,), f"{pairs[split]} pairs; {count} are published")
        for split, count in listing.published.items()
        if split in pairs and pairs[split] != count
    ]
