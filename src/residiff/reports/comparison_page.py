"""The page of a comparison: one HTML file that needs no other file and no network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import matplotlib

from residiff import __version__, environment
from residiff.errors import ConfigError, check_range
from residiff.evaluate import written
from residiff.files import replacing
from residiff.plots import look, scores_svg
from residiff.plots.style import DARK, LIGHT
from residiff.reports import case_tables, method_tables, words
from residiff.reports.cases import MAX_SIDE, MOST, Case, Shown, cases, chosen, shown
from residiff.reports.comparison import Comparison
from residiff.reports.costs import costs_of, quality_label
from residiff.reports.pages import Curve, curve, script, template
from residiff.reports.standings import CHANCE, Standing, Verdict, fewest, standings

TEMPLATE, SCRIPT = "comparison.html", "comparison.js"
SUFFIXES = (".html", ".htm")
PICTURES = 12
Seen: TypeAlias = Callable[[Iterator[Shown], int], Iterator[Shown]]


def check_page(path: Path, pictures: int = PICTURES) -> None:
    """Raise `ConfigError` unless a page of so many pictures may be written there: an .html file that is no folder."""
    check_range("pictures", pictures, 0, MOST)
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; name a file for the page, {path / 'report.html'} say")
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{path} ends in {path.suffix!r}; a comparison is a page, so let it end in .html")


def write_comparison(
    comparison: Comparison, path: Path, pictures: int = PICTURES, seen: Seen = lambda items, total: items
) -> int:
    """Write the page of a comparison, a piece at a time, atomically; returns its size in bytes.

    It holds its pictures and plots, loads nothing, runs no script but its own, and takes every text as text.

    Parameters
    ----------
    comparison : what it shows
    path : an .html file
    pictures : how many it shows at most, the worst cases first; each is held without loss, by every method
    seen : is given the pictures that are shown and their number, and gives them back: room for a progress bar

    Raises
    ------
    ConfigError
        If the path is a folder or ends otherwise, or the number of pictures is not between 0 and 200.
    ResourceError
        If the place may not be written to.
    """
    check_page(path, pictures)
    count = 0
    pieces = comparison_pieces(comparison, pictures, seen)
    with replacing(path) as file:
        for piece in pieces:
            # A file's name may hold bytes that are no text
            count += file.write(piece.encode("utf-8", "replace"))
    return count


def comparison_pieces(
    comparison: Comparison, pictures: int = PICTURES, seen: Seen = lambda items, total: items
) -> Iterable[str]:
    """The same page in pieces, so that no more than one picture is in memory at a time."""
    every, found, own = cases(comparison), standings(comparison), script(SCRIPT)
    few = chosen(every, pictures)
    labels = [method.label for method in comparison.methods]
    return template(TEMPLATE).generate(
        comparison=comparison,
        protocol=comparison.protocol,
        labels=labels,
        listing=words.listing,
        script=own,
        about=_about(comparison, labels),
        looks=[look(place, LIGHT) for place in range(len(labels))],
        colours=[(look(place, LIGHT).colour, look(place, DARK).colour) for place in range(len(labels))],
        outcome=list(_outcome(comparison, found)),
        measure=words.measure(comparison.measure),
        mean_heads=method_tables.mean_heads(comparison),
        mean_rows=method_tables.mean_rows(comparison),
        difference_rows=method_tables.difference_rows(comparison, found),
        costs=costs_of(comparison),
        curve=_scores(comparison, every),
        picture_rows=list(case_tables.picture_rows(comparison, every)),
        case_rows=lambda case: case_tables.case_rows(comparison, case.name),
        count=len(few),
        shown=seen(shown(comparison, few), len(few)),
        max_side=MAX_SIDE,
        machine=environment.describe(),
        version=__version__,
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _about(comparison: Comparison, labels: Sequence[str]) -> dict[str, object]:
    """What the page's script works with; the colours are of errors, from none to the most (matplotlib's inferno)."""
    colours = matplotlib.colormaps["inferno"](range(256), bytes=True)
    return {
        "labels": list(labels),
        "baseline": comparison.baseline,
        "higher": comparison.higher,
        "measure": words.measure(comparison.measure),
        "colours": colours[:, :3].tobytes().hex(),
    }


def _outcome(comparison: Comparison, found: Sequence[Standing]) -> Iterator[str]:
    """Sentences on which method is best by the measure, and how sure that is."""
    measure, methods = comparison.measure, comparison.methods
    means = [method.result.mean[measure] for method in methods]
    best = (max if comparison.higher else min)(means)
    first = [place for place, mean in enumerate(means) if written(measure, mean) == written(measure, best)]
    names = words.listing([methods[place].label for place in first])
    verb, extreme = "have" if len(first) > 1 else "has", "highest" if comparison.higher else "lowest"
    level = written(measure, best) + words.unit(measure)
    of = f"{len(methods)} methods on {words.plural(len(comparison.names), 'picture')}"
    yield f"{names} {verb} the {extreme} mean {words.measure(measure)}, {level}, of {of}."
    if any(each.verdict is Verdict.TOO_FEW for each in found):
        tests = words.plural(len(found), "test")
        yield f"These are too few pictures to tell methods apart: with {tests} at once it takes {fewest(len(found))}."
        return
    yield from _sure([each for each in found if each.measure == measure], comparison, first)


def _sure(found: Sequence[Standing], comparison: Comparison, first: Sequence[int]) -> Iterator[str]:
    """How far the best is from the baseline, and what is not told apart from that."""
    base, best = comparison.methods[comparison.baseline].label, comparison.methods[first[0]].label
    told = [each for each in found if comparison.baseline not in first and each.label == best]
    for each in told:
        if each.found is not None:
            gap = method_tables.signed(each.measure, each.found.mean) + words.unit(each.measure)
            p = f"p {'' if each.p < 0.001 else '= '}{words.chance(each.p)}"
            of = f"better on {each.wins} of {len(comparison.names)} pictures"
            yield f"Against {base} that is {gap}, {of} ({p}{', which may be chance' if each.p >= CHANCE else ''})."
    alike = [each.label for each in found if each.verdict is Verdict.OPEN and each not in told]
    if alike:
        yield f"Not told apart from {base}: {words.listing(alike)}."


def _scores(comparison: Comparison, every: Sequence[Case]) -> Curve:
    scores = [method.result.values(comparison.measure) for method in comparison.methods]
    base, quality, higher = comparison.baseline, quality_label(comparison), comparison.higher
    tops = [
        sum(case.scores[place] == (max if higher else min)(case.scores) for case in every)
        for place in range(len(scores))
    ]
    told = "; ".join(
        f"{method.label} is best on {words.plural(top, 'picture')}"
        for method, top in zip(comparison.methods, tops, strict=True)
    )
    alt = f"{quality} of every picture by every method, sorted by {comparison.methods[base].label}. {told}."
    return curve(lambda theme: scores_svg(scores, quality, theme, base, higher=higher), alt)
