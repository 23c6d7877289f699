"""Sharding: two processes that hold a part each make the updates of one that holds all, and none ever holds all.

The file is its own program for the processes: torchrun starts it with the folder to write what was found to.
"""

import gc
import itertools
import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import distributed as dist
from torch import nn
from torch.profiler import ProfilerActivity, profile

from residiff.data.pairs import SyntheticPairs
from residiff.errors import ConfigError
from residiff.nn.checkpointing import checkpoint_blocks
from residiff.nn.dit import DiT
from residiff.nn.nafnet import NAFNet
from residiff.nn.unet import TwoUNets
from residiff.recipe import override, read
from residiff.train import Processes, Run
from residiff.train.keeping import load
from residiff.train.sharding import gathered, like, local, shard, sharding, whole
from residiff.train.validation import Validation
from residiff.train.watching import Watcher

CPU = torch.device("cpu")

NETWORKS = {
    "nafnet": lambda: NAFNet(6, width=8, encoder=(1,), middle=1, decoder=(1,)),
    "two-unets": lambda: TwoUNets(6, 3, 8, (1,), 4),
    "dit": lambda: DiT(6, 3, 4, 16, 2, 2, 16),
}
PAIRS = 4


def built(name):
    torch.manual_seed(1)
    return NETWORKS[name]()


def spread_out(name):
    """The network, of which no process ever held the whole."""
    with sharding(CPU):
        network = built(name)
    checkpoint_blocks(network)
    shard(network, CPU)
    return network


class Training:
    """A network, its optimiser and the average of its weights; none of the weights is zero."""

    def __init__(self, name, spread):
        whole_one = built(name)
        for value in whole_one.parameters():
            if not value.any():
                nn.init.normal_(value, std=0.1)
        self.network = spread_out(name) if spread else whole_one
        for key, value in self.network.state_dict().items():
            local(value).copy_(local(like(whole_one.state_dict()[key], value)))
        self.optimiser = torch.optim.AdamW(self.network.parameters(), 1e-2)
        self.average = {key: value.clone() for key, value in self.network.state_dict().items()}

    def update(self, number, part):
        """Loss (of this part) and norm of one update, which is clipped."""
        source = torch.Generator().manual_seed(number)
        x, y = (torch.randn(PAIRS, channels, 16, 16, generator=source)[part] for channels in (6, 3))
        times = 100 * torch.rand(PAIRS, generator=source)[part]
        self.optimiser.zero_grad()
        loss = sum(F.mse_loss(out, y) for out in self.network(x, (times,) * self.network.heads))
        loss.backward()
        norm = whole(nn.utils.clip_grad_norm_(self.network.parameters(), 0.1))
        self.optimiser.step()
        for key, value in self.network.state_dict().items():
            self.average[key].lerp_(value, 0.5)
        return loss.detach(), norm

    def state(self):
        """All there is, whole, by name."""
        moments = self.optimiser.state_dict()["state"]
        found = {f"weights.{key}": value for key, value in self.network.state_dict().items()}
        found |= {f"average.{key}": value for key, value in self.average.items()}
        found |= {f"{i}.{key}": value for i in moments for key, value in moments[i].items()}
        return {key: whole(value).clone() for key, value in found.items()}

    def load(self, state):
        """Take the whole `state`."""
        held = self.network.state_dict()
        self.network.load_state_dict({key: like(state[f"weights.{key}"], value) for key, value in held.items()})
        self.average = {key: like(state[f"average.{key}"], value) for key, value in self.average.items()}
        parameters = enumerate(self.network.parameters())
        moments = {
            i: {key: like(state[f"{i}.{key}"], value) for key in ("exp_avg", "exp_avg_sq")}
            | {"step": state[f"{i}.step"].clone()}
            for i, value in parameters
        }
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": moments})


def furthest(one, other):
    assert one.keys() == other.keys()
    return max((one[key] - other[key]).abs().max().item() for key in one)


def compared(name):
    """How far two processes are from one, after three updates and after a fourth of a run that was continued."""
    alone, spread = Training(name, spread=False), Training(name, spread=True)
    own = PAIRS // dist.get_world_size()
    part = slice(dist.get_rank() * own, (dist.get_rank() + 1) * own)
    begun = alone.state()
    drawn = {key: whole(value) for key, value in spread_out(name).state_dict().items()}
    found = {"built": furthest(drawn, built(name).state_dict())}
    found |= {"keys": list(alone.network.state_dict()) == list(spread.network.state_dict())}
    found["begun"] = furthest(begun, spread.state())
    pairs = [(alone.update(number, slice(None)), spread.update(number, part)) for number in range(3)]
    for _, (loss, _) in pairs:
        dist.all_reduce(loss)
    found["losses"] = max((one[0] - two[0] / dist.get_world_size()).abs().item() for one, two in pairs)
    found["norms"] = max((one[1] - two[1]).abs().item() for one, two in pairs)
    kept = spread.state()
    found["moved"] = furthest(begun, {key: kept[key] for key in begun})
    found["state"] = furthest(alone.state(), kept)
    held = dict(spread.network.named_parameters())
    found["share"] = sum(value.to_local().numel() for value in held.values()) / sum(v.numel() for v in held.values())
    found["apart"] = all(
        like(kept[f"weights.{k}"], v).to_local().untyped_storage().nbytes() == v.to_local().numel() * 8
        for k, v in held.items()
    )
    continued = Training(name, spread=True)
    continued.load(kept)
    alone.update(3, slice(None)), spread.update(3, part), continued.update(3, part)
    found["continued"] = furthest(spread.state(), continued.state())
    return found


