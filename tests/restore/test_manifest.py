"""The lists of a run can be read wherever it broke off, and `resume` trusts what they vouch for and nothing else."""

import errno
import json
import os
import threading
from dataclasses import replace

import numpy as np
import pytest
from stubs import Stub

from residiff.data import images
from residiff.errors import ConfigError, ResourceError
from residiff.files import sha256
from residiff.restore import Failures, Job, Manifest, Options, Outcome, Shard, There, left_to_do, plan, restore_all
from residiff.restore.journal import Journal, lines_of
from residiff.restore.manifest import rows_of

ROWS = [json.dumps({"number": number, "text": "x" * number}) for number in range(40)]


# ---------------------------------------------------------------- lists that grow


def test_lines_come_back(tmp_path):
    path = tmp_path / "new/list.jsonl"
    assert list(lines_of(path)) == []
    for part in (ROWS[:7], ROWS[7:]):
        journal = Journal(path)
        assert path.exists() == (part is not ROWS[:7] and part != ROWS[:7])
        for row in part:
            journal.add(row)
        journal.close()
    assert [line.decode() for line in lines_of(path)] == ROWS


def test_a_list_that_broke_off_anywhere_can_be_read_and_added_to(tmp_path):
    """At every byte: the lines before are there, and a line added then is not joined to what was cut."""
    whole = "".join(row + "\n" for row in ROWS[:6]).encode()
    path = tmp_path / "list.jsonl"
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        before = whole[:length].count(b"\n")
        assert [line.decode() for line in lines_of(path)] == ROWS[:before]
        journal = Journal(path)
        journal.add(ROWS[30])
        journal.close()
        assert [line.decode() for line in lines_of(path)] == [*ROWS[:before], ROWS[30]]


def test_a_last_line_longer_than_what_is_read_at_once(tmp_path):
    path = tmp_path / "list.jsonl"
    path.write_bytes(b"{}\n" + b"x" * 200_000)
    journal = Journal(path)
    journal.add("[]")
    journal.close()
    assert path.read_bytes() == b"{}\n[]\n"


def test_each_line_is_one_write_that_is_synced(tmp_path, monkeypatch):
    journal, calls = Journal(tmp_path / "list.jsonl"), []
    journal.add(ROWS[0])
    for name in ("write", "fsync"):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *given, name=name, real=real: calls.append((name, *given[1:])) or real(*given)
        )
    journal.add(ROWS[1])
    assert calls == [("write", ROWS[1].encode() + b"\n"), ("fsync",)]
    journal.close()


