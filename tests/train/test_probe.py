"""The probe: what it compares, what it holds out, how it scores, and how it comes to its verdict."""

import csv
import math
import re
from functools import cache
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import pytest
import torch

from residiff import recipe as recipes
from residiff.checkpoint import ModelFile
from residiff.data import pairs as pairs_module
from residiff.data.images import Picture, write
from residiff.data.pairs import SyntheticPairs
from residiff.errors import ConfigError, DivergedError, LockedError
from residiff.metrics import psnr
from residiff.prediction import X0, Clamp, Noise, Residual
from residiff.recipe import override, parse
from residiff.restore import Restorer
from residiff.schedule import RDDM, Resfusion
from residiff.train import Run, TrainingData
from residiff.train import candidates as candidates_module
from residiff.train import probe as probing
from residiff.train.candidates import HELD_OUT, candidates_for, split
from residiff.train.keeping import newest
from residiff.train.objective import Candidate, changed
from residiff.train.standings import Gap, Standing, Trial, Verdict, gap
from residiff.train.validation import Validation

TINY = parse("""
    name = "tiny"
    task = "denoise"
    [schedule]\nkind = "rddm"\nlength = 100\ntotal_noise = 0.1
    [network.backbone]\nkind = "nafnet"\nwidth = 8\nencoder = [1]\nmiddle = 1\ndecoder = [1]
    [sampling]\nsteps = 2
    [data]
    crop = 16
    picture = 24
    reuse = 2
    window = 4
    degrade = { name = "noise", parameters = { sigma = 40 } }
    [training]
    iterations = 40
    batch = 2
    warm_up = 3
    ema = 0.9
""")
MASKED = override(TINY, ["network.mask=true", 'data.degrade={name="shadow"}', "network.preprocess=expose"])
CPU = torch.device("cpu")


@cache
def held_out_of(masked=False):
    """A few held-out pairs."""
    return split(MASKED if masked else TINY, None).held_out[:6]


# What is compared


def test_objectives_and_schedules_are_crossed():
    found = candidates_for(TINY)
    objectives = ["residual", "residual-noise", "noise", "x0"]
    wanted = {f"rddm-{total}-{kind}" for total in ("0.01", "0.1", "1") for kind in objectives}
    wanted |= {f"resfusion-5-{kind}" for kind in (*objectives, "resnoise")}
    assert {one.name for one in found} == wanted and len(found) == 17
    assert found[0] == Candidate("rddm-0.1-residual", TINY)
    resfusion = {one.recipe.schedule for one in found if one.name.startswith("resfusion")}
    assert resfusion == {Resfusion(length=12)}
    assert {one.recipe.schedule.total_noise for one in found if one.name.startswith("rddm")} == {0.01, 0.1, 1.0}


def test_a_candidate_is_the_recipe_but_for_what_is_compared():
    for one in candidates_for(override(TINY, ["sampling.steps=50"])):
        assert parse(one.recipe.toml()) == one.recipe
        assert one.recipe.sampling.steps == min(50, len(one.recipe.schedule))
        assert one.recipe.training == TINY.training and one.recipe.data == TINY.data
        noise = isinstance(one.recipe.prediction, Noise)
        assert one.recipe.network.clamp is (Clamp.X0 if noise else Clamp.NONE)
        assert not noise or one.recipe.prediction.guard == 1e-6


def test_the_recipes_own_schedule_takes_part_whatever_it_is():
    own = changed(TINY, {"schedule": Resfusion(steps=8), "prediction": X0()})
    found = candidates_for(own)
    assert found[0] == Candidate("resfusion-8-x0", own) and len(found) == 18
    assert {one.recipe.schedule.length for one in found if isinstance(one.recipe.schedule, RDDM)} == {1000}


def test_a_network_of_one_head_is_not_asked_for_two():
    settings = ['network.backbone={kind="ddim-unet",width=32,multipliers=[1,2],attention=[],image_size=16}']
    found = {one.name for one in candidates_for(override(TINY, settings))}
    assert len(found) == 13 and not any(name.endswith("residual-noise") for name in found)


@pytest.mark.parametrize(
    ("settings", "cause"),
    [
        (["task=generate"], "'generate' have none; .*--auto-objective"),
        (["data.pairing=unpaired"], "--auto-objective"),
        (["sampling.order=published-residual-first"], "leave sampling.order"),
    ],
)
def test_what_cannot_be_scored_is_refused(settings, cause):
    with pytest.raises(ConfigError, match=cause):
        candidates_for(override(TINY, settings))


# What is held out


