"""A budget of time: the largest number of steps that pays and fits, by the curve, on this machine."""

import logging

import pytest
import torch

from residiff import models
from residiff.curve import CURVE, Curve, Point, machine
from residiff.errors import ConfigError, ModelFileError
from residiff.restore import Budget, Restorer, load, parse_seconds

HERE = {"device": "cpu", "threads": 1}
RISING = Curve(
    (Point(1, 20.0, 1.0), Point(2, 21.0, 2.0), Point(5, 22.0, 5.0)), HERE, 65_536, 4, "pictures", "the truth"
)


def never(pixels):
    raise AssertionError("nothing is to be timed")


def budget(seconds, curve=RISING, steps=5, here=True, call=never):
    return Budget(seconds, curve, steps, here=here, call=call)


@pytest.mark.parametrize(
    ("seconds", "pixels", "steps"),
    [(5.0, 1_000_000, 5), (4.9, 1_000_000, 2), (2.0, 1_000_000, 2), (1.5, 1_000_000, 1), (1.5, 300_000, 5)],
)
def test_as_many_steps_as_fit_the_picture(seconds, pixels, steps):
    choice = budget(seconds).choose(pixels)
    assert (choice.steps, choice.fits) == (steps, True) and choice.seconds <= seconds


def test_where_nothing_fits_the_least_steps_are_taken():
    choice = budget(0.5).choose(1_000_000)
    assert (choice.steps, choice.seconds, choice.fits) == (1, 1.0, False)


def test_steps_that_do_no_better_are_not_paid_for():
    falling = Curve(
        (Point(1, 22.0, 1.0), Point(2, 22.005, 2.0), Point(3, 23.0, 3.0), Point(5, 21.0, 5.0)), HERE, 65_536
    )
    assert [point.steps for point in falling.worthwhile()] == [1, 3]
    assert budget(9.0, falling).choose(1_000_000).steps == 3


def test_on_another_machine_one_call_is_timed_and_the_curve_scaled():
    asked = []

    def call(pixels):
        asked.append(pixels)
        return 3.0

    slower = budget(6.5, here=False, call=call)
    assert slower.choose(1_000_000).steps == 2 and slower.choose(100_000).steps == 5
    assert slower.choose(1_000_000).seconds == 6.0 and asked == [65_536]


def test_without_a_curve_the_models_own_steps_are_the_most(caplog):
    caplog.set_level(logging.INFO)
    plain = budget(10.0, None, 3, here=False, call=lambda pixels: 2.0)
    assert [plain.choose(pixels).steps for pixels in (1_000_000, 2_000_000, 4_000_000)] == [3, 2, 1]
    assert "has no measured curve" in caplog.text


def test_what_is_chosen_is_said_when_it_changes(caplog):
    caplog.set_level(logging.INFO)
    chosen = budget(2.0)
    assert [chosen.tell(pixels) for pixels in (1_000_000, 900_000, 400_000, 4_000_000)] == [2, 2, 5, 1]
    assert caplog.messages == [
        "steps: 2 for 1 megapixels, about 2 s, of a budget of 2 s",
        "steps: 5 for 0.4 megapixels, about 2 s, of a budget of 2 s",
        "steps: 1 for 4 megapixels, about 4 s, of a budget of 2 s: it takes the least steps there are",
    ]


@pytest.mark.parametrize(
    ("text", "seconds"), [("2s", 2), ("500ms", 0.5), ("1.5", 1.5), (" 2 MIN", 120), (".25s", 0.25)]
)
def test_times_are_read(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "2h", "-1s", "1,5s", "nan", "1e3", "2 s 3 s"])
def test_other_times_are_refused(text):
    with pytest.raises(ConfigError, match=r"give a time for each picture"):
        parse_seconds(text)


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 1e9])
def test_a_budget_out_of_range_is_refused(seconds):
    with pytest.raises(ConfigError, match="budget is"):
        budget(seconds)


# --- curves in cards ---


def test_a_curve_is_read_as_it_was_kept():
    assert Curve.of_card({CURVE: RISING.facts()}) == RISING
    assert Curve.of_card({"data": "none"}) is None


GOOD = RISING.facts()


@pytest.mark.parametrize(
    "facts",
    [
        {},
        [],
        {**GOOD, "points": []},
        {**GOOD, "points": [{"steps": 1}]},
        {**GOOD, "points": [*GOOD["points"], GOOD["points"][0]]},
        {**GOOD, "points": [{"steps": 0, "psnr": 20, "seconds_per_megapixel": 1}]},
        {**GOOD, "points": [{"steps": 1, "psnr": 20, "seconds_per_megapixel": 0}]},
        {**GOOD, "points": [{"steps": 1, "psnr": 20, "seconds_per_megapixel": "long"}]},
        {**GOOD, "pixels": 0},
        {**GOOD, "machine": 3},
    ],
)
def test_what_is_no_curve_is_refused(facts):
    with pytest.raises(ModelFileError, match="the card's curve is damaged"):
        Curve.of_card({CURVE: facts})


def test_a_machine_has_no_name_of_a_user_or_host(monkeypatch):
    for name in ("USER", "HOSTNAME", "HOME"):
        monkeypatch.setenv(name, "canary")
    facts = machine(torch.device("cpu"))
    assert facts["device"] == "cpu" and facts["cores"] >= 1 and "canary" not in str(facts)
    assert facts == machine(torch.device("cpu"))


# --- restorers ---


def curved(untrained, where, **settings):
    model = untrained(**settings)
    points = (Point(1, 20.0, 1.0), Point(2, 21.0, 2.0), Point(3, 22.0, 3.0))
    model.card[CURVE] = Curve(points, where, 65_536).facts()
    return model


def test_a_restorer_takes_the_steps_of_its_budget_unless_told_others(untrained, draw):
    image = draw((500, 400, 3))[:20, :20]
    model = curved(untrained, machine(torch.device("cpu")))
    generous, plain = Restorer(model, budget=1.0), Restorer(model)
    assert (generous(image) == plain(image, steps=3)).all()
    assert (generous(image, steps=1) == plain(image, steps=1)).all()
    assert not (generous(image) == generous(image, steps=1)).all()


@pytest.mark.parametrize("masked", [False, True])
def test_a_call_is_timed_where_the_curve_is_of_another_machine(untrained, masked):
    settings = ["network.mask=true"] if masked else []
    model = untrained(*settings)
    model.card[CURVE] = Curve((Point(1, 20.0, 1e-9), Point(2, 21.0, 2e-9)), {"device": "abacus"}, 1024).facts()
    restorer = Restorer(model, budget=1000.0)
    first, second = restorer.budget.points
    assert first.seconds_per_megapixel > 1e-6 and second.seconds_per_megapixel == pytest.approx(
        2 * first.seconds_per_megapixel
    )


def test_a_budget_reaches_a_loaded_model(tiny_file):
    assert load(tiny_file, "cpu", budget=2.0).budget.seconds == 2.0
    assert load(tiny_file, "cpu").budget is None


@pytest.mark.parametrize("name", models.bundled())
def test_bundled_models_know_their_curve(name):
    curve = Curve.of_card(load(name, "cpu").descriptor.card)
    assert [point.steps for point in curve.points] == [1, 2, 3, 5] and curve.pairs >= 8
    seconds = [point.seconds_per_megapixel for point in curve.points]
    assert seconds == sorted(seconds) and all(20 < point.psnr < 50 for point in curve.points)
