"""A network so small that a run of it takes half a second, and what tests ask of runs."""

import csv
from itertools import islice

import torch

from residiff.checkpoint import MODEL
from residiff.data.pair import Pair
from residiff.data.pairs import SyntheticPairs
from residiff.recipe import parse
from residiff.train import METRICS, Run
from residiff.train.keeping import newest, states

TINY = parse("""
    name = "tiny"
    task = "denoise"
    [schedule]\nkind = "rddm"\nlength = 100
    [network.backbone]\nkind = "nafnet"\nwidth = 8\nencoder = [1]\nmiddle = 1\ndecoder = [1]
    [data]
    crop = 16
    picture = 24
    reuse = 2
    window = 4
    degrade = { name = "noise", parameters = { sigma = 40 } }
    [training]
    iterations = 8
    batch = 2
    learning_rate = 3e-3
    warm_up = 3
    weight_decay = 0.01
    ema = 0.9
    start_share = 0.3
    save_seconds = 1e-6
    [validation]
    every = 3
    shown = 1
""")  # a save after every step


class One:
    """The same pair at every number, but for a factor at some."""

    source = "one pair"
    size = 1

    def __init__(self, value=None, at=()):
        self.value, self.at, self.seen = value, at, []

    def name(self, index):
        return f"pair {index}"

    def __call__(self, index):
        self.seen.append(index)
        clean = torch.linspace(0, 1, 3 * 16 * 16).reshape(3, 16, 16)
        degraded = clean.flip(1)
        return Pair(clean, degraded * self.value if index in self.at else degraded, clean[:0])


def pairs(recipe=TINY):
    return SyntheticPairs(recipe.data, recipe.training.seed)


def held_out(count=2):
    beyond = SyntheticPairs(TINY.data, 99)
    return [beyond(10 * number) for number in range(count)]


def finished(folder, recipe=TINY, workers=0, validated=()):
    run = Run(recipe, folder)
    progress = list(run.train(pairs(recipe), workers, held_out=validated))
    return run, progress


def stopped(folder, steps, recipe=TINY, workers=0, validated=()):
    """A run that ended, as if killed, after a step and its save."""
    run = Run(recipe, folder)
    steps_of = run.train(pairs(recipe), workers, held_out=validated)
    assert len(list(islice(steps_of, steps))) == steps
    steps_of.close()
    return run


def resumed(folder, recipe=TINY, **options):
    """A run that continues from the newest whole state."""
    run = Run(recipe, folder)
    run.resume(newest(folder), **options)
    return run


def table(folder):
    with (folder / METRICS).open(encoding="utf-8", newline="") as file:
        return [(int(row["step"]), row["loss"], row["learning_rate"]) for row in csv.DictReader(file)]


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def weights_of(run):
    return {key: value.clone() for key, value in run.learner.backbone.state_dict().items()}


def same_files(one, other):
    """Model, newest state, validations and log are equal, but for the seconds."""
    scores = [(folder / "validation.csv").read_text("utf-8") for folder in (one, other)]
    return (
        (one / MODEL).read_bytes() == (other / MODEL).read_bytes()
        and states(one)[0].read_bytes() == states(other)[0].read_bytes()
        and table(one) == table(other)
        and scores[0] == scores[1]
    )