def folder_of(place, count, kinds=("clean", "degraded")):
    source = torch.Generator().manual_seed(1)
    for kind in kinds:
        for index in range(count):
            write(place / kind / f"{index:03}.png", Picture(torch.rand(3, 20, 20, generator=source)))
    return place


@pytest.mark.parametrize("total", [8, 11, 19])
def test_a_fifth_of_a_folder_is_held_out(tmp_path, total):
    training, held_out, record = split(TINY, folder_of(tmp_path, total))
    kept = {kind: [Path(part.name).name for part in parts] for kind, parts in training.columns.items()}
    assert kept["clean"] == kept["degraded"] and len(held_out) == round(total / 5)
    assert len(kept["clean"]) + len(held_out) == total
    assert record["on"] == "carved" and record["pairs"] == len(held_out)
    seen = [training(index).clean for index in range(4 * total)]
    assert not any(torch.equal(one.clean.sort().values, two.sort().values) for one in held_out for two in seen)
    assert re.fullmatch(
        rf"folder {tmp_path.name}, {total} pairs \([0-9a-f]{{8}}\), without {len(held_out)} held out", training.source
    )


def test_no_more_than_needed_are_held_out(tmp_path, monkeypatch):
    monkeypatch.setattr(candidates_module, "HELD_OUT", 3)
    training, held_out, _ = split(TINY, folder_of(tmp_path, 19))
    assert len(held_out) == 3 and training.size == 16


def test_a_folder_too_small_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"holds 4 pairs; a probe needs 8"):
        split(TINY, folder_of(tmp_path, 4))


def test_procedural_pairs_are_held_out_beyond_what_training_sees(monkeypatch):
    drawn, draw = [], pairs_module.clean_image
    monkeypatch.setattr(pairs_module, "clean_image", lambda index, *rest: drawn.append(index) or draw(index, *rest))
    settings = TINY.training
    training, held_out, _ = split(TINY, None)
    beyond = min(drawn)
    assert len(held_out) == HELD_OUT
    drawn.clear()
    for index in range(settings.iterations * settings.batch - 50, settings.iterations * settings.batch):
        training(index)
    assert max(drawn) < beyond


# How it is scored


@pytest.mark.parametrize(
    "settings",
    [[], ["sampling.eta=1.0"], ["sampling.sampler=multistep", "sampling.steps=4"], ["sampling.grid=quadratic"]],
)
@pytest.mark.parametrize("masked", [False, True])
def test_sampling_is_that_of_the_restorer(tmp_path, masked, settings):
    run = Run(override(MASKED if masked else TINY, settings), tmp_path)
    pair = held_out_of(masked)[0]
    model = ModelFile(run.recipe, run.average)
    (ours,) = Validation(run.recipe, [pair], CPU).restored(model.denoiser())
    mask = pair.mask if masked else None
    torch.testing.assert_close(ours, Restorer(model)(pair.degraded, mask), atol=1e-5, rtol=0)


def test_each_pair_has_its_psnr_whatever_the_batch(tmp_path):
    held_out = held_out_of()[:3]
    scores = [
        probing.score(Run(override(TINY, [f"training.batch={batch}"]), tmp_path), held_out) for batch in (1, 2, 8)
    ]
    assert scores[1] == pytest.approx(scores[0], abs=1e-3)
    assert scores[2] == pytest.approx(scores[0], abs=1e-3)
    run = Run(TINY, tmp_path)
    restorer = Restorer(ModelFile(run.recipe, run.average))
    assert scores[0] == pytest.approx([psnr(restorer(pair.degraded), pair.clean) for pair in held_out], abs=1e-3)


def test_pictures_that_are_equal_have_a_finite_score(tmp_path, monkeypatch):
    held_out = held_out_of()[:2]
    monkeypatch.setattr(Validation, "restored", lambda *_given: [pair.clean for pair in held_out])
    assert probing.score(Run(TINY, tmp_path), held_out) == (60.0, 60.0)


def test_results_that_are_not_finite_are_no_score(tmp_path):
    run = Run(TINY, tmp_path)
    for value in run.average.values():
        value.mul_(math.nan)
    with pytest.raises(DivergedError, match="not finite"):
        probing.score(run, held_out_of()[:1])


# Rounds and verdict


def test_the_better_half_goes_on_until_two_are_left():
    assert probing.halvings(17) == [17, 9, 5, 3, 2]
    assert probing.halvings(4) == [4, 2] and probing.halvings(2) == [2] and probing.halvings(1) == [1]


