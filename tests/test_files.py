"""Whatever fails while a file is written, the old one stays whole and nothing is left lying about."""

import errno
import hashlib
import multiprocessing
import os
import stat
from pathlib import Path

import pytest

from residiff import files
from residiff.errors import LockedError, ResourceError

OLD, NEW = b"old" * 1000, b"new" * 2000


def failing(number):
    def fail(*_args, **_options):
        raise OSError(number, os.strerror(number))

    return fail


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("data", [b"", b"x", NEW])
def test_what_is_written_is_read_back(tmp_path, data):
    path = tmp_path / "new" / "folders" / "file.bin"
    files.write_bytes(path, data)
    assert path.read_bytes() == data
    assert names(path.parent) == ["file.bin"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_the_new_takes_the_place_of_the_old(tmp_path):
    path = tmp_path / "file.bin"
    for data in (OLD, NEW):
        files.write_bytes(path, data)
    assert path.read_bytes() == NEW


def test_the_file_is_synced_before_it_is_renamed_and_the_folder_after(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)

        def spy(*args, _name=name, _real=real):
            kind = "folder" if _name == "fsync" and stat.S_ISDIR(os.fstat(args[0]).st_mode) else "file"
            size = os.fstat(args[0]).st_size if (_name, kind) == ("fsync", "file") else None
            calls.append((_name, kind, size))
            return _real(*args)

        monkeypatch.setattr(os, name, spy)
    files.write_bytes(tmp_path / "file.bin", NEW)
    assert calls == [("fsync", "file", len(NEW)), ("replace", "file", None), ("fsync", "folder", None)]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("call", ["fsync", "replace", "chmod", "fdopen"])
def test_a_failure_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, call, number):
    path = tmp_path / "file.bin"
    files.write_bytes(path, OLD)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing(number))
        with pytest.raises(ResourceError, match="file.bin") as caught:
            files.write_bytes(path, NEW)
    assert caught.value.exit_code == 5
    assert path.read_bytes() == OLD
    assert names(tmp_path) == ["file.bin"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_a_temporary_file_that_cannot_be_made(tmp_path, monkeypatch, number):
    path = tmp_path / "file.bin"
    files.write_bytes(path, OLD)
    monkeypatch.setattr(files.tempfile, "mkstemp", failing(number))
    with pytest.raises(ResourceError):
        files.write_bytes(path, NEW)
    assert path.read_bytes() == OLD


class _Full:
    """A file on a disk with room for `room` more bytes."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.file.close()

    def write(self, data):
        self.file.write(data[: self.room])
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("room", [0, 1, 4096, len(NEW) - 1])
def test_a_disk_that_fills_up_half_way(tmp_path, monkeypatch, room):
    path = tmp_path / "file.bin"
    files.write_bytes(path, OLD)
    real = os.fdopen
    monkeypatch.setattr(os, "fdopen", lambda handle, mode: _Full(real(handle, mode), room))
    with pytest.raises(ResourceError, match="the disk is full: free some space"):
        files.write_bytes(path, NEW)
    assert path.read_bytes() == OLD
    assert names(tmp_path) == ["file.bin"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_the_message_of_a_really_full_device():
    with (
        pytest.raises(ResourceError, match="disk is full"),
        files.environment_errors(Path("x")),
        open("/dev/full", "wb", buffering=0) as file,
    ):
        file.write(b"x")


@pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError, SystemExit])
def test_an_interruption_passes_through_and_leaves_nothing(tmp_path, monkeypatch, stop):
    path = tmp_path / "file.bin"
    files.write_bytes(path, OLD)

    def interrupted(*_args):
        raise stop

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(stop):
        files.write_bytes(path, NEW)
    assert path.read_bytes() == OLD
    assert names(tmp_path) == ["file.bin"]


def test_a_folder_in_the_way(tmp_path):
    (tmp_path / "file.bin").mkdir()
    with pytest.raises(ResourceError, match="file.bin"):
        files.write_bytes(tmp_path / "file.bin", NEW)
    assert names(tmp_path) == ["file.bin"]


def test_a_file_where_a_folder_should_be(tmp_path):
    (tmp_path / "file").write_bytes(OLD)
    with pytest.raises(ResourceError):
        files.write_bytes(tmp_path / "file" / "inner.bin", NEW)
    assert (tmp_path / "file").read_bytes() == OLD


def test_other_errors_are_not_touched():
    with pytest.raises(ZeroDivisionError), files.environment_errors(Path("x")):
        raise ZeroDivisionError


def test_sha256():
    assert files.sha256(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert files.sha256(NEW) == hashlib.sha256(NEW).hexdigest()


def _hold(folder, pipe):
    with files.lock(folder):
        pipe.send("held")
        pipe.recv()


def test_a_lock_keeps_others_out_until_its_process_dies(tmp_path):
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    holder = context.Process(target=_hold, args=(tmp_path / "run", there))
    holder.start()
    assert here.recv() == "held"
    with pytest.raises(LockedError, match="another run"), files.lock(tmp_path / "run"):
        pass
    holder.kill()
    holder.join()
    with files.lock(tmp_path / "run"):
        pass
    with files.lock(tmp_path / "run"):
        pass


def test_parts_are_held_beside_one_another_but_not_beside_the_whole(tmp_path):
    folder = tmp_path / "run"
    with files.lock(folder, "1-of-2"), files.lock(folder, "2-of-2"):
        for part in ("", "1-of-2", "2-of-2"):
            with pytest.raises(LockedError, match="another run"), files.lock(folder, part):
                pass
        with files.lock(folder, "1-of-3"):
            pass
    with files.lock(folder):
        for part in ("", "1-of-2"):
            with pytest.raises(LockedError, match="another run"), files.lock(folder, part):
                pass


def test_a_folder_made_for_nothing_is_taken_away(tmp_path):
    with files.lock(tmp_path / "new/run"):
        assert names(tmp_path / "new/run") == [".lock"]
    assert not (tmp_path / "new/run").exists()
    with files.lock(tmp_path / "run"):
        (tmp_path / "run/result").write_bytes(NEW)
    assert names(tmp_path / "run") == [".lock", "result"]
    (tmp_path / "old").mkdir()
    with files.lock(tmp_path / "old"):
        pass
    assert names(tmp_path / "old") == [".lock"]


def test_a_lock_that_was_taken_away_meanwhile_is_none(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    real = files._lock_file

    def slow(handle, folder, shared):
        (folder / ".lock").unlink()
        real(handle, folder, shared)

    monkeypatch.setattr(files, "_lock_file", slow)
    with pytest.raises(LockedError, match="until now; start again"), files.lock(tmp_path / "run"):
        pass


def test_what_is_half_written_is_swept_up_when_it_is_old(tmp_path):
    for name in (".residiff-a.tmp", ".residiff-b.tmp", ".residiff-c.png", "d.tmp", "sub/.residiff-e.tmp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(NEW)
    os.utime(tmp_path / ".residiff-a.tmp", (1, 1))
    files.sweep([tmp_path, tmp_path / "nowhere"], seconds=100)
    assert names(tmp_path) == [".residiff-b.tmp", ".residiff-c.png", "d.tmp", "sub"]
    files.sweep([tmp_path])
    assert names(tmp_path) == [".residiff-c.png", "d.tmp", "sub"] and names(tmp_path / "sub") == [".residiff-e.tmp"]


def test_sha256_of_a_file(tmp_path):
    (tmp_path / "a").write_bytes(NEW)
    assert files.sha256_of(tmp_path / "a") == files.sha256(NEW)
    with pytest.raises(OSError, match="nowhere"):
        files.sha256_of(tmp_path / "nowhere")
