"""What is wrong with pictures that could be read: within a pair, and against what is usual in their set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from residiff.data.check.alignment import CHANCE, STRUCTURE, SURE, Alignment, partners
from residiff.data.check.findings import Fault, Finding, Severity, finding
from residiff.data.check.looks import Examined, Look

# So many pairs are compared with one another's partners, and so few say what is usual
MOST_DOUBTFUL, LEAST_USUAL = 2000, 8
_FULL, _SOFT = 0.999, 0.001


class _Fit(NamedTuple):
    """A pair, and how it fits."""

    pair: Examined
    alignment: Alignment

    @property
    def files(self) -> tuple[str, ...]:
        """The degraded picture, and the clean one."""
        return self.pair.looks["degraded"].name, self.pair.looks["clean"].name


def check_pictures(examined: Sequence[Examined], crop: tuple[int, int] | None) -> list[Finding]:
    """Sizes, channels, depths, masks and what else shows in a pair by itself; `crop` is (height, width), if it counts.

    What is so in more than half of a set is meant to be, and becomes one note.
    """
    found = [one for each in examined for one in _sizes(each, crop)]
    unusual = [one for each in examined for one in (*_kinds_differ(each), *_mask(each))]
    unusual += [_unchanged(each) for each in examined if _is_unchanged(each)]
    return found + _folded(unusual, len(examined)) + _remarks(examined)


def check_alignment(examined: Sequence[Examined]) -> list[Finding]:
    """Pairs whose pictures lie at another place, are turned, belong to another pair, or show something else.

    Blur moves the best place of a pair at random: a shift counts only if it is over three times what is usual in a set.
    """
    fits = [_Fit(one, one.alignment) for one in examined if one.alignment is not None]
    turned = [fit for fit in fits if fit.alignment.is_turned]
    usual = _usual(fits)
    beside = [fit for fit in fits if fit.alignment.is_beside and _length(fit.alignment.shift) > 3 * usual]
    found = [finding(Fault.TURNED, fit.files, f"it is {fit.alignment.turn_words}") for fit in turned]
    found += [finding(Fault.SHIFTED, fit.files, _shift_words(*fit.alignment.shift)) for fit in beside]
    told = {fit.pair.name for fit in (*turned, *beside)}
    swapped = list(_swapped([fit for fit in fits if fit.pair.name not in told]))
    told |= {pair.name for pair, _ in swapped}
    return found + [one for _, one in swapped] + _unrelated([fit for fit in fits if fit.pair.name not in told], fits)


def _sizes(one: Examined, crop: tuple[int, int] | None) -> list[Finding]:
    """Sizes that differ within a pair, and pictures smaller than the crop."""
    sizes = {look.size for look in one.looks.values()}
    if len(sizes) > 1:
        told = " and ".join(f"{kind} {_pixels(look.size)}" for kind, look in one.looks.items())
        return [finding(Fault.SIZE, one.names(), told)]
    if crop is None or all(height >= crop[0] and width >= crop[1] for height, width in sizes):
        return []
    return [finding(Fault.TOO_SMALL, one.names(), f"{_pixels(sizes.pop())}, and the crop is {_pixels(crop)}")]


def _pixels(size: tuple[int, int]) -> str:
    height, width = size
    return f"{width} x {height}"


def _kinds_differ(one: Examined) -> list[Finding]:
    """Grey beside colour, 8 bits beside 16."""
    clean, degraded = one.looks.get("clean"), one.looks.get("degraded")
    if clean is None or degraded is None:
        return []
    found = []
    if clean.channels != degraded.channels:
        text = f"clean is {_colour(clean)}, degraded {_colour(degraded)}"
        found.append(finding(Fault.CHANNELS, one.names(), text))
    if clean.bit_depth != degraded.bit_depth:
        text = f"clean has {clean.bit_depth} bits, degraded {degraded.bit_depth}"
        found.append(finding(Fault.DEPTH, one.names(), text))
    return found


def _colour(look: Look) -> str:
    return "grey" if look.channels == 1 else "in colour"


def _is_unchanged(one: Examined) -> bool:
    return one.residual is not None and one.residual.energy == 0


def _unchanged(one: Examined) -> Finding:
    return finding(Fault.UNCHANGED, one.names(), "the two pictures are the same, pixel for pixel")


def _mask(one: Examined) -> list[Finding]:
    mask = one.mask
    if mask is None:
        return []
    files = (one.looks["mask"].name,)
    if mask.soft > _SOFT:
        return [finding(Fault.MASK_SOFT, files, f"{mask.soft:.1%} of it is neither black nor white")]
    if mask.covered <= 1 - _FULL:
        return [finding(Fault.MASK_EMPTY, files, "it is black all over")]
    return [finding(Fault.MASK_FULL, files, "it is white all over")] if mask.covered >= _FULL else []


def _folded(found: Sequence[Finding], total: int) -> list[Finding]:
    """The findings, but those of a kind that more than half of the set has as one note."""
    kinds: dict[Fault, list[Finding]] = defaultdict(list)
    for one in found:
        kinds[one.fault].append(one)
    return [one for each in kinds.values() for one in (each if 2 * len(each) <= total else [_as_note(each, total)])]


def _as_note(found: Sequence[Finding], total: int) -> Finding:
    files = tuple(name for one in found for name in one.files)
    text = f"so it is in {len(found)} of {total}: {found[0].text}"
    return finding(found[0].fault, files, text, mend="nothing, if it is meant to be so", severity=Severity.NOTE)


def _remarks(examined: Sequence[Examined]) -> list[Finding]:
    """What is good to know of files, once for each kind."""
    looks = {look.name: look for one in examined for look in one.looks.values()}
    several = [look.name for look in looks.values() if any("several images" in remark for remark in look.remarks)]
    alpha = [look.name for look in looks.values() if look.has_alpha]
    deep = [look.name for look in looks.values() if look.bit_depth == 16]
    told = {
        Fault.FRAMES: (several, "files with several images: animations, or pages"),
        Fault.ALPHA: (alpha, "files with an alpha channel"),
        Fault.DEEP: (deep, "files of 16 bits"),
    }
    notes = [finding(fault, tuple(names), f"{len(names)} {text}") for fault, (names, text) in told.items() if names]
    others = ((look, remark) for look in looks.values() for remark in look.remarks if "several images" not in remark)
    return notes + [finding(Fault.READING, (look.name,), remark) for look, remark in others]


def _usual(fits: Sequence[_Fit]) -> float:
    """How far four in five of the pairs are from the set's median shift, at most."""
    shifts = [fit.alignment.shift for fit in fits if fit.alignment.shifted >= SURE]
    if not shifts:
        return 0.0
    places = torch.tensor(shifts, dtype=torch.float64)
    lengths = (places - places.median(0).values).norm(dim=1).sort().values
    return float(lengths[int(0.8 * (len(lengths) - 1))])


