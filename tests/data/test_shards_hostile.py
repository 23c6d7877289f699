"""A hostile archive gives an error that names it, and leaves no file anywhere."""

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from residiff.data.shards.reading import open_shards
from residiff.errors import ImageError


def raw(name, kind=tarfile.REGTYPE, data=b"x", **facts):
    """An archive of a picture and one member of any kind, as bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        first = tarfile.TarInfo("0.png")
        first.size = 1
        archive.addfile(first, io.BytesIO(b"x"))
        member = tarfile.TarInfo(name)
        member.type, member.size = kind, len(data)
        for key, value in facts.items():
            setattr(member, key, value)
        archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def claimed(size):
    """An archive with a member that claims `size` bytes."""
    member = tarfile.TarInfo("evil.png")
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT) + bytes(2048)


def patched(data, place, new):
    """`data` with other bytes at a place in its second header, the checksum made right."""
    header = bytearray(data[1024:1536])
    header[place : place + len(new)] = new
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return data[:1024] + bytes(header) + data[1536:]


def long_names(count):
    """So many headers, each of which says that the next is called otherwise."""
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 1
    return (member.tobuf(tarfile.GNU_FORMAT) + b"x".ljust(512, b"\0")) * count


EVIL = raw("evil.png")
PICTURE = raw("evil.png", data=b"x" * 9651)
SPARSE = {"GNU.sparse.map": "0,1", "GNU.sparse.size": "1000000000000"}
HOSTILE = {
    "absolute": (raw("/tmp/residiff-evil.png"), "evil.png' has an absolute name"),
    "climbs": (raw("../evil.png"), "'../evil.png' has '..'"),
    "climbs-within": (raw("a/../../evil.png"), "evil.png' has '..'"),
    "climbs-windows": (raw("..\\evil.png"), "evil.png' has '..'"),
    "climbs-far": (raw("a/" * 5000 + "../evil.png"), "evil.png' has '..'"),
    "absolute-windows": (raw("C:\\evil.png"), "evil.png' has an absolute name"),
    "absolute-folder": (raw("/tmp/residiff-evil", tarfile.DIRTYPE, b""), "evil' has an absolute name"),
    "no-picture": (raw("../evil.sh"), "evil.sh' has '..'"),
    "symbolic-link": (raw("evil.png", tarfile.SYMTYPE, b"", linkname="/etc/passwd"), "'evil.png' is a symbolic link"),
    "link-of-a-folder": (raw("evil", tarfile.SYMTYPE, b"", linkname=".."), "'evil' is a symbolic link"),
    "hard-link": (raw("evil.png", tarfile.LNKTYPE, b"", linkname="/etc/passwd"), "'evil.png' is a hard link"),
    "character-device": (raw("evil.png", tarfile.CHRTYPE, b"", devmajor=1, devminor=3), "'evil.png' is a device"),
    "block-device": (raw("evil.png", tarfile.BLKTYPE, b""), "'evil.png' is a device"),
    "pipe": (raw("evil.png", tarfile.FIFOTYPE, b""), "'evil.png' is a pipe"),
    "unknown-type": (raw("evil.png", b"Z"), "'evil.png' is of a special type"),
    "sparse": (raw("evil.png", pax_headers=SPARSE), "'evil.png' is of a special type"),
    "sparse-gnu": (patched(EVIL, 156, b"S"), "'evil.png' is sparse"),
    "beyond-the-end": (claimed(10**6), "'evil.png' claims 1000000 bytes, more than the archive has"),
    "over-1-GiB": (claimed(2**30 + 1), "'evil.png' claims 1073741825 bytes; at most 1073741824"),
    "exabytes": (claimed(2**62), "'evil.png' claims 4611686018427387904 bytes; at most"),
    "exabytes-extended": (raw("evil.png", pax_headers={"size": str(2**62)}), "'evil.png' claims 4611686018427387904"),
    "negative": (claimed(-1024), "a member that ends before it starts, at byte 0"),
    "negative-extended": (raw("evil.png", pax_headers={"size": "-4096"}), "ends before it starts, at byte 1024"),
    "huge-header": (raw("evil.png", pax_headers={"comment": "x" * 300_000}), "a header of over 262144 bytes"),
    "nested-headers": (long_names(5000), "no plain tar archive, damaged or cut short"),
    "damaged-header": (EVIL[:1100] + b"\xff" + EVIL[1101:], "damaged or cut short (bad checksum)"),
    "cut-short": (EVIL[:1200], "damaged or cut short (truncated header)"),
    "cut-short-in-a-picture": (
        PICTURE[:2000],
        "cut short at byte 2000, within the member 'evil.png'; copy or download",
    ),
    "no-end": (EVIL[:2048], "damaged or cut short (empty header)"),
    "gzip": (gzip.compress(EVIL), "no plain tar archive"),
    "no-archive": (b"\x89PNG" * 1000, "no plain tar archive"),
    "nothing": (b"", "no plain tar archive"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_archive_is_named_and_nothing_is_written(tmp_path, case, monkeypatch):
    shard = tmp_path / "deep" / "set" / "0.tar"
    shard.parent.mkdir(parents=True)
    data, cause = HOSTILE[case]
    shard.write_bytes(data)
    monkeypatch.chdir(shard.parent)
    with pytest.raises(ImageError) as caught:
        open_shards(shard.parent, "train")
    assert str(caught.value).startswith(f"{shard}: ") and cause in str(caught.value)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [shard]
    assert not list(Path("/tmp").glob("residiff-evil*"))


def test_the_same_archive_without_its_trick_is_read(tmp_path):
    (tmp_path / "0.tar").write_bytes(EVIL)
    assert [part.data() for part in open_shards(tmp_path, "train")["clean"]] == [b"x", b"x"]
