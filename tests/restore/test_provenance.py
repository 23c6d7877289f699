"""How a result came about is in the file, beside the metadata it had; by it the same comes out again."""

import html
import io
import json
import os
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from residiff import models
from residiff.checkpoint import save_model, stated_hash
from residiff.data import images
from residiff.data.images import Format, ImageWarning, Metadata, Picture
from residiff.errors import ConfigError, ModelFileError
from residiff.files import sha256
from residiff.restore import (
    Job,
    Manifest,
    Options,
    Provenance,
    find_mask,
    find_model,
    find_source,
    load,
    origin,
    plan,
    provenance_of,
    rerun,
    restore_all,
    restore_bytes,
    restore_file,
)

WITH_XMP = [Format.PNG, Format.JPEG, Format.WEBP, Format.TIFF, Format.AVIF]
FIELD = '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:source="mine &amp; theirs"/>'
PACKETS = {
    "none": None,
    "one field": f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    f"{FIELD}</rdf:RDF></x:xmpmeta>",
    "no fields": '<x:xmpmeta xmlns:x="adobe:ns:meta/"></x:xmpmeta>',
    "another prefix": '<r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"></r:RDF>',
    "a wrapped one": f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    f'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">{FIELD}</rdf:RDF ></x:xmpmeta>  \n'
    '<?xpacket end="w"?>',
}
TEXTS = ["{}", '{"a":"<&>\\"\'"}', "&lt;&amp;amp;", "x" * 5000]


# ---------------------------------------------------------------- its place in the file


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("name", PACKETS)
def test_a_text_comes_back_and_the_rest_stays(name, text):
    packet = PACKETS[name]
    before = Metadata(exif=b"exif", xmp=packet and packet.encode(), resolution=(3.0, 4.0))
    after = images.with_provenance(before, text)
    assert images.provenance_of(after) == text and (after.exif, after.resolution) == (b"exif", (3.0, 4.0))
    ElementTree.fromstring(after.xmp.partition(b"?>")[2].rpartition(b"<?")[0] if b"<?" in after.xmp else after.xmp)
    if packet is not None:
        at = after.xmp.index(b"<rdf:Description xmlns:rdf") if b"Description xmlns:rdf" in after.xmp else 0
        end = after.xmp.index(b"</rdf:Description>") + len(b"</rdf:Description>")
        kept = after.xmp[:at] + after.xmp[end:]
        added = b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"></rdf:RDF>'
        assert kept.replace(added, b"" if name == "no fields" else added) == packet.encode()
    again = images.with_provenance(after, "another")
    assert images.provenance_of(again) == "another"
    assert images.with_provenance(again, text) == after  # one takes the place of the other


def test_a_text_is_found_however_the_packet_was_written_anew():
    text = '{"a":"<&>"}'
    for field in (
        f"residiff:provenance='{html.escape(text)}'",
        f'residiff:provenance="{text.replace("<", "&#60;").replace("&>", "&#x26;>").replace(chr(34), "&quot;")}"',
    ):
        assert images.provenance_of(Metadata(xmp=f"<rdf:Description {field}/>".encode())) == text
    for packet in (None, b"", b"<x/>", b"\xff\xfe<\0x\0"):
        assert images.provenance_of(Metadata(xmp=packet)) is None


@pytest.mark.parametrize("packet", [b"garbage", b"<x:xmpmeta/>", b"<rdf:RDF>" + b" " * 65_000 + b"</rdf:RDF>"])
def test_a_packet_that_cannot_be_added_to_is_kept(stub, packet, tmp_path):
    picture = Picture(torch.rand(3, 8, 8), metadata=Metadata(xmp=packet))
    assert images.with_provenance(picture.metadata, "{}") is None
    images.write(tmp_path / "a.png", picture)
    with pytest.warns(ImageWarning, match="a.png: its XMP cannot be added to"):
        restore_file(Job(tmp_path / "a.png", tmp_path / "b.png"), stub, Options())
    assert images.read(tmp_path / "b.png").metadata.xmp == packet


