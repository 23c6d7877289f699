"""The parts of the server by themselves: what passes between the processes, the guard, names, where a job stands."""

import json
import multiprocessing
import threading

import pytest
import torch
from clients import alone

from residiff.data import images
from residiff.data.images import Format
from residiff.errors import ConfigError, ModelFileError, ResourceError
from residiff.prediction import Estimate
from residiff.schedule import Level
from residiff.web import BusyError, Failure, JobState, Product, Progress, Settings, Work
from residiff.web.faults import CANCELLED
from residiff.web.http.forms import _name
from residiff.web.http.guard import Guard
from residiff.web.job import Job
from residiff.web.process import _ERRORS
from residiff.web.watching import StoppedError, Watch
from residiff.web.wire import receive, send
from residiff.web.work import download_name


class Canary:
    """Whoever unpickles it sings."""

    sung = False

    def __reduce__(self):
        return setattr, (Canary, "sung", True)


def test_messages_come_as_they_were_sent_and_nothing_is_unpickled():
    here, there = multiprocessing.Pipe()
    send(here, "done", {"id": "a", "progress": Progress(1, 2)}, {"data": b"\0\xff", "empty": b""})
    kind, facts, blobs = receive(there)
    assert (kind, facts, blobs) == ("done", {"id": "a", "progress": [1, 2]}, {"data": b"\0\xff", "empty": b""})
    here.send(Canary())
    with pytest.raises(ValueError):
        receive(there)
    assert not Canary.sung
    here.close()
    with pytest.raises(EOFError):
        receive(there)


def test_work_survives_the_way():
    work = Work(b"image", b"mask", "ä.png", "tiny", 3, 7, 0.5, 2, True, "webp", 80, None, True, True, "64", True, False)
    facts, blobs = work.packed()
    assert Work.unpacked(json.loads(json.dumps(facts)), blobs) == work and set(blobs) == {"image", "mask"}
    assert Work.unpacked(*Work(b"image").packed()) == Work(b"image")
    assert "secret" not in repr(Work(b"secret", b"secret"))


def test_every_error_at_the_start_is_of_its_kind_again():
    assert [_ERRORS[number] for number in (2, 4, 5)] == [ConfigError, ModelFileError, ResourceError]


@pytest.mark.parametrize(
    ("name", "format", "saved"),
    [
        ("a.png", Format.PNG, "a.png"),
        ("a.JPEG", Format.JPEG, "a.JPEG"),
        ("a.jpg", Format.WEBP, "a.webp"),
        ("a.tif", Format.TIFF, "a.tif"),
        ("a", Format.JPEG, "a.jpg"),
        ("a.b.gif", Format.PNG, "a.b.png"),
        ("image data", Format.PNG, "image data.png"),
        (".png", Format.PNG, ".png.png"),
    ],
)
def test_results_are_called_as_their_picture(name, format, saved):
    assert download_name(Work(b"", name=name), format) == saved


@pytest.mark.parametrize(
    ("given", "kept"),
    [(None, "image data"), ("", "image data"), ("/", "image data"), ("../..\\x", "x"), ("a\0\n\u202eb.png", "ab.png"),
     ("ü" * 300 + ".png", "ü" * 251 + ".png")],
)  # fmt: skip
def test_names_of_uploads(given, kept):
    assert _name(given) == kept


def test_a_job_comes_to_one_end(photo):
    job = Job(Work(photo(), photo()), 1536, 0.1, 4, 30)
    seen = []
    thread = threading.Thread(target=lambda: seen.extend(job.events()))
    thread.start()
    job.move(JobState.QUEUED, 1)
    job.begin()
    job.step(Progress(1, 4), b"preview")
    job.step(Progress(2, 4), None)
    job.cancel()
    assert job.stopping == CANCELLED
    job.end(Product(b"data", Format.PNG, "a.png", 1.0, 2.0))
    job.end(CANCELLED)
    thread.join(5)
    assert job.state is JobState.DONE and job.error is None and job.result.media_type == "image/png"
    assert seen[-1] == (JobState.DONE, 0, (4, 4), b"preview") and job.work.mask is None
    assert job.wait(0) and job.seconds < 5


def test_busy_says_so():
    busy = BusyError("queue_full", "no room", 7)
    assert Failure.of(busy) == Failure("queue_full", "no room", 503, 7)
    assert Failure.of_facts(json.loads(json.dumps(CANCELLED.facts()))) == CANCELLED


def watch(told, *, size=(30, 40), stop=lambda: False, **changes):
    return Watch(size, 4, lambda *step: told.append(step), stop, **changes)


def test_previews_are_small_and_what_is_not_finite_is_no_hindrance():
    told = []
    x0 = torch.full((1, 3, 1024, 2048), 0.5)
    x0[..., :8] = float("nan")
    watching = watch(told, size=(1000, 2000), shows_steps=True)
    watching._estimated(None, (x0, Level.clean), Estimate(x0, 4 * x0, -x0))
    ((progress, preview),) = told
    shown = images.read(preview)
    assert progress == (1, 4) and shown.pixels.shape == (3, 192, 384)
    assert abs(float(shown.pixels[:, 20:, 20:].mean()) - 0.75) < 0.01
    residual = images.read(watching.shown["00-residual.png"])
    assert residual.pixels.shape == (3, 256, 512) and float(residual.pixels[:, 20:, 20:].min()) == 1
    assert abs(float(images.read(watching.shown["00-noise.png"]).pixels[0, 99, 99]) - 0.375) < 0.01


def test_tiles_are_counted_by_what_the_network_has_seen():
    told = []
    watching = watch(told, tiled_pixels=1000.0)
    for _ in range(8):
        watching._called(torch.zeros(1, 3, 20, 25))
    assert [progress.step for progress, _ in told] == [1, 2, 3]
    with pytest.raises(StoppedError):
        watch([], stop=lambda: True)._called(torch.zeros(1))


def through_guard(settings, app, messages, headers=()):
    """What a guarded application sends back."""
    sent, counted, left = [], [], list(messages)

    async def receive():
        return left.pop(0)

    async def send_(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/restore", "headers": list(headers)}
    guard = Guard(app, settings, lambda *request: counted.append(request))
    alone(guard(scope, receive, send_))
    return sent, counted


def test_what_fails_after_it_has_begun_is_not_answered_twice():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        through_guard(Settings(), app, [])

    async def early(scope, receive, send):
        raise ZeroDivisionError

    sent, counted = through_guard(Settings(), early, [])
    assert sent[0]["status"] == 500 and b"ZeroDivision" not in sent[1]["body"] and counted[0][2] == 500


def test_lengths_that_are_claimed_are_refused_before_the_application_sees_them():
    async def app(scope, receive, send):
        raise AssertionError("reached")

    for length, said in ((b"33554433", 413), (b"9" * 40, 413), (b"9" * 9000, 413)):
        sent, _ = through_guard(Settings(), app, [], [(b"content-length", length)])
        assert sent[0]["status"] == said


@pytest.mark.parametrize(
    "changes", [{"queue": 0}, {"port": -1}, {"deadline": float("nan")}, {"threads": 0}, {"token": "ä"}, {"token": " "}]
)
def test_settings_that_make_no_sense(changes):
    with pytest.raises(ConfigError, match=next(iter(changes))):
        Settings(**changes)
