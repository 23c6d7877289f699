"""The masks of a batch, each by the name of the picture that it is for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from residiff.errors import ConfigError, ResidiffError
from residiff.web.page.archives import Member
from residiff.web.page.shelf import Shelf


class Masks:
    """Masks, kept on the shelf. A picture's has its path, but for the suffix, or its file name where one alone does."""

    def __init__(self, found: Iterable[Member], shelf: Shelf) -> None:
        self._by_path: dict[PurePosixPath, Path | ResidiffError] = {}
        self._by_name: dict[str, list[Path | ResidiffError]] = defaultdict(list)
        for member in found:
            mask = Path(shelf.put(member.name, member.data)) if member.error is None else member.error
            path = PurePosixPath(member.name).with_suffix("")
            self._by_path.setdefault(path, mask)
            self._by_name[path.name].append(mask)

    def of(self, name: str) -> bytes:
        """The file of the mask of picture `name`.

        Raises
        ------
        ConfigError
            If there is none, or there are several in other folders.
        ImageError
            If it was too large, or damaged in its archive.
        """
        path = PurePosixPath(name).with_suffix("")
        alike = self._by_name.get(path.name, [])
        mask = self._by_path.get(path) or (alike[0] if len(alike) == 1 else None)
        if mask is None:
            there = "there are several masks" if alike else "there is no mask"
            raise ConfigError(f"{name}: {there} named {path.name}; give one named {path}, white where to work")
        if isinstance(mask, ResidiffError):
            raise mask
        return mask.read_bytes()