@pytest.mark.parametrize("format", WITH_XMP)
@pytest.mark.parametrize("shape", [(12, 16, 3), (12, 16)])
def test_every_format_carries_it(stub, picture_file, tmp_path, format, shape):
    source = picture_file("a.png", shape)
    result = restore_bytes(source, None, stub, Options(seed=4, strength=0.5), format)
    told = provenance_of(images.read(result.data))
    assert told == result.provenance
    assert (told.source, told.source_sha256) == ("a.png", sha256(source.read_bytes()))
    assert (told.settings.seed, told.settings.strength, told.settings.format) == (4, 0.5, format.value)
    assert (told.made.threads, told.made.device, told.made.batch) == (torch.get_num_threads(), "cpu", 1)
    assert told.mask_sha256 is None and told.whole


def test_bmp_has_no_place_for_it(stub, picture_file):
    result = restore_bytes(picture_file("a.png"), None, stub, Options(), Format.BMP)
    assert provenance_of(images.read(result.data)) is None


def test_no_folder_and_no_time_is_in_it(stub, picture_file, tmp_path):
    """Where a picture lay is nobody's business, and equal work gives equal files."""
    first = restore_bytes(picture_file("x/secret/a.png"), None, stub, Options(), Format.PNG)
    second = restore_bytes(picture_file("y/a.png"), None, stub, Options(), Format.PNG)
    assert first.data == second.data and b"secret" not in first.data and os.fsencode(tmp_path) not in first.data


# ---------------------------------------------------------------- the metadata that a file had

MARKS = {"exif": "EXIF of mine", "xmp": "XMP of mine", "gps": "GPS of mine", "artist": "An Artist"}


def tagged(format, kind):
    exif, options = Image.Exif(), {}
    if kind in ("exif", "all"):
        exif[0x010F], exif[0x013B] = MARKS["exif"], MARKS["artist"]
    if kind in ("gps", "all"):
        exif[0x0132] = "2020:01:02 03:04:05"  # Pillow writes no directory that holds another alone
        exif.get_ifd(0x8825)[0x1B] = MARKS["gps"].encode()
    if kind in ("xmp", "all"):
        options["xmp"] = PACKETS["one field"].replace("mine", MARKS["xmp"]).encode()
    if kind in ("exif", "gps", "all"):
        options["exif"] = exif
    if kind in ("dpi", "all"):
        options["dpi"] = (300, 300)
    data, pixels = io.BytesIO(), np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(pixels).save(data, format, **options)
    return data.getvalue()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("kind", ["exif", "xmp", "gps", "dpi", "all"])
def test_metadata_are_kept_or_stripped(stub, tmp_path, format, kind):
    """Of 20 tagged files everything is in the result, or nothing."""
    source = tmp_path / f"a.{format.lower()}"
    source.write_bytes(tagged(format, kind))
    before = images.read(source).metadata
    target = images.format_of(source)
    kept, bare = (restore_bytes(source, None, stub, Options(strip=strip), target).data for strip in (False, True))
    after = images.read(kept).metadata
    held = Image.open(io.BytesIO(kept)).getexif()
    if kind in ("exif", "all"):
        assert (held[0x010F], held[0x013B]) == (MARKS["exif"], MARKS["artist"])
    if kind in ("gps", "all"):
        assert MARKS["gps"].encode() in bytes(held.get_ifd(0x8825)[0x1B])
    if kind in ("xmp", "all") and before.xmp is not None:
        assert FIELD.replace("mine", MARKS["xmp"]).encode() in after.xmp
    if before.resolution is not None:
        assert after.resolution == pytest.approx(before.resolution, rel=1e-3)
    assert provenance_of(images.read(kept)) is not None
    assert images.read(bare).metadata == Metadata()
    for mark in (*MARKS.values(), "residiff", "provenance", "xmpmeta", "a.jpeg", stub.descriptor.sha256):
        assert mark.encode() not in bare
    assert np.array_equal(images.to_array(images.read(kept)), images.to_array(images.read(bare)))


def test_a_result_restored_again_says_the_last_of_it(stub, picture_file, tmp_path):
    first = restore_bytes(picture_file("a.png"), None, stub, Options(), Format.PNG)
    (tmp_path / "b.png").write_bytes(first.data)
    second = restore_bytes(tmp_path / "b.png", None, stub, Options(), Format.PNG)
    told = provenance_of(images.read(second.data))
    assert (told.source, told.source_sha256) == ("b.png", sha256(first.data))


# ---------------------------------------------------------------- what is read

GOOD = {
    "residiff": "1", "model": "m", "model_sha256": "a" * 64, "source": "s", "source_sha256": "b" * 64,
    "mask_sha256": None, "whole": True, "made": {"torch": "2", "device": "cpu", "threads": 1, "batch": 1},
    "settings": {
        "steps": 2, "seed": 0, "strength": 1.0, "format": "png", "quality": 95, "bit_depth": None, "strip": False,
        "allow_truncated": False, "settings": [],
    },
}  # fmt: skip


