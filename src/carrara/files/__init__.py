"""The one door to the disk: nothing else in the package opens a file, or reads JSON, YAML, pictures or tensors.

``reading`` opens regular files alone; ``documents``, ``tensors`` and ``pictures`` read what is in them within bounds;
``writing`` puts whole files in the place of old ones; ``sealed`` does so with folders, and knows damaged ones.
"""

from carrara.files.documents import (
    LINE,
    Malformed,
    Yaml,
    as_kind,
    parse_json,
    parse_yaml,
    read_as,
    read_json,
    read_lines,
    read_yaml,
)
from carrara.files.pictures import PICTURE, PIXEL_LIMIT, Oversized, check_size, open_picture, picture_in
from carrara.files.reading import (
    BadFile,
    TooLarge,
    is_folder,
    is_regular,
    opened,
    read_bytes,
    read_text,
    shown,
    unreadable,
)
from carrara.files.tensors import (
    array_header,
    array_in,
    open_array,
    open_tensors,
    read_pickled,
    read_tensors,
    shapes,
    write_tensors,
)
from carrara.files.writing import NotWritten, cache_folder, explained, make_folder, replacing, sweep

__all__ = [
    "LINE",
    "PICTURE",
    "PIXEL_LIMIT",
    "BadFile",
    "Malformed",
    "NotWritten",
    "Oversized",
    "TooLarge",
    "Yaml",
    "array_header",
    "array_in",
    "as_kind",
    "cache_folder",
    "check_size",
    "explained",
    "is_folder",
    "is_regular",
    "make_folder",
    "open_array",
    "open_picture",
    "open_tensors",
    "opened",
    "parse_json",
    "parse_yaml",
    "picture_in",
    "read_as",
    "read_bytes",
    "read_json",
    "read_lines",
    "read_pickled",
    "read_tensors",
    "read_text",
    "read_yaml",
    "replacing",
    "shapes",
    "shown",
    "sweep",
    "unreadable",
    "write_tensors",
]
