"""Tuned times: dynamic programming finds what trying everything finds, and what is kept is never worse than before."""

import json
from itertools import combinations, pairwise

import pytest
import torch
from runs import TINY, held_out

from residiff.checkpoint import ModelFile, load_model, save_model
from residiff.curve import CURVE, Curve, Point
from residiff.data.images import Picture
from residiff.errors import ConfigError
from residiff.recipe import override
from residiff.restore import Restorer
from residiff.schedule import RDDM, even_grid, quadratic_grid
from residiff.train import Tuned, Tuner, calibration, tuned_model
from residiff.train.cheapest import cheapest
from residiff.train.comparing import in_steps
from residiff.train.tuning import BETTER, _table
from test_gaussian import Exact, general, multistep

CPU = torch.device("cpu")


def tuner(model, steps=(1, 2, 3), count=2):
    return Tuner(model, held_out(count), steps, CPU)


# --- the search ---


@pytest.mark.parametrize("seed", range(5))
def test_the_cheapest_ways_are_those_that_trying_all_finds(seed):
    costs = torch.rand(8, 8, generator=torch.Generator().manual_seed(seed)).tolist()
    found = cheapest(costs, 8, 4)
    for steps, ways in enumerate(found, 1):
        every = [(0, *between) for between in combinations(range(1, 7), steps - 1)]
        ranked = sorted(every, key=lambda way: sum(costs[i][j] for i, j in pairwise((*way, 7))))
        assert list(ways) == ranked[:4]
    assert found[-1] == (), "there is no way of eight steps over eight nodes"


def test_the_cheapest_way_ends_nearer_than_the_papers_grid():
    """On Gaussian data with the exact denoiser, against the end of a thousand steps."""
    schedule, x_in = RDDM(length=1000, total_noise=1.0), torch.full((3, 1, 1, 1), -0.2, dtype=torch.float64)
    start = schedule.start(x_in, torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64).reshape(-1, 1, 1, 1))

    def end(sampler, times):
        *_, last = sampler(Exact(), start, x_in, (*(schedule(t) for t in times), schedule(-1)))
        return last.x

    candidates = tuple(sorted({*even_grid(1000, 16), *quadratic_grid(1000, 16)}, reverse=True))
    levels = (*(schedule(t) for t in candidates), schedule(-1))
    costs = _table(list(multistep(Exact(), start, x_in, levels))).sqrt()
    assert costs[0, -1] > costs[0, 1] and costs.tril().sum() == 0
    limit = end(general, range(999, -1, -1))
    for steps, ways in enumerate(cheapest(costs.tolist(), 8), 1):
        published = [level.t for level in schedule.levels(steps)[:-1]]
        found, usual = (
            (end(general, times) - limit).abs().max() for times in ([candidates[node] for node in ways[0]], published)
        )
        assert found <= usual * (1 if steps == 1 else 0.65), steps


