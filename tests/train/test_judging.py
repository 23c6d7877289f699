"""What is said of a run is true: what its best weights were chosen by, what it saw, and what it could not read."""

import json
import shutil

import pytest
import torch
from archives import pack, png
from runs import TINY, finished, held_out, pairs, resumed, stopped, table
from trees import make_tree

from residiff.checkpoint import BEST, MODEL, load_model
from residiff.data.images import Picture
from residiff.data.pair import Pair
from residiff.data.pairs import PicturePairs
from residiff.data.parts import PictureSet
from residiff.errors import ConfigError, ImageDecodeError, ImageError, ImageTooLargeError, ImageUnsupportedError
from residiff.recipe import override
from residiff.reports import training_report
from residiff.train import Run, Score, open_run, read_scores
from residiff.train.judging import judged_by
from residiff.train.keeping import is_begun, newest, states
from residiff.train.log import RunLog

ON_TEST, CARVED = ({"on": on, "of": f"a {on} set", "pairs": 2} for on in ("test", "carved"))
EASY = [Pair(pair.clean, pair.clean, pair.mask) for pair in held_out()]


def run_on(run, record, held, steps=None):
    """Train on, validated by pairs of such a record."""
    run.held_out = record
    progress = run.train(pairs(), held_out=held)
    for _ in range(steps or 99):
        if next(progress, None) is None:
            break
    progress.close()
    return run


# Scores by other pairs


def test_the_best_is_chosen_among_scores_by_the_same_pairs(tmp_path):
    run_on(Run(TINY, tmp_path), ON_TEST, EASY, 5)
    before = load_model(tmp_path / BEST).card["validation"]
    assert (before["on"], before["step"]) == ("test", 3)
    again = run_on(resumed(tmp_path, override(TINY, ["validation.every=4"]), override=True), CARVED, held_out())
    found = load_model(tmp_path / BEST).card["validation"]
    assert found["psnr"] < before["psnr"], "a worse figure, of other pairs"
    assert (found["on"], found["of"], found["step"]) == ("carved", "a carved set", 8)
    assert [(score.step, score.by == again.log.by) for score in again.log.scores] == [(3, False), (8, True)]
    assert again.log.best.step == 8 and read_scores(tmp_path) == again.log.scores
    assert load_model(tmp_path).card["validation"] == found, "the model of step 8 as well"


def test_who_goes_back_to_the_pairs_of_before_begins_anew_as_well(tmp_path):
    run_on(Run(TINY, tmp_path), ON_TEST, EASY, 3)
    run_on(resumed(tmp_path), CARVED, EASY, 2)
    run = run_on(resumed(tmp_path), ON_TEST, held_out())
    assert [score.step for score in run.log.scores] == [3, 3, 6, 8]
    found = load_model(tmp_path / BEST).card["validation"]
    assert found["on"] == "test" and found["step"] == run.log.best.step > 3


def test_the_same_step_is_validated_again_by_other_pairs(tmp_path):
    run_on(Run(override(TINY, ["validation.every=1"]), tmp_path), ON_TEST, EASY, 2)
    run = run_on(resumed(tmp_path, override(TINY, ["validation.every=2"]), override=True), CARVED, held_out(), 1)
    assert [score.step for score in run.log.scores] == [1, 2, 2]
    assert load_model(tmp_path / BEST).card["validation"]["on"] == "carved"


@pytest.mark.parametrize(
    ("setting", "changes"),
    [
        ("sampling.steps=3", True), ("sampling.eta=0.5", True), ("data.crop=12", True), ("training.loss=l2", True),
        ("validation.crop=8", True), ("data.degrade.parameters.sigma=41", True), ("training.seed=11", True),
        ("network.mask=true", True), ("schedule.length=99", True), ("training.batch=4", False),
        ("training.iterations=9", False), ("training.learning_rate=0.1", False), ("validation.every=2", False),
        ("data.augment=none", False), ("training.keep=5", False), ("validation.shown=3", False),
    ],
)  # fmt: skip
def test_what_pairs_are_restored_and_how_is_told_apart(setting, changes):
    one, other = judged_by(TINY, CARVED), judged_by(override(TINY, [setting]), CARVED)
    assert (one != other) == changes
    assert len({judged_by(TINY, record) for record in ({}, CARVED, ON_TEST, {**CARVED, "of": "another"})}) == 4


def test_a_table_of_before_there_were_other_pairs_is_read(tmp_path):
    (tmp_path / "validation.csv").write_text("step,loss,psnr,ssim,input_psnr,input_ssim\n3,0.5,20.0,0.5,10.0,0.25\n")
    assert read_scores(tmp_path) == [Score(3, 0.5, 20.0, 0.5, 10.0, 0.25)]
    log = RunLog(tmp_path)
    log.back_to(3)
    assert read_scores(tmp_path) == log.scores == [Score(3, 0.5, 20.0, 0.5, 10.0, 0.25, by="")]
    assert log.at(3) == log.best == log.scores[0]
    log.by = "12345678"
    assert log.at(3) is log.best is None


