"""Runs cases of the corpus, each in a child of its own, and says as JSON what each command did.

One process imports torch and makes what is good, and then forks; it reads the names of cases, a line each.
"""

import json
import os
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import making
import strangers_data
import strangers_logs
import strangers_models
import strangers_pictures
import strangers_records
import strangers_runs
import torch
from guard import Guard, Watch, bound_memory, forget_peak, memory
from strangers import CASES, Place

import carrara
import carrara.cli.commands
import carrara.cli.edits
import carrara.cli.looking
import carrara.cli.sample
from carrara.cli import main
from carrara.recipe.loading import load

SECONDS = 10
"""Of work, after which a command is stopped; and killed after some more, if it does not listen."""
WAITED = 90
"""Seconds after which a command is killed that waits for something."""
CORPUS = (strangers_data, strangers_logs, strangers_models, strangers_pictures, strangers_records, strangers_runs)
ROOTS = (Path(sys.prefix), Path(sys.base_prefix), Path(carrara.__file__).parent, Path(os.__file__).parent)


def judged(root: Path, name: str, number: int) -> list[dict[str, Any]]:
    """What the commands of a case did."""
    place = Place(root / f"case-{number}", root / f"outside-{number}", root / "material", root / f"marker-{number}")
    answer = root / f"answer-{number}.json"
    process = os.fork()
    if process == 0:
        torch.set_num_threads(1)  # makes torch's pool of threads anew, before several of them ask for it
        try:
            answer.write_text(json.dumps(_commands(root, place, name)))
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(process, 0)
    if status:
        ended = f"the child was killed by signal {os.WTERMSIG(status)}, or failed"
        return [{"command": name, "end": "refused", "code": ended}]
    return json.loads(answer.read_text())


def _commands(root: Path, place: Place, name: str) -> list[dict[str, Any]]:
    place.folder.mkdir()
    making.secrets(place.outside)
    os.chdir(place.folder)
    guard = Guard([place.folder, root / "cache", root / "tmp"], ROOTS)
    bound_memory()
    watch, found = Watch(place.outside), list[dict[str, Any]]()
    for command in CASES[name](place):
        watch.seen()
        said, done = _ran(guard, list(command.arguments))
        events = [*dict.fromkeys(guard.events), *(f"opened outside: {one!r}" for one in watch.seen())]
        guard.events.clear()
        if place.marker.exists():
            events.append("execution: the marker is there")
        found.append({"command": " ".join(command.arguments), "end": command.end, "events": events, **said, **done})
    return found


def _ran(guard: Guard, arguments: list[str]) -> tuple[dict[str, str], dict[str, Any]]:
    """Runs a command in this process; what it said, and how it ended."""
    files = {number: tempfile.TemporaryFile() for number in (1, 2)}  # noqa: SIM115 (closed below)
    kept = {number: os.dup(number) for number in files}
    for number, file in files.items():
        os.dup2(file.fileno(), number)
    forget_peak()
    before, started = memory("VmRSS"), time.process_time()
    code: Any = None
    signal.signal(signal.SIGPROF, _too_late)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(WAITED)
    resource.setrlimit(resource.RLIMIT_CPU, (round(started) + 2 * SECONDS, resource.RLIM_INFINITY))
    try:
        with guard.armed():
            main(arguments)
    except SystemExit as ended:
        code = ended.code
    except BaseException as error:
        code = f"{type(error).__name__}: {error}"[:500]
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.alarm(0)
    seconds = time.process_time() - started
    sys.stdout.flush()
    sys.stderr.flush()
    for number, old in kept.items():
        os.dup2(old, number)
        os.close(old)
    said = {}
    for number, file in files.items():
        file.seek(0)
        said[{1: "stdout", 2: "stderr"}[number]] = file.read().decode("utf-8", "replace")
        file.close()
    return said, {"code": code, "seconds": seconds, "bytes": memory("VmHWM") - before}


def _too_late(signal_number: int, frame: object) -> None:
    raise TimeoutError(f"it took more than {SECONDS} s")


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="strangers-") as folder:
        root = Path(folder).resolve()
        for name in ("cache", "tmp", "material"):
            (root / name).mkdir()
        os.environ |= {"CARRARA_CACHE": str(root / "cache"), "TMPDIR": str(root / "tmp"), "HOME": str(root / "cache")}
        tempfile.tempdir = str(root / "tmp")
        load("pixel")  # what is imported and read now need not be in each child
        making.make(root / "material")
        print(json.dumps({"ready": list(CASES)}), flush=True)
        for number, line in enumerate(sys.stdin):
            print(json.dumps(judged(root, line.strip(), number)), flush=True)
