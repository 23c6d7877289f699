"""Pictures that are in a set more than once: the same pixels, or copies that were written anew or made another size.

A near copy is one whose luminance in 16 x 16 cells differs from another's by at most `NEAR` of the latter's own
deviation (root mean square), which must be at least `LEAST` grey levels of 255. Of pictures of 96 pixels and more, nine
in ten copies differ by less than 0.1 in JPEG at quality 30, less than 0.06 at half the size or a quarter of it; the two
most alike of 1,500 procedural pictures differ by 0.26. Crops, turns and copies of another brightness are not found.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from residiff.data.check.findings import Fault, Finding, finding
from residiff.data.check.looks import Examined, Look
from residiff.data.images import Array

NEAR = 0.12
LEAST = 4.0


class _Seen(NamedTuple):
    """A picture, where it is from, and the digest and the name of what goes with it."""

    split: str
    look: Look
    partner: bytes | None
    beside: str | None


def check_duplicates(examined: Sequence[Examined]) -> list[Finding]:
    """Pictures met twice, within a split and in two of them; those all of one colour do not count."""
    clean, degraded = _seen(examined, "clean", "degraded"), _seen(examined, "degraded", "clean")
    leaks = _leaks(clean)
    # Where clean pictures leak, that their degraded ones do need not be said again
    told = {name for one in leaks for name in one.files}
    leaks += _leaks([one for one in degraded if one.beside not in told])
    return leaks + _repeated(clean) + _shared(degraded) + _near(clean)


def _seen(examined: Iterable[Examined], kind: str, other: str) -> list[_Seen]:
    """The pictures of one kind, each file once, with what they are paired with in `other`."""
    found: dict[str, _Seen] = {}
    for one in examined:
        look, partner = one.looks.get(kind), one.looks.get(other)
        if look is not None and not look.is_flat:
            beside = (None, None) if partner is None else (partner.digest, partner.name)
            found.setdefault(look.name, _Seen(one.split, look, *beside))
    return list(found.values())


def _groups(seen: Iterable[_Seen]) -> list[list[_Seen]]:
    """Those with the same pixels, where there are several."""
    groups: dict[bytes, list[_Seen]] = defaultdict(list)
    for one in seen:
        groups[one.look.digest].append(one)
    return [group for group in groups.values() if len(group) > 1]


def _by_split(group: Iterable[_Seen]) -> list[list[_Seen]]:
    splits: dict[str, list[_Seen]] = defaultdict(list)
    for one in group:
        splits[one.split].append(one)
    return [part for part in splits.values() if len(part) > 1]


def _names(group: Iterable[_Seen]) -> tuple[str, ...]:
    return tuple(one.look.name for one in group)


def _leaks(seen: Sequence[_Seen]) -> list[Finding]:
    groups = [group for group in _groups(seen) if len({one.split for one in group}) > 1]
    return [finding(Fault.LEAK, _names(group), "the same picture is in two splits") for group in groups]


def _repeated(clean: Sequence[_Seen]) -> list[Finding]:
    """Clean pictures met again in their split: with the same degraded one (or none), or with others."""
    found = []
    for group in (part for whole in _groups(clean) for part in _by_split(whole)):
        same = len({one.partner for one in group}) < len(group)
        fault = Fault.REPEATED if same else Fault.REPEATED_CLEAN
        text = "the same pair is there again" if same else "one clean picture with several degraded ones"
        found.append(finding(fault, _names(group), text))
    return found


def _shared(degraded: Sequence[_Seen]) -> list[Finding]:
    """Degraded pictures met again in their split, with another clean one."""
    groups = [part for whole in _groups(degraded) for part in _by_split(whole)]
    wrong = [group for group in groups if len({one.partner for one in group if one.partner is not None}) > 1]
    text = "one degraded picture for several clean ones"
    return [finding(Fault.SHARED_DEGRADED, _names(group), text) for group in wrong]


def _near(clean: Sequence[_Seen]) -> list[Finding]:
    """Clean pictures that are nearly the same, in groups."""
    first = {one.look.digest: one for one in reversed(clean) if one.look.thumb is not None}
    kept = list(first.values())
    groups = _joined(near_pairs([one.look.thumb for one in kept if one.look.thumb is not None]), len(kept))
    return [_near_finding([kept[place] for place in group]) for group in groups]


def _near_finding(group: list[_Seen]) -> Finding:
    leaks = len({one.split for one in group}) > 1
    text = "they are nearly the same: a copy written anew or of another size, or one scene at two moments"
    return finding(Fault.NEAR_LEAK if leaks else Fault.NEAR_COPY, _names(group), text)


def near_pairs(thumbs: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """The places of those thumbs (`Look.thumb`) that are near copies, two by two."""
    if not thumbs:
        return
    values = np.frombuffer(b"".join(thumbs), np.uint8).reshape(len(thumbs), -1).astype(np.float32)
    limit = NEAR * values.std(1)
    shows = np.flatnonzero(values.std(1) >= LEAST)
    # The means of two rows differ by less than the rows do, so that only neighbours in their order are compared
    means = values.mean(1)
    order = shows[np.argsort(means[shows], kind="stable")]
    values, limit, means = values[order], limit[order], means[order]
    ends = np.searchsorted(means, means + limit, side="right")
    for place, end in enumerate(ends.tolist()):
        for other in _within(values, place, end, float(limit[place])):
            yield int(order[place]), int(order[other])


def _within(values: Array, place: int, end: int, limit: float) -> list[int]:
    others = values[place + 1 : end]
    distance = np.sqrt(np.square(others - values[place]).mean(1))
    return (place + 1 + np.flatnonzero(distance <= limit)).tolist()


def _joined(pairs: Iterable[tuple[int, int]], count: int) -> list[list[int]]:
    """The numbers below `count` in groups of those that pairs link; none of one."""
    leader = list(range(count))

    def find(number: int) -> int:
        while leader[number] != number:
            leader[number] = leader[leader[number]]
            number = leader[number]
        return number

    for first, second in pairs:
        leader[find(second)] = find(first)
    groups: dict[int, list[int]] = defaultdict(list)
    for number in range(count):
        groups[find(number)].append(number)
    return [group for group in groups.values() if len(group) > 1]
