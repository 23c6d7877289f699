"""Damaged, hostile and foreign model files: always a `ModelFileError`, at once, and without the memory they claim."""

import json
import random
import re
import resource
import struct
import time

import pytest
import torch
from safetensors.torch import save as save_foreign

from residiff import files
from residiff.checkpoint import ModelFile, TrainingState, load_model, load_state, save_model, save_state
from residiff.errors import CheckpointError, ModelFileError
from residiff.recipe import parse
from residiff.tensorfile import MAX_HEADER

RECIPE = parse("""
    name = "tiny"
    task = "denoise"
    [schedule]\nkind = "rddm"\nlength = 10
    [network.backbone]\nkind = "nafnet"\nwidth = 4\nencoder = [0]\nmiddle = 0\ndecoder = [0]\nfold = 1
    [data]\ncrop = 16\ndegrade = { name = "noise" }
""")
ROUNDS = 20


@pytest.fixture(scope="module")
def model_bytes(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(path, ModelFile(RECIPE, RECIPE.build().backbone.state_dict(), {"steps": 3}))
    return path.read_bytes()


@pytest.fixture(scope="module")
def state_bytes(tmp_path_factory):
    path = tmp_path_factory.mktemp("state") / "state.safetensors"
    tensors = {f"weights.{key}": value for key, value in RECIPE.build().backbone.state_dict().items()}
    save_state(path, TrainingState(RECIPE, 5, "procedural", tensors))
    return path.read_bytes()


@pytest.fixture
def refused(tmp_path):
    """Write bytes to a file, see that it is refused in a second, and give the message."""

    def check(data, load=load_model, kind=ModelFileError):
        path = tmp_path / "file.safetensors"
        path.write_bytes(data)
        began = time.process_time()
        with pytest.raises(kind) as caught:
            load(path)
        assert time.process_time() - began <= 1
        assert str(path) in str(caught.value)
        return str(caught.value)

    return check


def split(data):
    """Header and payload."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def join(header, payload, sign=True):
    """A file of any header (a table, or bytes), by the rule of the hash where `sign` is set."""
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    data = struct.pack("<Q", len(text)) + text + payload
    if sign and (start := data.find(b'"sha256":"') + 10) > 9:
        blank = data[:start] + b"0" * 64 + data[start + 64 :]
        data = data[:start] + files.sha256(blank).encode() + data[start + 64 :]
    return data


def with_fact(data, **facts):
    """The file with other facts in its header, signed; None takes one away."""
    header, payload = split(data)
    kept = {key: value for key, value in (header["__metadata__"] | facts).items() if value is not None}
    return join(header | {"__metadata__": kept}, payload)


def with_tensor(data, name, **changes):
    """The file with another entry in its table of tensors, signed."""
    header, payload = split(data)
    return join(header | {name: header[name] | changes}, payload)


def test_signing_by_the_rule_gives_a_file_that_loads(tmp_path, model_bytes):
    path = tmp_path / "file.safetensors"
    path.write_bytes(join(*split(model_bytes)))
    assert load_model(path).card == {"steps": 3}
    path.write_bytes(with_fact(model_bytes, card='{"steps": 4}'))
    assert load_model(path).card == {"steps": 4}


# Thirteen kinds of malformed files, twenty of each; all that can be are signed, so that the hash hides no later check.


def huge_length(data, draw):
    claimed = draw.choice(
        [2**64 - 1, 2**63, 10**8 + 1, MAX_HEADER + 1, len(data) - 7, len(data), draw.randrange(2**64)]
    )
    return struct.pack("<Q", max(claimed, len(data) - 7)) + data[8:]


def overlap(data, draw):
    header, payload = split(data)
    name = draw.choice([key for key in header if key != "__metadata__" and header[key]["data_offsets"][0] > 0])
    shift = draw.choice([4, 16, header[name]["data_offsets"][0]])
    offsets = [max(0, offset - shift) for offset in header[name]["data_offsets"]]
    return with_tensor(data, name, data_offsets=offsets)


def hole(data, draw):
    header, payload = split(data)
    place, size = 4 * draw.randrange(len(payload) // 4), draw.choice([1, 4, 64])
    for key, entry in header.items():
        if key != "__metadata__" and entry["data_offsets"][0] >= place:
            entry["data_offsets"] = [offset + size for offset in entry["data_offsets"]]
    return join(header, payload[:place] + bytes(size) + payload[place:])


def trailing(data, draw):
    header, payload = split(data)
    return join(header, payload + draw.randbytes(draw.choice([1, 4, 100, 4096])))


def negative(data, draw):
    header, _ = split(data)
    name = draw.choice([key for key in header if key != "__metadata__"])
    low, high = header[name]["data_offsets"]
    wrong = [
        {"data_offsets": [-4, high]},
        {"data_offsets": [low, -high]},
        {"data_offsets": [high + 1, low]},
        {"shape": [-1]},
    ]
    return with_tensor(data, name, **draw.choice(wrong))


def overflow(data, draw):
    header, _ = split(data)
    name = draw.choice([key for key in header if key != "__metadata__"])
    low, high = header[name]["data_offsets"]
    large = draw.choice([2**31, 2**53, 2**63 - 1, 2**64 - 1, 2**64, 10**30, 1e30])
    wrong = [
        {"data_offsets": [low, large]},
        {"data_offsets": [large, large]},
        {"shape": [large, 2]},
        {"shape": [2**32, 2**32]},
    ]
    return with_tensor(data, name, **draw.choice(wrong))


def bad_json(data, draw):
    header, payload = split(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    place = draw.randrange(1, len(text) - 1)
    wrong = draw.choice(
        [text[:place], text + b"}", b"[" + text, text.replace(b":", b"=", 3), text[:-1] + b",}", b"x" + text]
    )
    return join(wrong, payload)


def deep_json(data, draw):
    header, payload = split(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    depth = draw.choice([300, 3000, 100_000])
    opened, closed = draw.choice([(b"[", b"]"), (b'{"a":', b"}")])
    inner = opened * depth + b"0" + closed * depth * draw.randrange(2)
    return join(draw.choice([inner, text[:-1] + b',"x":' + inner + b"}"]), payload)


def nearly_empty(data, draw):
    header = draw.choice([b"", b"{}", b"null", b"[]", b"0", b'"x"', b'{"__metadata__":null}', b'{"__metadata__":[]}'])
    return draw.choice([b"", data[: draw.randrange(9)], bytes(draw.randrange(1, 99)), join(header, b"")])


def wrong_dtype(data, draw):
    header, _ = split(data)
    name = draw.choice([key for key in header if key != "__metadata__"])
    kind = draw.choice(["F16", "F64", "BF16", "I8", "BOOL", "F8_E4M3", "I32", "U32", "F4", "C64", "f32", "", 1, None])
    return with_tensor(data, name, dtype=kind)


def cut(data, draw):
    return data[: draw.randrange(len(data))]


def not_utf8(data, draw):
    length = int.from_bytes(data[:8], "little")
    place = draw.randrange(9, length)
    text = data[8 : 8 + length]
    wrong = [text[:place] + draw.choice([b"\xff", b"\xc3", b"\x80\x81"]) + text[place:], text.decode().encode("utf-16")]
    return join(draw.choice(wrong), data[8 + length :])


def no_metadata(data, draw):
    header, payload = split(data)
    facts = header.pop("__metadata__")
    wrong = [{}, {"format": "pt"}, {"format": "residiff"}, {**facts, "sha256": 1}, {**facts, "card": {}}, [facts], "x"]
    return join(draw.choice([header, *({"__metadata__": one} | header for one in wrong)]), payload)


KINDS = (
    huge_length,
    overlap,
    hole,
    trailing,
    negative,
    overflow,
    bad_json,
    deep_json,
    nearly_empty,
    wrong_dtype,
    cut,
    not_utf8,
    no_metadata,
)


@pytest.mark.parametrize("kind", KINDS)
def test_malformed_files_are_refused_at_once_and_in_little_memory(refused, model_bytes, state_bytes, kind):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(ROUNDS):
        refused(kind(model_bytes, random.Random(number)))
        if kind is not wrong_dtype:  # a state may hold whole numbers
            refused(kind(state_bytes, random.Random(number)), load_state, CheckpointError)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before <= 64 * 1024


@pytest.mark.parametrize("kind", [overlap, hole, trailing, negative, overflow, wrong_dtype])
def test_the_checks_behind_the_hash_are_reached(refused, model_bytes, kind):
    assert not any("SHA-256" in refused(kind(model_bytes, random.Random(number))) for number in range(ROUNDS))


@pytest.mark.parametrize(
    "wrong", [{"shape": "x"}, {"shape": None}, {"data_offsets": []}, {"data_offsets": [0]}, {"extra": 1}]
)
def test_a_table_of_tensors_that_is_odd_never_crashes(tmp_path, model_bytes, wrong):
    path = tmp_path / "file.safetensors"
    path.write_bytes(with_tensor(model_bytes, "intro.bias", **wrong))
    if "extra" in wrong:
        assert "intro.bias" in load_model(path).weights
    else:
        with pytest.raises(ModelFileError, match="not a valid safetensors file"):
            load_model(path)


def test_a_shape_that_the_recipe_does_not_have_is_refused(tmp_path, model_bytes):
    path = tmp_path / "file.safetensors"
    path.write_bytes(with_tensor(model_bytes, "intro.bias", shape=[2, 2]))
    with pytest.raises(ModelFileError, match=r"intro.bias is \(2, 2\), the recipe needs \(4,\)"):
        load_model(path).denoiser()


def test_a_header_over_the_limit_is_not_parsed(refused, monkeypatch):
    def parsed(_text):
        raise AssertionError("the header was parsed")

    monkeypatch.setattr(json, "loads", parsed)
    refused(struct.pack("<Q", MAX_HEADER + 1) + bytes(MAX_HEADER + 1))


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"format": "pt"}, "not written by residiff"),
        ({"format_version": "2"}, "format version 2; this residiff reads 1: update it"),
        ({"format_version": None}, "format version None"),
        ({"kind": "virus"}, "holds a virus, not a model"),
        ({"recipe": None}, "the header lacks 'recipe'"),
        ({"card": None}, "the header lacks 'card'"),
        ({"sha256": None}, "no SHA-256"),
        ({"card": "{"}, "the card is not JSON"),
        ({"card": "[]"}, "the card is not a table"),
        ({"card": "[" * 100_000}, "the card is not JSON"),
        ({"card": "9" * 5000}, "the card is not JSON"),
        ({"recipe": ""}, "name: Field required"),
        ({"recipe": "["}, "not TOML"),
        ({"recipe": "x" * 10**6}, "too long"),
        ({"recipe": ".".join("a" * 2000) + "=1"}, "nested too deeply"),
        ({"recipe": RECIPE.toml().replace("width = 4", "width = 1000000000")}, "width is 1000000000"),
        ({"recipe": RECIPE.toml().replace("tiny", "../tiny")}, "name"),
    ],
)
def test_facts_that_are_wrong_though_signed(refused, model_bytes, facts, message):
    assert re.search(message, refused(with_fact(model_bytes, **facts)))


def test_a_hash_in_a_place_of_its_own_does_not_stand_for_the_files(refused, model_bytes):
    """A second "sha256" before the true one must not let the rest go unseen."""
    header, payload = split(model_bytes)
    header = {"sha256": "0" * 64, **header}
    assert "SHA-256" in refused(join(header, payload, sign=False))
    changed = bytes([payload[0] ^ 1]) + payload[1:]
    assert "SHA-256" in refused(join(split(model_bytes)[0], changed, sign=False))


def test_a_recipe_for_a_larger_network_is_refused_before_it_is_made(tmp_path, model_bytes):
    path = tmp_path / "file.safetensors"
    path.write_bytes(with_fact(model_bytes, recipe=RECIPE.toml().replace("width = 4", "width = 2048")))
    model = load_model(path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelFileError, match="the recipe needs"):
        model.denoiser()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before <= 64 * 1024


def test_foreign_files_are_refused(refused):
    assert "not written by residiff" in refused(save_foreign({"a": torch.ones(3)}, {"format": "pt"}))
    assert "not written by residiff" in refused(save_foreign({"a": torch.ones(3)}))


@pytest.mark.parametrize(
    "data", [b"PK\x03\x04" + bytes(99), b"\x80\x04\x95" + bytes(99), b"\x89PNG\r\n\x1a\n" + bytes(99), b"<html>" * 9]
)
def test_files_of_other_kinds_are_refused(refused, data):
    assert "not a safetensors file" in refused(data)


# Flipped bits


def flipped(data, bit):
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def flips(data, count):
    """The bits of the length and of the start of the header, and others from everywhere."""
    return [*range(128), *random.Random(3).sample(range(128, 8 * len(data)), count - 128)]


def test_each_of_a_thousand_flipped_bits_is_found(refused, model_bytes, state_bytes):
    for bit in flips(model_bytes, 500):
        refused(flipped(model_bytes, bit))
    for bit in flips(state_bytes, 500):
        refused(flipped(state_bytes, bit), load_state, CheckpointError)


@pytest.mark.slow
@pytest.mark.parametrize("bit", range(8))
def test_every_bit_of_a_file_counts(refused, model_bytes, bit):
    for place in range(len(model_bytes)):
        refused(flipped(model_bytes, 8 * place + bit))


@pytest.mark.parametrize("seed", range(5))
def test_larger_damage_is_found(refused, model_bytes, seed):
    draw = random.Random(seed)
    for _ in range(20):
        first, second = sorted(draw.sample(range(len(model_bytes)), 2))
        middle = model_bytes[first:second]
        for wrong in (bytes(len(middle)), middle[::-1], b"", middle * 2, draw.randbytes(len(middle))):
            if wrong != middle:
                refused(model_bytes[:first] + wrong + model_bytes[second:])
