"""How a result came about: enough to make it again, and small enough to travel in the file itself."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from residiff.data import images
from residiff.data.images import Format, ImageWarning, Metadata, Picture
from residiff.errors import ConfigError
from residiff.restore.options import Settings

HASH = "^[0-9a-f]{64}$"


class Made(BaseModel):
    """By what a result was computed: the last bit depends on it."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    torch: str
    device: str
    backend: str = "eager"
    threads: int
    batch: int


class Provenance(BaseModel):
    """How a result came about.

    Attributes
    ----------
    residiff : version
    model, model_sha256 : its name, and the hash in its file's header
    source, source_sha256 : name of the file, without its folder, and hash of its bytes
    mask_sha256 : hash of the mask's bytes, if there was one
    settings : that the result depends on
    made : by what it was computed
    whole : False where the file was cut short, and the rest of it restored
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    residiff: str
    model: str
    model_sha256: str = Field(pattern=HASH)
    source: str
    source_sha256: str = Field(pattern=HASH)
    mask_sha256: str | None = Field(default=None, pattern=HASH)
    settings: Settings
    made: Made
    whole: bool = True

    def text(self) -> str:
        """As JSON in one line of ASCII, keys sorted: equal facts are equal bytes."""
        return json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"))

    @classmethod
    def of(cls, text: str) -> Provenance:
        """What `text` gave it; `ConfigError` if it is of another version, or none."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ConfigError(f"the provenance is not one that this version of residiff wrote ({error})") from error


def signed(picture: Picture, provenance: Provenance, format: Format) -> Picture:
    """The picture with its provenance among its metadata, as `signed_as` has them."""
    return replace(picture, metadata=signed_as(picture.metadata, provenance, format))


def signed_as(metadata: Metadata, provenance: Provenance, format: Format) -> Metadata:
    """The metadata, which stay, and the provenance among them; BMP has no place for it.

    Where a packet of XMP is there that cannot be added to, it is kept, and an `ImageWarning` says what is left out.
    """
    if format is Format.BMP:
        return metadata
    signed = images.with_provenance(metadata, provenance.text())
    if signed is None:
        said = f"{provenance.source}: its XMP cannot be added to; the result does not say how it was made"
        warnings.warn(said, ImageWarning, stacklevel=2)
        return metadata
    return signed


def provenance_of(picture: Picture) -> Provenance | None:
    """How the picture says it came about; None where it says nothing. `ConfigError` where it cannot be read."""
    text = images.provenance_of(picture.metadata)
    return None if text is None else Provenance.of(text)


def stripped(picture: Picture) -> Picture:
    """The picture without any metadata."""
    return replace(picture, metadata=Metadata())
