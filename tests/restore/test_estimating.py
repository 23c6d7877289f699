"""What a run will take is reckoned from its headers and a few pictures: within 30 % of what it then does."""

import json
import time

import numpy as np
import pytest
from PIL import Image
from stubs import Stub, load

from residiff import restore
from residiff.data.images import Format
from residiff.restore import Options, estimate, plan, restore_all
from residiff.restore.estimating import _line, _spread


@pytest.fixture
def job(tmp_path):
    """Makes a folder of pictures of those sides: `job([8, 16], "png")` gives the plan."""

    def make(sides, suffix="png", options=Options()):  # noqa: B008
        (tmp_path / "in").mkdir()
        source = np.random.default_rng(0)
        for number, side in enumerate(sides):
            grain = source.integers(0, 256, (side, side, 3), np.uint8)
            Image.fromarray(grain).save(tmp_path / f"in/{number:03d}.{suffix}")
        return plan([tmp_path / "in"], tmp_path / "out", options)

    return make


def taken(jobs, restorer, options):
    began = time.perf_counter()
    list(restore_all(jobs, restorer, options))
    return time.perf_counter() - began


JOBS = {
    "equal sizes": ([40] * 40, Options(), Stub(seconds=0.02)),
    "mixed sizes": ([16, 200, 48, 96, 300, 32, 150] * 8, Options(), Stub(seconds=0.002, each=1e-6)),
    "batches": ([32] * 64, Options(batch=8), Stub(seconds=0.01)),
}


@pytest.mark.parametrize("name", JOBS)
def test_three_jobs_take_what_was_said(job, tmp_path, name):
    sides, options, stub = JOBS[name]
    jobs = job(sides)
    found = estimate(jobs, stub, options, tmp_path / "out", seconds=0.5)
    assert not (tmp_path / "out").exists()
    assert (found.pictures, found.unreadable, found.pixels) == (len(sides), 0, sum(side**2 for side in sides))
    assert 1 <= found.measured < len(sides) + 8 * 24
    assert found.seconds == pytest.approx(taken(jobs, stub, options), rel=0.3)
    written = sum(each.target.stat().st_size for each in jobs)
    assert found.bytes == pytest.approx(written, rel=0.3)


def test_measuring_ends_in_time(job, tmp_path):
    jobs = job([16] * 50)
    began = time.perf_counter()
    found = estimate(jobs, Stub(seconds=0.2), Options(), tmp_path, seconds=1.0)
    assert time.perf_counter() - began < 4 and 1 <= found.measured <= 10
    assert found.seconds == pytest.approx(10, rel=0.3)


def test_space_goes_by_the_kind_of_file(job, tmp_path):
    options = Options(format=Format.JPEG, quality=50)
    jobs = job([100] * 6, options=options)
    small = estimate(jobs, Stub(), options, tmp_path).bytes
    assert small < estimate(jobs, Stub(), Options(format=Format.TIFF), tmp_path).bytes / 3


def test_what_cannot_be_read_is_counted(job, tmp_path):
    jobs = job([8, 9, 10, 60])
    (tmp_path / "in/000.png").write_text("no picture")
    (tmp_path / "in/001.png").unlink()
    found = estimate(jobs, Stub(), Options(max_pixels=3000), tmp_path / "nowhere/out")
    assert (found.pictures, found.unreadable, found.pixels) == (1, 3, 100) and found.free > 0
    none = estimate([], Stub(), Options(), tmp_path)
    assert (none.pictures, none.seconds, none.bytes, none.measured) == (0, 0, 0, 0)


def test_a_line_through_what_was_measured():
    points = [(100, 0.3), (1000, 1.2), (4000, 4.2)]  # 0.2 + 0.001 a pixel
    assert _line(points) == pytest.approx((0.2, 0.001))
    assert _line([(100, 0.5)]) == pytest.approx((0, 0.005))
    assert _line([(100, 0.4), (100, 0.6)])[0] == 0
    fixed, each = _line([(100, 0.1), (1000, 2.0)])  # steeper than through the origin
    assert fixed == 0 and 0.001 < each < 0.002
    fixed, each = _line([(100, 0.4), (1000, 0.2)])  # that many more pixels take less is chance
    assert fixed == 0 and each > 0


@pytest.mark.parametrize("count", [1, 2, 3, 10, 97])
def test_the_first_that_are_measured_are_far_apart(count):
    places = list(_spread(list(range(count))))
    assert sorted(places) == list(range(count)) and places[0] == count // 2
    if count == 97:
        assert sorted(places[:3]) == [24, 48, 72]


def test_a_dry_run_says_and_writes_nothing(cli, job, tmp_path, monkeypatch):
    monkeypatch.setattr(restore, "load", load)
    job([32] * 10)
    (tmp_path / "in/bad.png").write_text("no picture")
    command = ["restore", tmp_path / "in", "-o", tmp_path / "out", "-m", "stub:0.01"]
    done = cli(*command, "--dry-run", "--json")
    assert (done.code, done.err) == (0, "")
    facts = json.loads(done.out)
    assert (facts["pictures"], facts["unreadable"], facts["pixels"], facts["there"]) == (10, 1, 10 * 32 * 32, 0)
    assert facts["bytes"] > 10_000 and facts["seconds"] > 0.1 and facts["free"] > 0
    shown = cli(*command, "--dry-run").out.decode()
    assert "pictures" in shown and "unreadable" in shown and "0.0" in shown
    assert {path.name for path in tmp_path.iterdir()} == {"in"}
    assert cli(*command).code == 3
    done = cli(*command, "--dry-run", "--json", "--resume")
    facts = json.loads(done.out)
    assert (facts["pictures"], facts["there"], facts["measured"]) == (0, 10, 0)
    facts = json.loads(cli(*command, "--dry-run", "--json", "--skip-existing", "--seed", 5).out)
    assert (facts["pictures"], facts["there"]) == (0, 10)
    facts = json.loads(cli(*command, "--dry-run", "--json", "--resume", "--seed", 5).out)
    assert (facts["pictures"], facts["there"]) == (10, 0)
    assert (
        sum(json.loads(cli(*command, "--dry-run", "--json", "--shard", f"{n}/2").out)["pictures"] for n in (1, 2)) == 10
    )


def test_too_little_room_is_said(cli, job, tmp_path, monkeypatch):
    from residiff.restore import estimating

    monkeypatch.setattr(restore, "load", load)
    monkeypatch.setattr(estimating, "_free", lambda _output: 100)
    job([32] * 2)
    done = cli("restore", tmp_path / "in", "-o", tmp_path / "out", "-m", "stub", "--dry-run")
    assert done.code == 0 and "there is too little room in" in done.err


@pytest.mark.slow
@pytest.mark.parametrize("sides", [[64] * 40, [48, 96, 160, 256] * 8, [320] * 8])
def test_a_real_model_takes_what_was_said(job, tmp_path, sides):
    """Of an idle machine; where others use it, it may be another one when the run begins."""
    restorer = restore.load("denoise", "cpu")
    jobs = job(sides)
    found = estimate(jobs, restorer, Options(), tmp_path / "out")
    real = taken(jobs, restorer, Options())
    print(f"{len(sides)} pictures: {found.seconds:.1f} s said, {real:.1f} s taken")
    assert found.seconds == pytest.approx(real, rel=0.3)
