"""Comparisons: figures are those of evaluating, saved ones are taken where they are true still; what is refused."""

import json
import math

import pytest
from contest import SIZE, folder, scored
from pictures import near, picture, save, save_16

from residiff.errors import ConfigError
from residiff.evaluate import difference, evaluate, holm, open_model_evaluation, write_result
from residiff.evaluate.folders import PairEvaluation
from residiff.reports import Ground, Verdict, figures, open_comparison, standings
from residiff.reports.standings import CHANCE, fewest

NAMES = "abcdefgh"


@pytest.fixture
def truth(tmp_path):
    return folder(tmp_path / "truth", NAMES, 0)


@pytest.fixture
def results(tmp_path):
    """Two methods, the second of which is better on every picture."""
    return [folder(tmp_path / "first", NAMES, 0.2), folder(tmp_path / "second", NAMES, 0.1)]


def compared(results, truth, mask=None, **options):
    ground = {name: options.pop(name) for name in ("protocol", "recursive", "partial") if name in options}
    return open_comparison(results, Ground(truth, mask, **ground), **options).compared()


# ---------------------------------------------------------------- figures


def test_the_figures_are_those_of_evaluating_each(results, truth):
    found = figures(compared(results, truth))
    own = [evaluate(each, truth) for each in results]
    assert [method["label"] for method in found["methods"]] == ["first", "second"]
    assert [method["mean"] for method in found["methods"]] == [result.mean for result in own]
    assert [method["sha256"] for method in found["methods"]] == [each.inputs["predicted"].sha256 for each in own]
    assert [image["name"] for image in found["images"]] == list(NAMES)
    for image, *scores in zip(found["images"], *(result.images for result in own), strict=True):
        assert list(image["scores"].values()) == [dict(score.values) for score in scores]
    assert (found["protocol"], found["version"], found["count"]) == ("rgb-8bit-full", 1, 8)
    assert found["inputs"]["truth"]["sha256"] == own[0].inputs["truth"].sha256


def test_differences_are_to_the_baseline_and_adjusted_together(results, truth, tmp_path):
    third = folder(tmp_path / "third", NAMES, 0.1001)
    found = standings(compared([*results, third], truth, baseline="second"))
    own = {each.name: evaluate(each, truth) for each in (*results, third)}
    pairs = [("first", "psnr"), ("first", "ssim"), ("third", "psnr"), ("third", "ssim")]
    assert [(each.label, each.measure) for each in found] == pairs
    raw = [difference(own[label].values(name), own["second"].values(name)) for label, name in pairs]
    assert [each.found for each in found] == raw
    assert [each.p for each in found] == holm([each.p for each in raw]) and found[0].p > raw[0].p
    assert (found[0].verdict, found[0].wins, found[0].losses) == (Verdict.WORSE, 0, 8)


def test_where_less_is_better_wins_are_lower():
    scores = {"base": [5.0 + k / 100 for k in range(9)], "other": [4.0 + k / 50 for k in range(9)]}
    (found,) = standings(scored(scores, "mae", "istd-shadow-full"))
    assert (found.verdict, found.wins, found.losses) == (Verdict.BETTER, 9, 0) and found.found.mean < 0
    (found,) = standings(scored(scores, "psnr"))
    assert (found.verdict, found.wins, found.losses) == (Verdict.WORSE, 0, 9)


@pytest.mark.parametrize(("tests", "count"), [(1, 6), (2, 7), (4, 8), (20, 10)])
def test_as_many_pictures_are_asked_for_as_a_test_can_do_with(tests, count):
    assert fewest(tests) == count
    assert tests * 2 / 2**count <= CHANCE < tests * 2 / 2 ** (count - 1)


@pytest.mark.parametrize(("count", "verdict"), [(1, Verdict.TOO_FEW), (5, Verdict.TOO_FEW), (6, Verdict.BETTER)])
def test_nothing_is_claimed_of_too_few_pictures(count, verdict):
    clear = {"base": [20.0] * count, "other": [30.0 + k for k in range(count)]}
    assert [each.verdict for each in standings(scored(clear))] == [verdict]


