"""What is sent of a run: its model, its recipe and its card, and neither data nor the names of folders.

A model's folder goes as it is, with its manifest. Where ``config.json`` names a place of this machine, the name is
taken out, and the manifest says the new file's hash.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from carrara.errors import UserError
from carrara.files import is_regular, lies_in, read_as, sealed
from carrara.saved import CONFIG, damage
from carrara.share.places import without_places
from carrara.store.runs import EARLY, TINY, located, newest, open_model
from carrara.train import checkpoint

LARGEST = 1 << 24


@dataclass(frozen=True, kw_only=True)
class Item:
    """A file to be sent.

    Attributes:
        name: its place in the repository.
        content: the file, or what is in it.
    """

    name: str
    content: Path | bytes

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size


def packed(path: Path, scratch: Path, places: dict[str, str], *, checkpoints: bool = False) -> list[Item]:
    """The files of a run that are sent, besides its card.

    Args:
        scratch: a folder for a model that is in no file yet, because its training has not ended.
        places: gets the paths that are taken out.
        checkpoints: whether the newest checkpoint goes, too, from which training goes on.

    Raises:
        UserError: there is no model, or it is damaged.
    """
    run, weights = located(path), newest(path)
    if checkpoint.is_checkpoint(weights):
        open_model(weights).save(scratch / "model")
        weights = scratch / "model"
    items = [*_model(weights, "model", places)]
    for name in (f"{EARLY}", f"{TINY}/model"):
        if is_regular(run / name / CONFIG) and lies_in(run / name, run):
            items += _model(run / name, name, places)
    if checkpoints:
        last, _ = checkpoint.latest(run / "checkpoints")
        if last is None:
            raise UserError(f"'{run}' has no checkpoint that is whole: leave checkpoints out")
        items += _model(last, f"checkpoints/{last.name}", places)
    return items


def _model(folder: Path, name: str, places: dict[str, str]) -> Iterator[Item]:
    """The files of a sealed folder, and of one that nobody has sealed those that a model has."""
    if (why := damage(folder)) is not None:
        raise UserError(f"the model in '{folder}' is damaged: {why}; restore it from a copy")
    known = is_regular(folder / sealed.MANIFEST)
    entries = dict(sealed.read_manifest(folder).files) if known else _entries(folder)
    config = _config(folder, places)
    if config is not None:
        entries[CONFIG] = sealed.Entry(bytes=len(config), sha256=hashlib.sha256(config).hexdigest())
    for file in entries:
        yield Item(name=f"{name}/{file}", content=config if file == CONFIG and config is not None else folder / file)
    manifest: Path | bytes = folder / sealed.MANIFEST
    if config is not None or not known:
        document = sealed.Manifest(files=entries, format=sealed.FORMAT)
        manifest = json.dumps(asdict(document), indent=1).encode()
    yield Item(name=f"{name}/{sealed.MANIFEST}", content=manifest)


def _entries(folder: Path) -> dict[str, sealed.Entry]:
    paths = sorted(path for path in folder.iterdir() if path.name == CONFIG or path.suffix == ".safetensors")
    return {
        path.name: sealed.Entry(bytes=path.stat().st_size, sha256=sealed.sha256(path))
        for path in paths
        if is_regular(path) and lies_in(path, folder)
    }


def _config(folder: Path, places: dict[str, str]) -> bytes | None:
    """``config.json`` without places; None if it names none."""
    before = read_as(folder / CONFIG, dict[str, object], LARGEST)
    found: dict[str, str] = {}
    after: Mapping[str, object] = without_places(before, found)
    places |= found
    if not found:
        return None
    return (json.dumps(after, indent=2, ensure_ascii=False) + "\n").encode()
