"""The one door to the disk: nothing else in the package opens a file, or reads JSON, YAML, pictures or tensors.

``reading`` opens regular files alone; ``documents``, ``tensors`` and ``pictures`` read what is in them within bounds;
``writing`` puts whole files in the place of old ones, and ``refusals`` says why that cannot be; ``sealed`` writes whole
folders, and knows damaged ones.
"""

from carrara.files.documents import (
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
from carrara.files.pictures import PIXEL_LIMIT, Oversized, open_picture
from carrara.files.reading import BadFile, is_regular, opened, read_bytes, read_text
from carrara.files.refusals import free_space, in_words, refusal
from carrara.files.tensors import open_array, open_tensors, read_pickled, read_tensors, write_tensors
from carrara.files.writing import (
    Appended,
    NotWritten,
    cache_folder,
    check_file,
    check_place,
    check_room,
    explained,
    make_folder,
    replacing,
    sweep,
    write_bytes,
)

__all__ = [
    "PIXEL_LIMIT",
    "Appended",
    "BadFile",
    "Malformed",
    "NotWritten",
    "Oversized",
    "Yaml",
    "as_kind",
    "cache_folder",
    "check_file",
    "check_place",
    "check_room",
    "explained",
    "free_space",
    "in_words",
    "is_regular",
    "make_folder",
    "open_array",
    "open_picture",
    "open_tensors",
    "opened",
    "parse_json",
    "parse_yaml",
    "read_as",
    "read_bytes",
    "read_json",
    "read_lines",
    "read_pickled",
    "read_tensors",
    "read_text",
    "read_yaml",
    "refusal",
    "replacing",
    "sweep",
    "write_bytes",
    "write_tensors",
]
