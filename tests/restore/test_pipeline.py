"""Several pieces under way at once: in order, never more than allowed, and ended by what none may keep to itself."""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import pytest

from residiff.restore.pipeline import Limits, overlapped


@dataclass
class Book:
    """What happened, and how much was under way at most."""

    events: list = field(default_factory=list)
    under_way: Counter = field(default_factory=Counter)
    most: Counter = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, event, number, **change):
        with self.lock:
            self.events.append((event, number))
            self.under_way.update(change)
            for name, count in self.under_way.items():
                self.most[name] = max(self.most[name], count)


@dataclass(eq=False)
class Piece:
    number: int
    book: Book
    kind: object = None
    weight: int = 0
    settled: bool = False
    fails: str = ""
    naps: dict = field(default_factory=dict)
    group: list = field(default_factory=list)

    def stage(self, name, **change):
        time.sleep(self.naps.get(name, 0))
        self.book.note(name, self.number, **change)
        if self.fails == name:
            raise LookupError(f"{name} of {self.number}")

    def fetch(self):
        self.stage("fetch", count=1, weight=0)
        return self.weight

    def decode(self):
        self.stage("decode", weight=self.weight)

    def encode(self):
        self.stage("encode")

    def write(self):
        self.stage("write", count=-1, weight=-self.weight)


def pieces(count, **more):
    book = Book()
    return book, [Piece(number, book, **{key: value(number) for key, value in more.items()}) for number in range(count)]


def compute(group):
    for piece in group:
        piece.stage("compute")
        piece.group = [each.number for each in group]


@pytest.mark.parametrize("limits", [Limits(), Limits(threads=3), Limits(batch=4), Limits(batch=2, threads=4)])
def test_all_come_back_in_order_each_stage_done_once(limits):
    naps = [{"decode": 0.003}, {"encode": 0.003}, {}, {"write": 0.004}, {"compute": 0.001}]
    book, tasks = pieces(60, naps=lambda n: naps[n % 5], kind=lambda n: n % 3 or None)
    assert [piece.number for piece in overlapped(tasks, compute, limits)] == list(range(60))
    for number in range(60):
        stages = [event for event, whose in book.events if whose == number]
        assert stages == ["fetch", "decode", "compute", "encode", "write"]


def test_stages_overlap():
    """Of 15 pieces with 30 ms a stage, three stages at once take less than two after one another would."""
    _, tasks = pieces(15, naps=lambda _: {"decode": 0.03, "compute": 0.03, "encode": 0.03})
    began = time.perf_counter()
    list(overlapped(tasks, compute))
    assert time.perf_counter() - began < 15 * 0.06


def test_no_more_are_under_way_than_allowed():
    book, tasks = pieces(200, naps=lambda _: {"compute": 0.0002})
    limits = Limits(threads=2)
    list(overlapped(iter(tasks), compute, limits))
    assert book.most["count"] <= limits.pieces


def test_heavy_ones_are_few_and_the_heaviest_alone():
    book, tasks = pieces(60, weight=lambda n: [10, 30, 250, 5][n % 4], naps=lambda _: {"compute": 0.0005})
    list(overlapped(tasks, compute, Limits(threads=4, weight=100)))
    assert book.most["weight"] == 250
    book, tasks = pieces(60, weight=lambda _: 40, naps=lambda _: {"compute": 0.0005})
    list(overlapped(tasks, compute, Limits(threads=4, weight=100)))
    assert book.most["weight"] == 80


@pytest.mark.parametrize("batch", [1, 2, 4, 8])
def test_those_of_one_kind_go_together(batch):
    _, tasks = pieces(64, kind=lambda n: "abc"[n % 3])
    done = list(overlapped(tasks, compute, Limits(batch=batch)))
    sizes = Counter(len(piece.group) for piece in done)
    assert max(sizes) == batch and sizes[batch] >= 64 - 3 * batch
    assert all(len({tasks[number].kind for number in piece.group}) == 1 for piece in done)


def test_which_go_together_depends_on_the_list_alone():
    def groups(seed):
        naps = {"decode": 0.001 * (seed % 3), "encode": 0.001}
        _, tasks = pieces(40, kind=lambda n: n * 7 % 5, naps=lambda n: naps if n % 4 == seed else {})
        return [piece.group for piece in overlapped(tasks, compute, Limits(batch=3, threads=2))]

    assert groups(0) == groups(1) == groups(2)


def test_one_that_finds_no_other_of_its_kind_does_not_wait_for_the_end():
    _, tasks = pieces(200, kind=lambda n: "alone" if n == 0 else None)
    running = overlapped(iter(tasks), compute, Limits(batch=4))
    next(running)
    assert sum(piece.group != [] for piece in tasks) < 60
    running.close()


def test_what_is_settled_goes_no_further():
    book, tasks = pieces(9, settled=lambda n: n % 2 == 0)
    assert [piece.number for piece in overlapped(tasks, compute)] == list(range(9))
    assert {number for _, number in book.events} == {1, 3, 5, 7}


@pytest.mark.parametrize("stage", ["fetch", "decode", "compute", "encode", "write"])
@pytest.mark.parametrize("limits", [Limits(), Limits(batch=3, threads=3)])
def test_what_a_stage_raises_ends_it_all(stage, limits):
    book, tasks = pieces(50, fails=lambda n: stage if n == 20 else "", kind=lambda _: 1)
    began, threads = time.perf_counter(), threading.active_count()
    with pytest.raises(LookupError, match=f"{stage} of 20"):
        list(overlapped(tasks, compute, limits))
    assert time.perf_counter() - began < 3
    assert threading.active_count() == threads
    assert ("write", 20) not in book.events or stage == "write"


def test_what_the_list_raises_ends_it_all():
    book, tasks = pieces(5)

    def broken():
        yield from tasks
        raise LookupError("of the list")

    with pytest.raises(LookupError, match="of the list"):
        list(overlapped(broken(), compute))


def test_one_that_is_given_up_finishes_what_it_writes_and_drops_the_rest():
    book, tasks = pieces(50, naps=lambda _: {"write": 0.2})
    running = overlapped(tasks, compute)
    next(running)
    time.sleep(0.05)  # the second is being written now
    running.close()
    writes = [number for event, number in book.events if event == "write"]
    assert writes == [0, 1]
    time.sleep(0.3)
    assert [number for event, number in book.events if event == "write"] == writes


def test_a_thread_that_hangs_does_not_hold_up_the_end(monkeypatch):
    from residiff.restore import pipeline

    monkeypatch.setattr(pipeline, "GRACE", 0.2)
    _, tasks = pieces(5, naps=lambda _: {"encode": 2.0})
    running = overlapped(tasks, lambda group: [setattr(piece, "settled", piece.number == 0) for piece in group])
    next(running)
    time.sleep(0.1)
    began = time.perf_counter()
    running.close()
    assert time.perf_counter() - began < 1
    time.sleep(2.2)  # for the next test's count of threads
