"""The one way to open a set of pictures, in whatever layout it lies on the disk.

A published set that is laid out in files needs a row of `LAYOUTS` alone; another needs a `Finder`.
"""

from __future__ import annotations

import contextlib
import difflib
import itertools
from pathlib import Path

from residiff.data.catalog.layouts import Columns, Kind, Request, Split
from residiff.data.catalog.matching import some
from residiff.data.catalog.published import LAYOUTS, Layout
from residiff.data.catalog.tree import Tree
from residiff.data.parts import PictureSet
from residiff.data.settings import Pairing
from residiff.errors import ConfigError
from residiff.nearest import path_hint

__all__ = ["AUTO", "LAYOUTS", "Kind", "Layout", "Split", "detect", "open_set"]

AUTO = "auto"
_NEAR = 20
_DEEP = 200


def open_set(
    path: Path,
    layout: str = AUTO,
    split: Split = "train",
    *,
    pairing: Pairing = Pairing.NAME,
    domains: tuple[str, ...] = (),
    kinds: tuple[Kind, ...] = (),
) -> PictureSet:
    """The pictures of a set, before any of them is read.

    Parameters
    ----------
    path
        Its folder.
    layout
        A name of `LAYOUTS`; "auto" is that which the folder fits.
    split
        What is for training, or what is for testing; what a set calls validation is for testing where it has no other.
    pairing
        By name, what stands at the same place of each kind belongs together; otherwise the kinds are lists of their
        own.
    domains
        Of sets of several kinds of pictures one to generate ("clean" alone is given), or two, the first degraded and
        the second clean. Of other sets which of their variants.
    kinds
        Those to give; none are "clean" and, where they are, "degraded" and "mask".

    Raises
    ------
    ConfigError
        If the layout or a domain does not exist, or the set is not as its layout says: what is missing, twice there or
        without a partner is named.
    """
    name = detect(path) if layout == AUTO else layout
    if name not in LAYOUTS:
        raise ConfigError(f"no layout {name!r}; {_nearest(name)}")
    row = LAYOUTS[name]
    request = Request(_tree(path), row.title, split, pairing, domains, kinds)
    finder = next((each for each in row.finders if each.fits(request.tree)), row.finders[0])
    columns = finder.open(request)
    absent = [kind for kind in kinds if kind not in columns]
    if absent:
        raise ConfigError(
            f"{path}: {row.title} has no {absent[0]} pictures; add them, or choose a recipe that needs none"
        )
    return PictureSet(_source(row, request, columns), columns, row.scene)


def detect(path: Path) -> str:
    """The name of the one layout that a folder fits.

    Raises
    ------
    ConfigError
        If there is none or several; says what the folder holds, and which layouts there are or it could be.
    """
    tree = _tree(path)
    fitting = _fitting(tree)
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ConfigError(f"{path} fits the layouts {' and '.join(fitting)}; choose one with data.layout")
    holds = some([f"{name}/" for name in tree.folders()] + tree.files())
    if not holds:
        raise ConfigError(f"{path} is empty; give the folder that the set is in, or copy the set here")
    raise ConfigError(f"{path} is no set of a known layout: it holds {holds}. {_hint(tree)}")


def _fitting(tree: Tree) -> list[str]:
    fitting = [name for name, row in LAYOUTS.items() if not row.is_last and row.fits(tree)]
    return fitting or [name for name, row in LAYOUTS.items() if row.is_last and row.fits(tree)]


def _hint(tree: Tree) -> str:
    """The folder in it, or the one around it, that is a set; or else the layouts that there are."""
    near = [tree.root / name for name in tree.folders()] + [tree.root.resolve().parent]
    for folder in near[-_NEAR:]:
        # It is a hint: what cannot be opened is none
        with contextlib.suppress(ConfigError):
            fitting = [name for name in _fitting(Tree(folder)) if not LAYOUTS[name].is_last]
            if len(fitting) == 1:
                return f"{folder} is one ({fitting[0]}); give that"
    if _pictures_below(tree):
        return (
            "Pictures lie in folders below it: if it is one set of pictures whatever their names, choose "
            "data.layout=pictures; `residiff data layouts` lists the others"
        )
    return f"Choose one with data.layout: {', '.join(LAYOUTS)}"


def _pictures_below(tree: Tree) -> bool:
    """Whether pictures lie in one of the first folders below."""
    with contextlib.suppress(ConfigError):
        return any(tree.pictures(at) for at in itertools.islice(tree.walk(), _DEEP))
    return False


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name.lower(), [AUTO, *LAYOUTS], 1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join([AUTO, *LAYOUTS])}"


def _tree(path: Path) -> Tree:
    if not path.is_dir():
        raise ConfigError(f"{path} is not a folder; {path_hint(path)}")
    return Tree(path)


def _source(row: Layout, request: Request, columns: Columns) -> str:
    """What the set is, for people: "LOL v1, train, 485 pairs"."""
    words = [f"folder {request.root.resolve().name}"] if row.own else [row.title]
    if not row.own or request.split != "train":
        words.append(request.split)
    if request.domains:
        words.append(" to ".join(request.domains))
    return ", ".join([*words, f"{len(columns['clean'])} {_noun(columns)}"])


def _noun(columns: Columns) -> str:
    what = "pair" if len(columns) > 1 else "picture"
    return what if len(columns["clean"]) == 1 else f"{what}s"
