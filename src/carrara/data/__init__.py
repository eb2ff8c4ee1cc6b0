"""Files to batches: folders of pictures, built-in sets, transforms, the loader, and checks."""

from carrara.data.base import DataInfo, Dataset, Example, Subset, Unreadable, contents, fingerprint, split
from carrara.data.buckets import bucket_of_each, bucket_sizes
from carrara.data.builtin import Arrays, digits, swissroll
from carrara.data.captions import Captioned, CaptionTable
from carrara.data.checks import DataReport, inspect_folder, suggested_size
from carrara.data.emoji import openmoji
from carrara.data.folder import Folder, looks_captioned
from carrara.data.latents import CachedLatents, LatentTransform
from carrara.data.loader import Loader, batch_of, spread
from carrara.data.maps import Mapped, maps_of, numbered
from carrara.data.open import BUILTIN, open_dataset
from carrara.data.transforms import Transform

__all__ = [
    "CaptionTable",
    "Captioned",
    "BUILTIN",
    "Arrays",
    "CachedLatents",
    "DataInfo",
    "DataReport",
    "Dataset",
    "Example",
    "Folder",
    "looks_captioned",
    "LatentTransform",
    "Loader",
    "Mapped",
    "Subset",
    "Transform",
    "Unreadable",
    "batch_of",
    "bucket_of_each",
    "bucket_sizes",
    "digits",
    "contents",
    "fingerprint",
    "inspect_folder",
    "maps_of",
    "numbered",
    "open_dataset",
    "openmoji",
    "split",
    "spread",
    "suggested_size",
    "swissroll",
]
