"""What workers do is what this process would do: the same bytes, records and failures, of files and of objects.

No cluster is started here: workers are called as Ray would call them, and file:// stands for every store.
"""

import json
import math
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from residiff import errors
from residiff.errors import ConfigError, ImageDecodeError, ResourceError
from residiff.files import sha256
from residiff.restore import Job, Manifest, Options, Outcome, Shard, There, plan, restore_all
from residiff.restore.cluster import Cluster, Loading, driving, mirror, mirrored, places, plan_remote, restore_on_ray
from residiff.restore.cluster.messages import Errand, Reply
from residiff.restore.cluster.worker import ALONE, Crew, Kit, Tries
from residiff.restore.jobs import Place, Remote
from residiff.restore.manifest import rows_of

PLAIN = Options()


def crew(model, output, options=PLAIN, tries=None, **more):
    """Workers' common part, as each of them has it."""
    return Crew(Kit(Loading.of(model, "cpu", options.settings), options, output, **more), tries or Tries())


def errands_of(jobs, manifest=None):
    known = [tuple(record.line() for record in manifest.of(job)) if manifest else () for job in jobs]
    return [Errand(number, job, lines) for number, (job, lines) in enumerate(zip(jobs, known, strict=True))]


def done_here(jobs, restorer, options=PLAIN):
    """The bytes of the results of this process, by name."""
    for outcome in restore_all(jobs, restorer, options):
        assert outcome.error is None
    return bytes_below(jobs[0].target.parent)


def bytes_below(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")}


@pytest.fixture
def folder(tmp_path, picture_file):
    """Three pictures, one of them below the others."""
    for number, name in enumerate(("in/a.png", "in/b.png", "in/sub/c.png")):
        picture_file(name, (9 + number, 11, 3), seed=number)
    return tmp_path / "in"


# ---------------------------------------------------------------- messages


def test_errands_and_replies_come_through_whatever_they_hold():
    name = Path(os.fsdecode(b"/in/\xff \xc3\xa9\n.png"))
    remote = Remote(Place("s3://b/p?x=y", "sub/a.png"), Place("s3://o", "a.png"), None, ("1@2", "", ""))
    for job in (Job(name, name), Job(name, name, name), Job(name, name, None, remote)):
        errand = Errand(7, job, ('{"a": 1}',))
        assert Errand.of(errand.text()) == errand and errand.text().isascii() and "\n" not in errand.text()
    outcome = Outcome(Job(name, name), None, True, "changed since", 1.5, 0.5, 99, math.inf, False)
    reply = Reply.of(Reply.told(7, outcome, "line").text())
    assert reply.outcome(outcome.job) == outcome and (reply.number, reply.record) == (7, "line")


def test_every_error_is_the_same_on_the_other_side():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and kind.__module__ == errors.__name__]
    assert len(kinds) > 8
    for kind in kinds:
        fault = Reply.of(Reply.failed(1, kind("why \udcff")).text()).fault
        assert type(fault) is kind and str(fault) == "why \udcff"
    assert Reply(1).fault is None


def test_a_place_says_where_it_is_without_how_it_is_reached():
    assert Place("s3://bucket/in/?endpoint_override=host&access_key=secret", "a b.png").uri == "s3://bucket/in/a b.png"


# ---------------------------------------------------------------- what a worker does


def test_a_worker_makes_the_bytes_and_records_of_this_process(folder, tmp_path, tiny, tiny_file):
    jobs, elsewhere = (plan([folder], tmp_path / name, Options(), recursive=True) for name in ("out", "other"))
    expected = done_here(elsewhere, tiny)
    replies = list(crew(tiny_file, tmp_path / "out").replies(errands_of(jobs)))
    assert bytes_below(tmp_path / "out") == expected and len(expected) == 3
    for number, (reply, job) in enumerate(zip(replies, jobs, strict=True)):
        record = json.loads(reply.record)
        assert reply.number == number and reply.outcome(job).pixels == record["pixels"] > 0
        assert record["source"] == str(job.source) and "stamps" not in record
        assert record["sha256"] == sha256(expected[record["target"]])