def changed(path, value):
    """`GOOD` with one thing in it otherwise; without it, where the value is an ellipsis."""
    told = json.loads(json.dumps(GOOD))
    *way, last = path.split(".")
    place = told
    for name in way:
        place = place[name]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return json.dumps(told)


def test_provenance_goes_through_text():
    told = Provenance.of(json.dumps(GOOD))
    assert Provenance.of(told.text()) == told and "\n" not in told.text() and told.text().isascii()
    assert told.settings.options() == Options(steps=2, format=Format.PNG, max_pixels=10**12)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model_sha256", "../x"), ("model_sha256", "A" * 64), ("source_sha256", ...), ("settings.seed", "0"),
        ("settings.steps", 1.5), ("settings.strip", 1), ("settings.settings", "x"), ("settings.more", 1),
        ("made", None), ("made.threads", True), ("residiff", 1), ("mask_sha256", "x"), ("settings.bit_depth", 12),
    ],
)  # fmt: skip
def test_provenance_of_another_shape_is_refused(path, value):
    with pytest.raises(ConfigError, match="not one that this version"):
        Provenance.of(changed(path, value))


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '"x"', "[" * 100_000, "{}", "\0"])
def test_what_is_no_provenance_is_refused(text):
    with pytest.raises(ConfigError, match="not one that this version"):
        Provenance.of(text)


@pytest.mark.parametrize(
    ("path", "value"),
    [("settings.strength", 2.0), ("settings.seed", -1), ("settings.format", "../x"), ("settings.quality", 0)],
)
def test_settings_that_cannot_be_are_refused(path, value):
    with pytest.raises(ConfigError, match="allowed are"):
        Provenance.of(changed(path, value)).settings.options()


# ---------------------------------------------------------------- made again


@pytest.fixture
def made(tiny, tiny_file, picture_file, tmp_path):
    """Three results of the small model, with a manifest, in folders with sub-folders."""
    picture_file("in/a.png", (9, 11, 3))
    picture_file("in/sub/b.jpg", (9, 11, 3), seed=1)
    picture_file("in/sub/c.tif", (9, 11), seed=2)
    options = Options(steps=3, seed=7, quality=80, strength=0.75)
    manifest = Manifest(tmp_path / "out")
    jobs = plan([tmp_path / "in"], tmp_path / "out", options, recursive=True)
    assert all(outcome.error is None for outcome in restore_all(jobs, tiny, options, manifest=manifest))
    manifest.close()
    return jobs


def again(job, tiny_file, **given):
    found = origin(job.target)
    model = load(find_model(found.provenance, [tiny_file]), "cpu", found.provenance.settings.settings)
    return rerun(job.target, found.provenance, find_source(job.target, found, **given), find_mask(found), model)


def test_the_same_comes_out(made, tiny_file):
    for job in made:
        done = again(job, tiny_file)
        assert done.same_bytes and done.same_pixels and done.is_close and done.largest == 0
        assert done.result.data == job.target.read_bytes()


def test_the_source_is_found_by_the_manifest_beside_the_image_or_as_given(made, tiny_file, tmp_path, monkeypatch):
    a, b, _ = made
    monkeypatch.chdir("/")
    assert find_source(b.target, origin(b.target)) == b.source
    for path in (tmp_path / "out").glob("*.jsonl"):
        path.unlink()
    with pytest.raises(ConfigError, match="'a.png' with SHA-256 .* is not it; give it with --source"):
        find_source(a.target, origin(a.target))
    moved = a.target.rename(tmp_path / "in/moved.png")
    assert find_source(moved, origin(moved)) == a.source
    elsewhere = a.source.rename(tmp_path / "elsewhere.png")
    assert find_source(moved, origin(moved), elsewhere) == elsewhere
    with pytest.raises(ConfigError, match="b.jpg is not it"):
        find_source(moved, origin(moved), b.source)


def test_a_stripped_result_is_known_by_its_manifest_alone(tiny, picture_file, tmp_path, tiny_file):
    picture_file("in/a.png")
    manifest = Manifest(tmp_path / "out")
    (job,) = plan([tmp_path / "in"], tmp_path / "out", Options(strip=True))
    list(restore_all([job], tiny, Options(strip=True), manifest=manifest))
    manifest.close()
    assert again(job, tiny_file).same_bytes
    (tmp_path / "out/manifest.jsonl").unlink()
    with pytest.raises(ConfigError, match="neither .*a.png nor a manifest says how it was made"):
        origin(job.target)


