"""Makes the corpus by the code of this checkout, and compares it with what was recorded, or records it.

    python tests/golden/record.py                              # compares with tests/golden/recorded/corpus.json
    python tests/golden/record.py --compare FILE               # or with another one
    python tests/golden/record.py --out FILE                   # writes it to FILE and FILE's .npz beside it
    python tests/golden/record.py --only latent --only 'edit'  # only what has one of these in its name

    python tests/golden/record.py --add                        # records what is not recorded yet

One line is printed for each run and output, with the seconds of processor time. The exit code is 1 if one
differs.

Pixels, numbers, losses and weights are those of ea148cd, before the upper floor of the package was rebuilt. They were
recorded then, and found equal to the bit before they were recorded again, with what changed its form: the data of a
recipe, the records of edits, pages that show either. Other numbers on purpose have a critic's first weights, and what
is measured of models that are led away from their earlier self. `inspect data` was recorded again when it came to say
more.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))  # whatever is installed

from comparing import RECORDED, Corpus, environment, summary
from corpus import OUTPUTS, RUNS
from making import keep, of_output, of_run
from reading import Made
from sealed import OPENED_SEALED


def main() -> int:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="writes the corpus there")
    parser.add_argument("--compare", type=Path, help="compares with this one")
    parser.add_argument("--only", action="append", default=[], help="only what has this in its name")
    parser.add_argument("--keep", action="store_true", help="makes the folders in runs/ instead")
    parser.add_argument("--add", action="store_true", help="records what was never recorded, and leaves the rest")
    parser.add_argument("--folder", type=Path, help="works there, and leaves it")
    asked = parser.parse_args()
    out, old = (path.resolve() if path else None for path in (asked.out, asked.compare))
    old = old or (None if out else RECORDED)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        where = (asked.folder or Path(folder)).resolve()
        where.mkdir(parents=True, exist_ok=True)
        made = Corpus(header={"commit": _commit(), "environment": environment()})
        os.chdir(where)
        if asked.keep:
            keep(asked.only)
            return 0
        if asked.add:
            _add(asked.only)
            return 0
        differing = _all(made, Corpus.load(old) if old else None, asked.only)
        os.chdir("/")
    if out:
        made.save(out)
    return 1 if differing else 0


def _all(made: Corpus, old: Corpus | None, only: list[str]) -> int:
    """Makes everything; returns how much differs."""
    differing, begun = 0, time.monotonic()
    if old is not None:
        print(f"recorded at {old.header['commit']}; {'to the bit' if old.exact() else 'elsewhere: roughly'}")
    for name, make in _wanted(only):
        started = time.process_time()
        found = make()
        made.add(name, found)
        differences = [] if old is None else old.differences(name, found)
        verdict = "made" if old is None else summary(differences)
        differing += bool(differences)
        print(f"{name:36} {time.process_time() - started:5.2f} s  {verdict}", flush=True)
    print(f"{len(made.entries)} in {time.monotonic() - begun:.0f} s, {differing} differ")
    return differing


def _add(only: list[str]) -> None:
    """Records what was never recorded: words anywhere, bits on a machine that makes those that were."""
    recorded = Corpus.load()
    for name, make in _wanted(only):
        if name not in recorded.entries:
            made = make()
            assert recorded.exact() or not made.files, (
                "another machine, or other versions: their bits would stand beside the recorded ones"
            )
            recorded.add(name, made)
            print(name, flush=True)
    recorded.save(RECORDED)


def _wanted(only: list[str]) -> Iterator[tuple[str, Callable[[], Made]]]:
    for run in RUNS:
        if not only or any(part in f"run/{run.name}" for part in only):
            yield f"run/{run.name}", lambda run=run: of_run(run.name)
    for output in (*OUTPUTS, *OPENED_SEALED):
        if not only or any(part in f"out/{output.name}" for part in only):
            yield f"out/{output.name}", lambda output=output: of_output(output)


def _commit() -> str:
    asked = ["git", "-C", str(Path(__file__).resolve().parent), "log", "-1", "--format=%H", "--", "../../src"]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