def _length(shift: tuple[int, int]) -> float:
    return float(torch.tensor(shift, dtype=torch.float64).norm())


def _shift_words(down: int, right: int) -> str:
    moves = ((down, "down", "up"), (right, "to the right", "to the left"))
    words = [f"{abs(count)} pixels {forth if count > 0 else back}" for count, forth, back in moves if count]
    return f"it lies about {' and '.join(words)}"


def _swapped(fits: Sequence[_Fit]) -> Iterator[tuple[Examined, Finding]]:
    """Pairs of which the degraded picture surely fits the clean one of another, of those whose own fit is in doubt."""
    shapes: dict[tuple[int, ...], list[_Fit]] = defaultdict(list)
    for fit in fits:
        if fit.alignment.small is not None:
            shapes[tuple(fit.alignment.small[0].shape)].append(fit)
    for group in shapes.values():
        found = partners([fit.alignment.small for fit in group if fit.alignment.small is not None])
        for number, place in enumerate(found):
            if place != number:
                own, other = group[number], group[place]
                files = (own.files[0], other.files[1])
                yield own.pair, finding(Fault.SWAPPED, files, f"it shows what the second one does, not {own.files[1]}")


def _unrelated(fits: Sequence[_Fit], whole: Sequence[_Fit]) -> list[Finding]:
    """Pairs that fit no better than by chance where most others fit surely; not those of nearly flat pictures."""
    scores = sorted(fit.alignment.score for fit in whole)
    if len(scores) < LEAST_USUAL or scores[len(scores) // 2] < 2 * SURE or scores[len(scores) // 5] < SURE:
        return []
    strange = [fit for fit in fits if fit.alignment.score < CHANCE and fit.alignment.structure >= STRUCTURE]
    return [finding(Fault.UNRELATED, fit.files, "the two fit no better than any two pictures") for fit in strange]
