"""Tar archives of small random pictures, for the tests of shards."""

import io
import tarfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

KINDS = ("clean", "degraded", "mask")


def png(seed):
    data = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (5, 7, 3), np.uint8)).save(data, "PNG")
    return data.getvalue()


def pack(path, members, mtime=0):
    """A tar archive of members by name; a time with a fraction gives each an extended header, as webdataset's have."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), mtime
            archive.addfile(member, io.BytesIO(data))
    return path


def samples(first, last, kinds=KINDS):
    return {
        f"{number:04d}.{kind}.png": png(3 * number + place)
        for number in range(first, last)
        for place, kind in enumerate(kinds)
    }


def two_shards(folder):
    """Two shards of three samples each; gives the folder of the set."""
    pack(folder / "train" / "a.tar", samples(0, 3))
    pack(folder / "train" / "b.tar", samples(3, 6))
    return folder


def members_of(parts):
    return [Path(part.name).name for part in parts]


def pixels(parts):
    return [part.read().pixels for part in parts]


def all_equal(ours, theirs):
    return len(ours) == len(theirs) and all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
