"""The queue: results are those of the command line, and whatever happens to the worker, each job comes to its end."""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import odd_models
import psutil
import pytest

from residiff.checkpoint import load_model
from residiff.data import images
from residiff.data.images import Format
from residiff.errors import ConfigError, ImageDecodeError, ImageTooLargeError, ImageUnsupportedError, ModelFileError
from residiff.restore import Restorer, provenance_of, restore_file
from residiff.restore.jobs import Job as FileJob
from residiff.web import BusyError, Jobs, JobState, Settings, TooMuchWorkError, UnknownModelError, Work
from residiff.web.watching import COEFFICIENTS, PREVIEW_SIDE

SLOW = odd_models.SLOW


def outcome(job, seconds=60):
    assert job.wait(seconds), job.snapshot()
    return job


def by_hand(models, tmp_path, work, suffix, model="tiny"):
    """What the command line writes for the same picture."""
    source = tmp_path / "in" / work.name
    source.parent.mkdir()
    source.write_bytes(work.image)
    mask = None
    if work.mask is not None:
        mask = tmp_path / "mask.png"
        mask.write_bytes(work.mask)
    job = FileJob(source, tmp_path / f"out{suffix}", mask)
    restore_file(job, Restorer(load_model(models[model])), work.options())
    return job.target.read_bytes()


@pytest.mark.parametrize(
    ("kind", "name", "suffix", "changes"),
    [
        ("PNG", "a b.png", ".png", {}),
        ("JPEG", "ü.jpg", ".jpg", {"seed": 5, "steps": 3}),
        ("PNG", "a.png", ".webp", {"format": "webp", "quality": 60, "strength": 0.5}),
        ("PNG", "a.png", ".png", {"strip": True, "bit_depth": 16}),
        ("PNG", "a.png", ".png", {"samples": 3, "antithetic": True}),
        ("PNG", "a.png", ".png", {"tile": "32", "steps": 1}),
    ],
)
def test_the_bytes_are_those_of_the_command_line(jobs, models, photo, tmp_path, kind, name, suffix, changes):
    work = Work(photo(45, 70, kind), name=name, model="tiny", **changes)
    job = outcome(jobs.submit(work))
    assert job.state is JobState.DONE, job.error
    assert job.result.data == by_hand(models, tmp_path, work, suffix)
    assert Path(job.result.name).suffix == suffix and job.work.image == b""


def test_masks_go_along(jobs, models, photo, tmp_path):
    mask = photo(45, 70, bands=1, seed=3)
    work = Work(photo(45, 70), mask, "a.png", "masked")
    assert outcome(jobs.submit(work)).result.data == by_hand(models, tmp_path, work, ".png", "masked")


def test_what_is_like_a_gif_is_written_as_png_and_notes_are_passed_on(jobs, photo):
    frames = photo(format="GIF", save_all=True)
    work = Work(frames + frames, name="moving.gif", model="tiny")
    result = outcome(jobs.submit(work)).result
    assert (result.format, result.media_type, result.name) == (Format.PNG, "image/png", "moving.png")
    assert images.read(result.data).pixels.shape[1:] == (32, 48)
    cut = photo(120, 160, "JPEG")[:-400]
    assert outcome(jobs.submit(Work(cut, model="tiny"))).error.status == 422
    left = outcome(jobs.submit(Work(cut, model="tiny", allow_truncated=True))).result
    assert "cut short" in left.warnings[0] and not provenance_of(images.read(left.data)).whole


def test_events_show_position_steps_and_previews(jobs, photo):
    first = jobs.submit(Work(photo(64, 500), model="slow", steps=5))
    second = jobs.submit(Work(photo(), model="tiny"))
    seen = list(first.events())
    assert [each.progress.step for each in seen] == sorted(each.progress.step for each in seen)
    assert {each.progress.steps for each in seen} == {5}
    assert {1, 2, 3, 4} <= {each.progress.step for each in seen if each.state is JobState.RUNNING}
    assert seen[-1] == (JobState.DONE, 0, (5, 5), first.preview)
    assert all(each.preview is None for each in seen if each.progress.step == 0)
    preview = images.read(first.preview)
    assert max(preview.pixels.shape[1:]) == PREVIEW_SIDE and preview.pixels.std() > 0.01
    waiting = [each.position for each in second.events() if each.state is JobState.QUEUED]
    assert not waiting or set(waiting) == {1}
    # Who comes late sees the end
    assert [each.state for each in first.events()] == [JobState.DONE]


