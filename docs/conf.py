"""The manual: `make docs` builds it from these pages, and from the program itself, into docs/_build/html."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_extensions"))

from residiff.version import VERSION  # noqa: E402

# It tells of every thread while the gallery runs
logging.getLogger("pyvips").setLevel(logging.WARNING)

project = "residiff"
author = copyright = "The residiff authors"
release = version = VERSION
extensions = ["myst_parser", "sphinx.ext.viewcode", "sphinx_gallery.gen_gallery", "mathml", "pages"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "_extensions"]
highlight_language = "text"
sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "gallery",
    "abort_on_example_error": True,
    "download_all_examples": False,
    # Times of a machine that somebody built it on say nothing
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": 1e9,
    "matplotlib_animations": False,
}
templates_path: list[str] = []
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"residiff {VERSION}"
html_math_renderer = "mathml"
html_copy_source = False
html_show_sourcelink = False
html_static_path: list[str] = []
python_use_unqualified_type_names = True
# Two rooms have a class of one name, and a bare annotation does not say whose it means
suppress_warnings = ["ref.python"]
