"""Loading: the same batches whoever reads them, whenever it was stopped, and whatever cannot be read."""

import hashlib
import time
import tracemalloc
from functools import partial

import pytest
import torch
from torch.utils.data import DataLoader

from residiff.data import loading as module
from residiff.data.images import Picture
from residiff.data.loading import FAR, SUBSTITUTES, Faults, One, collate, drawn, loader
from residiff.data.mixture import Mixed
from residiff.data.pair import Pair
from residiff.data.pairs import PicturePairs, SyntheticPairs
from residiff.data.parts import PictureSet
from residiff.data.settings import DataSettings, Degrade
from residiff.errors import ConfigError, ImageDecodeError, ImageError

DATA = DataSettings(Degrade("noise"), crop=8, picture=16, reuse=2, window=3)
COUNT, TOTAL = 4, 14


class Drawing:
    """A picture (3, 12, 16) of its number; those of `bad` cannot be read."""

    def __init__(self, number, bad):
        self.name, self.number, self.bad = f"{number}.png", number, bad

    def read(self):
        if self.number in self.bad:
            raise ImageDecodeError(f"{self.name} is damaged")
        values = torch.arange(12 * 16).reshape(1, 12, 16).expand(3, -1, -1)
        return Picture(((values + 3 * self.number) % 256) / 255)


def pairs(count=TOTAL, bad=()):
    """Pairs degraded on the fly: shuffled, cropped, turned, and noisy."""
    return PicturePairs(PictureSet("a set", {"clean": [Drawing(i, bad) for i in range(count)]}), DATA, 7, mask=False)


def prints(batch):
    """Of each pair of a batch its number, its fault, and a print of what it shows."""
    rows = zip(*batch.pair, strict=True)
    shown = [hashlib.sha256(b"".join(part.numpy().tobytes() for part in row)).hexdigest() for row in rows]
    return list(zip(batch.index, batch.fault, shown, strict=True))


def read(source, first, last, workers, slot=None):
    """The batches of numbers `first` to `last` - 1."""
    return [prints(batch) for batch in loader(source, first, last, COUNT, workers, slot=slot)]


# Three epochs of 14 pictures, in updates of 4, which do not end with an epoch
THREE_EPOCHS = 44
FULL = {"faultless": pairs(), "faulty": pairs(bad=(3, 8))}


@pytest.fixture(params=FULL)
def source(request):
    return FULL[request.param]


# The same batches


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_order_is_the_same_for_any_number_of_workers_and_processes(source, workers):
    whole = read(source, 0, THREE_EPOCHS, 0)
    assert [[index for index, _, _ in batch] for batch in whole] == [
        list(range(first, first + COUNT)) for first in range(0, THREE_EPOCHS, COUNT)
    ]
    assert len({shown for batch in whole for _, _, shown in batch}) == THREE_EPOCHS, "no epoch is like another"
    assert read(source, 0, THREE_EPOCHS, workers) == whole
    halves = [read(source, 0, THREE_EPOCHS, workers, slot) for slot in (range(2), range(2, 4))]
    assert [one + other for one, other in zip(*halves, strict=True)] == whole
    strided = [read(source, 0, THREE_EPOCHS, workers, range(rank, COUNT, 2)) for rank in range(2)]
    assert [[one[0], other[0], one[1], other[1]] for one, other in zip(*strided, strict=True)] == whole


def test_order_is_the_same_from_wherever_it_goes_on(source):
    whole = read(source, 0, THREE_EPOCHS, 0)
    for done in range(1, THREE_EPOCHS // COUNT):
        assert read(source, COUNT * done, THREE_EPOCHS, 0) == whole[done:]
    for workers, done, slot in ((1, 3, None), (2, 5, range(2, 4)), (2, 10, range(2))):
        part = slice(None) if slot is None else slice(slot.start, slot.stop)
        assert read(source, COUNT * done, THREE_EPOCHS, workers, slot) == [batch[part] for batch in whole[done:]]


def test_order_is_the_same_after_a_stop_between_updates(source):
    stopped = loader(source, 0, THREE_EPOCHS, COUNT, 2)
    first = [prints(next(stopped)) for _ in range(3)]
    stopped.close()
    assert first + read(source, 3 * COUNT, THREE_EPOCHS, 1) == read(source, 0, THREE_EPOCHS, 0)


def test_every_picture_comes_once_an_epoch():
    source = pairs()
    for epoch in range(3):
        names = {source.name(index) for index in range(TOTAL * epoch, TOTAL * (epoch + 1))}
        assert len(names) == TOTAL


def test_new_processes_read_the_same(monkeypatch):
    source = Mixed([(SyntheticPairs(DATA, 1), 1), (pairs(bad=(3,)), 2)], 5)
    whole = read(source, 0, 20, 0)
    monkeypatch.setattr(module, "DataLoader", partial(DataLoader, multiprocessing_context="spawn"))
    assert read(source, 0, 20, 1) == whole


@pytest.mark.parametrize("workers", [0, 2])
def test_the_global_generator_plays_no_part(workers):
    torch.manual_seed(0)
    first, state = read(pairs(), 0, 8, workers), torch.get_rng_state()
    torch.manual_seed(99)
    assert read(pairs(), 0, 8, workers) == first
    torch.manual_seed(0)
    assert torch.equal(state, torch.get_rng_state())


def test_a_long_run_is_begun_at_once_and_costs_nothing():
    tracemalloc.start()
    began = time.process_time()
    batches = loader(pairs(), 10**9, 10**9 + 4 * 10**8, 4, 0)
    assert next(batches).index == tuple(range(10**9, 10**9 + 4))
    assert time.process_time() - began < 1 and tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("first", "last", "count", "slot", "message"),
    [
        (0, 10, 4, None, "numbers 0 to 10 are not those of whole updates of 4"),
        (8, 4, 4, None, "numbers 8 to 4"),
        (0, 8, 0, None, "whole updates of 0"),
        (0, 8, 4, range(2, 5), r"slot is range\(2, 5\); allowed are places of an update, 0 to 3"),
        (0, 8, 4, range(0), "slot is"),
        (0, 8, 4, range(-1, 2), "slot is"),
    ],
)
def test_numbers_that_are_no_updates_are_refused_at_once(first, last, count, slot, message):
    with pytest.raises(ConfigError, match=message):
        loader(pairs(), first, last, count, 0, slot=slot)


