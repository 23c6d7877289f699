"""Several processes that train together do what one does; started wrongly, they are refused; when one dies, all end."""

import os
import random
import signal
import subprocess
import time

import pytest
import torch
from launching import ENVIRONMENT, command, gone, ranks_of, running, steps_done
from runs import TINY, same_files, table

from residiff.checkpoint import load_model, load_state
from residiff.errors import ConfigError
from residiff.recipe import override
from residiff.train import BEST, Processes, open_run, read_scores, started, training_data
from residiff.train.keeping import states

# Adam moves a weight of no gradient by the sign of a rounding error: plain descent shows what is equal
SHARED = override(
    TINY,
    ["training.iterations=6", "training.batch=2", "training.accumulate=2", "training.optimiser.kind=sgd",
     "training.weight_decay=0.0", "training.save_seconds=100", "validation.most=2"],
)  # fmt: skip


def alone(recipe, folder, **options):
    """One process, this one."""
    data = training_data(recipe, None)
    with open_run(recipe, folder, **options) as run:
        run.held_out = data.record
        list(run.train(data.training, held_out=data.held_out))


def trained(recipe, folder, *more, processes=2):
    result = subprocess.run(
        command(recipe, folder, *more, processes=processes), env=ENVIRONMENT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stderr


def furthest(one, other):
    ours, theirs = load_model(one).weights, load_model(other).weights
    assert ours.keys() == theirs.keys()
    return max((value - theirs[key]).abs().max().item() for key, value in ours.items())


@pytest.mark.parametrize(
    "settings",
    [
        [],
        # Two times, a mask, dropout's like: parts of an update of one pair each
        ["training.batch=1", "training.accumulate=4", "network.mask=true", "data.degrade={name='shadow'}"],
        ["training.optimiser.kind=adamw", "training.learning_rate=1e-4"],
    ],
    ids=["sgd", "masks", "adamw"],
)
def test_two_processes_do_what_one_does(tmp_path, settings):
    recipe = override(SHARED, settings)
    alone(recipe, tmp_path / "one")
    said = trained(recipe, tmp_path / "two")
    assert said.count("held-out pairs") == 1, "one process talks"
    assert furthest(tmp_path / "one", tmp_path / "two") <= 1e-6
    for one, two in zip(table(tmp_path / "one"), table(tmp_path / "two"), strict=True):
        assert float(one[1]) == pytest.approx(float(two[1]), rel=1e-5)
        assert (one[0], one[2]) == (two[0], two[2])


def test_a_run_may_change_its_number_of_processes(tmp_path):
    alone(override(SHARED, ["training.iterations=3"]), tmp_path / "run")
    trained(SHARED, tmp_path / "run", "--resume", "--override")
    alone(override(SHARED, ["training.iterations=7"]), tmp_path / "run", resume=True, override=True)
    assert [row[0] for row in table(tmp_path / "run")] == [1, 2, 3, 4, 5, 6, 7]


def test_shards_of_a_network_learn_what_the_whole_does(tmp_path):
    averaged = override(SHARED, ["training.averages=[0.5]"])
    alone(averaged, tmp_path / "one")
    alone(override(averaged, ["training.iterations=3"]), tmp_path / "two")
    sharded = override(averaged, ["training.sharded=true"])
    with pytest.raises(ConfigError, match="spreads the network over processes, and there is one"):
        alone(sharded, tmp_path / "two", resume=True, override=True)
    trained(sharded, tmp_path / "two", "--resume", "--override")
    assert furthest(tmp_path / "one", tmp_path / "two") <= 1e-6
    kept = [load_state(states(tmp_path / name)[0]).tensors for name in ("one", "two")]
    assert {key: value.shape for key, value in kept[0].items()} == {key: value.shape for key, value in kept[1].items()}
    assert all((kept[0][key] - value).abs().max() <= 1e-6 for key, value in kept[1].items())
    scores = [
        [{"step": score.step} | score.figures() for score in read_scores(tmp_path / name)] for name in ("one", "two")
    ]
    assert [score["step"] for score in scores[1]] == [3, 6]
    assert scores[1] == [pytest.approx(score, rel=1e-5) for score in scores[0]]
    assert furthest(tmp_path / "one" / BEST, tmp_path / "two" / BEST) <= 1e-6
    assert furthest(tmp_path / "one/model-0.5.safetensors", tmp_path / "two/model-0.5.safetensors") <= 1e-6
    strips = [sorted(path.name for path in (tmp_path / name / "validation").iterdir()) for name in ("one", "two")]
    assert strips[0] == strips[1]


@pytest.mark.parametrize(("said", "expected"), [(None, 2), ("1", 2), (None, 3)])
def test_fewer_processes_than_asked_for_are_refused(monkeypatch, said, expected):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if said is not None:
        monkeypatch.setenv("WORLD_SIZE", said)
    with pytest.raises(ConfigError, match=f"{expected} processes were asked for, but 1 started; .*torchrun"):
        started("cpu", expected)


def test_one_process_alone_is_what_there_is(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert started() == started("cpu", 1) == Processes(torch.device("cpu"))


def test_an_update_is_shared_evenly_or_not_at_all():
    processes = [Processes(torch.device("cpu"), 3, rank) for rank in range(3)]
    shares = [list(one.share(12)) for one in processes]
    assert sum(shares, []) == list(range(12))
    with pytest.raises(ConfigError, match="4 pairs cannot be shared by 3 processes"):
        processes[0].share(4)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_when_a_process_dies_all_end_and_the_run_goes_on_exactly(tmp_path):
    recipe = override(SHARED, ["training.iterations=600", "training.save_seconds=0.3", "validation.every=200"])
    trained(recipe, tmp_path / "whole")
    folder, source = tmp_path / "run", random.Random(1)
    for turn in range(10):
        done = 50 * turn + source.randrange(40)
        with running(command(recipe, folder, "--resume", processes=2)) as (launcher, ranks):
            while launcher.poll() is None and steps_done(folder) <= done:
                time.sleep(0.01)
            ranks += ranks_of(launcher.pid)
            os.kill(ranks[turn % 2], signal.SIGKILL)
            said, _ = launcher.communicate(timeout=20)
            assert launcher.returncode != 0
            assert "another process of this training has ended" in said and "bug in residiff" not in said
            assert all(map(gone, ranks)), "no process is left over"
    trained(recipe, folder, "--resume")
    assert same_files(folder, tmp_path / "whole")
