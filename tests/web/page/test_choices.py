"""Settings of the page: a link gives them back, the command does the same, and what others put in links is judged."""

import random
import shlex
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pytest
import typer

from residiff.cli.app import app
from residiff.data.images import Format
from residiff.web.page.choices import LARGEST_SEED, Choices, as_command, as_query, from_query

MOST = {"denoise": 1000, "shadow": 12}
HOSTILE = ("<script>alert(1)</script>", "a b'; rm -rf ~ #.png", "-o", "--model", "$(id)", "ü\n.png", 'x" onload="1')


def random_choices(source):
    model = source.choice(list(MOST))
    return Choices(
        model=model,
        steps=source.choice([None, source.randint(1, MOST[model])]),
        seed=source.choice([0, source.randint(0, LARGEST_SEED)]),
        strength=source.choice([1.0, 0.0, round(source.random(), 2)]),
        samples=source.choice([1, source.randint(1, 16)]),
        keep=source.random() < 0.5,
        format=source.choice([None, *Format]),
        strip=source.random() < 0.5,
    )


def query(text):
    return {name: values[-1] for name, values in parse_qs(urlparse(f"http://h/?{text}").query).items()}


def test_a_link_gives_the_settings_back():
    source = random.Random(0)
    for _ in range(300):
        choices = random_choices(source)
        assert from_query(query(as_query(choices)), MOST) == (choices, [])


def test_the_usual_settings_are_not_in_it():
    assert as_query(Choices()) == "model=denoise"
    assert as_query(Choices(steps=3)) == "model=denoise&steps=3"
    assert from_query({}, MOST) == (Choices(), [])
    assert from_query({"utm_source": "x", "__theme": "dark"}, MOST) == (Choices(), [])


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("model", "nothing", "there are denoise, shadow"),
        ("steps", "0", "allowed are 1 to 1000"),
        ("steps", "1001", "allowed are 1 to 1000"),
        ("steps", "many", "'many', which cannot be"),
        ("seed", "-1", "allowed are 0 to"),
        ("seed", "9007199254740992", "allowed are 0 to"),
        ("strength", "nan", "allowed are 0 to 1"),
        ("strength", "1e999", "allowed are 0 to 1"),
        ("samples", "17", "allowed are 1 to 16"),
        ("keep", "yes", "cannot be"),
        ("format", "svg", "cannot be"),
        ("steps", "9" * 5000, "allowed are 1 to 1000"),
    ],
)
def test_what_cannot_be_is_left_out_and_said(name, text, said):
    choices, left_out = from_query({"seed": "7", name: text}, MOST)
    assert getattr(choices, name) == getattr(Choices(), name) or name == "seed"
    assert len(left_out) == 1 and said in left_out[0] and len(left_out[0]) < 300
    assert name == "seed" or choices.seed == 7


def test_steps_are_judged_by_the_model_of_the_link():
    assert from_query({"steps": "13", "model": "shadow"}, MOST)[0] == Choices(model="shadow")
    assert from_query({"steps": "12", "model": "shadow"}, MOST) == (Choices(model="shadow", steps=12), [])


RESTORE = typer.main.get_command(app).commands["restore"]


def parsed(command):
    """The options that the program itself reads in a command line."""
    words = shlex.split(command)
    assert words[:2] == ["residiff", "restore"]
    return RESTORE.make_context("restore", words[2:]).params


@pytest.mark.parametrize("name", ["photo.png", *HOSTILE])
def test_the_program_reads_the_command_as_the_settings(name):
    source = random.Random(name)
    for _ in range(20):
        choices = random_choices(source)
        read = parsed(as_command(choices, name, mask=source.choice([None, "-mask.png"])))
        expected = replace(choices, format=None)
        assert read["sources"] == [name if not name.startswith("-") else f"./{name}"] and read["output"] == "restored/"
        assert read["format"] == (choices.format.value if choices.format else None)
        assert read["mask"] is None or str(Path(read["mask"])) == "-mask.png"
        assert {field: read[field] for field in vars(expected) if field != "format"} == {
            field: value for field, value in vars(expected).items() if field != "format"
        }


def test_the_command_is_short_where_all_is_usual():
    assert as_command(Choices(), "a.png") == "residiff restore a.png -o restored/ -m denoise --seed 0"
