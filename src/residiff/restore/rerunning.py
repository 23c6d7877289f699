"""A result made again from what it says of itself, and whether the same comes out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from residiff import models
from residiff.checkpoint import stated_hash
from residiff.data import images
from residiff.errors import ConfigError, ModelFileError
from residiff.files import sha256, sha256_of
from residiff.restore.manifest import NAME, Record, rows_of
from residiff.restore.provenance import Provenance, provenance_of
from residiff.restore.work import Restores, Result, restore_bytes


@dataclass(frozen=True)
class Origin:
    """How a result came about, and the last line of a manifest that names it, if there is one."""

    provenance: Provenance
    record: Record | None


@dataclass(frozen=True)
class Rerun:
    """What came out.

    Attributes
    ----------
    result : of now
    same_bytes : whether the files are equal
    same_pixels : whether all they show is equal
    largest : difference of a value, in grey levels of the file, of which there are `levels` above black
    differing : values that differ, of `values`
    """

    result: Result
    same_bytes: bool
    same_pixels: bool
    largest: int
    differing: int
    values: int
    levels: int

    @property
    def is_close(self) -> bool:
        """Whether no value differs by more than a grey level of 255, as another machine's may."""
        return self.largest * 255 <= self.levels


def origin(image: Path) -> Origin:
    """How `image` came about: by its own metadata, or by a manifest in its folder or one above.

    Raises
    ------
    ConfigError
        If neither says so.
    ImageError
        If it cannot be read.
    """
    file = images.fetch(image)
    records = list(_records_above(image))
    same = [record for record in records if record.sha256 == sha256(file.data)]
    told = provenance_of(images.read(file))
    # Where the file was changed since, a record still says where its source is
    record = next(reversed(same or records), None)
    if told is None and not same:
        raise ConfigError(f"neither {image} nor a manifest says how it was made; it was stripped, or never restored")
    return Origin(told or same[-1].provenance, record)


def find_model(provenance: Provenance, places: Sequence[Path] = ()) -> Path:
    """The model file with the hash that `provenance` names: of `places` (files, runs, folders of them), or bundled.

    Raises
    ------
    ModelFileError
        If none of them has it.
    """
    for path in _model_files(places):
        if stated_hash(path) == provenance.model_sha256:
            return path
    wanted = f"{provenance.model!r} with SHA-256 {provenance.model_sha256}"
    raise ModelFileError(f"no model given or bundled is {wanted}; give its file or folder with --model")


def find_source(image: Path, origin: Origin, given: Path | None = None) -> Path:
    """The picture that `image` was made of: the one given, that of the manifest, or one of its name beside the image.

    Raises
    ------
    ConfigError
        If it is not the one, or there is none.
    """
    told, record = origin.provenance, origin.record
    others = [Path(record.source)] if record is not None else []
    candidates = [given] if given is not None else [*others, image.parent / Path(told.source).name]
    return _with_hash(candidates, told.source_sha256, f"the picture {told.source!r}", "--source")


def find_mask(origin: Origin, given: Path | None = None) -> Path | None:
    """The mask that was used, None if none was; `ConfigError` as `find_source`."""
    told, record = origin.provenance, origin.record
    if told.mask_sha256 is None:
        return None
    there = given or (Path(record.mask) if record is not None and record.mask is not None else None)
    return _with_hash([] if there is None else [there], told.mask_sha256, "the mask", "--mask")


def rerun(image: Path, provenance: Provenance, source: Path, mask: Path | None, restorer: Restores) -> Rerun:
    """Restore `source` as `provenance` says, and compare with `image`.

    Raises
    ------
    ConfigError
        If the settings cannot be.
    ImageError
        If a picture cannot be read.
    """
    options = provenance.settings.options()
    format = options.format or images.format_of(image)
    restorer.check(steps=options.steps, seed=options.seed, masked=mask is not None, keep=options.keep)
    result = restore_bytes(source, mask, restorer, options, format)
    before = images.fetch(image)
    old, new = (images.to_array(images.read(file)) for file in (before, images.ImageFile(image.name, result.data)))
    if old.shape != new.shape or old.dtype != new.dtype:
        raise ConfigError(f"{image} is {old.shape} {old.dtype}, what comes out {new.shape} {new.dtype}; it was edited")
    apart = np.abs(old.astype(np.int64) - new.astype(np.int64))
    differing = int(np.count_nonzero(apart))
    levels = 255 if old.dtype == np.uint8 else 65_535
    return Rerun(result, before.data == result.data, not differing, int(apart.max()), differing, apart.size, levels)


def _records_above(image: Path) -> Iterator[Record]:
    """The lines that may name `image`, of the manifests in its folder and those above."""
    place = image.absolute()
    for folder in place.parents:
        name = place.relative_to(folder).as_posix()
        for path in sorted(folder.glob(f"{NAME}*.jsonl")):
            yield from (record for record in rows_of(path) if record.target == name)


def _model_files(places: Sequence[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_dir():
            yield from sorted(place.rglob("*.safetensors"))
        else:
            yield place
    yield from models.bundled().values()


def _with_hash(paths: Sequence[Path], wanted: str, what: str, option: str) -> Path:
    for path in paths:
        if path.is_file() and sha256_of(path) == wanted:
            return path
    looked = f"{', '.join(map(os.fspath, paths))} is not it" if paths else "no manifest says where it is"
    raise ConfigError(f"{what} with SHA-256 {wanted} was not found: {looked}; give it with {option}")
