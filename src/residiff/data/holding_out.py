"""Pictures that training never sees, to see by how it goes."""

from __future__ import annotations

from collections.abc import Sequence

from residiff.data.pair import Pair
from residiff.data.pairs import PicturePairs
from residiff.data.parts import Chosen, Part, PictureSet
from residiff.data.settings import DataSettings, Degrade
from residiff.errors import ConfigError, check_range


def carve(pictures: PictureSet, share: float, most: int) -> tuple[PictureSet, PictureSet]:
    """A set without what is held out of it, and that: `share` of the pairs, at most `most`, at least one.

    They are spread evenly over the places, which often are in the order of scenes. What is not paired, and so of
    another length than the clean pictures, is held out from in the same way.

    Raises
    ------
    ConfigError
        If the set holds fewer than two pictures of a kind, of which one is to be held out and one to be left.
    """
    check_range("share", share, 0, 1)
    check_range("most", most, 1, 100_000)
    held: dict[str, Sequence[Part]] = {}
    left: dict[str, Sequence[Part]] = {}
    for kind, parts in pictures.columns.items():
        if len(parts) < 2:
            found = f"{pictures.source} holds {len(parts)} {kind} pictures"
            raise ConfigError(f"{found}; to hold some out takes 2, or set validation.on = none")
        places = _spread(len(parts), share, most)
        held[kind] = Chosen(parts, places)
        left[kind] = Chosen(parts, sorted(set(range(len(parts))) - set(places)))
    count = len(held["clean"])
    training = PictureSet(f"{pictures.source}, without {count} held out", left)
    return training, PictureSet(f"{pictures.source}, {count} held out", held)


def _spread(total: int, share: float, most: int) -> list[int]:
    """Places of `share` of `total`, each in the middle of as long a stretch as the others."""
    count = min(most, max(1, round(share * total)), total - 1)
    return [(2 * number + 1) * total // (2 * count) for number in range(count)]


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