@pytest.mark.parametrize(
    "settings", [[], ["sampling.sampler=heun"], ["sampling.sampler=multistep"], ["sampling.eta=1.0"]]
)
def test_what_is_found_can_be_walked_and_is_never_worse(untrained, settings):
    model = untrained("sampling.eta=0.0", *settings)
    search = tuner(model, (1, 2, 3))
    for steps, found in zip((1, 2, 3), search.tuned(), strict=True):
        assert found.steps == steps and len(found.times) == (steps // 2 + 1 if "heun" in str(settings) else steps)
        assert found.times[0] == 999 and all(s < t for t, s in pairwise(found.times))
        assert found.psnr == found.own or found.psnr >= found.own + BETTER
        again = search.judge.psnr(search.denoiser, in_steps(model.recipe, steps, found.times))
        assert found.psnr == pytest.approx(again, abs=1e-9)
    assert search.candidates[0] == 999 and len(search.candidates) <= 40


def test_the_usual_times_are_judged_as_they_are(untrained):
    model = untrained("sampling.eta=0.0")
    search = tuner(model, (3, 1))
    for found in search.usual():
        levels = model.recipe.sampling.visits(model.recipe.schedule, found.steps)[:-1]
        assert found.times == tuple(level.t for level in levels)
        again = search.judge.psnr(search.denoiser, in_steps(model.recipe, found.steps, found.times))
        assert found.psnr == found.own == pytest.approx(again, abs=1e-9)


def test_a_model_that_restores_better_at_other_times_is_given_them(untrained, monkeypatch):
    """As if the second time were best at 300."""
    search = tuner(untrained(), (2,))
    monkeypatch.setattr(search, "_psnr", lambda steps, times: 30 - abs(times[1] - 300) / 100)
    (found,) = search.tuned()
    assert abs(found.times[1] - 300) <= 40 and found.psnr > found.own


def test_a_generator_is_judged_by_its_own_results_in_many_steps(untrained):
    model = untrained("task=generate", "network.shows_input=false", "data.degrade={name='blank'}", "data.crop=16")
    search = Tuner(model, calibration(model.recipe, None).held_out[:1], [1, 2], CPU)
    assert [found.steps for found in search.tuned()] == [1, 2]
    assert search.judge.against == "its own results in 100 steps"


def test_a_model_may_be_tuned_towards_its_own_results(untrained):
    (found,) = Tuner(untrained("schedule.length=3", "sampling.eta=0.0"), held_out(2), [3], CPU, own=True).tuned()
    assert found == Tuned(3, (2, 1, 0), 60.0, 60.0), "there is nothing nearer than itself"


# --- what is kept ---


def test_the_file_holds_better_times_alone_and_the_curve(untrained, tmp_path):
    model = untrained("sampling.times=[[999, 7], [999, 8, 7]]")
    results = [Tuned(1, (999,), 20.0, 20.0), Tuned(2, (999, 400), 21.0, 20.5), Tuned(3, (999, 500, 99), 22.0, 22.0)]
    curve = Curve((Point(1, 20.0, 1.0),), {"device": "cpu"}, 65_536)
    save_model(tmp_path / "tuned.safetensors", tuned_model(model, results, curve))
    held = load_model(tmp_path / "tuned.safetensors")
    assert held.recipe.sampling.times == ((999, 400), (999, 8, 7))
    assert held.recipe.sampling.steps == model.recipe.sampling.steps and held.card["data"] == "none"
    assert Curve.of_card(held.card).points == curve.points


def test_a_restorer_takes_the_times_that_its_file_has_for_a_number_of_steps(untrained, draw):
    restorer = Restorer(untrained("sampling.times=[[999, 400]]"))
    picture = torch.from_numpy(draw((3, 16, 16), "float32"))
    for steps, times in ((2, [999, 400, -1]), (3, [999, 665, 332, -1])):
        states = restorer.states(Picture(picture), steps=steps)
        assert [state.level.t for state in states] == times


def test_the_curve_has_quality_and_time_of_each_number(untrained):
    search = tuner(untrained(), (1, 2))
    results = list(search.tuned())
    curve = search.curve(results, "two pictures")
    assert [point.steps for point in curve.points] == [1, 2] and curve.pixels == 256 * 256
    assert [point.psnr for point in curve.points] == [found.psnr for found in results]
    assert 0 < curve.points[0].seconds_per_megapixel < curve.points[1].seconds_per_megapixel * 1.2
    assert (curve.pairs, curve.of, curve.against) == (2, "two pictures", "the true pictures")


@pytest.mark.parametrize(
    ("settings", "steps", "count", "message"),
    [
        ([], [0], 1, "steps is 0; allowed are 1 to 1000"),
        ([], [1001], 1, "steps is 1001"),
        ([], [1], 0, "give one of each at least"),
        (["prediction.kind=residual-noise", "sampling.order=noise-first"], [1], 1, "sampling.order is simultaneous"),
        (["sampling.readjusted={kind='rddm'}"], [1], 1, "nothing readjusted"),
    ],
)
def test_what_cannot_be_tuned_is_refused(untrained, settings, steps, count, message):
    with pytest.raises(ConfigError, match=message):
        tuner(untrained(*settings), steps, count)


def test_pairs_are_carved_where_the_recipe_holds_nothing_out():
    recipe = override(TINY, ["validation.on=none", "validation.most=3"])
    assert len(calibration(recipe, None).held_out) == 3


# --- the command ---


def test_the_command_writes_a_model_that_restores_within_a_budget(cli, tiny_file, picture_file, tmp_path):
    tuned, few = tmp_path / "tuned.safetensors", ("--set", "validation.most=1", "--set", "validation.crop=16")
    done = cli("models", "tune", tiny_file, "--steps", "1,2", *few, "-o", tuned, "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert [row["steps"] for row in told["tuned"]] == [1, 2] and told["curve"]["pairs"] == 1
    assert load_model(tuned).card[CURVE] == told["curve"]
    picture = picture_file("a.png", (16, 16, 3))
    done = cli("restore", picture, "-m", tuned, "-o", tmp_path / "b.png", "--budget", "1min")
    assert done.code == 0 and "of a budget of 60 s" in done.err
    done = cli("restore", picture, "-m", tuned, "-o", tmp_path / "c.png", "--budget", "1ms", "--steps", 1)
    assert done.code == 2 and "leave one of them out" in done.err
    assert cli("models", "tune", tiny_file, "-o", tuned, *few, "--steps", "2").out.startswith(b"steps")
    done = cli("models", "tune", tiny_file, "-o", tuned, "--steps", "two")
    assert done.code == 2 and "steps is 'two'" in done.err


def test_a_tuned_file_is_as_small_as_it_was(cli, untrained, tmp_path):
    source, tuned = tmp_path / "half.safetensors", tmp_path / "tuned.safetensors"
    save_model(source, untrained(), torch.float16)
    few = ("--set", "validation.most=1", "--set", "validation.crop=16", "--steps", 1)
    assert cli("models", "tune", source, *few, "-o", tuned).code == 0
    before, after = load_model(source), load_model(tuned)
    assert all(torch.equal(value, after.weights[key]) for key, value in before.weights.items())
    assert isinstance(after, ModelFile) and after.weights.keys() == before.weights.keys()
    assert {value.dtype for value in after.weights.values()} == {torch.float16}
