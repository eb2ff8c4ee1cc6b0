"""Files to batches: folders of pictures, built-in sets, transforms, the loader, and checks."""

from carrara.data.arrays import Arrays
from carrara.data.base import (
    DataInfo,
    Dataset,
    Example,
    Subset,
    Unreadable,
    captions_of,
    contents,
    fingerprint,
    nested,
    split,
)
from carrara.data.buckets import bucket_of_each, bucket_sizes, suggested_size
from carrara.data.captions import Captioned, CaptionTable
from carrara.data.emoji import openmoji
from carrara.data.folder import Folder, Reading
from carrara.data.inspection import DataReport, Finding, inspect_folder, write_findings
from carrara.data.latents import CachedLatents, LatentTransform
from carrara.data.loader import Loader, batch_of, spread
from carrara.data.maps import Mapped, maps_of, numbered
from carrara.data.sources import (
    BUILTIN,
    SOURCES,
    AnySource,
    DigitsSource,
    Fact,
    FolderSource,
    OpenMojiSource,
    SoundSource,
    Source,
    SwissRollSource,
    TonesSource,
    as_source,
    digits,
    open_dataset,
    swissroll,
)
from carrara.data.transforms import Transform

__all__ = [
    "BUILTIN",
    "SOURCES",
    "AnySource",
    "Arrays",
    "CachedLatents",
    "CaptionTable",
    "Captioned",
    "DataInfo",
    "DataReport",
    "Dataset",
    "DigitsSource",
    "Example",
    "Fact",
    "Finding",
    "Folder",
    "FolderSource",
    "LatentTransform",
    "Loader",
    "Mapped",
    "OpenMojiSource",
    "Reading",
    "SoundSource",
    "Source",
    "Subset",
    "SwissRollSource",
    "TonesSource",
    "Transform",
    "Unreadable",
    "as_source",
    "batch_of",
    "bucket_of_each",
    "bucket_sizes",
    "contents",
    "digits",
    "fingerprint",
    "inspect_folder",
    "maps_of",
    "numbered",
    "open_dataset",
    "openmoji",
    "captions_of",
    "nested",
    "split",
    "spread",
    "suggested_size",
    "swissroll",
    "write_findings",
]
