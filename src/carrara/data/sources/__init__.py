"""Where data come from: a folder of pictures, or what Carrara brings."""

from carrara.data.sources.array import ArraySource
from carrara.data.sources.base import Fact, Source
from carrara.data.sources.catalogue import (
    BUILTIN,
    SOURCES,
    AnySource,
    as_source,
    open_dataset,
    others_in,
    source_at,
    source_mapping,
)
from carrara.data.sources.checkerboard import CheckerboardSource
from carrara.data.sources.chorales import ChoralesSource
from carrara.data.sources.digits import DigitsSource, digits
from carrara.data.sources.folder import FolderSource
from carrara.data.sources.moons import MoonsSource
from carrara.data.sources.openmoji import OpenMojiSource
from carrara.data.sources.rings import RingsSource
from carrara.data.sources.shards import ShardsSource
from carrara.data.sources.songs import SongsSource
from carrara.data.sources.sound import SoundSource
from carrara.data.sources.swissroll import SwissRollSource, swissroll
from carrara.data.sources.table import TableSource
from carrara.data.sources.tones import TonesSource

__all__ = [
    "BUILTIN",
    "SOURCES",
    "AnySource",
    "ChoralesSource",
    "ArraySource",
    "CheckerboardSource",
    "DigitsSource",
    "Fact",
    "FolderSource",
    "MoonsSource",
    "OpenMojiSource",
    "ShardsSource",
    "SoundSource",
    "SongsSource",
    "Source",
    "SwissRollSource",
    "TonesSource",
    "RingsSource",
    "TableSource",
    "as_source",
    "digits",
    "open_dataset",
    "others_in",
    "source_at",
    "source_mapping",
    "swissroll",
]
