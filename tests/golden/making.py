"""Makes the runs and the outputs of the corpus, in the folder that one is in.

Several processes may share a folder: whatever is made is made by the first that needs it, while the others wait.
"""

import fcntl
import io
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import torch
from corpus import KEPT, OPENED, RUNS, Call, Output
from inputs import prepare
from reading import Item, Made, look, same
from sealed import SEALED

from carrara.cli import main

BY_NAME = {run.name: run for run in RUNS}
FOLDERS = Path(__file__).with_name("runs")
"""Where the folders of runs lie that the recorded commit made."""
COPIED = ("recipe.yaml", "log.jsonl", "held_out.jsonl", "model", "early", "best", "tiny-decoder", "drawn")
"""What of a run is kept there, and of some the checkpoints."""
MOST = 200_000
"""Bytes that a run may have there."""


def commanded(*arguments: str) -> str:
    """Runs the command in this process; returns what it printed.

    Torch's own generator begins the same each time: in a fresh process it would not, and a critic's initial weights
    come from it.

    Raises:
        RuntimeError: it ended with another exit code than 0.
    """
    said = io.StringIO()
    torch.manual_seed(0)
    try:
        with redirect_stdout(said), redirect_stderr(said):
            main(list(arguments))
    except SystemExit as ended:
        if ended.code:
            raise RuntimeError(f"carrara {' '.join(arguments)}\n{said.getvalue()}") from None
    return said.getvalue()


@contextmanager
def once(name: str) -> Iterator[bool]:
    """Whether something of this name is still to be made; others wait until the block has ended."""
    done = Path("done") / name
    done.parent.mkdir(exist_ok=True)
    with done.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield not done.exists()
        done.touch()


def inputs() -> None:
    """Writes the pictures that everything begins with."""
    with once("inputs") as wanted:
        if wanted:
            prepare(Path())


def run(name: str) -> Path:
    """Makes a run, and before it those that it needs; returns its folder."""
    inputs()
    if name.startswith("kept-"):
        return _kept(name)
    asked = BY_NAME[name]
    for other in asked.needs:
        run(other)
    with once(f"run-{name}") as wanted:
        if wanted:
            shutil.rmtree(asked.folder, ignore_errors=True)
            _called(asked.calls, {})
    return Path(asked.folder)


def _kept(name: str) -> Path:
    """Copies a run that was kept."""
    folder = Path("runs") / name
    with once(f"run-{name}") as wanted:
        if wanted:
            shutil.copytree(FOLDERS / name.removeprefix("kept-"), folder)
    return folder


def keep(only: Sequence[str] = ()) -> None:
    """Makes the folders of runs that are kept, in the place of what was there; for the commit that is recorded alone.

    A source of data is named there as one finds it in the folder that one is in.

    Args:
        only: parts of names; those that have none of them are left as they are.
    """
    inputs()
    for asked in (*KEPT, *SEALED):
        folder, target = Path(asked.folder), FOLDERS / asked.name.removeprefix("kept-")
        if only and not any(part in asked.name for part in only):
            continue
        _called(asked.calls, {})
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        goes_on = any("goes-on" in output.name for output in OPENED if output.run == asked.name)
        left = shutil.ignore_patterns("checkpoints", "samples", "latents", ".*")
        for name in (*COPIED, *(["checkpoints"] if goes_on else [])):
            if (folder / name).is_dir():
                shutil.copytree(folder / name, target / name, ignore=left)
            elif (folder / name).exists():
                shutil.copy(folder / name, target / name)
        for recipe in target.rglob("recipe.yaml"):
            recipe.write_text(recipe.read_text(encoding="utf-8").replace(f"{Path.cwd()}/", ""), encoding="utf-8")
        size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
        assert size < MOST, f"{target} has {size} bytes"


def of_run(name: str) -> Made:
    """Makes a run, and says what is in it, but for what a page had drawn there: another worker may have made one."""
    files = look(run(name))
    return Made(files={name: item for name, item in files.items() if not name.startswith("samples/report/")})


def of_output(asked: Output) -> Made:
    """Makes an output, and says what it is."""
    folder, copy = Path(asked.folder), Path(asked.copy or "nothing")
    source = run(asked.run)
    for other in asked.needs:
        run(other)
    for old in (folder, copy):
        shutil.rmtree(old, ignore_errors=True)
    if asked.copy:
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("report"))  # see of_run
    before = placeless(copy)
    said = _called(asked.calls, {"{run}": str(source), "{copy}": str(copy), "{out}": str(folder)})
    after, now = placeless(copy), look(copy)
    changed = {f"run/{name}": now[name] for name, item in after.items() if not same(item, before.get(name))}
    return Made(files=look(folder) | changed, said=said if asked.heard else ())


def placeless(folder: Path) -> dict[str, Item]:
    """What is in a folder, whatever it is called: a preview that is made up in a copy of a run names the copy."""
    items = look(folder)
    for item in items.values():
        if "record" in item:
            item["record"] = {**item["record"], "run": ""}
    return items


def _called(calls: Sequence[Call], folders: Mapping[str, str]) -> tuple[str, ...]:
    """Runs calls; returns what each printed."""
    return tuple(commanded(*(_filled(part, folders) for part in call)) for call in calls)


def _filled(part: str, folders: Mapping[str, str]) -> str:
    for name, folder in folders.items():
        part = part.replace(name, folder)
    return part
