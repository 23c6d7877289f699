"""Shards are trained on in the same order by any number of processes and of workers in each."""

import json
import subprocess

import pytest
from archives import pack, png
from test_training_processes import ENVIRONMENT, SHARED, command, furthest, table, trained

from residiff.recipe import override
from residiff.train import Run, training_data
from residiff.train.keeping import newest

# Two epochs and a half of 13 pairs, which no update of 4 ends with
RECIPE = override(
    SHARED, ["data.crop=8", "data.picture=8", "data.resize=short-side", "training.iterations=8", "validation.share=0.2"]
)


def sharded(folder, bad=()):
    """16 pairs in two shards; the degraded pictures of `bad` are damaged."""

    def data(number, kind):
        return png(2 * number + (kind == "lq"))[: 40 if kind == "lq" and number in bad else None]

    for shard in range(2):
        numbers = range(8 * shard, 8 * shard + 8)
        members = {f"{number:02d}.{kind}.png": data(number, kind) for number in numbers for kind in ("gt", "lq")}
        pack(folder / "train" / f"{shard}.tar", members)
    return folder


def alone(folder, output, workers):
    """The losses of one process, this one."""
    data = training_data(RECIPE, folder)
    run = Run(RECIPE, output)
    run.held_out = data.record
    return [progress.loss for progress in run.train(data.training, workers, held_out=data.held_out)]


@pytest.mark.parametrize("workers", [0, *(pytest.param(count, marks=pytest.mark.slow) for count in (1, 2))])
def test_order_is_the_same_for_workers_and_processes(tmp_path, workers):
    folder = sharded(tmp_path / "set")
    losses = alone(folder, tmp_path / "one", 0)
    assert len(set(losses)) == 8
    if workers:
        assert alone(folder, tmp_path / "workers", workers) == losses
    trained(RECIPE, tmp_path / "two", "--data", folder, "--workers", str(workers))
    assert [float(row[1]) for row in table(tmp_path / "two")] == pytest.approx(losses, rel=1e-5)
    assert furthest(tmp_path / "one", tmp_path / "two") <= 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("bad", [(1, 5, 12), range(16)], ids=["too many", "all"])
def test_what_one_process_cannot_read_ends_both_which_save(tmp_path, bad):
    folder = sharded(tmp_path / "set", bad)
    recipe = override(RECIPE, ["validation.on=none", "data.degrade.name=noise"])
    given = command(recipe, tmp_path / "run", "--data", str(folder), processes=2)
    result = subprocess.run(given, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert result.returncode != 0 and "bug in residiff" not in result.stderr, result.stderr
    listed = (tmp_path / "run" / "failures.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line)["message"] for line in listed]
    assert all(".tar/" in row and ".lq.png" in row for row in rows)
    if len(bad) == 3:
        assert len(rows) == 2 and newest(tmp_path / "run").step == len(table(tmp_path / "run")) > 0
