"""Writing a set of pictures as tar archives, in the layout that `residiff.data.shards` reads."""

from __future__ import annotations

import contextlib
import io
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

from residiff.data import images
from residiff.data.parts import FilePart, Part, PictureSet
from residiff.data.shards.index import MAX_MEMBER
from residiff.data.shards.reading import ShardPart, shards_of
from residiff.errors import ConfigError, ImageTooLargeError, check_range
from residiff.files import replacing

SHARD_BYTES = 1_000_000_000


def write_shards(pictures: PictureSet, output: Path, split: str, *, size: int = SHARD_BYTES) -> Iterator[str]:
    """Write a set as `output/split/000000.tar` and so on; yields the name of each sample when it is in its shard.

    Pictures in files and shards are copied byte by byte, others become PNG. A shard ends with the sample that brings it
    to `size` bytes. A sample is called what its clean picture is, with "_" for dots, and with its number where that
    name is taken. Equal sets become equal bytes. Each shard stands there whole or not at all.

    Raises
    ------
    ConfigError
        If the kinds are not of one length, there is nothing to write, or there are shards already.
    ImageError
        If a picture cannot be had.
    ResourceError
        If the disk is full or the place may not be written to.
    """
    check_range("size", size, 1, 1 << 40)
    lengths = {kind: len(parts) for kind, parts in pictures.columns.items()}
    if len(set(lengths.values())) != 1 or not len(pictures):
        counts = ", ".join(f"{count} {kind}" for kind, count in lengths.items())
        raise ConfigError(
            f"{pictures.source} has {counts} pictures; a shard holds one or more samples, each of all kinds"
        )
    if shards_of(output, split):
        raise ConfigError(f"{output} holds shards already, which would mix two sets; choose another folder")
    samples = iter(range(len(pictures)))
    for number, first in enumerate(samples):
        with _shard(output / split / f"{number:06d}.tar", pictures) as shard:
            yield shard.add(first)
            while shard.archive.offset < size and (sample := next(samples, None)) is not None:
                yield shard.add(sample)


@contextlib.contextmanager
def _shard(path: Path, pictures: PictureSet) -> Iterator[_Shard]:
    with replacing(path) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        yield _Shard(archive, pictures)


class _Shard:
    """An archive that samples are added to."""

    def __init__(self, archive: tarfile.TarFile, pictures: PictureSet) -> None:
        self.archive, self.pictures = archive, pictures
        self.names: set[str] = set()

    def add(self, sample: int) -> str:
        """Add a sample; gives the name that it has here."""
        parts = {kind: column[sample] for kind, column in self.pictures.columns.items()}
        name = self._free(_sample_name(parts["clean"]), sample)
        for kind, part in parts.items():
            suffix, data = _stored(part)
            if len(data) > MAX_MEMBER:
                raise ImageTooLargeError(
                    f"{part.name} has {len(data)} bytes; a member of a shard has up to {MAX_MEMBER}"
                )
            # Its owner is nobody and its time 0, whoever writes it and when
            member = tarfile.TarInfo(f"{name}.{kind}{suffix}")
            member.size = len(data)
            self.archive.addfile(member, io.BytesIO(data))
        return name

    def _free(self, name: str, sample: int) -> str:
        while name in self.names:
            name = f"{name}-{sample}"
        self.names.add(name)
        return name


def _sample_name(part: Part) -> str:
    """What the picture is called, without its suffix (in a shard, without its kind), fit for the layout."""
    last = re.split(r"[/\\]", part.name)[-1]
    stem = last.partition(".")[0] if isinstance(part, ShardPart) else Path(last).stem
    return re.sub(r"[.:]", "_", stem)


def _stored(part: Part) -> tuple[str, bytes]:
    """A picture's suffix and its bytes in a shard."""
    if isinstance(part, FilePart):
        return part.path.suffix.lower(), part.data()
    if isinstance(part, ShardPart):
        return Path(part.member).suffix.lower(), part.data()
    return ".png", images.encode(part.read(), images.Format.PNG)