def test_a_bad_picture_fails_alone_and_resume_leaves_the_others(folder, tmp_path, tiny_file):
    (folder / "b.png").write_bytes(b"no picture")
    jobs, manifest = plan([folder], tmp_path / "out", Options(), recursive=True), Manifest(tmp_path / "out")
    first = list(crew(tiny_file, tmp_path / "out").replies(errands_of(jobs)))
    assert [reply.error for reply in first] == ["", "ImageUnsupportedError", ""] and not first[1].ends
    lines = {reply.number: (reply.record,) for reply in first if reply.record}
    known = [Errand(number, job, lines.get(number, ())) for number, job in enumerate(jobs)]
    again = list(crew(tiny_file, tmp_path / "out", there=There.RESUME).replies(known))
    assert [reply.skipped for reply in again] == [True, False, True]
    other = crew(tiny_file, tmp_path / "out", Options(seed=1), there=There.RESUME)
    assert [reply.remade for reply in other.replies(known)] == [
        "made with other settings",
        "",
        "made with other settings",
    ]
    manifest.close()


def test_a_full_disk_is_nobodys_fault_alone(folder, tmp_path, tiny_file):
    (tmp_path / "out").write_bytes(b"no folder")
    jobs = [Job(folder / "a.png", tmp_path / "out/a.png")]
    with pytest.raises(ResourceError, match="cannot write"):
        list(crew(tiny_file, tmp_path / "out").replies(errands_of(jobs)))


def test_the_second_worker_takes_pictures_one_by_one_and_the_last_gives_up(folder, tmp_path, tiny_file):
    """A worker that died has begun the handful: each of its pictures then has two tries alone."""
    jobs, tries = plan([folder], tmp_path / "out", Options(), recursive=True), Tries()
    tries.next("from 0")
    for _ in range(ALONE):
        tries.next("1")
    replies = list(crew(tiny_file, tmp_path / "out", tries=tries).replies(errands_of(jobs)))
    assert [reply.number for reply in replies] == [0, 1, 2]
    assert [reply.error for reply in replies] == ["", "ResourceError", ""] and not replies[1].ends
    assert "3 workers died" in replies[1].message and str(jobs[1].source) in replies[1].message
    assert {replies[0].remade, replies[2].remade} == {"begun when a worker died"}
    assert set(bytes_below(tmp_path / "out")) == {"a.png", "sub/c.png"}


# ---------------------------------------------------------------- objects


def remote_jobs(tmp_path, options=PLAIN, **more):
    return plan_remote(
        [(tmp_path / "in").as_uri()],
        (tmp_path / "out").as_uri(),
        options,
        folder=tmp_path / "lists",
        recursive=True,
        **more,
    )


def test_objects_become_the_same_bytes_as_files(folder, tmp_path, tiny, tiny_file):
    expected = done_here(plan([folder], tmp_path / "other", Options(), recursive=True), tiny)
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "notes.txt").write_bytes(b"")
    jobs = remote_jobs(tmp_path)
    replies = list(crew(tiny_file, tmp_path / "lists").replies(errands_of(jobs)))
    assert bytes_below(tmp_path / "out") == expected and not (tmp_path / "lists").exists()
    for reply, job in zip(replies, jobs, strict=True):
        record, place = json.loads(reply.record), job.remote.target
        assert record["source"] == job.remote.source.uri and record["target"] == place.name
        assert record["stamps"] == [job.remote.stamps[0], "", places.stamp_of(place)]


def test_what_belongs_to_a_result_goes_with_it_and_masks_come_too(folder, tmp_path, masked_file, masked, picture_file):
    for name, shape in (("a", (9, 11)), ("b", (10, 11)), ("sub/c", (11, 11))):
        picture_file(f"masks/{name}.png", shape, seed=9)
    options = Options(samples=2)
    here = plan([folder], tmp_path / "other", options, tmp_path / "masks", recursive=True)
    expected = done_here(here, masked, options)
    jobs = remote_jobs(tmp_path, options, mask=(tmp_path / "masks").as_uri())
    replies = list(crew(masked_file, tmp_path / "lists", options).replies(errands_of(jobs)))
    assert bytes_below(tmp_path / "out") == expected and "sub/c.doubt.png" in expected
    assert json.loads(replies[2].record)["mask"] == (tmp_path / "masks/sub/c.png").as_uri()


def test_an_object_that_is_gone_fails_alone_in_its_turn_and_by_its_own_name(folder, tmp_path, tiny_file):
    jobs = remote_jobs(tmp_path)
    (folder / "a.png").unlink()
    (folder / "b.png").write_bytes(b"no picture")
    replies = list(crew(tiny_file, tmp_path / "lists").replies(errands_of(jobs)))
    assert [(reply.number, reply.error) for reply in replies] == [
        (0, "ImageDecodeError"), (1, "ImageUnsupportedError"), (2, "")
    ]  # fmt: skip
    for number, name in enumerate("ab"):
        assert f"{(folder / name).as_uri()}.png" in replies[number].message