def test_samples_and_steps_can_be_looked_at(jobs, photo, models):
    several = outcome(jobs.submit(Work(photo(), model="tiny", samples=3))).result
    assert sorted(several.more) == ["deviation.png", "doubt.png"]
    answers = Restorer(load_model(models["tiny"])).answers(images.read(photo()), count=3)
    shown = images.read(several.more["deviation.png"])
    np.testing.assert_allclose(shown.pixels, answers.deviation_picture().pixels, atol=1e-4)
    one = outcome(jobs.submit(Work(photo(), model="tiny", steps=2, show_steps=True))).result
    kinds = ("noise", "residual", "x", "x0")
    assert sorted(one.more) == [*(f"{step:02d}-{kind}.png" for step in range(2) for kind in kinds), "levels.json"]
    states = list(Restorer(load_model(models["tiny"])).states(images.read(photo()), steps=2))
    for number, state in enumerate(states[:-1]):
        for kind, values, reach in (("x", state.x, 1), ("residual", state.estimate.residual, 2)):
            shown = images.read(one.more[f"{number:02d}-{kind}.png"]).pixels
            wanted = (values[0, :, :32, :48] / (2 * reach) + 0.5).clamp(0, 1)
            np.testing.assert_allclose(shown, wanted, atol=0.5001 / 255)
    told = json.loads(one.more["levels.json"])
    assert told == [{name: getattr(state.level, name) for name in COEFFICIENTS} for state in states[:-1]]


def test_cancelling_takes_effect_within_a_step(jobs, photo):
    job = jobs.submit(Work(photo(), model="slow", steps=12))
    next(each for each in job.events() if each.progress.step)
    began = time.monotonic()
    job.cancel()
    outcome(job)
    assert time.monotonic() - began < 2 * SLOW + 0.5
    assert (job.state, job.error.code, job.error.status) == (JobState.CANCELLED, "cancelled", 409)
    assert job.progress.step <= 3 and job.result is None
    # Nothing is left of it
    assert outcome(jobs.submit(Work(photo(), model="tiny"))).state is JobState.DONE
    job.cancel()
    assert job.state is JobState.CANCELLED


def test_who_waits_can_be_cancelled_and_moves_up(jobs, photo):
    running = jobs.submit(Work(photo(), model="slow", steps=12))
    next(each for each in running.events() if each.progress.step)
    waiting = [jobs.submit(Work(photo(), model="tiny")) for _ in range(3)]
    assert [job.position for job in waiting] == [1, 2, 3] and jobs.waiting == 3 and jobs.running == 1
    waiting[0].cancel()
    outcome(waiting[0], 1)
    assert [job.position for job in waiting] == [0, 1, 2] and running.state is JobState.RUNNING
    running.cancel()
    assert all(outcome(job).state is JobState.DONE for job in waiting[1:])
    assert jobs.waiting == jobs.running == 0


def test_deadlines_hold_in_the_queue_and_out_of_it(jobs, photo):
    running = jobs.submit(Work(photo(), model="slow", steps=12), deadline=0.9)
    waiting = jobs.submit(Work(photo(), model="tiny"), deadline=0.3)
    outcome(waiting, 1)
    assert (waiting.error.code, waiting.error.status) == ("deadline", 504) and not running.is_finished
    outcome(running, 0.9 + 2 * SLOW + 0.5)
    assert running.error.code == "deadline" and running.seconds < 0.9 + 2 * SLOW + 0.5
    assert running.state is JobState.FAILED


