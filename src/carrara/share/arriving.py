"""What comes from a repository: which of its files, and whether they are what they should be.

Anybody may have put a repository together. So no name in it may lead out of its folder, only files of known kinds are
taken, nothing of them is run, each is compared with the hash that the Hub lists for the commit, and models with their
manifests.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from carrara.errors import UserError
from carrara.files import BadFile, check_room, delete, in_words, is_regular, opened, sealed, shown, write_bytes
from carrara.model import read_config
from carrara.saved import CONFIG, damage
from carrara.share.hub import Listed, Snapshot, download

RECORD = "pulled.json"
"""Of which repository and commit a run is."""
OURS = re.compile(
    r"README\.md|recipe\.yaml|samples/[\w.-]+\.png"
    r"|(model|early|tiny-decoder/model|checkpoints/step-\d{1,15})/[\w-]+\.(json|safetensors)"
)
"""The files of a run."""
THEIRS = re.compile(r"(?!.*\.(fp16|bf16|fp32|non_ema)\b)([\w-]+/){0,2}[\w.-]+\.(json|safetensors|txt|model|md)")
"""The files of a pipeline of diffusers."""
INDEX = "model_index.json"
MOST = 2000
"""Files of a repository."""
LONGEST = 200
TEXT = 1 << 26
"""The largest file that is no tensors, in bytes."""


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """Where a run is from."""

    repository: str
    commit: str
    revision: str | None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is taken of a repository.

    Attributes:
        left: how many other files it has.
        foreign: whether it is a pipeline of diffusers, and no run.
    """

    files: Sequence[Listed]
    left: int
    foreign: bool

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(one.size for one in self.files)


def wanted(repository: str, found: Snapshot) -> Wanted:
    """Chooses the files.

    Raises:
        UserError: a name leads out of the folder, the Hub says no size or hash of a file, or there is no model.
    """
    names = {one.name for one in found.files}
    if len(names) > MOST:
        raise UserError(f"'{repository}' has {len(names)} files, and at most {MOST} are taken: it is no model's")
    for name in names:
        _check_name(repository, name)
    foreign = f"model/{CONFIG}" not in names and INDEX in names
    if not foreign and f"model/{CONFIG}" not in names:
        raise UserError(
            f"'{repository}' holds neither a run (model/{CONFIG}) nor a pipeline of diffusers ({INDEX}): name another"
        )
    kinds = THEIRS if foreign else OURS
    files = [one for one in found.files if kinds.fullmatch(one.name)]
    for one in files:
        if one.size < 0 or (one.sha256 is None and one.blob is None):
            raise UserError(f"the Hub says neither size nor hash of '{one.name}' in '{repository}', so it is not taken")
        if one.size > TEXT and not one.name.endswith(".safetensors"):
            raise UserError(f"'{one.name}' in '{repository}' has {in_words(one.size)}, which no such file has")
    return Wanted(files=files, left=len(names) - len(files), foreign=foreign)


def _check_name(repository: str, name: str) -> None:
    path = PurePosixPath(name)
    parts = name.split("/")
    bad = any(part in ("", ".", "..") for part in parts) or any(letter in name for letter in "\\:\x00\n")
    if bad or path.is_absolute() or len(name) > LONGEST:
        raise UserError(
            f"'{repository}' has a file called '{shown(name)[:LONGEST]}', which leads out of its folder or can be no "
            "file's name: nothing of it is taken"
        )


def fetched(repository: str, commit: str, these: Wanted, staging: Path) -> Iterator[str]:
    """Brings the files into a folder, and yields the name of each when it is there and right. What was brought before
    is gone on from.

    Raises:
        UserError: one did not come, or is not what the Hub lists.
    """
    have = sum(path.stat().st_size for path in staging.rglob("*") if path.is_file())
    check_room(staging.parent, max(0, these.size - have), "the repository", "free some, and say the same again")
    for one in these.files:
        path = download(repository, commit, one.name, staging)
        if (why := _differs(path, one)) is not None:
            delete(path)
            raise UserError(
                f"'{one.name}' of '{repository}' {why}: it was changed on its way, or at the Hub; say the same again"
            )
        yield one.name


def _differs(path: Path, listed: Listed) -> str | None:
    """Why a file is not what the Hub lists; None if it is."""
    size = path.stat().st_size
    if size != listed.size:
        return f"has {size} bytes and not {listed.size}"
    if listed.sha256 is not None:
        return None if sealed.sha256(path) == listed.sha256 else f"has not the SHA-256 {listed.sha256}"
    return None if _blob(path, size) == listed.blob else f"has not git's hash {listed.blob}"


def _blob(path: Path, size: int) -> str:
    """Git's name of a file's content: the SHA-1 of its size and its bytes."""
    state = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with opened(path) as file:
        while block := file.read(1 << 20):
            state.update(block)
    return state.hexdigest()


def check_models(folder: Path) -> None:
    """Compares each model of a run with its manifest, and looks whether this version can read it.

    Raises:
        UserError: one is damaged, has no manifest, or is of a newer version.
    """
    for config in sorted(folder.rglob(CONFIG)):
        model = config.parent
        name = model.relative_to(folder)
        if not is_regular(model / sealed.MANIFEST):
            raise BadFile(name / sealed.MANIFEST, "is missing, by which the model is known to be whole")
        if (why := damage(model)) is not None:
            raise UserError(f"'{name}' of the repository is damaged: {why}; ask its owner to push it again")
        read_config(model)


def record(folder: Path, pulled: Pulled) -> None:
    """Writes down where a run is from."""
    write_bytes(folder / RECORD, (json.dumps(asdict(pulled), indent=2) + "\n").encode())
