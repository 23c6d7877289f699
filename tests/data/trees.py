"""Small sets of pictures in every layout of the catalog, as they are published: `make_tree` writes one.

Each picture is of one colour, which says which one it is: `told` reads it back. Names are written out here anew, not
taken from the catalog, and are such that clean and degraded ones sort differently where the layouts let them.
"""

import io
import sys
import tarfile
from pathlib import Path

from PIL import Image

KINDS = ("clean", "degraded", "mask")
CLASSES = ("train", "test", "other")
STEP = 6

# Where picture {n} of a kind is, by layout and split
PATHS = {
    "paired": {"train": ("train/{kind}/{n}.png", KINDS), "test": ("test/{kind}/{n}.png", KINDS)},
    "istd": {
        "train": {
            "clean": "train/train_C/{n}-1.png",
            "degraded": "train/train_A/{n}-1.png",
            "mask": "train/train_B/{n}-1.png",
        },
        "test": {
            "clean": "test/test_C/{n}-1.png",
            "degraded": "test/test_A/{n}-1.png",
            "mask": "test/test_B/{n}-1.png",
        },
    },
    "istd-plus": {
        "train": {
            "clean": "train/train_C_fixed_official/{n}-1.png",
            "degraded": "train/train_A/{n}-1.png",
            "mask": "train/train_B/{n}-1.png",
        },
        "test": {
            "clean": "test/test_C_fixed_official/{n}-1.png",
            "degraded": "test/test_A/{n}-1.png",
            "mask": "test/test_B/{n}-1.png",
        },
    },
    "lol-v1": {
        "train": {"clean": "our485/high/{n}.png", "degraded": "our485/low/{n}.png"},
        "test": {"clean": "eval15/high/{n}.png", "degraded": "eval15/low/{n}.png"},
    },
    "lol-v2-real": {
        "train": {
            "clean": "Real_captured/Train/Normal/normal{n:05}.png",
            "degraded": "Real_captured/Train/Low/low{n:05}.png",
        },
        "test": {
            "clean": "Real_captured/Test/Normal/normal{n:05}.png",
            "degraded": "Real_captured/Test/Low/low{n:05}.png",
        },
    },
    "lol-v2-synthetic": {
        "train": {"clean": "Synthetic/Train/Normal/r{n:08x}t.png", "degraded": "Synthetic/Train/Low/r{n:08x}t.png"},
        "test": {"clean": "Synthetic/Test/Normal/r{n:08x}t.png", "degraded": "Synthetic/Test/Low/r{n:08x}t.png"},
    },
    "sid-rgb": {
        "train": {
            "clean": "long_sid2/0{n:04}/0{n:04}_00_10s.png",
            "degraded": "short_sid2/0{n:04}/0{n:04}_00_0.1s.png",
        },
        "test": {"clean": "long_sid2/1{n:04}/1{n:04}_00_30s.png", "degraded": "short_sid2/1{n:04}/1{n:04}_00_0.1s.png"},
    },
    "raindrop": {
        "train": {"clean": "train/gt/{n}_clean.png", "degraded": "train/data/{n}_rain.png"},
        "test": {"clean": "test_a/gt/{n}_clean.png", "degraded": "test_a/data/{n}_rain.png"},
        "other": {"clean": "test_b/gt/{n}_clean.jpg", "degraded": "test_b/data/{n}_rain.jpg"},
    },
    "gopro": {
        "train": {
            "clean": "train/GOPR0{n:03}_11_00/sharp/000001.png",
            "degraded": "train/GOPR0{n:03}_11_00/blur/000001.png",
        },
        "test": {
            "clean": "test/GOPR1{n:03}_11_00/sharp/000001.png",
            "degraded": "test/GOPR1{n:03}_11_00/blur/000001.png",
        },
        "other": {"degraded": "train/GOPR0{n:03}_11_00/blur_gamma/000001.png"},
    },
    "gopro-mprnet": {
        "train": {"clean": "train/target/GOPR{n}-0001.png", "degraded": "train/input/GOPR{n}-0001.png"},
        "test": {"clean": "test/GoPro/target/GOPR{n}-0001.png", "degraded": "test/GoPro/input/GOPR{n}-0001.png"},
    },
    "rain100l": {
        "train": {
            "clean": "rain_data_train_Light/norain/norain-{n}.png",
            "degraded": "rain_data_train_Light/rain/norain-{n}x2.png",
        },
        "test": {
            "clean": "rain_data_test_Light/norain/norain-{n}.png",
            "degraded": "rain_data_test_Light/rain/X2/norain-{n}x2.png",
        },
    },
    "rain100h": {
        "train": {"clean": "RainTrainH/norain-{n}.png", "degraded": "RainTrainH/rainy/rain-{n}.png"},
        "test": {"clean": "Rain100H/norain-{n:03}.png", "degraded": "Rain100H/rainy/rain-{n:03}.png"},
    },
    "sidd": {
        "train": {
            "clean": "Data/0001_{n:03}_S6/0001_GT_SRGB_010.PNG",
            "degraded": "Data/0001_{n:03}_S6/0001_NOISY_SRGB_010.PNG",
        }
    },
    "celeba-hq": {
        "train": {"clean": "train/female/{n:06}.jpg", "degraded": "train/male/{n:06}.jpg"},
        "test": {"clean": "val/female/{n:06}.jpg", "degraded": "val/male/{n:06}.jpg"},
    },
    "afhq": {
        "train": {
            "clean": "train/cat/cat{n}.png",
            "degraded": "train/dog/dog{n}.png",
            "mask": "train/wild/wild{n}.png",
        },
        "test": {"clean": "test/cat/cat{n}.png", "degraded": "test/dog/dog{n}.png", "mask": "test/wild/wild{n}.png"},
    },
    "domains": {
        "train": {"clean": "train/night/{n}.png", "degraded": "train/day/{n}.png"},
        "test": {"clean": "test/night/{n}.png", "degraded": "test/day/{n}.png"},
    },
    "ffhq": {
        "train": {"clean": "thumbnails128x128/00000/{n:05}.png"},
        "test": {"clean": "thumbnails128x128/60000/60{n:03}.png"},
    },
    "pictures": {"train": {"clean": "of/a journey/{n}.webp"}, "test": {"clean": "test/{n}.png"}},
}  # fmt: skip