def test_a_full_queue_says_when_to_come_again(jobs, photo):
    running = jobs.submit(Work(photo(), model="slow", steps=12))
    next(each for each in running.events() if each.progress.step)
    waiting = [jobs.submit(Work(photo(), model="tiny")) for _ in range(4)]
    with pytest.raises(BusyError, match="4 jobs wait") as busy:
        jobs.submit(Work(photo(), model="tiny"))
    assert 1 <= busy.value.retry_after <= 120
    assert (busy.value.failure.code, busy.value.failure.status) == ("queue_full", 503)
    running.cancel()
    assert all(outcome(job).state is JobState.DONE for job in waiting)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"model": "tinny"}, UnknownModelError, "did you mean 'tiny'"),
        ({"model": "../../etc/passwd"}, UnknownModelError, "no model"),
        ({"steps": 0}, ConfigError, "steps is 0"),
        ({"steps": 10**6}, ConfigError, "steps is 1000000"),
        ({"seed": -1}, ConfigError, "seed"),
        ({"strength": float("nan")}, ConfigError, "strength"),
        ({"format": "exe"}, ConfigError, "format is 'exe'"),
        ({"tile": "no"}, ConfigError, "tile"),
        ({"model": "masked"}, ConfigError, "needs a mask"),
        ({"keep": True}, ConfigError, "mask"),
        ({"steps": 9, "samples": 300}, TooMuchWorkError, "over the limit of 3"),
        ({"show_steps": True, "samples": 2}, ConfigError, "show_steps"),
        ({"image": b""}, ImageDecodeError, "empty"),
        ({"image": b"<svg xmlns='http://www.w3.org/2000/svg'/>"}, ImageUnsupportedError, "not a PNG"),
    ],
)
def test_what_cannot_be_is_refused_at_once(jobs, photo, changes, error, said):
    with pytest.raises(error, match=said):
        jobs.submit(Work(**{"image": photo(), "model": "tiny", **changes}))
    assert jobs.waiting == 0


def test_sizes_are_refused_from_headers(jobs, photo):
    with pytest.raises(ImageTooLargeError, match="400 x 300 pixels are over the limit of 100000"):
        jobs.submit(Work(photo(300, 400), model="tiny"))
    with pytest.raises(ImageTooLargeError, match="the mask"):
        jobs.submit(Work(photo(), photo(300, 400), model="masked"))
    with pytest.raises(ConfigError, match="takes no mask"):
        jobs.submit(Work(photo(), photo(), model="tiny"))


def test_a_worker_that_is_killed_is_started_again_and_its_job_done_once_more(jobs, photo, models, tmp_path):
    before, number = jobs.restarts, jobs.worker_number
    work = Work(photo(), name="a.png", model="slow", steps=4)
    job = jobs.submit(work)
    next(each for each in job.events() if each.progress.step)
    waiting = jobs.submit(Work(photo(seed=1), model="tiny"))
    os.kill(number, signal.SIGKILL)
    while jobs.ready:
        time.sleep(0.01)
    with pytest.raises(BusyError, match="is being started"):
        jobs.submit(work)
    assert outcome(job).result.data == by_hand(models, tmp_path, work, ".png", "slow")
    assert outcome(waiting).state is JobState.DONE
    assert jobs.ready and jobs.restarts == before + 1 and jobs.worker_number != number


def test_a_job_that_kills_its_worker_fails_and_the_others_go_on(jobs, photo):
    deadly = jobs.submit(Work(photo(), model="deadly"))
    other = jobs.submit(Work(photo(), model="tiny"))
    assert outcome(deadly).error.code == "worker_died" and deadly.attempts == 2
    assert (deadly.error.status, deadly.error.retry_after is None) == (503, False)
    assert outcome(other).state is JobState.DONE


def test_a_worker_that_hears_nothing_is_killed_after_its_grace(jobs, photo):
    job = jobs.submit(Work(photo(), model="stuck"), deadline=0.5)
    outcome(job, 0.5 + 2.0 + 2)
    assert job.error.code == "deadline"
    assert jobs.wait_ready(120) and outcome(jobs.submit(Work(photo(), model="tiny"))).state is JobState.DONE


def test_a_worker_that_dies_idle_is_noticed(jobs):
    number = jobs.worker_number
    os.kill(number, signal.SIGKILL)
    while jobs.worker_number == number:
        time.sleep(0.01)
    assert jobs.wait_ready(120)


