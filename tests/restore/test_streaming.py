"""Pictures that are never held: the same results as of held ones, through the same manifest, in bounded memory."""

import json
import os
import resource
import subprocess
import sys

import numpy as np
import psutil
import pytest
import torch

from residiff.data import images
from residiff.data.images import Format, Metadata, Picture
from residiff.errors import ConfigError, ImageDecodeError
from residiff.files import sha256_of
from residiff.restore import Manifest, Options, There, left_to_do, plan, provenance_of, restore_all, streaming


@pytest.fixture
def small(monkeypatch):
    """Pictures of more than 4,000 pixels count as large."""
    monkeypatch.setattr(streaming, "LEAST", 4_000)


def photo(path, size=(3, 150, 170), depth=8, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = torch.rand(size, generator=torch.Generator().manual_seed(seed))
    images.write(path, Picture(pixels, bit_depth=depth))
    return path


def restored(sources, output, restorer, options, mask=None, **more):
    jobs = plan(sources, output, options, mask)
    return list(restore_all(jobs, restorer, options, **more))


def is_streamed(monkeypatch):
    """Counts the pictures that are."""
    count, whole = [], streaming.restore_rows

    def counted(*arguments):
        count.append(1)
        return whole(*arguments)

    monkeypatch.setattr("residiff.restore.batch.restore_rows", counted)
    return count


@pytest.mark.parametrize("name", ["a.png", "a.tiff", "a.jpg", "a.webp"])
@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_a_file_is_that_of_a_held_picture(tiny, small, monkeypatch, tmp_path, name, strength):
    source, options = photo(tmp_path / "in" / name), Options(steps=2, tile=64, strength=strength, strip=True)
    count = is_streamed(monkeypatch)
    (rows,) = restored([source], tmp_path / "rows" / name, tiny, options)
    monkeypatch.setattr(streaming, "LEAST", 10**9)
    (held,) = restored([source], tmp_path / "held" / name, tiny, options)
    assert len(count) == 1 and rows.error is None
    found = [images.to_array(images.read(tmp_path / folder / name)) for folder in ("rows", "held")]
    assert np.array_equal(*found)
    assert rows.change == pytest.approx(held.change, rel=1e-6) and rows.pixels == held.pixels


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_and_grey(tiny, small, tmp_path, channels):
    source = photo(tmp_path / "a.png", (channels, 150, 170), depth=16)
    assert restored([source], tmp_path / "b.png", tiny, Options(steps=1, tile=64))[0].error is None
    result = images.read(tmp_path / "b.png")
    assert result.bit_depth == 16 and result.pixels.shape == (channels, 150, 170)


def test_what_has_no_rows_is_held(tiny, small, monkeypatch, tmp_path):
    count, options = is_streamed(monkeypatch), Options(steps=1, tile=64)
    picture = Picture(torch.rand(3, 150, 170), alpha=torch.ones(1, 150, 170))
    images.write(tmp_path / "in/alpha.png", picture)
    photo(tmp_path / "in/a.bmp")
    assert [done.error for done in restored([tmp_path / "in"], tmp_path / "out", tiny, options)] == [None, None]
    assert not count


def test_masks_of_other_kinds_and_sizes(masked, small, monkeypatch, tmp_path):
    count, options = is_streamed(monkeypatch), Options(steps=1, tile=64)
    source, mask = photo(tmp_path / "a.png"), photo(tmp_path / "mask.bmp", (1, 150, 170))
    assert restored([source], tmp_path / "b.png", masked, options, mask)[0].error is None
    with pytest.raises(ConfigError, match="the mask is 10 x 20, the image 170 x 150"):
        restored([source], tmp_path / "c.png", masked, options, photo(tmp_path / "other.png", (1, 20, 10)))
    assert len(count) == 2 and not (tmp_path / "c.png").exists()


def test_they_are_in_the_manifest_and_left_there(tiny, small, tmp_path):
    photo(tmp_path / "in/a.png"), photo(tmp_path / "in/b.png", seed=1)
    options, output = Options(steps=1, tile=64), tmp_path / "out"

    def run(there):
        manifest = Manifest(output)
        if there is There.RESUME:
            manifest.read()
        try:
            return restored([tmp_path / "in"], output, tiny, options, there=there, manifest=manifest)
        finally:
            manifest.close()

    run(There.REPLACE)
    lines = [json.loads(line) for line in (output / "manifest.jsonl").read_text().splitlines()]
    assert {line["target"]: line["sha256"] for line in lines} == {
        name: sha256_of(output / name) for name in ("a.png", "b.png")
    }
    assert [done.skipped for done in run(There.RESUME)] == [True, True]
    photo(tmp_path / "in/b.png", seed=2)
    again = run(There.RESUME)
    assert [done.skipped for done in again] == [True, False]
    assert again[1].remade == "made of another picture or mask"


def test_provenance_is_in_the_file(tiny, small, tmp_path):
    source = photo(tmp_path / "a.png")
    restored([source], tmp_path / "b.png", tiny, Options(steps=1, tile=64, seed=5))
    told = provenance_of(images.read(tmp_path / "b.png"))
    assert told.source_sha256 == sha256_of(source) and told.settings.seed == 5 and told.settings.tile == 64


def test_damage_fails_it_alone_and_leaves_nothing(tiny, small, tmp_path):
    source = photo(tmp_path / "in/a.png")
    source.write_bytes(source.read_bytes()[:-3000])
    photo(tmp_path / "in/b.png")
    done = restored([tmp_path / "in"], tmp_path / "out", tiny, Options(steps=1, tile=64))
    assert isinstance(done[0].error, ImageDecodeError) and done[1].error is None
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.png"]


def test_sources_that_are_no_files_any_more_are_left_to_do_and_not_waited_for(tiny, tmp_path):
    for name in ("gone.png", "pipe.png"):
        photo(tmp_path / "in" / name)
    options, manifest = Options(steps=1), Manifest(tmp_path / "out")
    restored([tmp_path / "in"], tmp_path / "out", tiny, options, manifest=manifest)
    jobs = plan([tmp_path / "in"], tmp_path / "out", options)
    for job in jobs:
        job.source.unlink()
    os.mkfifo(tmp_path / "in/pipe.png")
    manifest.read()
    assert left_to_do(jobs, tiny, options, there=There.RESUME, manifest=manifest) == jobs
    manifest.close()


# ---------------------------------------------------------------- memory, through the command


def made(path, side):
    with images.write_rows(path, Format.PNG, (3, side, side), 8, Metadata()) as writer:
        for top in range(0, side, 500):
            writer.add(torch.rand(3, min(500, side - top), side))
        writer.finish()
    return path


def peak_of(*command, most=None):
    """(exit code, what it said, most bytes) of the program; `most` limits its address space."""

    def limit():
        if most is not None:
            resource.setrlimit(resource.RLIMIT_AS, (most, most))

    program = [sys.executable, "-m", "residiff", *map(str, command)]
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True, preexec_fn=limit) as process:
        held, most_held = psutil.Process(process.pid), 0
        while process.poll() is None:
            try:
                most_held = max(most_held, held.memory_info().rss)
                process.wait(0.02)
            except (subprocess.TimeoutExpired, psutil.NoSuchProcess):
                pass
        return process.returncode, process.stderr.read(), most_held


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_memory_grows_with_the_width_alone(tmp_path):
    """From 25 to 50 megapixels below one another hardly, at 5,000 columns."""
    peaks = []
    for height in (5_000, 10_000):
        path = tmp_path / f"{height}.png"
        with images.write_rows(path, Format.PNG, (3, height, 5_000), 8, Metadata()) as writer:
            for _ in range(height // 500):
                writer.add(torch.rand(3, 500, 5_000))
            writer.finish()
        code, said, peak = peak_of("restore", path, "-o", tmp_path / "out.png", "-m", "denoise", "--steps", 1)
        assert code == 0, said
        peaks.append(peak)
    # The pixels of the result are mapped from a file while it is encoded
    assert peaks[1] - peaks[0] <= 3 * 2 * 75e6
    assert max(peaks) <= 2 * 2**30


@pytest.mark.parametrize("most", [2.6, pytest.param(2.2, marks=pytest.mark.slow)])
def test_too_little_memory_is_told_as_that(tmp_path, most):
    source = made(tmp_path / "a.png", 3_000)
    command = ["restore", source, "-o", tmp_path / "b.png", "-m", "denoise", "--steps", 1, "--tile", 0]
    code, said, _ = peak_of(*command, most=int(most * 2**30))
    assert code == 5 and "memory" in said and "Traceback" not in said
    assert not (tmp_path / "b.png").exists()
