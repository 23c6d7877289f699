"""What all parts of the page share: the engine, who runs what, files, limits, and what comes in from the browser."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from residiff.curve import Curve
from residiff.data import images
from residiff.data.images import ImageFile
from residiff.errors import ConfigError, ImageDecodeError, ImageTooLargeError, ResidiffError
from residiff.web import ModelEntry, Product, Work
from residiff.web.page.choices import Choices
from residiff.web.page.dial import Rates
from residiff.web.page.engine import Engine
from residiff.web.page.running import Seats
from residiff.web.page.shelf import Shelf
from residiff.web.page.views import shown_as

# Megapixels that times are told for before there is a picture
TYPICAL = 0.25
_PAINTED = "data:image/png;base64,"
# Seconds that a page waits for the models when it is opened
_PATIENCE = 60.0


@dataclass(frozen=True)
class Bounds:
    """What is taken from a browser.

    Attributes
    ----------
    file_bytes : of a picture
    upload_bytes : of an archive
    held_bytes : of all that lies there at one time, whoever sent it
    max_pixels : of a picture
    """

    file_bytes: int = 32 << 20
    upload_bytes: int = 256 << 20
    held_bytes: int = 4 << 30
    max_pixels: int = 25_000_000


@dataclass(frozen=True)
class Desk:
    """What all parts of the page share."""

    engine: Engine
    bounds: Bounds = Bounds()
    seats: Seats = field(default_factory=Seats)
    shelf: Shelf = field(default_factory=Shelf)
    rates: Rates = field(default_factory=Rates)

    def models(self) -> Sequence[ModelEntry]:
        """The models there are; waits for them. `ConfigError` where there are none in a minute."""
        if not self.engine.models:
            self.engine.wait_ready(_PATIENCE)
        if not self.engine.models:
            raise ConfigError("the models are still being loaded; open the page again in a minute")
        return self.engine.models

    def model(self, name: str) -> ModelEntry:
        """The model of that name, or the first one."""
        models = self.models()
        return next((model for model in models if model.name == name), models[0])

    def takes_mask(self, model: str, keep: bool) -> bool:
        """Whether a picture is to have a mask: the model needs one, or what is black in it is kept."""
        return self.model(model).needs_mask or keep

    def shown(self, name: str, data: bytes) -> str:
        """The path of a picture as browsers show it."""
        return self.shelf.put(*shown_as(name, data, self.bounds.max_pixels))

    def learn(self, work: Work, product: Product, pixels: int) -> None:
        """Note what a step took."""
        steps = (self.model(work.model).steps if work.steps is None else work.steps) * work.samples
        self.rates.learn(work.model, steps, pixels / 1e6, product.seconds)


def curve_of(model: ModelEntry) -> Curve | None:
    """What was measured of a model; None where nothing was."""
    return Curve.of_card(model.card)


@dataclass(frozen=True)
class Given:
    """A picture and its mask as the browser gave them: paths of files, and the data URL of what was painted."""

    picture: str | None
    painted: str = ""
    mask: str | None = None

    def work(self, desk: Desk, choices: Choices, *, show_steps: bool = False) -> Work:
        """What is to be done.

        Raises
        ------
        ConfigError
            If there is no picture, or no mask where one is needed.
        ImageError
            If a file is gone or too large.
        """
        if not self.picture:
            raise ConfigError("there is no picture yet; drop one, paste one, or take one of the examples")
        model = desk.model(choices.model)
        path = Path(self.picture)
        mask = self._mask(desk) if desk.takes_mask(choices.model, choices.keep) else None
        if mask is None and model.needs_mask:
            raise ConfigError(f"model {model.name!r} works where a mask is white; paint one, or give a file of it")
        if mask is None and choices.keep:
            raise ConfigError("what is kept is where a mask is black; paint one, or give a file of it")
        return work_of(choices, file_bytes(desk, path), path.name, mask, show_steps=show_steps)

    def _mask(self, desk: Desk) -> bytes | None:
        painted = painted_mask(self.painted, desk.bounds.file_bytes)
        return file_bytes(desk, Path(self.mask)) if painted is None and self.mask else painted


def work_of(choices: Choices, image: bytes, name: str, mask: bytes | None = None, *, show_steps: bool = False) -> Work:
    """The settings, asked of a picture."""
    return Work(
        image,
        mask,
        name,
        choices.model,
        choices.steps,
        choices.seed,
        choices.strength,
        1 if show_steps else choices.samples,
        format=None if choices.format is None else choices.format.value,
        strip=choices.strip,
        keep=choices.keep,
        show_steps=show_steps,
    )


def file_bytes(desk: Desk, path: Path) -> bytes:
    """The bytes of a file that was uploaded; `ImageError` where it is gone, too large, or none of the page's."""
    if not path.resolve().is_relative_to(desk.shelf.folder.resolve()) or not path.is_file():
        raise ImageDecodeError(f"{path.name}: is not here any more; give it again")
    if path.stat().st_size > desk.bounds.file_bytes:
        most = desk.bounds.file_bytes >> 20
        raise ImageTooLargeError(f"{path.name}: is over the limit of {most} MiB; send a smaller file")
    return path.read_bytes()


def megapixels(desk: Desk, path: str | None) -> float:
    """Of a picture that was uploaded, by its header; of a typical one where there is none that can be read."""
    try:
        height, width = images.size_of(ImageFile("picture", file_bytes(desk, Path(path or ""))))
    except ResidiffError:
        return TYPICAL
    return height * width / 1e6


def painted_mask(text: str, most: int) -> bytes | None:
    """The PNG of what was painted, a data URL; None where nothing was. `ConfigError` where it is none."""
    if not text:
        return None
    if not text.startswith(_PAINTED) or len(text) > 2 * most:
        raise ConfigError("the painted mask cannot be read; paint it again")
    try:
        return base64.b64decode(text.removeprefix(_PAINTED), validate=True)
    except binascii.Error as error:
        raise ConfigError("the painted mask cannot be read; paint it again") from error


def foreign_files(value: object, folder: Path) -> bool:
    """Whether what a browser sends names a file that does not lie in `folder`, or an address to fetch one from."""
    if isinstance(value, Mapping):
        path = value.get("path")
        if isinstance(path, str) and _is_foreign(path, folder):
            return True
        return any(foreign_files(each, folder) for each in value.values())
    if isinstance(value, list | tuple):
        return any(foreign_files(each, folder) for each in value)
    return False


def _is_foreign(path: str, folder: Path) -> bool:
    if re.match(r"[a-z][a-z0-9+.-]*:", path, re.IGNORECASE) or "\0" in path:
        return True
    return not Path(path).resolve().is_relative_to(folder.resolve())
