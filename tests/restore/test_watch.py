"""New files are taken once they have come to rest, and frames are in order and alike."""

import os
from pathlib import Path

import pytest

from residiff.errors import ConfigError
from residiff.restore import Job, Options, Outcome, Watcher, check_sizes, gaps, in_order, survey


@pytest.fixture
def look(tmp_path):
    (tmp_path / "in").mkdir()
    return lambda: survey([tmp_path / "in"], tmp_path / "out", Options(), recursive=True)


def put(path, data, stamp):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    os.utime(path, ns=(stamp, stamp))


def taken(watcher):
    return sorted(job.source.name for job in watcher.ready()[0])


def test_a_file_is_taken_once_when_it_has_come_to_rest(look, tmp_path):
    watcher, a, b = Watcher(look), tmp_path / "in/a.png", tmp_path / "in/sub/b.png"
    assert taken(watcher) == []
    put(a, b"1", 1)
    assert taken(watcher) == []
    assert taken(watcher) == ["a.png"]
    assert taken(watcher) == []
    put(b, b"1", 1)
    assert taken(watcher) == []
    for number in range(2, 6):  # it grows, or is written anew
        put(b, b"1" * min(number, 4), number)
        assert taken(watcher) == []
    assert taken(watcher) == ["b.png"]
    put(a, b"2", 2)
    assert taken(watcher) == []
    assert taken(watcher) == ["a.png"]
    a.unlink(), b.unlink()
    assert taken(watcher) == []
    put(a, b"2", 2)
    assert [taken(watcher), taken(watcher), taken(watcher)] == [[], ["a.png"], []]


def test_empty_files_and_files_that_go_are_not_taken(look, tmp_path):
    watcher = Watcher(look)
    put(tmp_path / "in/a.png", b"", 1), put(tmp_path / "in/b.png", b"1", 1)
    assert taken(watcher) == []
    (tmp_path / "in/b.png").unlink()
    assert [taken(watcher), taken(watcher)] == [[], []]


def test_a_mask_must_have_come_to_rest_as_well(tmp_path):
    job = Job(tmp_path / "a.png", tmp_path / "o.png", tmp_path / "m.png")
    watcher = Watcher(lambda: ([job], []))
    put(job.source, b"1", 1)
    assert [taken(watcher), taken(watcher)] == [[], []]
    put(job.mask, b"1", 2)
    assert [taken(watcher), taken(watcher), taken(watcher)] == [[], ["a.png"], []]
    put(job.mask, b"12", 3)
    assert [taken(watcher), taken(watcher), taken(watcher)] == [[], ["a.png"], []]


def test_what_cannot_be_done_is_named_once(tmp_path):
    job, told = Job(tmp_path / "a.png", tmp_path / "o.png"), []
    watcher = Watcher(lambda: ([], [Outcome(job, ConfigError(text)) for text in told]))
    assert watcher.ready() == ([], [])
    told.append("one")
    assert [len(watcher.ready()[1]) for _ in range(3)] == [1, 0, 0]
    told[:] = ["another"]
    assert [len(watcher.ready()[1]) for _ in range(2)] == [1, 0]
    told.clear()
    assert watcher.ready() == ([], [])
    told.append("another")
    assert len(watcher.ready()[1]) == 1


# ---------------------------------------------------------------- frames


def frames(*names):
    return [Job(Path(name).absolute(), Path(name)) for name in names]


def test_frames_are_in_the_order_of_their_numbers():
    names = ["b/f10.png", "b/f9.png", "a/f2 v3.png", "a/f2 v10.png", "a/x1.png", "b/f009.png", "a/01.png"]
    ordered = [str(job.source.relative_to(os.getcwd())) for job in in_order(frames(*names))]
    assert ordered == ["a/01.png", "a/f2 v3.png", "a/f2 v10.png", "a/x1.png", "b/f009.png", "b/f9.png", "b/f10.png"]
    with pytest.raises(ConfigError, match=r"frame\.png has no number; frames are called frame-0001\.png"):
        in_order(frames("1.png", "frame.png"))


def test_gaps_are_named():
    names = [f"w/f{number}.png" for number in (1, 2, 5, 7, 100)] + ["w/g3.png", "v/f1.png", "v/f2.png"]
    assert gaps(frames(*names)) == ["w/f: 3 to 4", "w/f: 6", "w/f: 8 to 99"]
    assert gaps([]) == []


def test_frames_of_other_sizes_are_named(picture_file, tmp_path):
    paths = [picture_file(f"f{number}.png", (6, 8, 3) if number < 9 else (6, number, 3)) for number in range(17)]
    check_sizes([Job(path, path) for path in paths[:9]])
    (tmp_path / "bad.png").write_text("no picture")  # is a failure of its own
    check_sizes([Job(path, path) for path in [*paths[:9], tmp_path / "bad.png", tmp_path / "none.png"]])
    with pytest.raises(ConfigError, match=r"frames are 8 x 6, but not f9.png \(9 x 6\), .* and 3 more: .*other noise"):
        check_sizes([Job(path, path) for path in paths])


def test_frames_of_one_size_meet_one_field_of_noise(tiny, monkeypatch, draw):
    """In whatever order and company they come: the start of sampling less the picture is the same for all."""
    from residiff.data.images import from_array

    starts = []
    for seed in range(3):
        picture = from_array(draw((12, 16, 3), seed=seed))
        state = next(tiny.states(picture, seed=4))
        starts.append(state.x - state.level.signal * tiny._input(picture))
    assert all((start - starts[0]).abs().max() < 1e-6 for start in starts) and starts[0].std() > 0.05