def test_results_are_kept_for_a_while(jobs, photo, monkeypatch):
    job = outcome(jobs.submit(Work(photo(), model="tiny")))
    assert jobs.get(job.id) is job and jobs.get("another") is None
    job.ended -= jobs.settings.keep + 1
    assert jobs.get(job.id) is None
    job = outcome(jobs.submit(Work(photo(), model="tiny")))
    jobs.forget(job)
    assert jobs.get(job.id) is None and len({job.id for job in [job, job]}) == 1 and len(job.id) >= 22


def test_callbacks_are_called_once_and_cannot_harm_the_queue(jobs, photo):
    called = []
    job = jobs.submit(Work(photo(), model="slow", steps=2))
    job.add_done_callback(lambda ended: called.append(ended.state))
    job.add_done_callback(lambda ended: 1 / 0)
    outcome(job)
    job.add_done_callback(lambda ended: called.append("late"))
    assert outcome(jobs.submit(Work(photo(), model="tiny"))).state is JobState.DONE
    assert called == [JobState.DONE, "late"]


def test_draining_ends_what_there_is_and_takes_no_more(settings, models, photo):
    with Jobs(settings(models=(str(models["slow"]),)), odd_models.load) as queue:
        with pytest.raises(BusyError, match="is being started"):
            queue.submit(Work(photo(), model="slow"))
        assert queue.wait_ready(120)
        two = [queue.submit(Work(photo(), model="slow", steps=2)) for _ in range(2)]
        number = queue.worker_number
        assert queue.drain(30) and not queue.ready
        assert all(job.state is JobState.DONE for job in two)
        with pytest.raises(BusyError, match="about to end"):
            queue.submit(Work(photo(), model="slow"))
        assert queue.wait_ready(0) is False
    assert not psutil.pid_exists(number)


def test_what_takes_too_long_to_end_is_cut_off(settings, models, photo):
    with Jobs(settings(models=(str(models["slow"]),)), odd_models.load) as queue:
        assert queue.wait_ready(120)
        two = [queue.submit(Work(photo(), model="slow", steps=12)) for _ in range(2)]
        assert not queue.drain(0.3)
        assert [outcome(job, 2).error.code for job in two] == ["draining", "draining"]


def test_closing_does_not_wait_for_what_hears_nothing(settings, models, photo):
    with Jobs(settings(models=(str(models["stuck"]),), grace=30), odd_models.load) as queue:
        assert queue.wait_ready(120)
        job = queue.submit(Work(photo(), model="stuck"))
        while not queue.running:
            time.sleep(0.01)
        began = time.monotonic()
    assert time.monotonic() - began < 5 and job.error.code == "draining"


def test_models_are_called_by_their_file_or_folder(tmp_path):
    names = Settings(
        models=("denoise", f"{tmp_path}/mine.safetensors", f"{tmp_path}/run/model.safetensors")
    ).catalogue()
    assert list(names) == ["denoise", "mine", "run"] and names["denoise"] == "denoise"
    assert {"denoise", "low-light", "shadow"} <= set(Settings().catalogue())
    with pytest.raises(ConfigError, match="two models are called 'mine'"):
        Settings(models=("a/mine.safetensors", "b/mine.safetensors")).catalogue()


def test_models_that_cannot_be_loaded_are_said_at_the_start(settings, models, tmp_path):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(models["tiny"].read_bytes()[:-9])
    with Jobs(settings(models=(str(broken),)), odd_models.load) as queue:
        assert queue.wait_ready(120) is False
        assert isinstance(queue.unfit, ModelFileError) and "broken" in str(queue.unfit)


def test_pictures_in_tiles_show_steps_and_can_be_cancelled(jobs, photo):
    work = Work(photo(160, 160), model="tiny", steps=30, tile="64")
    job = jobs.submit(work)
    steps = []
    for each in job.events():
        steps.append(each.progress.step)
        if each.progress.step >= 3:
            job.cancel()
    assert job.state is JobState.CANCELLED and jobs.ready and steps == sorted(steps) and max(steps) < 20
    short = jobs.submit(Work(photo(160, 160), model="tiny", steps=4, tile="64"))
    seen = {each.progress.step for each in short.events()}
    assert short.state is JobState.DONE and {1, 2, 3, 4} <= seen