def test_what_chance_may_do_is_told_apart_from_nothing():
    alike = {"base": [20.0] * 8, "other": [20.1, 19.9] * 4, "same": [20.0] * 8}
    found = standings(scored(alike))
    assert [each.verdict for each in found] == [Verdict.OPEN] * 2
    assert [(each.wins, each.losses) for each in found] == [(4, 4), (0, 0)]


def test_infinite_scores_are_said_to_be_so_and_not_averaged():
    comparison = scored({"base": [20.0] * 8, "other": [math.inf] + [21.0] * 7, "third": [21.0] * 8})
    found = standings(comparison)
    assert [each.verdict for each in found] == [Verdict.INFINITE, Verdict.BETTER] and found[0].found is None
    told = json.loads(json.dumps(figures(comparison), allow_nan=False))
    assert told["images"][0]["scores"] == {"base": {"psnr": 20.0}, "other": {"psnr": None}, "third": {"psnr": 21.0}}
    assert told["differences"][0] == {"label": "other", "measure": "psnr", "verdict": "a score is infinite"}


# ---------------------------------------------------------------- what is compared


def test_the_measure_and_the_baseline_are_chosen(results, truth):
    assert compared(results, truth).measure == "psnr" and compared(results, truth, measure="ssim").measure == "ssim"
    assert compared(results, truth, baseline="second", labels=["x", "second"]).baseline == 1


def test_masks_and_sub_folders_are_taken(tmp_path, results, truth):
    mask = picture(1, (1, *SIZE[1:])).round()
    for name in NAMES:
        save(tmp_path / "mask" / f"{name}.png", mask)
    assert "psnr_masked" in compared(results, truth, tmp_path / "mask").measures
    places = [folder(tmp_path / side / "deep", "ab", level) for side, level in (("x", 0.2), ("y", 0.1), ("t", 0))]
    found = compared([place.parent for place in places[:2]], places[2].parent, recursive=True)
    assert found.names == ["deep/a", "deep/b"]


def test_what_all_have_is_compared_if_that_is_asked_for(results, truth):
    (results[0] / "a.png").unlink()
    (truth / "b.png").unlink()
    found = compared(results, truth, partial=True)
    assert found.names == list("cdefgh") and found.left_out == ("a", "b")
    assert [method.result.inputs["truth"].count for method in found.methods] == [6, 6]


def test_the_input_is_shown_and_scored(results, truth, tmp_path):
    noisy = folder(tmp_path / "noisy", NAMES, 0.4)
    found = compared(results, truth, degraded=noisy)
    assert found.degraded.result.mean == evaluate(noisy, truth).mean and found.degraded.note == ""
    assert figures(found)["input"]["mean"] == found.degraded.result.mean
    assert [method.label for method in found.methods] == ["first", "second"]


def test_an_input_of_another_size_is_shown_alone(results, truth, tmp_path):
    small = folder(tmp_path / "small", NAMES, 0.4, (3, 10, 13))
    found = compared(results, truth, degraded=small).degraded
    assert found.result.images == () and "not scored: " in found.note and "13 x 10 pixels" in found.note
    assert found.pictures.keys() == set(NAMES)


def test_a_data_set_brings_truth_and_input(results, tmp_path):
    folder(tmp_path / "set" / "clean", NAMES, 0)
    noisy = folder(tmp_path / "set" / "degraded", NAMES, 0.4)
    found = compared(results, tmp_path / "set")
    assert {name: part.path for name, part in found.degraded.pictures.items()} == {
        name: noisy / f"{name}.png" for name in NAMES
    }
    assert found.methods[0].result.mean == evaluate(results[0], tmp_path / "set" / "clean").mean


# ---------------------------------------------------------------- saved results