QUICK = [
    "network.backbone.width=4", "network.backbone.middle=1", "training.batch=2", "training.warm_up=1", "data.crop=16",
    "validation.share=0.3", "validation.shown=1", "validation.every=4", "training.save_seconds=100",
]  # fmt: skip


def trained(cli, folder, *more, settings=()):
    chosen = [word for setting in (*QUICK, *settings) for word in ("--set", setting)]
    done = cli("train", "tiny", "-o", folder / "run", "--data", folder / "set", "--no-tensorboard", *chosen, *more)
    return done, (folder / "run" / "report.html").read_text("utf-8") if done.code == 0 else ""


def test_a_choice_on_the_test_split_is_told_as_long_as_it_stands(cli, tmp_path, monkeypatch):
    monkeypatch.setattr("residiff.reports.training.panel_svg", lambda *arguments: b"<svg/>")
    make_tree("paired", tmp_path / "set", pairs=8)
    done, report = trained(cli, tmp_path, "--choose-on-test", settings=["training.iterations=4"])
    assert done.code == 0, done.err
    assert "test pairs: best at step 4" in done.err and "held-out pairs" not in done.err
    assert "Chosen on a test split" in report and "Test pairs are restored best at step 4" in report

    none = ["training.iterations=6", "validation.on=none"]
    done, report = trained(cli, tmp_path, "--resume", "--override", settings=none)
    assert done.code == 0, done.err
    assert load_model(tmp_path / "run" / BEST).card["validation"]["on"] == "test"
    assert "Chosen on a test split" in report and "Test pairs are restored best at step 4" in report
    assert "3 pairs of folder set, test, 3 pairs" in report

    done, report = trained(cli, tmp_path, "--resume", "--override", settings=["training.iterations=8"])
    assert "held-out pairs: best at step 8" in done.err and "best is chosen anew" in done.err, done.err
    card = load_model(tmp_path / "run" / BEST).card
    assert (card["validation"]["on"], card["validation"]["step"]) == ("carved", 8)
    (before,) = card["before"]
    assert before.startswith("folder set, 8 pairs (") and before.endswith("), to step 6")
    assert "Chosen on a test split" not in report and "Held-out pairs are restored best at step 8" in report
    assert "none was trained on now; but before, training was on what may hold some: folder set, 8 pairs" in report
    assert "pictures at training step 8" in report and "pictures at training step 4" not in report


# What else it was trained on


def test_a_model_says_what_all_it_was_trained_on(tmp_path):
    stopped(tmp_path, 3)
    other = pairs()
    other.source = "another set"
    with pytest.raises(ConfigError, match="begun on procedural, noise, not on another set; give the same --data, or"):
        list(resumed(tmp_path).train(other))
    run = resumed(tmp_path, override=True)
    steps = run.train(other)
    next(steps), next(steps)
    steps.close()
    assert "data: procedural, noise -> another set" in run.log.events("resumed")[0]
    run = resumed(tmp_path)
    assert (run.source, run.before) == ("another set", ["procedural, noise, to step 3"])
    list(run.train(other))
    card = load_model(tmp_path).card
    assert (card["data"], card["before"]) == ("another set", ["procedural, noise, to step 3"])
    with open_run(override(TINY, ["training.iterations=1"]), tmp_path / "fine", init=load_model(tmp_path)) as fine:
        list(fine.train(pairs()))
    assert load_model(tmp_path / "fine").card["before"] == [
        "procedural, noise, to step 3, in the model that it began from", "another set, in the model that it began from",
    ]  # fmt: skip
    report = training_report(tmp_path / "fine").decode()
    assert "procedural pictures (noise); before: " in report
    assert "another set, in the model that it began from" in report


# Over another run


@pytest.mark.parametrize("left", [MODEL, BEST, "metrics.csv", "checkpoints/step-000000000008.safetensors"])
def test_a_run_is_not_begun_over_what_is_left_of_another(cli, tmp_path, whole, left):
    (tmp_path / "checkpoints").mkdir()
    shutil.copy(whole / (MODEL if left == BEST else left), tmp_path / left)
    before = (tmp_path / left).read_bytes()
    with pytest.raises(ConfigError, match="holds a run already; continue it with --resume"), open_run(TINY, tmp_path):
        pass
    done = cli("train", "tiny", "-o", tmp_path, "--auto-objective")
    assert done.code == 2 and "holds a run already" in done.err
    assert (tmp_path / left).read_bytes() == before


def test_a_run_that_never_made_an_update_is_not_in_the_way(tmp_path):
    run = Run(override(TINY, ["data.crop=24", "data.picture=24", "network.mask=true"]), tmp_path)
    with pytest.raises(ConfigError, match="shown a mask, but the data have none"):
        list(run.train(pairs()))
    assert (tmp_path / "metrics.csv").read_text() and not is_begun(tmp_path)
    with open_run(TINY, tmp_path) as run:
        list(run.train(pairs()))
    assert is_begun(tmp_path)


