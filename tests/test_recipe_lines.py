"""The locator of keys in TOML: whatever tomllib reads, each value's line is found, and is the right one."""

import itertools
import tomllib

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from residiff.recipe.lines import lines

EXAMPLE = '''\
# [no.table] a = 1
name = "full" # = 2
"quoted key" = 3
'literal.key' = 4
a.b . "c.d" = 5

[ schedule ]
kind = """
[fake]
x = 1 \\""" " ""
"""
[network.backbone] # [[x]]
encoder = [ 1, # one ]
  2,
  [3, { deep = 4, also = "}" }],
]
inline = { a = 1, b.c = { d = [5] }, "e" = '}' }
path = 'C:\\'
text = \'\'\'it's
]
k = 1\'\'\'
quotes = """a"""""
when = 1979-05-27 07:32:00
after = -inf

[[data.mixture]]
path = "a"
[data.mixture.degrade]
name = "noise"
[[data.mixture]]
weight = 1.0
degrade = { name = "rain" }
[[data.mixture.more]]
x = 1
[[data.mixture.more]]
x = 2
[training]
seed = 1
'''
PLACES = {
    ("name",): 2,
    ("quoted key",): 3,
    ("literal.key",): 4,
    ("a", "b", "c.d"): 5,
    ("schedule",): 7,
    ("schedule", "kind"): 8,
    ("network",): 12,
    ("network", "backbone", "encoder"): 13,
    ("network", "backbone", "encoder", 0): 13,
    ("network", "backbone", "encoder", 1): 14,
    ("network", "backbone", "encoder", 2, 0): 15,
    ("network", "backbone", "encoder", 2, 1, "also"): 15,
    ("network", "backbone", "inline", "b", "c", "d", 0): 17,
    ("network", "backbone", "inline", "e"): 17,
    ("network", "backbone", "path"): 18,
    ("network", "backbone", "text"): 19,
    ("network", "backbone", "quotes"): 22,
    ("network", "backbone", "when"): 23,
    ("network", "backbone", "after"): 24,
    ("data", "mixture"): 26,
    ("data", "mixture", 0): 26,
    ("data", "mixture", 0, "path"): 27,
    ("data", "mixture", 0, "degrade", "name"): 29,
    ("data", "mixture", 1): 30,
    ("data", "mixture", 1, "weight"): 31,
    ("data", "mixture", 1, "degrade", "name"): 32,
    ("data", "mixture", 1, "more", 0, "x"): 34,
    ("data", "mixture", 1, "more", 1, "x"): 36,
    ("training", "seed"): 38,
}


def places(value, place=()):
    """The places of everything inside a value."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for part, member in members:
        yield (*place, part), member
        yield from places(member, (*place, part))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_way_to_write_a_key(end):
    text = EXAMPLE.replace("\n", end)
    found = lines(text)
    assert set(found) == {place for place, _ in places(tomllib.loads(text))}
    assert {place: found[place] for place in PLACES} == PLACES


def test_a_text_without_keys_has_no_places():
    assert lines("") == lines("# a = 1\n\n") == {}


keys = st.one_of(
    st.sampled_from(["a", "b", "kind", "a.b", "[x]", "#", "ü", "", " ", '"', "'", "a\nb"]), st.text(max_size=4)
)
noise = st.one_of(
    st.booleans(),
    st.floats(),
    st.dates(),
    st.datetimes(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.sampled_from(['"""', "'''", "a = 1\n[b]\n", "]", "}", ",\n", "\\", '"\\']),
)
values = st.recursive(
    st.just(int) | noise,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=12,
)


def numbered(value, numbers):
    """The value with a number of its own in each place of `int`."""
    if isinstance(value, dict):
        return {key: numbered(member, numbers) for key, member in value.items()}
    if isinstance(value, list):
        return [numbered(member, numbers) for member in value]
    return next(numbers) if value is int else value


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.dictionaries(keys, values, max_size=6), st.booleans())
def test_the_line_of_every_value_that_tomli_w_writes(drawn, multiline):
    numbers = itertools.count(7_654_321_000_001)
    text = tomli_w.dumps(numbered(drawn, numbers), multiline_strings=multiline)
    found = lines(text)
    read = dict(places(tomllib.loads(text)))
    assert set(found) == set(read)
    for place, value in read.items():
        if isinstance(value, int) and value > 7_654_321_000_000:
            assert found[place] == text[: text.index(str(value))].count("\n") + 1


MARKS = ["[", "]", "[[", "]]", "{", "}", "=", " = ", ".", ",", "\n", "\r\n", "\t", "#", '"', "'", '"""', "'''", "\\"]
WORDS = ["a", "b", "1", "1.5", "true", '"k"', "''", "é", "1979-05-27 07:32:00"]
STATEMENTS = ["a = 1\n", "[a]\n", "[[a]]\n", "[a.b]\n", "x = [1, 2]\n", "y = {z = 1}\n"]
tokens = st.lists(st.sampled_from([*MARKS, *WORDS, *STATEMENTS]), max_size=14).map("".join)


@settings(max_examples=1000, deadline=None, derandomize=True, database=None)
@given(tokens)
def test_whatever_tomllib_reads_the_places_are_those_of_its_values(text):
    try:
        read = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert set(lines(text)) == {place for place, _ in places(read)}
