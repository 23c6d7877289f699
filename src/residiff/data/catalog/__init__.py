"""Sets of pictures as they lie on a disk: the published layouts, and the one way to open any of them."""

from residiff.data.catalog.layouts import SPLIT_FOLDERS, Kind, PairedFiles, Rule, Split, known
from residiff.data.catalog.lists import import_lists, parse_root
from residiff.data.catalog.matching import Files
from residiff.data.catalog.opening import AUTO, detect, open_set
from residiff.data.catalog.published import LAYOUTS, Layout, published_layouts
from residiff.data.catalog.tree import Tree, expression, found, is_picture, joined, places

__all__ = [
    "AUTO",
    "LAYOUTS",
    "SPLIT_FOLDERS",
    "Files",
    "Kind",
    "Layout",
    "PairedFiles",
    "Rule",
    "Split",
    "Tree",
    "detect",
    "expression",
    "found",
    "import_lists",
    "is_picture",
    "joined",
    "known",
    "open_set",
    "parse_root",
    "places",
    "published_layouts",
]