def test_nothing_left_is_nothing_read():
    assert list(loader(pairs(), 8, 8, 4, 0)) == []


# What cannot be read


@pytest.mark.parametrize("bad", range(TOTAL))
def test_the_first_that_can_be_read_takes_the_place(bad):
    source, untouched = pairs(bad=(bad, (bad + 5) % TOTAL)), pairs()
    for index in range(TOTAL):
        one, name = drawn(source, index), untouched.name(index)
        turn = 0
        while untouched.name(index + turn * FAR) in (f"{bad}.png", f"{(bad + 5) % TOTAL}.png"):
            turn += 1
        expected = untouched(index + turn * FAR)
        assert all(torch.equal(a, b) for a, b in zip(one.pair, expected, strict=True))
        assert (one.index, one.fault) == (index, f"{name} is damaged" if turn else "")
    assert drawn(source, index).fault == one.fault


def test_substitutes_differ_from_epoch_to_epoch():
    source = pairs(bad=(3,))
    numbers = [index for index in range(20 * TOTAL) if source.name(index) == "3.png"]
    assert len({drawn(source, index).pair.clean.numpy().tobytes() for index in numbers}) > 15


def test_when_nothing_can_be_read_the_first_fault_is_told():
    class Broken:
        calls = 0

        def __call__(self, index):
            self.calls += 1
            raise ImageDecodeError(f"{index} is damaged")

    broken = Broken()
    with pytest.raises(ImageError, match="^5 is damaged; nor can any of 100 others in its place be read$"):
        drawn(broken, 5)
    assert broken.calls == 1 + SUBSTITUTES


@pytest.mark.parametrize("workers", [0, 1])
def test_other_errors_end_it_in_their_own_words(workers):
    data = DataSettings(Degrade("noise"), crop=32, picture=32)
    small = PicturePairs(PictureSet("a set", {"clean": [Drawing(0, ())]}), data, 7, mask=False)
    with pytest.raises(ConfigError, match="^0.png is 16 x 12, smaller than the crop of 32; set [^\n]*$"):
        list(loader(small, 0, 8, 4, workers))
    with pytest.raises(ImageError, match="^0.png is damaged; nor can any of 100 others in its place be read$"):
        list(loader(pairs(1, bad=(0,)), 0, 8, 4, workers))


def test_a_batch_is_of_one_kind():
    def one(channels):
        return One(Pair(torch.zeros(3, 2, 2), torch.ones(3, 2, 2), torch.zeros(channels, 2, 2)), channels, "")

    batch = collate([one(1), one(1)])
    assert [tuple(part.shape) for part in batch.pair] == [(2, 3, 2, 2), (2, 3, 2, 2), (2, 1, 2, 2)]
    assert (batch.index, batch.fault) == ((1, 1), ("", ""))
    with pytest.raises(ConfigError, match=r"masks of \[0, 1\] channels"):
        collate([one(0), one(1)])


# How much of it is borne


@pytest.mark.parametrize(("size", "allowed"), [(0, 1), (5, 1), (199, 1), (200, 2), (861, 8), (100_000, 1000)])
def test_at_most_a_hundredth_may_be_bad(size, allowed):
    faults = Faults(size)
    for turn in range(2):
        assert [faults.add(f"{number} is damaged") for number in range(allowed)] == [turn == 0] * allowed
    with pytest.raises(ImageError, match=f"^{allowed + 1} pictures cannot be read.*take them out: 0 is damaged; "):
        faults.add("1 is damaged too")


def test_only_the_first_few_are_named():
    faults = Faults(1000)
    with pytest.raises(ImageError) as caught:
        for number in range(11):
            faults.add(f"{number}.png")
    assert str(caught.value).endswith("0.png; 1.png; 2.png; 3.png; 4.png") and "10 of 1000" in str(caught.value)