def test_a_store_that_fails_is_asked_again_and_then_ends_the_run(monkeypatch, tmp_path):
    waits, calls = [], []

    def failing():
        calls.append(1)
        raise OSError("slow down")

    monkeypatch.setattr(places.time, "sleep", waits.append)
    with pytest.raises(ResourceError, match="cannot list s3://b: slow down"):
        places._tried(failing, "cannot list s3://b")
    assert len(calls) == 3 and waits == [1.0, 4.0]
    assert places._tried(lambda: 5, "") == 5
    with pytest.raises(ImageDecodeError, match="nothing.png is not there"):
        places.fetch(Place(tmp_path.as_uri(), "nothing.png"), tmp_path / "x")
    with pytest.raises(ConfigError, match="cannot open nowhere://b: "):
        places.stamps_below("nowhere://b?secret_key=x", recursive=True)
    assert places.stamps_below((tmp_path / "none").as_uri(), recursive=True) == {}
    assert places.stamp_of(Place(tmp_path.as_uri(), "none")) == ""


# ---------------------------------------------------------------- the plan


def test_a_plan_names_every_object_once(folder, tmp_path, picture_file):
    (tmp_path / "lists").mkdir()
    names = {job.remote.target.name: job.remote.stamps for job in remote_jobs(tmp_path, Options(suffix="_x"))}
    assert set(names) == {"a_x.png", "b_x.png", "sub/c_x.png"}
    assert all(stamps[0].startswith(f"{(folder / 'a.png').stat().st_size}@") for stamps in [names["a_x.png"]])
    parts = [remote_jobs(tmp_path, shard=Shard(index, 3)) for index in (1, 2, 3)]
    assert sorted(job.origin for part in parts for job in part) == sorted(job.origin for job in remote_jobs(tmp_path))
    picture_file("out/a.png")
    stamps = {job.remote.target.name: job.remote.stamps[2] for job in remote_jobs(tmp_path)}
    assert stamps == {
        "a.png": places.stamp_of(Place((tmp_path / "out").as_uri(), "a.png")),
        "b.png": "",
        "sub/c.png": "",
    }
    assert {job.remote.stamps[2] for job in remote_jobs(tmp_path, afresh=True)} == {""}
    (alone,) = plan_remote([(folder / "a.png").as_uri()], str(tmp_path / "out"), Options(), folder=tmp_path)
    assert alone.origin == (folder / "a.png").as_uri() and alone.target == tmp_path / "a.png"


def test_results_of_an_earlier_run_are_no_sources(folder, tmp_path, picture_file):
    picture_file("in/made/a.png")
    jobs = plan_remote([folder.as_uri()], (folder / "made").as_uri(), Options(), folder=tmp_path, recursive=True)
    assert {job.remote.source.name for job in jobs} == {"a.png", "b.png", "sub/c.png"}