@pytest.fixture
def saved(tiny, tmp_path):
    """What `evaluate --save` wrote of a model from two seeds, and the set; one name sorts otherwise with its suffix."""
    names = ("a", "a-b", "c")
    folder(tmp_path / "set" / "clean", names, 0)
    folder(tmp_path / "set" / "degraded", names, 0.1)

    def made(name, seed=0, repeats=2):
        opened = open_model_evaluation(tiny, tmp_path / "set", seed=seed, repeats=repeats, output=tmp_path / name)
        result = opened.result(opened.scores())
        write_result(result, tmp_path / name)
        return result

    return made


@pytest.fixture
def nothing_is_scored(monkeypatch):
    def scores(run):
        assert "set" in run.places["predicted"], f"{run.places['predicted']} is scored"
        return own(run)

    own = PairEvaluation.scores
    monkeypatch.setattr(PairEvaluation, "scores", scores)


def test_saved_scores_are_taken_with_their_facts(saved, tmp_path, nothing_is_scored):
    made = [saved("x"), saved("y", seed=7)]
    found = compared([tmp_path / "x", tmp_path / "y"], tmp_path / "set")
    for method, result in zip(found.methods, made, strict=True):
        assert method.result.mean == pytest.approx(result.mean, rel=1e-12) and method.note == "" and method.seeds == 2
        assert method.result.facts["seconds"] == result.facts["seconds"]
    assert found.methods[1].pictures["a"].path == tmp_path / "y" / "seed-7" / "a.png"
    assert found.names == ["a", "a-b", "c"]
    assert "means" not in figures(found)["methods"][0]["facts"] and figures(found)["methods"][0]["seeds"] == 2


def test_scores_of_other_pictures_are_made_again(saved, tmp_path):
    made = saved("x")
    saved("y")
    changed = tmp_path / "x" / "seed-0" / "a.png"
    save(changed, near(5, 0.1, SIZE))
    method = compared([tmp_path / "x", tmp_path / "y"], tmp_path / "set").methods[0]
    assert "of other predicted pictures than these, which were scored again" in method.note
    means = [evaluate(tmp_path / "x" / f"seed-{seed}", tmp_path / "set" / "clean").mean["psnr"] for seed in (0, 1)]
    assert method.result.mean["psnr"] == pytest.approx(sum(means) / 2) != made.mean["psnr"]
    assert method.result.facts["steps"] == made.facts["steps"]


def test_scores_against_another_truth_are_made_again(saved, tmp_path):
    saved("x")
    saved("y")
    folder(tmp_path / "other", ("a", "a-b", "c"), 0.01)
    found = compared([tmp_path / "x", tmp_path / "y"], tmp_path / "other")
    assert ["of other truth pictures" in method.note for method in found.methods] == [True, True]
    means = [evaluate(tmp_path / "x" / f"seed-{seed}", tmp_path / "other").mean["psnr"] for seed in (0, 1)]
    assert found.methods[0].result.mean["psnr"] == pytest.approx(sum(means) / 2)


def test_scores_of_another_protocol_names_or_networks_are_made_again(saved, tmp_path):
    saved("x", repeats=1)
    saved("y", repeats=1)
    both, truth = [tmp_path / "x", tmp_path / "y"], tmp_path / "set" / "clean"
    found = compared(both, truth, protocol="gopro-rgb").methods[0]
    assert "by rgb-8bit-full, version 1, so" in found.note
    assert found.result.mean == evaluate(tmp_path / "x" / "seed-0", truth, protocol="gopro-rgb").mean
    told = json.loads((tmp_path / "x" / "result.json").read_text())
    for change, said in (({"left_out": {"lpips": "no weights"}}, "other networks"), ({"images": []}, "other names")):
        (tmp_path / "x" / "result.json").write_text(json.dumps(told | change))
        assert said in compared(both, truth).methods[0].note
    told["inputs"]["mask"] = told["inputs"]["truth"]
    (tmp_path / "x" / "result.json").write_text(json.dumps(told))
    assert "other masks" in compared(both, truth).methods[0].note