def number(index):
    """1, 10, 100, 2, 20, 200, ...: as text, these sort otherwise than as numbers."""
    return 10 ** (index % 3) * (index // 3 + 1) if index < 27 else 1000 + index


def colour(index, kind, split="train"):
    """What picture `index` of a kind and split looks like."""
    return STEP * (index % 42), 80 * KINDS.index(kind), 100 * CLASSES.index(split)


def told(picture):
    """(index, kind, split) of a picture that was read."""
    red, green, blue = (picture.pixels[:, 0, 0] * 255).tolist()
    return round(red / STEP), KINDS[round(green / 80)], CLASSES[round(blue / 100)]


def seen(pictures, kind="clean"):
    """What the pictures of a kind in an opened set are."""
    return [told(part.read()) for part in pictures.columns[kind]]


def indices(pictures, kind="clean"):
    """Their numbers alone."""
    return [index for index, _, _ in seen(pictures, kind)]


def save(path, index, kind, split="train", size=24):
    """Write one picture, in the format that its suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size, size), colour(index, kind, split)).save(path, quality=100)


def encoded(index, kind, split, size, suffix="PNG"):
    data = io.BytesIO()
    Image.new("RGB", (size, size), colour(index, kind, split)).save(data, suffix, lossless=True)
    return data.getvalue()


def make_tree(layout, folder, pairs=6, size=24, test=3):
    """Write a set of `pairs` pairs (or pictures of each kind) to train on and `test` to test on; gives the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if layout in MAKERS:
        MAKERS[layout](folder, pairs, size, test)
        return folder
    for split, paths in PATHS[layout].items():
        if isinstance(paths, tuple):
            paths = {kind: paths[0].replace("{kind}", kind) for kind in paths[1]}
        for kind, path in paths.items():
            for index in range(test if split == "test" else pairs):
                save(folder / path.format(n=number(index)), index, kind, split, size)
    return folder


def make_sid(folder, pairs, size, test):
    """Two short exposures to a long one; `pairs` counts the short ones."""
    for split, count in {"train": pairs, "test": test}.items():
        for index in range(count):
            place = {kind: path.format(n=number(index // 2)) for kind, path in PATHS["sid-rgb"][split].items()}
            save(folder / place["clean"], index // 2, "clean", split, size)
            short = place["degraded"].replace("0.1s", ("0.04s", "0.1s")[index % 2])
            save(folder / short, index // 2, "degraded", split, size)


def make_celeba(folder, pairs, size, test):
    lines = []
    for number, split in enumerate(["train"] * pairs + ["other"] * 2 + ["test"] * test, 1):
        index = {"train": number - 1, "other": number - 1 - pairs, "test": number - 3 - pairs}[split]
        save(folder / f"img_align_celeba/{number:06}.jpg", index, "clean", split, size)
        lines.append(f"{number:06}.jpg {('train', 'other', 'test').index(split)}\n")
    (folder / "list_eval_partition.txt").write_text("".join(lines))


def make_database(path, entries):
    """An LMDB database of `entries`, pairs of key and bytes."""
    import lmdb

    path.mkdir(parents=True)
    with lmdb.open(str(path), map_size=2**24) as database, database.begin(write=True) as transaction:
        for key, value in entries:
            transaction.put(key, value)


def make_lsun(folder, pairs, size, test):
    """Bedrooms are clean, kitchens degraded."""
    for category, kind in {"bedroom": "clean", "kitchen": "degraded"}.items():
        for name, split, count in (("train", "train", pairs), ("val", "test", test)):
            entries = [(f"{index:040x}".encode(), encoded(index, kind, split, size, "WEBP")) for index in range(count)]
            make_database(folder / f"{category}_{name}_lmdb", entries)


def make_cifar(folder, pairs, size, test):
    """`pairs` pictures in each of the five files, at 32 x 32 whatever `size` is."""
    for number in range(1, 6):
        _records(
            folder / f"cifar-10-batches-bin/data_batch_{number}.bin",
            range(5 * (number - 1), 5 * (number - 1) + pairs),
            "train",
        )
    _records(folder / "cifar-10-batches-bin/test_batch.bin", range(test), "test")


def _records(path, indices, split):
    path.parent.mkdir(parents=True, exist_ok=True)
    planes = [b"".join(bytes([value]) * 1024 for value in colour(index, "clean", split)) for index in indices]
    path.write_bytes(b"".join(bytes([index % 10]) + record for index, record in zip(indices, planes, strict=True)))


def make_manifest(folder, pairs, size, test):
    """Clean and degraded names have nothing in common, and sort against each other."""
    for split, count in {"train": pairs, "test": test}.items():
        lines = ["degraded,clean"]
        for index in range(count):
            clean, degraded = f"good/{split}{index}.png", f"bad/{split}{99 - index}.png"
            save(folder / clean, index, "clean", split, size)
            save(folder / degraded, index, "degraded", split, size)
            lines.append(f"{degraded},{clean}")
        (folder / f"{split}.csv").write_text("\n".join(lines) + "\n")


def make_shards(folder, pairs, size, test):
    for split, count in {"train": pairs, "test": test}.items():
        with tarfile.open(folder / f"set-{split}-000000.tar", "w") as archive:
            for index in range(count):
                for kind in ("clean", "degraded"):
                    data = encoded(index, kind, split, size)
                    member = tarfile.TarInfo(f"{index:06}.{kind}.png")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))


MAKERS = {
    "sid-rgb": make_sid,
    "celeba": make_celeba,
    "lsun": make_lsun,
    "cifar-10": make_cifar,
    "manifest": make_manifest,
    "shards": make_shards,
}

if __name__ == "__main__":
    make_tree(sys.argv[1], sys.argv[2])
