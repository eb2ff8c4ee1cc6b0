"""Pictures in tar files with an index: ``layout`` says what is in them, ``writing`` makes them of a folder, ``dataset``
opens them from a path or from afar."""

from carrara.data.shards.dataset import Shards
from carrara.data.shards.layout import INDEX, is_shards
from carrara.data.shards.writing import Sharding, Written, shard

__all__ = ["INDEX", "Sharding", "Shards", "Written", "is_shards", "shard"]
