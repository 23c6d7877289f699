"""Archives in and out: hostile names lead nowhere, links and bombs are refused by name, the rest still comes."""

import stat
import struct
import zipfile
from pathlib import PurePosixPath

import pytest

from residiff.errors import ImageTooLargeError, ImageUnsupportedError
from residiff.web.page.archives import LONGEST_NAME, Limits, Pack, distinct, members, safe_name

SMALL = Limits(files=5, file_bytes=1000, all_bytes=2500)
HOSTILE = [
    "../../etc/passwd", "/etc/passwd", "C:\\Windows\\x.png", "..\\..\\x.png", "a/../../b.png", "a//b.png", "./a.png",
    "a\x00b.png", "a\nb.png", "\u202egnp.exe", "", ".", "..", "/", "a/" * 500 + "b.png", "x" * 5000 + ".png",
    "a. /b .png", "con?.png", "<img src=x onerror=alert(1)>.png",
]  # fmt: skip


def archive(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in files:
            opened.writestr(name, data)
    return path


def taken(paths, limits=SMALL):
    found = members(paths, limits)
    return [(each.name, each.data if each.error is None else type(each.error)) for each in found]


def test_files_and_members_come_in_order(tmp_path):
    plain = tmp_path / "one.png"
    plain.write_bytes(b"1")
    packed_ = archive(tmp_path / "more.zip", [("in/two.png", b"2"), ("in/", b""), ("three.txt", b"3")])
    assert taken([plain, packed_]) == [("one.png", b"1"), ("in/two.png", b"2"), ("three.txt", b"3")]


def test_litter_is_left_out(tmp_path):
    names = ["__MACOSX/._a.png", ".DS_Store", "in/Thumbs.db", "desktop.ini", ".git/a.png", "a.png", "../b.png"]
    found = taken([archive(tmp_path / "a.zip", [(name, b"x") for name in names])])
    assert [name for name, _ in found] == ["a.png", "b.png"]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_lead_nowhere(name):
    safe = safe_name(name)
    path = PurePosixPath(safe)
    assert safe and not path.is_absolute() and ".." not in path.parts and "\\" not in safe and ":" not in safe
    assert safe.isprintable() and all(0 < len(part) <= LONGEST_NAME for part in path.parts) and len(path.parts) <= 8
    assert safe_name(safe) == safe


def test_good_names_stay():
    for name in ("a.png", "in/deeper/b c.jpg", "été.png", "写真.webp", "x.tar.png"):
        assert safe_name(name) == name
    assert safe_name("x" * 500 + ".png").endswith("x.png")


def test_names_differ_even_where_case_does_not_count(tmp_path):
    files = [("a.png", b"1"), ("A.png", b"2"), ("x/../a.png", b"3"), ("../a.png", b"4")]
    names = [name for name, _ in taken([archive(tmp_path / "a.zip", files)])]
    assert names == ["a.png", "A-2.png", "x/a.png", "a-3.png"]
    assert distinct("a.png", {"a.png", "a-2.png"}) == "a-3.png"


def test_what_is_too_large_is_refused_and_the_rest_comes(tmp_path):
    files = [("bomb.png", b"0" * 1_000_000), ("a.png", b"1")]
    assert taken([archive(tmp_path / "a.zip", files)]) == [("bomb.png", ImageTooLargeError), ("a.png", b"1")]


def test_a_size_that_is_a_lie_is_found_while_it_is_read(tmp_path):
    path = archive(tmp_path / "a.zip", [("bomb.png", b"0" * 100_000), ("a.png", b"1")])
    data = path.read_bytes()
    assert data.count(struct.pack("<I", 100_000)) == 2
    path.write_bytes(data.replace(struct.pack("<I", 100_000), struct.pack("<I", 10)))
    found = dict(taken([path]))
    assert found["bomb.png"] in (ImageTooLargeError, ImageUnsupportedError) and found["a.png"] == b"1"


def test_there_are_limits_of_number_and_sum(tmp_path):
    many = archive(tmp_path / "many.zip", [(f"{k}.png", b"x") for k in range(9)])
    assert [data for _, data in taken([many])] == [b"x"] * 5 + [ImageTooLargeError]
    heavy = archive(tmp_path / "heavy.zip", [(f"{k}.png", bytes([k]) * 900) for k in range(5)])
    assert [data for _, data in taken([heavy])] == [b"\0" * 900, b"\1" * 900, ImageTooLargeError]


def test_links_and_locked_members_are_refused(tmp_path):
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = archive(tmp_path / "a.zip", [(link, b"/etc/passwd"), ("locked.png", b"x"), ("a.png", b"1")])
    data = bytearray(path.read_bytes())
    # The bit that says "encrypted", in the directory at the end
    data[data.rindex(b"PK\1\2", 0, data.rindex(b"locked.png")) + 8] |= 1
    path.write_bytes(data)
    assert taken([path]) == [
        ("link.png", ImageUnsupportedError),
        ("locked.png", ImageUnsupportedError),
        ("a.png", b"1"),
    ]


def test_damage_hits_the_damaged_member_alone(tmp_path):
    path = archive(tmp_path / "a.zip", [("a.png", bytes(range(256)) * 3), ("b.png", b"fine")])
    data = bytearray(path.read_bytes())
    data[45] ^= 0xFF
    path.write_bytes(data)
    found = dict(taken([path]))
    assert found == {"a.png": ImageUnsupportedError, "b.png": b"fine"}


def test_an_archive_that_is_cut_short_is_refused_as_a_file(tmp_path):
    path = archive(tmp_path / "a.zip", [("a.png", b"1" * 99)])
    path.write_bytes(path.read_bytes()[:60])
    assert [name for name, _ in taken([path])] == ["a.zip"]


def test_results_are_packed_with_what_failed(tmp_path):
    for path in (tmp_path / "one.zip", tmp_path / "two.zip"):
        with Pack(path) as pack:
            for name, data in (("in/a.png", b"1"), ("in/A.png", b"2"), ("failures.jsonl", b"3")):
                pack.add(name, data)
            pack.fail("b.png", 'not "read"')
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as opened:
        assert opened.namelist() == ["in/a.png", "in/A-2.png", "failures-2.jsonl", "failures.jsonl"]
        assert opened.read("in/A-2.png") == b"2"
        assert opened.read("failures.jsonl") == b'{"source": "b.png", "message": "not \\"read\\""}\n'


def test_where_nothing_failed_nothing_is_listed(tmp_path):
    with Pack(tmp_path / "a.zip") as pack:
        pack.add("a.png", b"1")
    with zipfile.ZipFile(tmp_path / "a.zip") as opened:
        assert opened.namelist() == ["a.png"]