def test_what_was_changed_is_told_apart(made, tiny_file, tmp_path):
    a = made[0]
    picture = images.read(a.target)
    images.write(a.target, replace(picture, metadata=replace(picture.metadata, resolution=(9.0, 9.0))))
    done = again(a, tiny_file)
    assert done.same_pixels and not done.same_bytes and done.is_close
    pixels = picture.pixels.clone()
    pixels[0, 0, 0] = (pixels[0, 0, 0] + 1 / 255) if pixels[0, 0, 0] < 0.5 else (pixels[0, 0, 0] - 1 / 255)
    images.write(a.target, replace(picture, pixels=pixels))
    done = again(a, tiny_file)
    assert (done.same_pixels, done.largest, done.differing, done.values, done.is_close) == (False, 1, 1, 297, True)
    images.write(a.target, replace(picture, pixels=1 - picture.pixels))
    assert not again(a, tiny_file).is_close
    images.write(a.target, replace(picture, pixels=picture.pixels[:, :4].contiguous()))
    with pytest.raises(ConfigError, match="it was edited"):
        again(a, tiny_file)


def test_a_mask_is_found_and_needed(masked, masked_file, picture_file, tmp_path):
    picture_file("in/a.png", (5, 6, 3)), picture_file("masks/a.png", (5, 6))
    manifest = Manifest(tmp_path / "out")
    (job,) = plan([tmp_path / "in"], tmp_path / "out", Options(), tmp_path / "masks")
    list(restore_all([job], masked, Options(), manifest=manifest))
    manifest.close()
    assert again(job, masked_file).same_bytes
    (tmp_path / "out/manifest.jsonl").unlink()
    with pytest.raises(ConfigError, match="the mask with SHA-256 .*; give it with --mask"):
        find_mask(origin(job.target))
    assert find_mask(origin(job.target), job.mask) == job.mask
    with pytest.raises(ConfigError, match="a.png is not it"):
        find_mask(origin(job.target), job.source)


def test_a_model_is_found_by_its_hash_wherever_it_is(made, tiny_file, untrained, tmp_path, monkeypatch):
    told = origin(made[0].target).provenance
    assert stated_hash(tiny_file) == told.model_sha256
    monkeypatch.setattr(models, "bundled", lambda: {})
    with pytest.raises(ModelFileError, match="no model given or bundled is 'tiny' with SHA-256 .*--model"):
        find_model(told)
    save_model(tmp_path / "runs/other/model.safetensors", untrained(seed=5))
    (tmp_path / "runs/one").mkdir()
    copy = tmp_path / "runs/one/best.safetensors"
    copy.write_bytes(tiny_file.read_bytes())
    (tmp_path / "runs/broken.safetensors").write_bytes(b"\xff" * 40)
    for place in (copy, copy.parent, tmp_path / "runs"):
        assert find_model(told, [tmp_path / "runs/other", place]) == copy
    monkeypatch.setattr(models, "bundled", lambda: {"tiny": tiny_file})
    assert find_model(told, [tmp_path / "runs/other"]) == tiny_file
    assert stated_hash(tmp_path / "nowhere") == stated_hash(Path("/")) == ""


# ---------------------------------------------------------------- results that hardly differ


@pytest.mark.parametrize(
    ("strength", "said"), [(0.0, "b.png equals its input"), (0.001, "b.png hardly differs from its input"), (1.0, "")]
)
def test_a_result_like_its_input_is_told(stub, picture_file, tmp_path, strength, said):
    job = Job(picture_file("a.png", (32, 32, 3)), tmp_path / "b.png")
    (outcome,) = restore_all([job], stub, Options(strength=strength))
    assert outcome.hint.startswith(said) and bool(outcome.hint) == bool(said)
    assert not said or ("strength" in outcome.hint and "mask" in outcome.hint)
    pixels = images.read(job.source).pixels
    rms = float((strength * (1 - 2 * pixels)).square().mean().sqrt()) * 255
    assert outcome.change == pytest.approx(rms, rel=1e-4)
    assert restore_file(job, stub, Options(strength=strength)).hint.startswith(said.replace("b.png", "the result"))
