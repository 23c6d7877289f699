"""From numbers to batches: pairs in order, those that cannot be read replaced, in any number of processes alike."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from residiff.data.pair import Pair, Pairs
from residiff.data.purposes import LOADER
from residiff.errors import ConfigError, ImageError, ResidiffError, ResourceError
from residiff.parallel import CONTEXT
from residiff.seeds import generator

# Substitutes are numbers that no training reaches, so far apart that they are of other epochs
FAR = 2**40
SUBSTITUTES = 100
NAMED_FAULTS = 5
# Updates that the workers have ready between them, or one each
READ_AHEAD = 4


@dataclass(frozen=True)
class One:
    """A pair, the number it was asked for by, and why another stands in its place, "" where none does."""

    pair: Pair
    index: int
    fault: str


@dataclass(frozen=True)
class Drawn:
    """Several: a pair of (N, C, height, width), and of each what `One` says."""

    pair: Pair
    index: tuple[int, ...]
    fault: tuple[str, ...]


def drawn(pairs: Pairs, index: int) -> One:
    """Pair number `index`, or the first that can be read of the numbers index + k 2^40, k = 1 to 100.

    What stands in for a pair thus depends on the data alone, never on what was read before.

    Raises
    ------
    ImageError
        If none of them can be read.
    """
    fault = ""
    for turn in range(SUBSTITUTES + 1):
        try:
            return One(pairs(index + turn * FAR), index, fault)
        except ImageError as error:
            fault = fault or str(error)
    raise ImageError(f"{fault}; nor can any of {SUBSTITUTES} others in its place be read")


def collate(items: Sequence[One]) -> Drawn:
    """Pairs of one size, together.

    Raises
    ------
    ConfigError
        If some have a mask and others none.
    """
    channels = sorted({item.pair.mask.shape[0] for item in items})
    if len(channels) > 1:
        raise ConfigError(f"pairs have masks of {channels} channels; take sets that all have masks, or none that has")
    clean, degraded, mask = (torch.stack(part) for part in zip(*(item.pair for item in items), strict=True))
    return Drawn(Pair(clean, degraded, mask), tuple(item.index for item in items), tuple(item.fault for item in items))


def loader(
    pairs: Pairs, first: int, last: int, count: int, workers: int, *, slot: range | None = None
) -> Iterator[Drawn]:
    """Pairs number `first` to `last` - 1 in order, `count` an update, read ahead by `workers` processes.

    Of each update only those at the places `slot` are read, where several processes share it; all of them if None.
    The batches are the same for any number of workers.

    Raises
    ------
    ConfigError
        At once, where the numbers are not those of whole updates, or the slot is not within one; later, where the pairs
        cannot be cropped as asked for.
    ImageError
        Where a pair cannot be read, and nothing in its place.
    """
    places = range(count) if slot is None else slot
    if count < 1 or last < first or (last - first) % count:
        raise ConfigError(f"numbers {first} to {last} are not those of whole updates of {count}")
    if not places or min(places) < 0 or max(places) >= count:
        raise ConfigError(f"slot is {places}; allowed are places of an update, 0 to {count - 1}")
    return _opened(_Numbered(pairs), _Updates(range(first, last, count), places), workers)


def _opened(numbered: _Numbered, updates: _Updates, workers: int) -> Iterator[Drawn]:
    batches: DataLoader[One | ResidiffError] = DataLoader(
        numbered,
        batch_sampler=updates,
        num_workers=workers,
        # In a fork of a process that has used libvips, libvips hangs
        multiprocessing_context=CONTEXT if workers else None,
        collate_fn=_collated,
        worker_init_fn=_left_to_the_parent,
        prefetch_factor=max(1, READ_AHEAD // workers) if workers else None,
        # Without one of its own it draws from the global one
        generator=generator(0, LOADER),
    )
    with _workers_lost():
        for batch in batches:
            if isinstance(batch, ResidiffError):
                raise batch
            yield batch


def _left_to_the_parent(_worker: int) -> None:
    """A signal to the whole group is the parent's to obey: it still needs its workers to end well."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("SIGUSR1", "SIGHUP"):
        signal.signal(getattr(signal, name, signal.SIGTERM), signal.SIG_IGN)  # Windows has neither


@contextlib.contextmanager
def _workers_lost() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise ResourceError(
            "a process that prepared the data was killed; give it memory, or take fewer workers"
        ) from error


class _Numbered(Dataset[One | ResidiffError]):
    """Pairs by number. Errors are handed over, since those raised in a worker come with its traceback as message."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs

    def __getitem__(self, index: int) -> One | ResidiffError:
        try:
            return drawn(self.pairs, index)
        except ResidiffError as error:
            return error


class _Updates(Sampler[list[int]]):
    """The numbers of each update, made when they are asked for: a long run has hundreds of millions."""

    def __init__(self, starts: range, places: range) -> None:
        self.starts, self.places = starts, places

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[list[int]]:
        return ([start + place for place in self.places] for start in self.starts)


def _collated(items: list[One | ResidiffError]) -> Drawn | ResidiffError:
    for item in items:
        if isinstance(item, ResidiffError):
            return item
    try:
        return collate([item for item in items if isinstance(item, One)])
    except ResidiffError as error:
        return error


class Faults:
    """What could not be read: at most 1 % of a set of `size` pictures, but one in any case, may be replaced."""

    def __init__(self, size: int) -> None:
        self.size, self.allowed = size, max(1, size // 100)
        self.known: dict[str, None] = {}

    def add(self, fault: str) -> bool:
        """Note the fault of a picture, in words that name it; whether it is a new one.

        Raises
        ------
        ImageError
            If there are more than are allowed; the first few are named.
        """
        is_new = fault not in self.known
        self.known[fault] = None
        if len(self.known) > self.allowed:
            first, count = "; ".join(list(self.known)[:NAMED_FAULTS]), len(self.known)
            of = f" of {self.size}" if self.size else ""
            bound = f"training goes on without {self.allowed}{of} at most"
            raise ImageError(f"{count} pictures cannot be read, and {bound}; mend them or take them out: {first}")
        return is_new
