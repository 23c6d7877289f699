"""How a picture came about, kept in its XMP beside whatever else is there.

It is one text, in the field `provenance` of the namespace `urn:residiff:1#`, as an element:

    <rdf:Description xmlns:residiff="urn:residiff:1#"><residiff:provenance>TEXT</residiff:provenance></rdf:Description>

The rest of the packet stays as it is, to the byte.
"""

from __future__ import annotations

import html
import re
from dataclasses import replace

from residiff.data.images.picture import Metadata

NAMESPACE = "urn:residiff:1#"
# JPEG has no room for more in one segment
MOST = 65_000

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_OURS = re.compile(
    rb"<rdf:Description [^>]*xmlns:residiff=\"urn:residiff:1#\"[^>]*>\s*<residiff:provenance>[^<]*"
    rb"</residiff:provenance>\s*</rdf:Description>\s*"
)
# As we write it, and as programs may that write the packet anew
_ELEMENT = re.compile(rb"<residiff:provenance>([^<]*)</residiff:provenance>")
_ATTRIBUTE = re.compile(rb"residiff:provenance=(?:\"([^\"<]*)\"|'([^'<]*)')")
_END_OF_RDF = re.compile(rb"</(?:[\w.-]+:)?RDF\s*>")
_END_OF_META = re.compile(rb"</(?:[\w.-]+:)?xmpmeta\s*>")
_EMPTY = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"></x:xmpmeta>'
    b'<?xpacket end="w"?>'
)


def with_provenance(metadata: Metadata, text: str) -> Metadata | None:
    """`metadata` with `text` (of ASCII) as its provenance, in place of any there was; all else in it stays.

    None where there is no place for it: the packet is none that can be added to, or would be larger than a JPEG holds.
    """
    packet = _OURS.sub(b"", metadata.xmp or _EMPTY)
    field = f"<residiff:provenance>{html.escape(text, quote=False)}</residiff:provenance>"
    ours = f'<rdf:Description xmlns:rdf="{_RDF}" rdf:about="" xmlns:residiff="{NAMESPACE}">{field}</rdf:Description>'
    added = _before_last(_END_OF_RDF, packet, ours.encode("ascii"))
    if added is None:
        alone = f'<rdf:RDF xmlns:rdf="{_RDF}">{ours}</rdf:RDF>'
        added = _before_last(_END_OF_META, packet, alone.encode("ascii"))
    return None if added is None or len(added) > MOST else replace(metadata, xmp=added)


def provenance_of(metadata: Metadata) -> str | None:
    """The text that `with_provenance` put there, None where there is none."""
    packet = metadata.xmp or b""
    found = _ELEMENT.search(packet) or _ATTRIBUTE.search(packet)
    if found is None:
        return None
    return html.unescape(next(group for group in found.groups() if group is not None).decode("utf-8", "replace"))


def _before_last(end: re.Pattern[bytes], packet: bytes, added: bytes) -> bytes | None:
    places = [found.start() for found in end.finditer(packet)]
    return packet[: places[-1]] + added + packet[places[-1] :] if places else None