BLOCKS = 16
RECIPE = override(
    read("tiny"),
    [f"network.backbone={{kind='nafnet', width=32, encoder=[0], middle={BLOCKS}, decoder=[0]}}", "data.crop=16",
     "data.picture=24", "training.batch=1", "training.accumulate=2", "training.sharded=true", "sampling.steps=1",
     "validation.every=2", "validation.shown=1"],
)  # fmt: skip


def peak(work, unit):
    """What `work` gives, and the most bytes of tensors, in units, that lived meanwhile beyond those from before."""
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        given = work()
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    sizes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return given, max(itertools.accumulate(sizes)) / unit


def sizes():
    """Bytes of the whole network, and in parts of that its largest tensor, a block and what is in none."""
    with torch.device("meta"):
        size = {key: 4 * value.numel() for key, value in RECIPE.backbone().state_dict().items()}
    total = sum(size.values())
    block = sum(size[key] for key in size if key.startswith("middle.0.")) / total
    return total, {"largest": max(size.values()) / total, "block": block, "rest": 1 - BLOCKS * block}


def run_in_parts(folder):
    """Peaks of memory of what a run does, in parts of the whole network, and whether one that is continued is it."""
    processes, pairs = Processes(CPU, 2, dist.get_rank()), SyntheticPairs(RECIPE.data, 0)
    total, found = sizes()
    run = Run(RECIPE, folder, processes)
    _, found["build"] = peak(run.learner._sharded, total)
    steps = run.train(pairs, held_out=[pairs(0)])
    next(steps), next(steps)
    _, found["save"] = peak(run.save, total)
    again = Run(RECIPE, folder, processes)
    found["share"] = sum(4 * local(value).numel() for value in again.learner.backbone.state_dict().values()) / total
    state, found["load"] = peak(lambda: load(folder, 2, again.learner.taking()), total)
    _, found["resume"] = peak(lambda: again.resume(state), total)
    again.log.scores.clear()
    watcher = Watcher(RECIPE, folder, again.log, Validation(RECIPE, [pairs(0)], CPU), ())
    _, found["validate"] = peak(lambda: again._validate(watcher, lambda: False), total)
    found["scores"] = [each.log.scores[0].figures() for each in (run, again)]
    next(steps), next(again.train(pairs))
    ours, theirs = run.learner.tensors(), again.learner.tensors()
    found["same"] = ours.keys() == theirs.keys() and all(torch.equal(local(ours[k]), local(theirs[k])) for k in ours)
    return found


def main(folder):
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    found = {"run": run_in_parts(folder / "run")}
    # Where Adam does not magnify rounding
    torch.set_default_dtype(torch.float64)
    found |= {name: compared(name) for name in NETWORKS}
    (folder / f"{dist.get_rank()}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each of the two processes found, by network."""
    folder = tmp_path_factory.mktemp("sharded")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run([*launcher, __file__, folder], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("name", NETWORKS)
def test_two_processes_make_the_updates_of_one(found, name):
    for each in (rank[name] for rank in found):
        assert each["keys"]
        assert each["built"] == each["begun"] == 0
        assert each["moved"] > 1e-2
        assert max(each["losses"], each["norms"], each["state"]) < 1e-10


@pytest.mark.parametrize("name", NETWORKS)
def test_each_holds_half_and_nothing_more(found, name):
    assert sum(rank[name]["share"] for rank in found) == pytest.approx(1)
    for each in (rank[name] for rank in found):
        assert 0.4 < each["share"] < 0.6
        assert each["apart"]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_run_continues_from_whole_tensors_as_if_never_stopped(found, name):
    assert all(rank[name]["continued"] == 0 for rank in found)


@pytest.mark.parametrize("rank", range(2))
def test_no_process_ever_holds_the_whole(found, rank):
    """Not even a second time what it holds of it; of one tensor the first holds all, and of some blocks each does."""
    run = found[rank]["run"]
    assert BLOCKS * run["block"] > 0.9
    assert run["build"] < 0.5 + 2 * run["block"] + run["rest"]
    # Weights, their average and two moments; the first has the larger part of what cannot be halved
    assert 0.48 < run["share"] < 0.52
    # Beside these a few copies of one tensor on its way, and what is rounded up of small ones
    assert run["load"] < 4 * (run["share"] + run["largest"]) + 0.001
    assert run["resume"] < run["largest"]
    assert run["save"] < (0.001, 1.1 * run["largest"])[rank == 0]
    # As many blocks as are on their way through gloo
    assert run["validate"] < run["rest"] + 11 * run["block"] < 0.8


def test_parts_are_validated_and_continue_exactly(found):
    scores = [score for each in found for score in each["run"]["scores"]]
    assert scores.count(scores[0]) == 4
    assert all(each["run"]["same"] for each in found)


def test_what_is_no_part_is_itself():
    value = torch.arange(3.0)
    assert whole(value) is value
    assert like(value, torch.zeros(3)) is value
    assert torch.equal(gathered(value[::2]), value[::2])


def test_alone_nothing_is_sharded():
    with pytest.raises(ConfigError, match="start by torchrun, or leave training.sharded out"):
        shard(NETWORKS["dit"](), CPU)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
