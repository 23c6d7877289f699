"""The only door to image files: bytes become a `Picture` in [0, 1], and a `Picture` becomes bytes."""

from residiff.data.images.codecs import Format, format_like
from residiff.data.images.contents import ImageFile, fetch
from residiff.data.images.files import (
    MAX_PIXELS,
    READABLE_SUFFIXES,
    WRITABLE,
    WRITABLE_SUFFIXES,
    encode,
    format_of,
    from_pil,
    images_by_name,
    list_images,
    read,
    size_of,
    to_pil,
    write,
)
from residiff.data.images.picture import (
    Array,
    BitDepth,
    ImageWarning,
    Metadata,
    Picture,
    from_array,
    in_unit_range,
    planes_of,
    to_array,
)
from residiff.data.images.rows import RowReader, RowWriter, open_rows, write_rows
from residiff.data.images.xmp import provenance_of, with_provenance

__all__ = [
    "MAX_PIXELS",
    "READABLE_SUFFIXES",
    "WRITABLE",
    "WRITABLE_SUFFIXES",
    "Array",
    "BitDepth",
    "Format",
    "ImageFile",
    "ImageWarning",
    "Metadata",
    "Picture",
    "RowReader",
    "RowWriter",
    "encode",
    "fetch",
    "format_like",
    "format_of",
    "from_array",
    "from_pil",
    "images_by_name",
    "in_unit_range",
    "list_images",
    "open_rows",
    "planes_of",
    "provenance_of",
    "read",
    "size_of",
    "to_array",
    "to_pil",
    "with_provenance",
    "write",
    "write_rows",
]
