"""Which pictures a run was trained on: ``pictures/step-N.csv``, a row of name and content for each from step N on.

A folder may change between two runs of the same command. Then it is said how, and the list of before can be given to
``data.source.only``, which goes on with that.
"""

import csv
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from carrara.data import Dataset
from carrara.data.folder import listed
from carrara.errors import UserError
from carrara.files import is_regular, make_folder, replacing

FOLDER = "pictures"


@dataclass(frozen=True, kw_only=True)
class Changes:
    """How a data set differs from a list.

    Attributes:
        new, gone, renamed: how many pictures.
        changed: how many have the same name and another content.
    """

    new: int
    gone: int
    renamed: int
    changed: int

    def __str__(self) -> str:
        counts = {"new": self.new, "gone": self.gone, "renamed": self.renamed, "changed": self.changed}
        return ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "the same pictures"


def list_path(run: Path, step: int) -> Path:
    """Where the list that begins at a step is."""
    return run / FOLDER / f"step-{step}.csv"


def write_list(run: Path, step: int, dataset: Dataset) -> None:
    """Writes down which pictures are trained on from a step on.

    Raises:
        NotWritten: the disk is full, or refuses.
    """
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(("file_name", "content"))
    rows.writerows((dataset.name(k), dataset.key(k)) for k in range(len(dataset)))
    make_folder(run / FOLDER)
    with replacing(list_path(run, step)) as file:
        file.write(text.getvalue().encode())


def newest_list(run: Path, step: int | None = None) -> Path | None:
    """The list that was trained on until a step, or until now; None if there is none."""
    known = [(int(found), path) for path in (run / FOLDER).glob("step-*.csv") if (found := path.stem[5:]).isdigit()]
    known = [(begun, path) for begun, path in known if (step is None or begun <= step) and is_regular(path)]
    return max(known)[1] if known else None


def changes(before: Path, now: Dataset) -> Changes | None:
    """How a data set differs from a list; None if the list cannot be read."""
    try:
        old = listed(before)
    except UserError:
        return None
    new = {now.name(k): now.key(k) for k in range(len(now))}
    added, lost = new.keys() - old.keys(), old.keys() - new.keys()
    renamed = (Counter(new[name] for name in added) & Counter(old[name] for name in lost)).total()
    return Changes(
        new=len(added) - renamed,
        gone=len(lost) - renamed,
        renamed=renamed,
        changed=sum(old[name] not in ("", new[name]) for name in old.keys() & new.keys()),
    )