@pytest.mark.parametrize("budget", [60.0, 600.0])
def test_rounds_cost_the_same_and_together_the_budget(budget):
    rounds, spent = probing.halvings(17), []
    for number, count in enumerate(rounds):
        steps = probing.affordable(budget - sum(spent), rounds[number:], 0.01, 0.1)
        spent.append(count * (steps * 0.01 + 0.1))
    assert sum(spent) <= budget and sum(spent) > budget - 1
    assert max(spent) - min(spent) < 1
    assert probing.affordable(-1, [2], 0.01, 0.1) == 0


def standing(name, *trials, seconds=1.0, diverged=False):
    scored = tuple(Trial(steps, scores) for steps, scores in trials)
    return Standing(Candidate(name, TINY), scored, seconds, diverged)


def test_a_gap_is_paired():
    best = standing("best", (10, (20.0, 30.0, 40.0)), (20, (21.0, 31.0, 41.0)))
    # The spread of the pictures does not count, that of the differences 1, 2, 3 does: 1 / sqrt(3)
    assert gap(best, standing("b", (20, (0.0,) * 3), (20, (20.0, 29.0, 38.0)))) == Gap(2.0, pytest.approx(3**-0.5))
    # Against what the best was when the other left
    assert gap(best, standing("c", (10, (19.5, 29.5, 39.5)))) == Gap(0.5, 0.0)
    assert gap(best, standing("d", diverged=True)).mean == math.inf


def test_a_tie_is_a_gap_within_two_standard_errors():
    assert Gap(0.2, 0.1).is_tie and Gap(-1.0, 0.1).is_tie and Gap(0.0, 0.0).is_tie
    assert not Gap(0.21, 0.1).is_tie and not Gap(math.inf, 0.0).is_tie


def verdict():
    far = standing("far", (10, (20.0, 22.0)), (20, (25.0, 26.0)))
    close = standing("close", (10, (20.0, 22.0)), (20, (24.0, 26.5)))
    worse = standing("worse", (10, (15.0, 17.5)))
    out = standing("out", diverged=True)
    ranked = sorted([out, worse, close, far], key=lambda one: one.rank, reverse=True)
    return Verdict(tuple(ranked), 18.0)


def test_the_verdict_ranks_and_says_how_sure_it_is():
    found = verdict()
    assert [one.candidate.name for one in found.standings] == ["far", "close", "worse", "out"]
    assert found.best.psnr == 25.5 and found.ties == ("close",)
    assert found.text() == "recommended: far, +7.50 dB after 20 steps; 2 held-out pairs cannot tell it from close"
    alone = Verdict((found.best, found.standings[2]), 18.0)
    assert alone.ties == () and "behind by more than two standard errors on 2 held-out pairs" in alone.text()
    rows = found.rows()
    assert [row["behind"] for row in rows] == ["-", "0.25 ± 0.75", "4.75 ± 0.25", "diverged"]
    assert [row["gain"] for row in rows[:3]] == ["+7.50", "+7.25", "-1.75"]


def test_the_table_holds_the_figures():
    rows = list(csv.DictReader(verdict().csv().decode().splitlines()))
    assert [row["candidate"] for row in rows] == ["far", "close", "worse", "out"]
    assert (float(rows[1]["behind"]), float(rows[1]["error"])) == (0.25, 0.75)
    assert [row["diverged"] for row in rows] == ["False"] * 3 + ["True"] and rows[2]["steps"] == "10"


# The whole


FOUR = ("rddm-0.1-residual", "rddm-0.1-x0", "resfusion-5-x0", "rddm-1-noise")


@pytest.fixture
def four(monkeypatch):
    """Four candidates, and three steps more for each in every round."""
    chosen = tuple(one for one in candidates_for(TINY) if one.name in FOUR)
    monkeypatch.setattr(probing, "candidates_for", lambda recipe: chosen)
    monkeypatch.setattr(probing, "affordable", lambda *given: 3)
    monkeypatch.setattr(probing, "MIN_STEPS", 3)
    return TrainingData(SyntheticPairs(TINY.data, 0), held_out_of(), {})


def test_a_probe_from_end_to_end(four, tmp_path):
    moments = list(probing.probe(TINY, four, tmp_path / "out", budget=5))
    assert all(one.seconds <= two.seconds for one, two in pairwise(moments))
    found = moments[-1].verdict
    assert sorted(len(one.trials) for one in found.standings) == [1, 1, 2, 2]
    assert sorted(one.steps for one in found.standings) == [3, 3, 6, 6]
    finalists, others = found.standings[:2], found.standings[2:]
    assert finalists[0].psnr >= finalists[1].psnr
    assert min(fmean(one.trials[0].scores) for one in finalists) >= max(one.psnr for one in others)
    assert found.start == pytest.approx(fmean(psnr(pair.degraded, pair.clean) for pair in four.held_out))

    assert (tmp_path / "out/probe.csv").read_bytes() == found.csv()
    assert recipes.read(str(tmp_path / "out/recommended.toml")) == found.best.candidate.recipe
    assert sorted(path.name for path in (tmp_path / "out/candidates").iterdir()) == sorted(FOUR)

    # The best went on from where it stopped, and can do so still
    whole = Run(found.best.candidate.recipe, tmp_path / "whole")
    steps = whole.train(four.training)
    for _ in range(6):
        next(steps)
    state = newest(tmp_path / "out/candidates" / found.best.candidate.name)
    assert state.step == 6
    weights = whole.learner.backbone.state_dict()
    assert all(torch.equal(state.tensors[f"weights.{key}"], value) for key, value in weights.items())
    assert found.best.trials[1].scores == probing.score(whole, four.held_out)


