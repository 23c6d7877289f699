"""The playground: where x_0 vanishes, what a schedule does to a picture, and the dial between time and quality."""

import base64
import re

import numpy as np
import pytest
import torch

from residiff.curve import Curve, Point
from residiff.schedule import DDPM, RDDM, Increments, Resfusion
from residiff.web.page.dial import Offer, Rates, offers, told, within
from residiff.web.page.frames import PLANES, caption, frames_of, levels_of
from residiff.web.page.playground import curves, facts_of, mixed_at, times_shown

CLEAN, DEGRADED = torch.full((3, 4, 6), 0.75), torch.full((3, 4, 6), 0.25)


def test_it_is_said_where_x0_vanishes():
    rddm, resfusion = facts_of(RDDM(length=100)), facts_of(Resfusion(length=12))
    assert (rddm.length, rddm.vanishes) == (100, 99) and rddm.least < 1e-9
    assert (resfusion.length, resfusion.vanishes) == (5, 4)
    assert "vanishes at t = 99 of 99" in rddm.told() and "a = 0.500, r = 0.500" in resfusion.told()
    assert "where a − r is 0.012, all but 0" in facts_of(Resfusion(length=100)).told()
    assert facts_of(DDPM(length=50)).vanishes is None and "never vanishes" in facts_of(DDPM(length=50)).told()


@pytest.mark.parametrize("length", [1, 2, 5, 1000])
def test_the_times_shown_are_spread_and_have_both_ends(length):
    times = times_shown(RDDM(length=length), 5)
    assert times[0] == 0 and times[-1] == length - 1 and times == sorted(set(times)) and len(times) == min(5, length)


def test_a_picture_is_mixed_as_the_coefficients_say():
    quiet = RDDM(length=10, total_noise=0, residual=Increments("mean"))
    assert (mixed_at(quiet, -1, CLEAN, DEGRADED) == 191).all() and (mixed_at(quiet, 9, CLEAN, DEGRADED) == 64).all()
    assert (mixed_at(quiet, 4, CLEAN, DEGRADED) == 128).all()
    noisy = RDDM(length=10, total_noise=0.01)
    big = [image.repeat(1, 32, 32) for image in (torch.full((3, 4, 6), 0.5), torch.full((3, 4, 6), 0.5))]
    shown = mixed_at(noisy, 9, *big)
    assert shown.shape == (128, 192, 3) and shown.dtype == np.uint8
    assert float(shown.std()) == pytest.approx(0.1 / 2 * 255, rel=0.03)
    assert (mixed_at(noisy, 9, *big) == shown).all() and not (mixed_at(noisy, 9, *big, seed=1) == shown).all()


def test_the_drawing_is_for_light_and_dark_pages_and_complete_in_itself():
    html = curves(RDDM(length=60, noise=Increments("power", 2.0)), marked=30)
    drawn = re.findall(r'<img class="(on-\w+)" alt="([^"]+)" src="data:image/svg\+xml;base64,([^"]+)">', html)
    assert [name for name, _, _ in drawn] == ["on-light", "on-dark"] and "x₀ vanishes at t = 59" in drawn[0][1]
    light, dark = (base64.b64decode(data).decode() for _, _, data in drawn)
    assert "#d7dae0" in dark and "#d7dae0" not in light
    assert not re.search(r'(href|src)="(?!#)', light + dark)


def test_a_mark_and_other_settings_change_it():
    plain = curves(RDDM(length=60))
    assert plain == curves(RDDM(length=60)) != curves(RDDM(length=60), marked=30)
    assert plain != curves(RDDM(length=60, total_noise=1.0))


class Model:
    name, steps, max_steps = "m", 4, 6


CURVE = Curve((Point(1, 20.0, 1.0), Point(2, 25.0, 2.0), Point(4, 25.005, 4.0), Point(8, 27.0, 8.0)), {}, 65536)


def test_offers_are_those_that_pay():
    assert offers(Model, CURVE, 0.5, None) == [Offer(1, 0.5, 20.0), Offer(2, 1.0, 25.0), Offer(8, 4.0, 27.0)]
    assert offers(Model, CURVE, 0.5, 2.0)[-1] == Offer(8, 8.0, 27.0)
    assert [offer.steps for offer in offers(Model, None, 1.0, None)] == [1, 2, 4, 6]
    assert offers(Model, None, 2.0, 0.25)[1] == Offer(2, 1.0, None)


def test_the_dial_takes_the_most_that_fit():
    offered = offers(Model, CURVE, 1.0, None)
    assert [within(seconds, offered, 4).steps for seconds in (0.1, 1.0, 7.9, 8.0, 99)] == [1, 1, 2, 8, 8]
    assert within(1.0, offers(Model, None, 1.0, None), 4) == Offer(4, None, None)


def test_times_are_learned_from_runs():
    rates = Rates()
    assert rates.known("m") is None
    rates.learn("m", 4, 2.0, 8.0)
    assert rates.known("m") == 1.0 and rates.known("other") is None
    for _ in range(40):
        rates.learn("m", 1, 1.0, 3.0)
    assert rates.known("m") == pytest.approx(3.0, abs=0.01)


def test_an_offer_is_told_in_words():
    assert told(Offer(1, None, None)) == "1 step: not timed yet"
    assert told(Offer(8, 4.0, 27.0)) == "8 steps: about 4 s, 27.00 dB on pictures of its test"


def test_frames_are_in_order_and_whole():
    files = {f"{k:02d}-{name}.png": f"{k}{name}".encode() for k in (10, 2, 0) for name in PLANES}
    del files["02-noise.png"]
    found = frames_of(files | {"deviation.png": b"", "../00-x.png": b"evil"})
    assert [frame.x for frame in found] == [b"0x", b"10x"] and found[1].noise == b"10noise"
    assert frames_of({}) == []


def test_levels_are_told_by_their_coefficients():
    told = levels_of({"levels.json": b'[{"t": 9, "signal": 0, "residual": 1, "noise": 0.25}]'})
    assert told == ["t = 9, xₜ = 0.000 x₀ + 1.000 R + 0.250 ε"] and levels_of({}) == []


def test_captions_say_where_it_is():
    assert "before step 1 of 3" in caption(0, 4) and caption(2, 4) == "After step 2 of 3" and "result" in caption(3, 4)
