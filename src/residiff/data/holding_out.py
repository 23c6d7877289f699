"""Pictures that training never sees, to see by how it goes."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from residiff.data.pair import Pair
from residiff.data.pairs import PicturePairs
from residiff.data.parts import Chosen, Part, PictureSet, spread
from residiff.data.settings import DataSettings, Degrade
from residiff.errors import ConfigError, ImageError, check_range

# Of pictures of one size, the bytes that most often tell them apart
HEAD = 4096
Places = NDArray[np.int64]
Mask = NDArray[np.bool_]


def carve(pictures: PictureSet, share: float, most: int) -> tuple[PictureSet, PictureSet]:
    """A set without what is held out of it, and that: `share` of the scenes, at most `most`, at least one.

    Pictures that show one scene, as their names tell, and pairs that share a clean or a degraded picture, stay
    together. Those scenes are spread evenly over the set, in whose order they often lie; where they hold more than
    `most` pairs, so many of these are shown, and the others are in neither part. What is not paired, and so of another
    length than the clean pictures, is held out from in the same way.

    Raises
    ------
    ConfigError
        If the set holds fewer than two pictures or scenes of a kind, of which one is to be held out and one to be left.
    """
    check_range("share", share, 0, 1)
    check_range("most", most, 1, 100_000)
    held: dict[str, Sequence[Part]] = {}
    left: dict[str, Sequence[Part]] = {}
    for columns in _together(pictures):
        out = _held_out(pictures, columns, share, most)
        shown = np.flatnonzero(out)[spread(int(out.sum()), min(most, int(out.sum())))].tolist()
        for kind, parts in columns.items():
            held[kind] = Chosen(parts, shown)
            left[kind] = Chosen(parts, np.flatnonzero(~out).tolist())
    without, count = len(pictures) - len(left["clean"]), len(held["clean"])
    number = str(count) if count == without else f"{count} of {without}"
    training = PictureSet(f"{pictures.source}, without {without} held out", left, pictures.scene)
    return training, PictureSet(f"{pictures.source}, {number} held out", held, pictures.scene)


def without_copies(pictures: PictureSet, held: Sequence[PictureSet]) -> PictureSet | None:
    """A set without what shows a clean picture that is, byte for byte, among the clean ones of `held`.

    Of what is not paired, other kinds are compared as well, each with its own. None where nothing is left.
    """
    kept: dict[str, Sequence[Part]] = {}
    for columns in _together(pictures):
        kind = "clean" if "clean" in columns else next(iter(columns))
        known = [part for one in held for part in one.columns.get(kind, ())]
        found = set(_copies(columns[kind], known))
        places = [place for place in range(len(columns[kind])) if place not in found] if found else None
        kept |= {each: parts if places is None else Chosen(parts, places) for each, parts in columns.items()}
    gone = max(len(pictures.columns[kind]) - len(parts) for kind, parts in kept.items())
    if not gone:
        return pictures
    if not all(map(len, kept.values())):
        return None
    copies = "1 copy" if gone == 1 else f"{gone} copies"
    return PictureSet(f"{pictures.source}, without {copies} of what is held out", kept, pictures.scene)


def _together(pictures: PictureSet) -> list[dict[str, Sequence[Part]]]:
    """The columns whose places belong together: all where they are of one length, else each alone."""
    columns = dict(pictures.columns)
    if len(set(map(len, columns.values()))) == 1:
        return [columns]
    return [{kind: parts} for kind, parts in columns.items()]


def _held_out(pictures: PictureSet, columns: Mapping[str, Sequence[Part]], share: float, most: int) -> Mask:
    """Which places are to be held out."""
    kind = next(iter(columns))
    total, mend = len(columns[kind]), "or set validation.on = none"
    if total < 2:
        raise ConfigError(f"{pictures.source} holds {total} {kind} pictures; to hold some out takes 2, {mend}")
    scenes = _scenes([parts for each, parts in columns.items() if each != "mask"] or [columns[kind]], pictures.scene)
    firsts = np.unique(scenes)
    if len(firsts) < 2:
        raise ConfigError(f"{pictures.source} shows one scene; to hold some out takes 2, {mend}")
    count = min(most, max(1, round(share * len(firsts))), len(firsts) - 1)
    return np.isin(scenes, firsts[spread(len(firsts), count)])


def _scenes(columns: Sequence[Sequence[Part]], scene: str) -> Places:
    """Of each place the first that shows the same scene, or shares a picture with it, or with one that does."""
    found = [np.unique([_key(part, scene) for part in parts], return_inverse=True)[1] for parts in columns]
    first, before = np.arange(len(columns[0])), None
    while before is None or not np.array_equal(first, before):
        before = first
        for keys in found:
            least = np.full(len(first), len(first))
            np.minimum.at(least, keys, first)
            first = least[keys]
    return first


def _key(part: Part, scene: str) -> int:
    """A number for the scene that a picture's name tells, else for the name itself."""
    name = os.path.abspath(part.name).replace("\\", "/")
    match = re.search(scene, name, re.IGNORECASE) if scene else None
    text = name if match is None else "/".join(("", *match.groups()))
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=7).digest())


def _copies(parts: Sequence[Part], known: Sequence[Part]) -> Iterator[int]:
    """The places of those that have the bytes of a known one; what cannot be had is no copy."""
    if not known:
        return
    begins, wholes = ({_print(part, most) for part in known} - {b""} for most in (HEAD, None))
    sizes = {part.size for part in known}
    for place, part in enumerate(parts):
        if part.size in sizes and _print(part, HEAD) in begins and _print(part) in wholes:
            yield place


def _print(part: Part, most: int | None = None) -> bytes:
    """A hash of a picture's bytes, or of the first `most`; nothing where they cannot be had."""
    try:
        return hashlib.sha256(part.data(most)).digest()
    except ImageError:
        return b""


def validation_pairs(
    pictures: PictureSet,
    data: DataSettings,
    crop: int | tuple[int, int],
    mask: bool,
    *,
    seed: int,
    degrade: Degrade | None = None,
) -> tuple[Pair, ...]:
    """Every pair of a set, (3, H, W): the middle of each, `crop` in size, resized and padded as in training, unturned.

    Raises
    ------
    ConfigError, ImageError
        As `PicturePairs` does; nothing takes the place of a picture that cannot be read.
    """
    pairs = PicturePairs(pictures, data, seed, mask=mask, degrade=degrade)
    size = crop if isinstance(crop, tuple) else (crop, crop)
    return tuple(pairs.centred(place, size) for place in range(pairs.size))