def test_each_round_is_planned_with_the_time_that_is_left(four, tmp_path, monkeypatch):
    plans = []
    monkeypatch.setattr(probing, "affordable", lambda *plan: plans.append(plan) or 3)
    monkeypatch.setattr(probing._Contest, "_costs", lambda contest: (1e-9, 0.0))
    moments = list(probing.probe(TINY, four, tmp_path, budget=50))
    first, second = plans
    assert 50 > first[0] > second[0] > 50 - moments[-1].seconds
    assert (first[1], second[1]) == ([4, 2], [2])
    assert first[2:] == (1e-9, 0.0)
    assert 1e-6 < second[2] < 60, "the second plan knows what a step took in the first"


def test_what_diverges_is_out_and_the_rest_go_on(four, tmp_path, monkeypatch, caplog):
    score = probing.score

    def fails(run, held_out):
        if isinstance(run.recipe.prediction, X0) and run.step:
            raise DivergedError("not finite")
        return score(run, held_out)

    monkeypatch.setattr(probing, "score", fails)
    found = list(probing.probe(TINY, four, tmp_path, budget=5))[-1].verdict
    assert [one.diverged for one in found.standings] == [False, False, True, True]
    assert [one.steps for one in found.standings] == [6, 6, 0, 0]
    assert "resfusion-5-x0 is out: not finite" in caplog.text


def test_when_all_diverge_the_mend_is_named(four, tmp_path, monkeypatch):
    untouched = probing.score

    def fails(run, held_out):
        if run.step > 6 or run.step == 3:
            raise DivergedError("not finite")
        return untouched(run, held_out)

    monkeypatch.setattr(probing, "score", fails)
    with pytest.raises(DivergedError, match="every candidate diverged; lower"):
        list(probing.probe(TINY, four, tmp_path, budget=5))


def test_a_stopped_probe_leaves_whole_files(four, tmp_path):
    steps = probing.probe(TINY, four, tmp_path, budget=5)
    for moment in steps:
        if "step 5" in moment.doing:
            break
    steps.close()
    rows = list(csv.DictReader((tmp_path / "probe.csv").read_text().splitlines()))
    assert [row["steps"] for row in rows] == ["3"] * 4
    assert recipes.read(str(tmp_path / "recommended.toml")).prediction in (Residual(), X0(), Noise(guard=1e-6))
    with pytest.raises(ConfigError, match="holds a probe or a run already"):
        next(probing.probe(TINY, four, tmp_path))


def test_a_folder_in_use_is_refused(four, tmp_path):
    with probing.files.lock(tmp_path), pytest.raises(LockedError):
        next(probing.probe(TINY, four, tmp_path))


def test_a_budget_too_short_is_refused_with_one_that_is_not(tmp_path, monkeypatch):
    data = TrainingData(SyntheticPairs(TINY.data, 0), held_out_of(), {})
    monkeypatch.setattr(probing._Contest, "_costs", lambda contest: (0.1, 0.5))
    with pytest.raises(ConfigError, match=r"10 seconds are too few for 17 candidates of 20 steps or more; give 21[34]"):
        list(probing.probe(TINY, data, tmp_path, budget=10))
    with pytest.raises(ConfigError, match=r"budget is 0"):
        next(probing.probe(TINY, data, tmp_path, budget=0))
    with pytest.raises(ConfigError, match=r"training.iterations is 5; allowed are 20"):
        next(probing.probe(override(TINY, ["training.iterations=5"]), data, tmp_path))


def test_costs_are_measured(tmp_path):
    data = TrainingData(SyntheticPairs(TINY.data, 0), held_out_of(), {})
    contest = probing._Contest(candidates_for(TINY), data, tmp_path, "cpu", 0)
    step_seconds, score_seconds = contest._costs()
    assert 0 < step_seconds < 5 and 0 < score_seconds < 5
    assert not list(tmp_path.iterdir())
