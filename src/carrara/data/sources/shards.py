"""Pictures in shards as a source: from a folder of this machine, or from afar."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, final

from pydantic import Field

from carrara.data.base import Dataset
from carrara.data.description import Description, counts, taken_as, titled
from carrara.data.shards import Shards, is_shards
from carrara.data.shards.dataset import GIGABYTE
from carrara.data.sources.base import Source
from carrara.files import shown
from carrara.files.places import is_url


@final
@dataclass(frozen=True, kw_only=True)
class ShardsSource(Source):
    """What ``carrara data shard`` has written of a folder of pictures: the same pictures, and the same training.

    Attributes:
        path: of the folder of shards, or its address: ``s3://``, ``gs://``, ``https://``, or any that fsspec knows.
        cache: gigabytes of what lies afar that are kept on this machine, of all such data together; 0 = nothing.
    """

    builtin = False
    noun = "shard"
    kind: Literal["shards"] = "shards"
    path: Annotated[str, Field(max_length=1000)]
    cache: Annotated[float, Field(ge=0, le=1e9)] = 10.0

    @classmethod
    def suits(cls, path: Path) -> bool:
        return is_shards(path)

    def open(self, size: int | None = None) -> Dataset:
        return Shards(self.path, int(self.cache * GIGABYTE))

    def __str__(self) -> str:
        return self.path

    @property
    def name(self) -> str:
        return shown(self.path.rstrip("/").rpartition("/")[2] or "shards")

    @property
    def looks_captioned(self) -> bool:
        return Shards(self.path, int(self.cache * GIGABYTE)).info.captions

    def describe(self) -> Description:
        data = Shards(self.path, int(self.cache * GIGABYTE))
        said = [f"{self.name}: {data.index.examples} pictures", *taken_as(data.info)]
        if data.info.classes:
            said.append(titled("classes", counts(data.counts())))
        return Description(lines=tuple(said))

    def absolute(self) -> Source:
        return self if is_url(self.path) else replace(self, path=str(Path(self.path).resolve()))