@pytest.mark.parametrize("call", ["write", "fsync"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_write_that_fails_leaves_the_list_as_it_was(tmp_path, monkeypatch, call, number):
    journal = Journal(tmp_path / "list.jsonl")
    journal.add(ROWS[0])
    real = os.write

    def failing(handle, *data):
        if call == "write":
            real(handle, data[0][: len(data[0]) // 2])
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        with pytest.raises(ResourceError, match=r"list\.jsonl"):
            journal.add(ROWS[1])
    journal.add(ROWS[2])
    journal.close()
    assert [line.decode() for line in lines_of(tmp_path / "list.jsonl")] == [ROWS[0], ROWS[2]]


def test_a_write_that_is_done_in_parts(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[:3]))
    journal = Journal(tmp_path / "list.jsonl")
    journal.add(ROWS[20])
    journal.close()
    assert [line.decode() for line in lines_of(tmp_path / "list.jsonl")] == [ROWS[20]]


def test_threads_do_not_mix_their_lines(tmp_path):
    journal = Journal(tmp_path / "list.jsonl")
    workers = [threading.Thread(target=lambda: [journal.add(row) for row in ROWS]) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    journal.close()
    assert sorted(line.decode() for line in lines_of(tmp_path / "list.jsonl")) == sorted(ROWS * 4)


def test_failures_are_there_at_once_and_an_old_list_goes_with_the_first(tmp_path):
    path = tmp_path / "failures.jsonl"
    path.write_text("of an earlier run\n")
    failures = Failures(path)
    failures.add(Outcome(Job(tmp_path / "a", tmp_path / "b")))
    assert path.read_text() == "of an earlier run\n" and failures.count == 0
    failures.add(Outcome(Job(tmp_path / "a", tmp_path / "b"), ConfigError("no")))
    assert json.loads(path.read_text()) == {"source": str(tmp_path / "a"), "error": "ConfigError", "message": "no"}
    failures.close()


# ---------------------------------------------------------------- what a manifest says


@pytest.fixture
def folder(picture_file, tmp_path):
    """Six pictures and their masks, and a run over them: `run(options, there=..., by=...)` gives the outcomes."""
    for number, name in enumerate("abcdef"):
        picture_file(f"in/{name}.png", (5, 6, 3), seed=number)
        picture_file(f"masks/{name}.png", (5, 6), seed=number)

    def run(options=Options(), there=There.RESUME, by=None, **more):  # noqa: B008
        manifest = Manifest(tmp_path / "out")
        manifest.read()
        jobs = plan([tmp_path / "in"], tmp_path / "out", options, tmp_path / "masks")
        left = left_to_do(jobs, by or Stub(), options, there=there, manifest=manifest, **more)
        outcomes = list(restore_all(jobs, by or Stub(), options, there=there, manifest=manifest, **more))
        manifest.close()
        assert [outcome.job for outcome in outcomes if not outcome.skipped] == left
        return outcomes

    return run


def said(outcomes):
    return {outcome.job.source.stem: "skipped" if outcome.skipped else outcome.remade for outcome in outcomes}


def test_a_record_holds_what_a_result_was_made_of(folder, tmp_path):
    folder(Options(seed=3, strength=0.5, settings=("sampling.eta=1",)))
    records = rows_of(tmp_path / "out/manifest.jsonl")
    assert [record.target for record in records] == [f"{name}.png" for name in "abcdef"]
    for record in records:
        told = record.provenance
        assert record.sha256 == sha256((tmp_path / "out" / record.target).read_bytes())
        assert record.source == str(tmp_path / "in" / record.target)
        assert record.mask == str(tmp_path / "masks" / record.target)
        assert told.source_sha256 == sha256((tmp_path / "in" / record.target).read_bytes())
        assert told.mask_sha256 == sha256((tmp_path / "masks" / record.target).read_bytes())
        assert (told.model, told.model_sha256) == ("stub", Stub().descriptor.sha256)
        assert (told.settings.seed, told.settings.strength, told.settings.steps) == (3, 0.5, 2)
        assert told.settings.settings == ("sampling.eta=1",)
        assert record.pixels == 30 and record.seconds > 0 and record.change > 1


def test_what_is_done_is_not_done_again(folder, tmp_path):
    assert set(said(folder()).values()) == {""}
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert set(said(folder()).values()) == {"skipped"}
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == stamps
    assert set(said(folder(there=There.REPLACE)).values()) == {""}


OTHER = {
    "model": ({"by": Stub(name="other")}, "made by another model"),
    "seed": ({"options": Options(seed=1)}, "made with other settings"),
    "steps": ({"options": Options(steps=3)}, "made with other settings"),
    "strength": ({"options": Options(strength=0.5)}, "made with other settings"),
    "quality": ({"options": Options(quality=94)}, "made with other settings"),
    "depth": ({"options": Options(bit_depth=16)}, "made with other settings"),
    "strip": ({"options": Options(strip=True)}, "made with other settings"),
    "recipe": ({"options": Options(settings=("a=1",))}, "made with other settings"),
    "batch": ({"options": Options(batch=2), "exactly": True}, "made with other settings"),
}


@pytest.mark.parametrize("name", OTHER)
def test_a_result_of_another_model_or_other_settings_is_made_again(folder, name):
    changed, why = OTHER[name]
    folder()
    assert set(said(folder(**changed)).values()) == {why}
    assert set(said(folder(**changed)).values()) == {"skipped"}


@pytest.mark.parametrize("same", [Options(steps=2), Options(max_pixels=99), Options(batch=4)])
def test_what_makes_no_difference_makes_none(folder, same):
    folder()
    assert set(said(folder(same)).values()) == {"skipped"}


def test_each_thing_that_changed_costs_its_own_picture(folder, picture_file, tmp_path):
    folder()
    out = tmp_path / "out"
    good = {path.name: path.read_bytes() for path in out.glob("*.png")}
    picture_file("in/a.png", (5, 6, 3), seed=99)
    picture_file("masks/b.png", (5, 6), seed=99)
    (out / "c.png").write_bytes(good["c.png"][:-1])
    (out / "d.png").unlink()
    lines = (out / "manifest.jsonl").read_bytes().splitlines(keepends=True)
    (out / "manifest.jsonl").write_bytes(
        b"".join([*lines[:4], lines[5], b"garbage\n", b'{"target": 3}\n', lines[4][:50]])
    )
    done = said(folder())
    assert done == {
        "a": "made of another picture or mask",
        "b": "made of another picture or mask",
        "c": "changed since",
        "d": "",
        "e": "in no manifest",
        "f": "skipped",
    }
    for name in "cdef":
        assert (out / f"{name}.png").read_bytes() == good[f"{name}.png"]
    assert set(said(folder()).values()) == {"skipped"}


def test_skip_existing_leaves_whatever_is_there(folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.png").write_text("mine")
    (tmp_path / "out/b.png").symlink_to(tmp_path / "nowhere")
    done = said(folder(there=There.SKIP))
    assert [done[name] for name in "abc"] == ["skipped", "skipped", ""]
    assert (tmp_path / "out/a.png").read_text() == "mine" and (tmp_path / "out/b.png").is_symlink()


def test_what_was_made_in_parts_is_known_to_the_whole(folder, stub, tmp_path):
    options = Options()
    for shard in (Shard(1, 2), Shard(2, 2)):
        manifest = Manifest(tmp_path / "out", shard)
        jobs = plan([tmp_path / "in"], tmp_path / "out", options, tmp_path / "masks", shard=shard)
        assert all(outcome.error is None for outcome in restore_all(jobs, stub, options, manifest=manifest))
        manifest.close()
    assert {path.name for path in (tmp_path / "out").glob("*.jsonl")} == {
        "manifest-1-of-2.jsonl",
        "manifest-2-of-2.jsonl",
    }
    assert set(said(folder()).values()) == {"skipped"}
    assert not (tmp_path / "out/manifest.jsonl").exists()


def test_names_that_are_no_text_are_known_again(stub, picture_file, tmp_path):
    names = [os.fsdecode(b"\xff.png"), os.fsdecode(b"\xfe.png"), "\\xff.png", "a\nb.png", "\u96ea.png"]
    for number, name in enumerate(names):
        picture_file(f"in/{name}", seed=number)
    for wanted in (False, True):
        manifest = Manifest(tmp_path / "out")
        manifest.read()
        jobs = plan([tmp_path / "in"], tmp_path / "out", Options())
        done = list(restore_all(jobs, stub, Options(), there=There.RESUME, manifest=manifest))
        manifest.close()
        assert [(outcome.error, outcome.skipped) for outcome in done] == [(None, wanted)] * 5


def test_the_result_is_in_its_place_before_the_manifest_says_so(stub, picture_file, tmp_path, monkeypatch):
    picture_file("in/a.png")
    manifest = Manifest(tmp_path / "out")
    monkeypatch.setattr(
        Journal, "add", lambda _self, _line: pytest.fail() if not (tmp_path / "out/a.png").is_file() else None
    )
    list(restore_all(plan([tmp_path / "in"], tmp_path / "out", Options()), stub, Options(), manifest=manifest))


def test_a_manifest_that_cannot_be_written_ends_the_run(stub, picture_file, tmp_path, monkeypatch):
    picture_file("in/a.png")

    def full(*_arguments):
        raise ResourceError("cannot write: the disk is full")

    monkeypatch.setattr(Journal, "add", full)
    jobs = plan([tmp_path / "in"], tmp_path / "out", Options())
    with pytest.raises(ResourceError, match="disk is full"):
        list(restore_all(jobs, stub, Options(), manifest=Manifest(tmp_path / "out")))


# ---------------------------------------------------------------- batches


@pytest.fixture
def mixed(picture_file, tmp_path):
    """Pictures of three padded sizes, by turns, and two that are alone."""
    shapes = [(9, 11, 3), (12, 12, 3), (24, 30, 3), (9, 12), (10, 9, 4)]
    for number in range(20):
        picture_file(f"in/{number:02d}.png", shapes[number % 5], seed=number)
    picture_file("in/20.png", (40, 4, 3))
    return plan([tmp_path / "in"], tmp_path / "out", Options())


def restored(jobs, restorer, options, **more):
    outcomes = list(restore_all(jobs, restorer, options, **more))
    assert [outcome.job for outcome in outcomes] == list(jobs)
    assert all(outcome.error is None and outcome.pixels and outcome.seconds > 0 for outcome in outcomes)
    return {job.target.name: images.to_array(images.read(job.target)).astype(int) for job in jobs}


def test_batches_change_at_most_a_grey_level(tiny, mixed):
    """Batches of 1, 2, 4 and 8, and the list backwards; batches of one are what a single run gives, to the byte."""
    alone = restored(mixed, tiny, Options(seed=5))
    data = {job.target.name: job.target.read_bytes() for job in mixed}
    for batch in (2, 4, 8):
        together = restored(mixed, tiny, Options(seed=5, batch=batch))
        assert max(np.abs(together[name] - alone[name]).max() for name in alone) <= 1
    restored(mixed[::-1], tiny, Options(seed=5))
    assert {job.target.name: job.target.read_bytes() for job in mixed} == data
    for job in mixed[3:5]:
        restored([job], tiny, Options(seed=5))
        assert job.target.read_bytes() == data[job.target.name]


def test_batches_are_computed_together(stub, mixed):
    restored(mixed, stub, Options(batch=4))
    assert sum(stub.seen) == 21 and max(stub.seen) == 4 and len(stub.seen) <= 9


def test_large_pictures_are_alone(stub, mixed, monkeypatch):
    from residiff.restore import batch

    monkeypatch.setattr(batch, "LARGEST_IN_BATCH", 150)
    restored(mixed, stub, Options(batch=4))
    assert stub.seen.count(1) >= 4


def test_one_that_cannot_be_computed_spoils_no_other(stub, mixed):
    real = stub.restore_together

    def failing(pictures, *arguments, **options):
        if any(picture.pixels.shape[0] == 1 for picture in pictures):
            raise ConfigError("no grey ones")
        return real(pictures, *arguments, **options)

    stub.restore_together = failing
    outcomes = list(restore_all(mixed, stub, Options(batch=4)))
    assert [outcome.error is not None for outcome in outcomes] == [number % 5 == 3 for number in range(20)] + [False]


def test_masks_go_along(masked, picture_file, tmp_path):
    for number in range(6):
        picture_file(f"in/{number}.png", (5, 6, 3), seed=number)
        picture_file(f"masks/{number}.png", (5, 6), seed=number + 50)
    jobs = plan([tmp_path / "in"], tmp_path / "out", Options(), tmp_path / "masks")
    alone, together = (restored(jobs, masked, Options(batch=batch)) for batch in (1, 3))
    assert max(np.abs(together[name] - alone[name]).max() for name in alone) <= 1
    shifted = [replace(job, mask=jobs[0].mask) for job in jobs]
    other = restored(shifted, masked, Options(batch=3))
    assert any(np.abs(other[name] - alone[name]).max() > 1 for name in alone)
