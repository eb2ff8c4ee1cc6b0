"""All trainings: of every run in the studio's folder of runs, wherever it was begun, and of those that are served."""

from collections.abc import Sequence
from pathlib import Path
from threading import RLock
from typing import Any, final

from carrara.errors import UserError, close_match
from carrara.files import is_folder, is_regular
from carrara.pixels import read_picture
from carrara.serve import processes
from carrara.serve.planned import PlanBody, Planner, title_of
from carrara.serve.previews import encoded, fitted
from carrara.serve.processes import OUTPUT, Loads
from carrara.serve.said import Missing
from carrara.serve.settings import ServeSettings
from carrara.serve.shelf import Shelf, free, slug
from carrara.serve.watched import OVER, Watched

EDGE = 1024
"""The longest edge of a preview, in pixels."""
_LONGEST = 60


@final
class Trainings:
    """All that are known."""

    def __init__(self, settings: ServeSettings, shelf: Shelf, planner: Planner) -> None:
        self._settings, self._shelf, self._planner = settings, shelf, planner
        self._loads, self._lock = Loads(), RLock()
        self._known = dict[Path, Watched]()

    def all(self) -> list[Watched]:
        """All of them, the one in which something happened last first."""
        with self._lock:
            return sorted(self._by_id().values(), key=lambda one: one.since, reverse=True)

    def find(self, name: str) -> Watched:
        """The training of an id.

        Raises:
            Missing: there is none.
        """
        with self._lock:
            found = self._by_id()
        if name not in found:
            raise Missing(f"there is no training '{name[:_LONGEST]}' here.{close_match(name[:_LONGEST], found)}")
        return found[name]

    def shown(self, one: Watched, *, thorough: bool = True) -> dict[str, Any]:
        """As the page has it."""
        entries = self._shelf.models()
        model = next((entry.id for entry in entries if entry.path.absolute() == one.folder), None)
        return {**one.shown(thorough=thorough), "model": model, "pictures": len(self.previews(one))}

    def begin(self, body: PlanBody) -> Watched:
        """Begins a training, or goes on with one, in a process of its own.

        Raises:
            UserError: the plan has a mistake, or the folder is trained in already.
        """
        planned = self._planner.plan(body)
        if planned.mistakes or planned.plan is None:
            first = planned.mistakes[0]
            raise UserError(first.message if first.key is None else f"{first.key}: {first.message}")
        with self._lock:
            return self._begun(planned.plan.folder, planned.arguments)

    def resume(self, one: Watched) -> None:
        """Goes on with a training.

        Raises:
            UserError: it is at work, or there is nothing to go on with.
        """
        with self._lock:
            if not one.stages and one.state()[0] in OVER:
                raise UserError("nothing was written by this training yet: plan it again, and start it")
            self._begun(one.folder, ["train", "--run", str(one.folder)])

    def save(self, one: Watched) -> None:
        """Asks a training to save and to go on.

        Raises:
            UserError: no process of this machine trains there.
        """
        with self._lock:
            asked = one.newest()
            processes.ask_to_save(one.folder)
            one.ask("save")
            assert one.asked is not None
            one.asked.checkpoint = asked

    def stop(self, one: Watched) -> None:
        """Asks a training to save and to end.

        Raises:
            UserError: no process of this machine trains there.
        """
        with self._lock:
            state, worker = one.state()
            if state == "stopping":
                return
            if worker is None and one.process is not None and state == "starting":
                one.process.terminate()
            else:
                processes.ask_to_stop(one.folder)
            one.ask("stop")

    def previews(self, one: Watched) -> list[tuple[int, int]]:
        """The previews of a training: of which stage, and after which step."""
        found = list[tuple[int, int]]()
        for place, stage in enumerate(one.stages):
            names = (path.stem.removeprefix("step-") for path in (stage.folder / "samples").glob("step-*.png"))
            found += sorted((place, int(name)) for name in names if name.isdecimal() and len(name) < 16)
        return found

    def shown_previews(self, one: Watched) -> list[dict[str, Any]]:
        """The same as the page has them."""
        titles = [title_of(stage) for stage in one.stages]
        url = f"/api/trainings/{one.id}/previews"
        return [
            {"step": step, "stage": titles[place], "url": f"{url}/{place}/{step}"} for place, step in self.previews(one)
        ]

    def preview(self, one: Watched, place: int, step: int) -> bytes:
        """A preview, as WebP.

        Raises:
            Missing: there is none.
        """
        if (place, step) not in self.previews(one):
            raise Missing("there is no such preview")
        path = one.stages[place].folder / "samples" / f"step-{step:06d}.png"
        return encoded(fitted(read_picture(path).convert("RGB"), EDGE))

    def _begun(self, folder: Path, arguments: Sequence[str]) -> Watched:
        one = next(one for one in self._by_id(folder).values() if one.folder == folder)
        state, _ = one.state()
        if state not in OVER:
            raise UserError(f"'{folder.name}' is being trained already: wait for its end, or stop it")
        one.begun(processes.begin(arguments, folder))
        return one

    def _by_id(self, also: Path | None = None) -> dict[str, Watched]:
        """All by their ids, in the order of their names."""
        taken, found = set[str](), dict[str, Watched]()
        for folder in self._folders(also):
            name = free(slug(folder.name, "training"), taken)
            one = self._known.get(folder)
            if one is None or one.id != name:
                before, one = one, Watched(name, folder, self._loads)
                if before is not None:
                    one.process, one.asked = before.process, before.asked
                self._known[folder] = one
            found[name] = one
        return found

    def _folders(self, also: Path | None) -> list[Path]:
        home = self._settings.home.absolute()
        inside = sorted(home.iterdir()) if is_folder(home) else []
        inside = [path for path in inside if not path.name.startswith(".") and is_folder(path)]
        found = [
            path for path in inside if is_regular(path / "recipe.yaml") or is_regular(path / OUTPUT) or path == also
        ]
        served = [path.absolute() for path in self._settings.runs if is_regular(path / "recipe.yaml")]
        extra = [] if also is None or also in found else [also]
        return list(dict.fromkeys([*found, *served, *extra]))
