"""Forms that ask for a picture to be restored: which fields there are, and how they are read.

A form is `multipart/form-data`. The picture and its mask are files; everything else is a field, and one that is empty
counts as left out.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import PurePosixPath
from typing import Any

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import FormData, UploadFile

from residiff.errors import ConfigError
from residiff.restore.options import MOST_SAMPLES
from residiff.seeds import MAX_SEED
from residiff.web import Failure, RefusedError, Work

# Of a field, in bytes; of a file's name, in letters
_MOST_TEXT, _MOST_NAME = 4096, 255
_FILES = ("image", "mask")


class Fields(BaseModel):
    """The fields beside the files."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description="A name of /v1/models; the server's default if left out.")
    steps: int | None = Field(None, ge=1, le=1_000_000, description="Of sampling; the model's own number if left out.")
    seed: int = Field(0, ge=0, le=MAX_SEED, description="Of the noise: the same one gives the same picture.")
    strength: float = Field(1.0, ge=0, le=1, allow_inf_nan=False, description="0 keeps the input, 1 takes the result.")
    samples: int = Field(1, ge=1, le=MOST_SAMPLES, description="How many are made; of several the mean is given.")
    antithetic: bool = Field(False, description="Whether every other sample has the negative noise.")
    format: str | None = Field(None, description="png, jpg, webp, tiff, avif or bmp; the image's own if left out.")
    quality: int = Field(95, ge=1, le=100, description="Of lossy formats.")
    bit_depth: int | None = Field(None, description="8 or 16; the image's own if left out.")
    strip: bool = Field(False, description="Whether all metadata are left out of the result.")
    keep: bool = Field(False, description="Whether pixels stay as they are where the mask is black.")
    tile: str = Field("auto", description="Side of tiles, auto where memory asks for them, 0 for none.")
    allow_truncated: bool = Field(False, description="Whether what is left of a damaged file is restored.")
    show_steps: bool = Field(False, description="Whether a job keeps small pictures of what each step made.")


def form_schema() -> dict[str, Any]:
    """The form, as OpenAPI describes the body of a request."""
    schema = Fields.model_json_schema()
    files = {
        "image": {"type": "string", "format": "binary", "description": "PNG, JPEG, WebP, TIFF, GIF, AVIF or BMP."},
        "mask": {"type": "string", "format": "binary", "description": "White where to work, of the image's size."},
    }
    schema["properties"] = {**files, **schema["properties"]}
    schema["required"] = ["image"]
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}


async def read_form(request: Request, max_parts: int, default_model: str) -> Work:
    """The work that a request asks for.

    Raises
    ------
    RefusedError
        With 415 if it is no form of this kind.
    HTTPException
        With 400 if the form is damaged, or has too many parts or too large ones.
    ConfigError
        If a field is not known or cannot be so, or the picture is missing.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise RefusedError(Failure("unsupported_media_type", "send a form as multipart/form-data with `image`", 415))
    async with request.form(max_files=len(_FILES), max_fields=max_parts, max_part_size=_MOST_TEXT) as form:
        texts, files = _sorted(form)
        if "image" not in files:
            raise ConfigError("`image` is missing; send the picture's file under that name")
        given = _checked(texts)
        mask = await files["mask"].read() if "mask" in files else None
        image = files["image"]
        values = given.model_dump() | {"model": given.model or default_model}
        return Work(image=await image.read(), mask=mask or None, name=_name(image.filename), **values)


def _sorted(form: FormData) -> tuple[dict[str, str], dict[str, UploadFile]]:
    """The texts that are not empty, and the files; each may be there once."""
    texts: dict[str, str] = {}
    files: dict[str, UploadFile] = {}
    for name, value in form.multi_items():
        if name in texts or name in files:
            raise ConfigError(f"`{name[:64]}` is there twice; send it once")
        if isinstance(value, UploadFile):
            if name not in _FILES:
                raise ConfigError(f"`{name[:64]}` is a file; files are {' and '.join(_FILES)}")
            files[name] = value
        elif name in _FILES:
            raise ConfigError(f"`{name}` is text; send a file, with a name")
        else:
            texts[name] = value
    return texts, files


def _checked(texts: Mapping[str, str]) -> Fields:
    for name in texts:
        if name not in Fields.model_fields:
            near = difflib.get_close_matches(name, Fields.model_fields, 1)
            told = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(Fields.model_fields)}"
            raise ConfigError(f"no field `{name[:64]}`; {told}")
    try:
        return Fields.model_validate({name: text for name, text in texts.items() if text.strip()})
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{first['loc'][0]} is {str(first['input'])[:64]!r}: {first['msg'].lower()}") from error


def _name(given: str | None) -> str:
    """A file's name without folders of either kind; what has none is called as on a pipe."""
    name = PurePosixPath((given or "").replace("\\", "/")).name
    letters = "".join(letter for letter in name if letter.isprintable())[-_MOST_NAME:]
    return letters or Work.name


# What is a field of the one is one of the other
if {*Fields.model_fields, *_FILES, "name"} != {field.name for field in fields(Work)}:
    raise RuntimeError("the form and the work have other fields")