@pytest.mark.parametrize(
    ("sources", "output", "mask", "said"),
    [
        (["in"], "in", None, "written over what is read"),
        (["in", "in"], "out", None, "would both become"),
        (["none"], "out", None, "no pictures found in file://"),
        (["in"], "out", "none", "does not exist"),
        (["in"], "out", "in/sub", "holds 0 masks for a.png; one called a is needed"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(folder, tmp_path, sources, output, mask, said):
    names = [(tmp_path / name).as_uri() for name in (*sources, output)]
    mask = mask and (tmp_path / mask).as_uri()
    with pytest.raises(ConfigError, match=said):
        plan_remote(names[:-1], names[-1], Options(), mask, folder=tmp_path / "lists")


# ---------------------------------------------------------------- lists


def test_lists_are_fetched_and_copied_back_and_nothing_else_is_touched(tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    for name in ("manifest.jsonl", "manifest-1-of-2.jsonl", "failures.jsonl", "a.png"):
        (store / name).write_bytes(b"before\n")
    untouched = (store / "manifest-1-of-2.jsonl").stat().st_mtime_ns
    with pytest.raises(SystemExit), mirrored(store.as_uri()) as folder:
        assert {path.name for path in folder.iterdir()} == {path.name for path in store.iterdir()} - {"a.png"}
        (folder / "failures.jsonl").unlink()
        with (folder / "manifest.jsonl").open("ab") as file:
            file.write(b"more\n")
        (folder / "a.png").write_bytes(b"not a list")
        raise SystemExit(143)
    assert not folder.exists() and not (store / "failures.jsonl").exists()
    assert (store / "manifest.jsonl").read_bytes() == b"before\nmore\n"
    assert (store / "manifest-1-of-2.jsonl").stat().st_mtime_ns == untouched
    assert (store / "a.png").read_bytes() == b"before\n"


def test_lists_are_copied_while_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(mirror, "EVERY", 0.01)
    with mirrored((tmp_path / "store").as_uri()) as folder:
        (folder / "manifest.jsonl").write_bytes(b"line\n")
        for _ in range(1000):
            if (tmp_path / "store/manifest.jsonl").is_file():
                break
            mirror.time.sleep(0.01)
        assert (tmp_path / "store/manifest.jsonl").read_bytes() == b"line\n"


# ---------------------------------------------------------------- the driver


@pytest.fixture
def in_process(monkeypatch, tiny_file):
    """Errands are done here instead of by a cluster; gives those that were sent."""
    sent = []

    def replies(errands, kit, cluster):
        sent.append([errand.number for errand in errands])
        return Crew(kit, Tries()).replies(errands) if errands else iter(())

    monkeypatch.setattr(driving, "_replies", replies)
    return sent


def outcomes(jobs, tiny, tiny_file, options=PLAIN, **more):
    return list(restore_on_ray(jobs, tiny, Loading.of(tiny_file, "cpu"), options, **more))


def test_objects_are_done_again_only_where_something_changed(folder, tmp_path, tiny, tiny_file, in_process):
    lists = tmp_path / "lists"

    def run(there=There.RESUME, options=PLAIN):
        manifest = Manifest(lists)
        manifest.read()
        got = outcomes(remote_jobs(tmp_path), tiny, tiny_file, options, there=there, manifest=manifest)
        manifest.close()
        return [(outcome.skipped, outcome.error) for outcome in got]

    done, kept = [(False, None)] * 3, [(True, None)] * 3
    assert run() == done and run() == kept and in_process == [[0, 1, 2], []]
    assert len(rows_of(lists / "manifest.jsonl")) == 3
    assert run(options=Options(seed=1)) == done and run(There.SKIP) == kept and run(There.REPLACE) == done
    assert run() == kept
    in_process.clear()
    os.utime(folder / "a.png", (1, 1))
    assert sorted(run()) == sorted([(False, None), (True, None), (True, None)]) and in_process == [[0]]
    (tmp_path / "out/b.png").write_bytes(b"changed")
    (tmp_path / "out/sub/c.png").unlink()
    in_process.clear()
    run()
    assert in_process == [[1, 2]]


def test_outcomes_reach_the_manifest_and_an_ending_error_the_caller(folder, tmp_path, tiny, tiny_file, in_process):
    jobs, manifest = plan([folder], tmp_path / "out", Options(), recursive=True), Manifest(tmp_path / "out")
    got = outcomes(jobs, tiny, tiny_file, manifest=manifest)
    manifest.close()
    assert [outcome.job for outcome in got] == jobs
    assert {record.target for record in rows_of(tmp_path / "out/manifest.jsonl")} == {"a.png", "b.png", "sub/c.png"}
    with pytest.raises(ConfigError, match="takes no mask"):
        outcomes([replace(jobs[0], mask=jobs[1].source)], tiny, tiny_file, manifest=manifest)
    with pytest.raises(ConfigError, match="steps is 0"):
        outcomes(jobs, tiny, tiny_file, Options(steps=0), manifest=manifest)
    assert outcomes([], tiny, tiny_file, manifest=manifest) == []


def test_a_mask_that_does_not_fit_a_picture_that_is_alone_is_a_mistake(
    folder, tmp_path, masked, masked_file, in_process
):
    jobs = [Job(folder / name, tmp_path / "out" / name, folder / "a.png") for name in ("b.png", "sub/c.png")]
    got = list(restore_on_ray(jobs, masked, Loading.of(masked_file, "cpu"), Options()))
    assert [type(outcome.error) for outcome in got] == [ConfigError, ConfigError]
    with pytest.raises(ConfigError, match="the mask is 11 x 9"):
        list(restore_on_ray(jobs[:1], masked, Loading.of(masked_file, "cpu"), Options()))


@pytest.mark.parametrize(
    ("there", "cluster", "device", "expected"),
    [
        ({"CPU": 8}, Cluster(), "auto", (8, 0.0)),
        ({"CPU": 8}, Cluster(cpus_per_worker=4), "auto", (2, 0.0)),
        ({"CPU": 8}, Cluster(workers=3), "cpu", (3, 0.0)),
        ({"CPU": 8, "GPU": 2}, Cluster(), "auto", (2, 1.0)),
        ({"CPU": 8, "GPU": 2}, Cluster(), "cpu", (8, 0.0)),
        ({"CPU": 8, "GPU": 2}, Cluster(workers=3), "cuda", (3, 0.5)),
        ({"CPU": 2}, Cluster("auto", workers=99), "auto", (99, 0.0)),
        ({"CPU": 2}, Cluster(workers=5), "auto", "5 workers with 0.5 cores each are more than there are, 2"),
        ({"CPU": 2}, Cluster(), "cuda", "the Ray cluster has no GPU"),
        ({"CPU": 2, "GPU": 2}, Cluster(), "cuda:1", "device is cuda:1, but Ray"),
    ],
)
def test_how_many_workers_there_are(there, cluster, device, expected):
    ray = SimpleNamespace(cluster_resources=lambda: there)
    if isinstance(expected, str):
        with pytest.raises(ConfigError, match=expected):
            driving._workers(ray, cluster, device)
    else:
        assert driving._workers(ray, cluster, device) == expected


def test_a_worker_has_the_threads_that_it_reserves():
    assert [Cluster(cpus_per_worker=cpus).threads for cpus in (0.5, 1, 2.5, 4)] == [1, 1, 2, 4]
    for wrong in ({"workers": 0}, {"cpus_per_worker": 0}):
        with pytest.raises(ConfigError, match="allowed are"):
            Cluster(**wrong)


def test_what_is_missing_is_named(monkeypatch, folder, tmp_path, tiny, tiny_file):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ResourceError, match=r'pip install "residiff\[ray\]"'):
        outcomes(plan([folder], tmp_path / "out", Options()), tiny, tiny_file)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    places._opened.cache_clear()
    with pytest.raises(ResourceError, match=r'pip install "residiff\[ray\]"'):
        remote_jobs(tmp_path)


# ---------------------------------------------------------------- the command line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["in", "-o", "out", "--workers", 2], "are for --engine ray"),
        (["in", "-o", "out", "--address", "auto"], "are for --engine ray"),
        (["s3://b/in", "-o", "out"], "that goes with --engine ray"),
        (["in", "-o", "s3://b/out"], "that goes with --engine ray"),
        (["s3://b/in", "-o", "out", "--engine", "ray", "--frames"], "without --frames"),
        (["in", "-o", "out", "--engine", "ray", "--dry-run"], "are for one process"),
        (["in", "-o", "out", "--engine", "ray", "--watch"], "are for one process"),
        (["-", "-o", "-", "--engine", "ray"], "are for files"),
        (["in", "-o", "out", "--engine", "ray", "--workers", 0], "workers is 0"),
        (["in", "-o", "out", "--engine", "slurm"], "slurm"),
    ],
)
def test_mistakes_end_with_two(cli, folder, tmp_path, monkeypatch, tiny_file, arguments, said):
    monkeypatch.chdir(tmp_path)
    done = cli("restore", *arguments, "-m", tiny_file)
    assert done.code == 2 and said in done.err, done.err
    assert not (tmp_path / "out").exists() and not (tmp_path / "s3:").exists()


def test_a_run_on_objects_from_the_command_line(cli, folder, tmp_path, tiny_file, in_process):
    (folder / "b.png").write_bytes(b"no picture")
    command = ["restore", folder.as_uri(), "-o", (tmp_path / "out").as_uri(), "-m", tiny_file, "--engine", "ray", "-r"]
    done = cli(*command)
    assert (done.code, done.out) == (3, b"") and "2 restored, 1 failed" in done.err
    names = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert names == {"a.png", "sub/c.png", "manifest.jsonl", "failures.jsonl"}
    (failure,) = map(json.loads, (tmp_path / "out/failures.jsonl").read_text().splitlines())
    assert failure["source"] == (folder / "b.png").as_uri()
    (folder / "b.png").write_bytes((folder / "a.png").read_bytes())
    again = cli(*command, "--resume")
    assert again.code == 0 and "1 restored, 0 failed, 2 there already" in again.err, again.err
    assert not (tmp_path / "out/failures.jsonl").exists()
    assert len(rows_of(tmp_path / "out/manifest.jsonl")) == 3
