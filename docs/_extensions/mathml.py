"""Formulas as MathML, which browsers draw themselves: the manual asks no other server for a script or a font."""

from __future__ import annotations

from xml.etree import ElementTree

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata
from sphinx.writers.html5 import HTML5Translator

SPACE = "http://www.w3.org/1998/Math/MathML"
ACCENTS = "ˉ^~˜ˆ¯"
ElementTree.register_namespace("", SPACE)


def drawn(formula: str, *, as_block: bool = False) -> str:
    """LaTeX as MathML. docutils sets the index of an accented letter below it; here it stands where indices do."""
    text = tex2mathml(formula, as_block=as_block).replace("&ApplyFunction;", "\u2061")
    tree = ElementTree.fromstring(text)
    for parent in list(tree.iter()):
        for number, child in enumerate(parent):
            if _tag(child) == "munderover" and (child[2].text or "") in ACCENTS:
                parent[number] = _indexed(child)
    for raised in list(tree.iter(f"{{{SPACE}}}msup")):
        if _tag(raised[0]) == "msub":
            raised.tag = f"{{{SPACE}}}msubsup"
            raised[:1] = list(raised[0])
    return ElementTree.tostring(tree, "unicode")


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _indexed(element: ElementTree.Element) -> ElementTree.Element:
    letter, index, accent = element
    outer, inner = ElementTree.Element(f"{{{SPACE}}}msub"), ElementTree.Element(f"{{{SPACE}}}mover")
    inner.extend([letter, accent])
    outer.extend([inner, index])
    return outer


def _inline(writer: HTML5Translator, node: nodes.math) -> None:
    writer.body.append(drawn(node.astext()))
    raise nodes.SkipNode


def _block(writer: HTML5Translator, node: nodes.math_block) -> None:
    writer.body.append(writer.starttag(node, "div", CLASS="math", style="overflow: auto hidden; padding: 0.3em 0"))
    writer.body.append(drawn(node.astext(), as_block=True) + "</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register it as `html_math_renderer = "mathml"`."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
