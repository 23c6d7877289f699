"""Runs followed: what is said, that stopping stops, that no room is waited for, and that nobody listening ends it."""

import threading

import pytest

from residiff.data.images import Format
from residiff.errors import ConfigError
from residiff.web import BusyError, Failure, JobState, Product, Progress, Snapshot, Work
from residiff.web.page.engine import Engine
from residiff.web.page.running import Seats, follow, patiently

PRODUCT = Product(b"data", Format.PNG, "a.png", 1.0, 2.0)
WAITING = Snapshot(JobState.QUEUED, 2, Progress(0, 4), None)
STARTING = Snapshot(JobState.RUNNING, 0, Progress(0, 4), None)
HALFWAY = Snapshot(JobState.RUNNING, 0, Progress(2, 4), b"preview")
DONE = Snapshot(JobState.DONE, 0, Progress(4, 4), b"preview")


class Run:
    def __init__(self, snapshots, result=None, error=None):
        self.snapshots, self.result, self.error = snapshots, result, error
        self.cancelled = 0

    def events(self):
        yield from self.snapshots

    def cancel(self):
        self.cancelled += 1


class Fake:
    """An engine that gives one run, after so many refusals."""

    models = ()

    def __init__(self, run, busy=0):
        self.run, self.busy, self.asked = run, busy, []

    def wait_ready(self, timeout):
        return True

    def submit(self, work):
        if self.busy:
            self.busy -= 1
            raise BusyError("queue_full", "16 jobs wait already", 1)
        if isinstance(self.run, Exception):
            raise self.run
        self.asked.append(work)
        return self.run


WORK = Work(b"image")


def seat():
    return Seats().take("session", "tab")


def test_a_run_is_told_from_the_queue_to_the_result():
    engine: Engine = Fake(Run([WAITING, STARTING, HALFWAY, DONE], PRODUCT))
    stages = list(follow(engine, WORK, seat()))
    assert [stage.told for stage in stages[:3]] == ["Waiting, number 2 in the queue.", "Starting.", "Step 2 of 4."]
    assert [stage.share for stage in stages] == [None, 0.0, 0.5, 1.0] and stages[2].preview == b"preview"
    assert stages[-1].result is PRODUCT and [stage.is_last for stage in stages] == [False, False, False, True]


def test_failures_are_told_in_their_own_words():
    failed = Run([DONE], error=Failure("deadline", "the time is over", 504))
    assert list(follow(Fake(failed), WORK, seat()))[-1].error == "the time is over"
    assert [stage.error for stage in follow(Fake(ConfigError("steps are 0")), WORK, seat())] == ["steps are 0"]


def test_no_room_is_said_at_once_or_waited_for(monkeypatch):
    monkeypatch.setattr("residiff.web.page.running._AGAIN", 0.001)
    assert [stage.error for stage in follow(Fake(Run([]), busy=1), WORK, seat())] == ["16 jobs wait already"]
    engine = Fake(Run([DONE], PRODUCT), busy=3)
    assert list(patiently(engine, WORK, seat()))[-1].result is PRODUCT and engine.busy == 0


def test_who_waits_for_room_can_be_stopped():
    place = seat()
    threading.Timer(0.1, place.stop).start()
    (stage,) = patiently(Fake(Run([]), busy=10**6), WORK, place)
    assert stage.error == "Stopped."


def test_stopping_cancels_what_runs_and_what_comes():
    seats, run = Seats(), Run([HALFWAY, DONE], error=Failure("cancelled", "the job was cancelled", 409))
    place = seats.take("session", "restore")
    stages = follow(Fake(run), WORK, place)
    next(stages)
    seats.stop("other")
    seats.stop("session", "batch")
    assert run.cancelled == 0
    seats.stop("session", "restore")
    assert run.cancelled == 1 and place.is_stopped
    assert next(stages).error == "Stopped."
    later = Run([DONE], PRODUCT)
    place.hold(later)
    assert later.cancelled == 1


def test_a_tab_runs_one_thing_and_a_session_that_leaves_nothing():
    seats = Seats()
    first, other = seats.take("session", "restore"), seats.take("session", "batch")
    second = seats.take("session", "restore")
    assert first.is_stopped and not second.is_stopped and not other.is_stopped and seats.sessions == 1
    seats.stop("session")
    assert second.is_stopped and other.is_stopped and seats.sessions == 0


def test_a_run_that_nobody_listens_to_is_cancelled():
    run = Run([HALFWAY, DONE], PRODUCT)
    stages = follow(Fake(run), WORK, seat())
    next(stages)
    stages.close()
    assert run.cancelled == 1


@pytest.mark.parametrize("result", [None, PRODUCT])
def test_cancelling_after_the_end_does_no_harm(result):
    run = Run([DONE], result, None if result else Failure("x", "y", 500))
    assert len(list(follow(Fake(run), WORK, seat()))) == 1 and run.cancelled == 1