@pytest.mark.parametrize(("label", "wanted"), [("", "out"), ("Ours", "Ours")])
def test_results_are_called_as_their_maker_said_or_after_their_folder(saved, tmp_path, results, truth, label, wanted):
    saved("out", repeats=1)
    told = json.loads((tmp_path / "out" / "result.json").read_text())
    (tmp_path / "out" / "result.json").write_text(json.dumps(told | ({"label": label} if label else {})))
    other = folder(tmp_path / "other", ("a", "a-b", "c"), 0.1)
    found = compared([tmp_path / "out", other], tmp_path / "set" / "clean")
    assert [method.label for method in found.methods] == [wanted, "other"]


# ---------------------------------------------------------------- refusals


def refused(results, truth, said, **options):
    with pytest.raises(ConfigError, match=said):
        compared(results, truth, **options)


def test_too_few_results_and_labels_that_cannot_serve(results, truth, tmp_path):
    refused(results[:1], truth, "side by side, and here are 1; give two")
    refused(results, truth, "1 labels for 2 results", labels=["x"])
    refused(results, truth, "first and .*second are all called 'x'; give each its own --label", labels=["x", "x"])
    twin = folder(tmp_path / "deep" / "first", NAMES, 0.1)
    refused([results[0], twin], truth, "are all called 'first'")
    refused(results, truth, "no result is called 'third'; they are called first, second", baseline="third")


def test_names_that_differ_are_named(results, truth):
    (results[1] / "c.png").unlink()
    refused(results, truth, "second lacks c")
    save(results[1] / "c.png", near(2, 0.1, SIZE))
    save(results[0] / "z.png", near(2, 0.1, SIZE))
    refused(results, truth, "truth lacks z")


def test_no_name_in_common(results, truth):
    for name in NAMES:
        (results["abcd".find(name) < 0] / f"{name}.png").unlink()
    refused(results, truth, "no picture is in all of the results", partial=True)


def test_pictures_that_are_unlike(results, truth):
    save(results[1] / "b.png", near(2, 0.1, (3, 19, 27)))
    refused(results, truth, r"second/b\.png is 27 x 19 pixels in colour, .*truth/b\.png is 27 x 20")
    save_16(results[1] / "b.png", near(2, 0.1, SIZE))
    refused(results, truth, r"b\.png has 16 bits")


def test_places_that_hold_no_results(results, truth, tmp_path):
    refused([results[0], tmp_path / "nowhere"], truth, "nowhere is not there")
    refused([results[0], results[1] / "a.png"], truth, "a.png is a file; give folders")
    (tmp_path / "empty").mkdir()
    refused([results[0], tmp_path / "empty"], truth, "empty holds no pictures; give a folder of results")
    write_result(evaluate(results[0], truth), tmp_path / "empty")
    refused([results[0], tmp_path / "empty"], truth, "empty holds no pictures; `residiff evaluate --save`")
    (tmp_path / "empty" / "result.json").write_text("{")
    refused([results[0], tmp_path / "empty"], truth, "no result of `residiff evaluate`, or it is damaged")
    refused(results, tmp_path / "nowhere", "there is no .*nowhere")


def test_protocols_and_measures_that_cannot_serve(results, truth):
    refused(results, truth, "no protocol 'rgb'", protocol="rgb")
    refused(results, truth, "fid scores sets of pictures as wholes", protocol="fid")
    refused(results, truth, "niqe has no use for true pictures", protocol="niqe")
    refused(results, truth, "no measure 'lpips'; it has psnr", measure="lpips")
    refused(results, truth, "there is no measure 'psnr_masked' here; there are psnr, ssim", measure="psnr_masked")


def test_a_damaged_list_of_seeds_is_not_trusted(saved, tmp_path):
    saved("x")
    saved("y")
    told = json.loads((tmp_path / "x" / "result.json").read_text())
    told["facts"]["seeds"] = [{"no": "seed"}]
    (tmp_path / "x" / "result.json").write_text(json.dumps(told))
    assert compared([tmp_path / "x", tmp_path / "y"], tmp_path / "set").methods[0].seeds == 2