def test_a_run_that_begins_anew_leaves_nothing_of_the_one_before(tmp_path, caplog):
    averaged = override(TINY, ["training.averages=[0.5]"])
    finished(tmp_path, averaged, validated=EASY)
    (tmp_path / "diverged.json").write_text("{}")
    shutil.rmtree(tmp_path / "checkpoints")
    names = {"best.safetensors", "model-0.5.safetensors", "diverged.json", "validation/step-00000003.png"}
    assert all((tmp_path / name).exists() for name in names)
    with open_run(TINY, tmp_path, resume=True) as run:
        list(run.train(pairs()))
    assert "starting from the beginning" in caplog.text
    assert not any((tmp_path / name).exists() for name in names) and not list((tmp_path / "validation").iterdir())
    assert read_scores(tmp_path) == [] and newest(tmp_path).step == 8


# What cannot be read


class Shade:
    """A grey picture of a set of 2,000, or one that cannot be read."""

    def __init__(self, number, bad):
        self.name, self.number, self.bad = f"{number:04d}.png", number, bad

    def read(self):
        if self.number in self.bad:
            raise (ImageDecodeError, ImageUnsupportedError, ImageTooLargeError)[self.number % 3](
                f"{self.name}: no good"
            )
        return Picture(torch.full((3, 8, 8), self.number / 2000))


FAULTY = override(
    TINY, ["data.crop=8", "data.picture=8", "training.batch=100", "training.iterations=20", "training.save_seconds=100",
           "network.backbone.width=4"],
)  # fmt: skip
BAD = tuple(range(0, 1940, 97))


def faulty(*more, source="a set"):
    """Pairs of 2,000 pictures; 20 cannot be read, and `more`."""
    pictures = PictureSet(source, {"clean": [Shade(number, (*BAD, *more)) for number in range(2000)]})
    return PicturePairs(pictures, FAULTY.data, 7, mask=False)


def test_twenty_pictures_in_two_thousand_are_replaced_and_a_stop_changes_nothing(tmp_path):
    whole = Run(FAULTY, tmp_path / "whole")
    losses = [progress.loss for progress in whole.train(faulty())]
    faults = whole.log.events("fault")
    assert len(BAD) == 20 == len(losses)
    assert sorted(faults) == [f"{number:04d}.png: no good" for number in BAD]
    parts = Run(FAULTY, tmp_path / "parts")
    list(parts.train(faulty(), stop=lambda: parts.step == 9))
    assert 0 < len(parts.log.events("fault")) < 20
    rest = resumed(tmp_path / "parts", FAULTY)
    assert [one.loss for one in rest.train(faulty())] == losses[9:]
    assert rest.log.events("fault") == faults
    for name in (MODEL, "checkpoints/step-000000000020.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    assert not (tmp_path / "whole" / "failures.jsonl").exists()


def test_one_more_ends_the_run_which_is_saved_and_lists_them(tmp_path):
    run = Run(FAULTY, tmp_path)
    with pytest.raises(ImageError, match="21 pictures cannot be read, and training goes on without 20 of 2000 at most"):
        list(run.train(faulty(1999)))
    faults = run.log.events("fault")
    assert len(faults) == 20 and "21 pictures" in run.log.events("ended")[0]
    listed = [json.loads(line) for line in (tmp_path / "failures.jsonl").read_text("utf-8").splitlines()]
    assert sorted(row["message"] for row in listed) == [f"{number:04d}.png: no good" for number in (*BAD, 1999)]
    assert [row["message"] for row in listed[:-1]] == faults and {row["error"] for row in listed} == {"ImageError"}
    assert 0 < run.step < 20 and newest(tmp_path).step == run.step == len(table(tmp_path))
    # Some have been mended, which makes it another set; what was faulty before is none of that one's faults
    again = resumed(tmp_path, FAULTY, override=True)
    list(again.train(faulty(source="a mended set")))
    assert again.step == 20 and not (tmp_path / "failures.jsonl").exists()
    assert resumed(tmp_path, FAULTY).settled == 20


def test_shards_that_are_damaged_everywhere_end_it_with_a_list_too(cli, tmp_path):
    members = {f"{number}.{kind}.png": png(number)[:40] for number in range(4) for kind in ("gt", "lq")}
    pack(tmp_path / "set" / "train" / "0.tar", members)
    done, _ = trained(cli, tmp_path, settings=["validation.on=none", "training.iterations=2"])
    assert done.code == 3 and "nor can any of 100 others in its place be read" in done.err
    (row,) = (tmp_path / "run" / "failures.jsonl").read_text("utf-8").splitlines()
    assert "0.tar" in json.loads(row)["message"]
    assert not states(tmp_path / "run") and not is_begun(tmp_path / "run"), "nothing was made that could be lost"
