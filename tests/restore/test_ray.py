"""Two workers on a Ray cluster of this machine: the same bytes as here, whatever becomes of a worker."""

import os
import signal
import time

import psutil
import pytest

from residiff.files import sha256
from residiff.restore import Manifest, Options, plan, restore_all
from residiff.restore.cluster import Cluster, Loading, connected, restore_on_ray
from residiff.restore.manifest import rows_of

ray = pytest.importorskip("ray")
TWO = Cluster(workers=2)
# Ray's own threads and processes leave some open
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def cluster():
    """One cluster for all of this module's runs."""
    with connected(Cluster()) as library:
        yield library


def workers():
    """The processes of the workers that are restoring."""
    return [each for each in psutil.Process().children(recursive=True) if "MapWorker" in "".join(each.cmdline()[:1])]


def results_in(folder):
    return {path.name: sha256(path.read_bytes()) for path in folder.glob("*.png")}


def test_a_folder_from_the_command_line(cluster, cli, picture_file, tmp_path, tiny, tiny_file):
    for number in range(7):
        picture_file(f"in/{number}.png", (9 + number, 11, 3), seed=number)
    (tmp_path / "in/bad.png").write_bytes(b"no picture")
    for outcome in restore_all(plan([tmp_path / "in"], tmp_path / "here", Options()), tiny, Options()):
        assert (outcome.error is not None) == (outcome.job.source.name == "bad.png")
    command = ["restore", tmp_path / "in", "-o", tmp_path / "out", "-m", tiny_file, "--engine", "ray", "--workers", 2]
    done = cli(*command)
    assert (done.code, done.out) == (3, b"") and "7 restored, 1 failed" in done.err
    assert results_in(tmp_path / "out") == results_in(tmp_path / "here") and len(results_in(tmp_path / "out")) == 7
    records = {record.target: record for record in rows_of(tmp_path / "out/manifest.jsonl")}
    assert {name: record.sha256 for name, record in records.items()} == results_in(tmp_path / "out")
    assert cluster.is_initialized(), "a cluster that was there before is left"
    (tmp_path / "in/bad.png").unlink()
    (tmp_path / "out/3.png").write_bytes(b"changed")
    again = cli(*command, "--resume")
    assert again.code == 0 and "1 restored, 0 failed, 6 there already" in again.err
    assert "made again: 1 changed since" in again.err and not (tmp_path / "out/failures.jsonl").exists()
    assert results_in(tmp_path / "out") == results_in(tmp_path / "here")


def test_a_worker_that_is_killed_loses_nothing(cluster, picture_file, tmp_path, tiny, tiny_file):
    for number in range(24):
        picture_file(f"in/{number:02d}.png", (96, 96, 3), seed=number)
    options = Options(steps=20)
    jobs, here = (plan([tmp_path / "in"], tmp_path / name, options) for name in ("out", "here"))
    manifest, killed, got = Manifest(tmp_path / "out"), [], []
    loading = Loading.of(tiny_file, "cpu")
    for outcome in restore_on_ray(jobs, tiny, loading, options, TWO, manifest=manifest):
        got.append(outcome)
        if not killed:
            killed = workers()
            for each in killed:
                each.kill()
    manifest.close()
    assert killed and sorted(outcome.job.source.name for outcome in got) == [
        f"{number:02d}.png" for number in range(24)
    ]
    assert all(outcome.error is None for outcome in got)
    assert "begun when a worker died" in {outcome.remade for outcome in got}
    list(restore_all(here, tiny, options))
    assert results_in(tmp_path / "out") == results_in(tmp_path / "here")
    assert len(rows_of(tmp_path / "out/manifest.jsonl")) == 24


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_program_that_is_ended_leaves_no_process_and_can_go_on(program, picture_file, tmp_path, tiny_file, number):
    for place in range(200):
        picture_file(f"in/{place:03d}.png", (64, 64, 3), seed=place)
    command = ["restore", tmp_path / "in", "-o", tmp_path / "out", "-m", tiny_file, "--engine", "ray", "--steps", 20]
    run = program(*command)
    listed = tmp_path / "out/manifest.jsonl"
    while not listed.is_file() and run.poll() is None:
        time.sleep(0.05)
    children = psutil.Process(run.pid).children(recursive=True)
    os.kill(run.pid, number)
    out, err = run.communicate(timeout=60)
    assert run.returncode == (-9 if number == signal.SIGKILL else 128 + number) and out == b"", err
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []
    done = len(rows_of(listed))
    assert 0 < done < 200
    again = program(*command, "--resume")
    out, err = again.communicate(timeout=300)
    assert (again.returncode, out) == (
        0,
        b"",
    ) and f"{200 - done} restored, 0 failed, {done} there already" in err.decode()
    assert len(err.decode().splitlines()) <= 3
