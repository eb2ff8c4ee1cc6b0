"""``carrara data``: data in other forms."""

from pathlib import Path

from cyclopts import App

data = App(name="data", help="Brings data into another form.", help_format="plaintext")


@data.command
def shard(
    folder: Path,
    out: Path,
    /,
    *overrides: str,
    examples: int = 10_000,
    megabytes: int = 256,
    workers: int | None = None,
) -> None:
    """Writes pictures as shards, which are read lazily, here or from S3. Run it again to go on where it stopped.

    A shard is a tar file of pictures, captions and classes, as WebDataset reads it; beside it lies an index. What is
    trained on shards is equal to what is trained on the folder, to the bit.

    Examples:
        carrara data shard photos/ photos-shards/
        carrara data shard photos.zip shards/ data.source.classes=none
        carrara train photos-shards/
        carrara train s3://bucket/photos-shards

    Parameters
    ----------
    folder
        A folder or a zip file of pictures, in which nothing is changed.
    out
        A folder that is not there, or in which the same command was interrupted.
    overrides
        What the folder is taken as, key=value: keys of data.source, such as data.source.classes=deep.
    examples
        The most pictures of a shard.
    megabytes
        The largest shard, about.
    workers
        Processes; one for each processor, if not given.
    """
    from carrara.cli import sharded

    sharded.write(folder, out, overrides, examples, megabytes, workers)
