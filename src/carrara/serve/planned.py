"""A plan as the page asks for it: what would be trained, why so, and what is wrong with what was changed.

A mistake does not end the planning: what is wrong is left out, and said at its key. Whoever asks names data by an id,
a preset by its name and a run by a word; keys that lead to files are refused before anything looks at them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import Annotated, Any, final

from pydantic import BaseModel, ConfigDict, Field

from carrara.data import as_source
from carrara.errors import UserError, known
from carrara.files import is_folder
from carrara.files.writing import is_bare
from carrara.recipe.loading import dump, load, presets
from carrara.recipe.names import spelled_path
from carrara.recipe.schema import Recipe
from carrara.run.plan import Plan
from carrara.serve.blame import blaming
from carrara.serve.datasets import Datasets
from carrara.serve.keys import LEADING, keys_of, taken_over, texts
from carrara.serve.said import sentence
from carrara.serve.settings import ServeSettings
from carrara.serve.shelf import Shelf
from carrara.serve.wanted import Wanted
from carrara.store.runs import shipped

Id = Annotated[str, Field(min_length=1, max_length=100)]
Text = Annotated[str, Field(max_length=2000)]
NAME = re.compile(r"\w[\w.-]{0,59}")
SECTIONS = frozenset(Recipe.model_fields) - {"seed"}
_PLACED = re.compile(r"argument '(?P<key>[^=']{1,200})=.*?': (?P<text>.*)", re.DOTALL)
_QUOTED = re.compile(r"'([^']{3,80})'")
_CHECKED = 64
"""Recipes of which it is remembered whether they can be built."""


class PlanBody(BaseModel):
    """What to train, as the page says it."""

    model_config = ConfigDict(extra="forbid")

    data: Id
    start: Id | None = None
    preset: Annotated[str, Field(max_length=100)] | None = None
    name: Annotated[str, Field(max_length=200)] | None = None
    changes: Annotated[dict[Annotated[str, Field(max_length=200)], Text], Field(max_length=500)] = {}


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """Something wrong.

    Attributes:
        key: where; None is nowhere in particular, and ``name`` is the name of the run.
    """

    key: str | None
    message: str


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What would be trained.

    Attributes:
        plan: None if there can be none.
        recipe: what the form shows where there is none.
        arguments: what follows on ``carrara``, so that a terminal does the same.
        asked: the arguments of ``plan_of``.
    """

    name: str
    preset: str
    plan: Plan | None
    recipe: Recipe
    usual: Mapping[str, str] = field(default_factory=dict[str, str])
    changes: Mapping[str, str] = field(default_factory=dict[str, str])
    mistakes: Sequence[Mistake] = ()
    arguments: Sequence[str] = ()
    asked: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def shown(self) -> dict[str, Any]:
        """As the page has it."""
        own: dict[str, Any] = {"name": self.name, "preset": self.preset, "resumes": False, "reasons": []}
        own |= {
            "stages": [],
            "keys": [],
            "mistakes": [{"key": one.key, "message": one.message} for one in self.mistakes],
        }
        keys = [key.shown(self.usual, self.changes) for key in keys_of(self.recipe)]
        if self.plan is None:
            return {**own, "keys": keys}
        stages = [{"title": title_of(stage), "kind": stage.recipe.objective.kind} for stage in self.plan.stages]
        reasons = [sentence(UserError(reason)) for reason in self.plan.reasons]
        return {**own, "resumes": self.plan.resumes, "reasons": reasons, "stages": stages, "keys": keys}


def title_of(stage: Plan) -> str:
    """What a stage of a plan is called."""
    return title_for(stage.recipe.objective.kind)


def title_for(kind: str) -> str:
    """What training by a kind of objective is called."""
    return {"autoencoding": "autoencoder", "elbo": "autoencoder", "classification": "classifier"}.get(kind, kind)


@final
class Planner:
    """Plans for data that are offered."""

    def __init__(self, settings: ServeSettings, datasets: Datasets, shelf: Shelf) -> None:
        self._home, self._datasets, self._lock = settings.home.absolute(), datasets, RLock()
        self._shelf = shelf
        self._checked = dict[str, str]()

    def plan(self, body: PlanBody) -> Planned:
        """What would be trained.

        Raises:
            UserError: the data or the preset are none, or nothing at all can be planned for them.
        """
        offered = self._datasets.find(body.data)
        start = None if body.start is None else self._start(body.start)
        with self._lock:
            preset = known("preset", body.preset, presets()) if body.preset and start is None else None
            source = str(Path(offered.source).absolute()) if not offered.builtin else offered.source
            stem = as_source(offered.source).name
            name, wrong = self._named(body.name, stem if start is None else f"{Path(start).name}-{stem}")
            here = Wanted(source=source, preset=preset, folder=self._home / name, start=start)
            usual, changes, mistakes = self._usual(here), dict[str, str](), [*wrong]
            for key, text in body.changes.items():
                if (why := _refused(key, text, start)) is not None:
                    mistakes.append(Mistake(key=key, message=why))
                else:
                    changes[key] = text
            made, more = self._possible(here, usual, changes)
            recipe = here.begun if usual is None else usual.recipe
            shown = {key.key: key.value for key in keys_of(recipe)}
            if made is None:
                return Planned(
                    name=name,
                    preset=recipe.preset or "",
                    plan=None,
                    recipe=recipe,
                    usual=shown,
                    changes=body.changes,
                    mistakes=(*mistakes, *more),
                )
            return Planned(
                name=name,
                preset=made.recipe.preset or preset or "",
                plan=made,
                recipe=made.recipe,
                usual=shown,
                changes=body.changes,
                mistakes=(*mistakes, *more),
                arguments=here.arguments(here.overrides(changes, usual), made.resumes),
                asked=here.asked(here.overrides(changes, usual), made.resumes),
            )

    def _start(self, name: str) -> str:
        """The model of an id, to begin with: its folder, or the name of one that ships."""
        with blaming("start"):
            path = self._shelf.entry(name).path
        return str(path if shipped(path) is not None else path.resolve())

    def _named(self, name: str | None, stem: str) -> tuple[str, list[Mistake]]:
        """The run's name, or one that is free and what is wrong with the other."""
        if name:
            if NAME.fullmatch(name) is None:
                why = "a run's name has letters, digits, points, hyphens and underscores: take another one"
                return self._free(stem), [Mistake(key="name", message=why)]
            folder = self._home / name
            if (
                folder.exists()
                and not (folder / "recipe.yaml").is_file()
                and not (is_folder(folder) and is_bare(folder))
            ):
                why = f"there is something else called '{name}' among the runs: take another name"
                return self._free(stem), [Mistake(key="name", message=why)]
            return name, []
        return self._free(stem), []

    def _free(self, stem: str) -> str:
        stem = re.sub(r"[^\w.-]+", "-", stem).strip(".-_")[:50] or "run"
        names = (stem, *(f"{stem}-{number}" for number in range(2, 100_000)))
        return next(name for name in names if not (self._home / name).exists())

    def _usual(self, here: Wanted) -> Plan | None:
        """Without any change; None where what one begins with cannot learn from these data as they are."""
        try:
            return here.plan(())
        except UserError:
            if here.start is None:
                raise
            return None

    def _possible(self, here: Wanted, usual: Plan | None, changes: dict[str, str]) -> tuple[Plan | None, list[Mistake]]:
        """The plan with all changes that are possible, and what is wrong with the others, which are left out."""
        mistakes = list[Mistake]()
        while changes:
            try:
                overrides = here.overrides(changes, usual)
                _check_leading(here, changes, overrides)
                made = here.plan(overrides)
                self._check(made)
                return made, mistakes
            except UserError as error:
                found = _mistakes(error, changes)
                if usual is None and error.message == here.refusal:
                    return None, [*mistakes, *_mistakes(error, {})]
            mistakes += found
            wrong = {one.key for one in found if one.key is not None} & changes.keys()
            for key in wrong or set(changes):
                del changes[key]
        if usual is None:
            return None, mistakes or [Mistake(key=None, message=sentence(UserError(here.refusal)))]
        if not mistakes:
            try:
                self._check(usual)
            except UserError as error:
                mistakes += _mistakes(error, {})
        return usual, mistakes

    def _check(self, made: Plan) -> None:
        """Builds it once.

        Raises:
            UserError: it cannot be built.
        """
        if made.resumes:
            return
        text = dump(made.recipe)
        if text not in self._checked:
            if len(self._checked) >= _CHECKED:
                self._checked.clear()
            try:
                made.check()
                self._checked[text] = ""
            except UserError as error:
                self._checked[text] = error.message
            except ValueError as error:
                self._checked[text] = str(error)
        if self._checked[text]:
            raise UserError(self._checked[text])


def _refused(key: str, text: str, start: str | None) -> str | None:
    """Why a key may not be changed here at all."""
    if not key or "=" in key or not key.isprintable():
        return "this is no key of a recipe"
    path = spelled_path(key.split("."))
    if len(path) == 1 and path[0] in SECTIONS:
        return f"{key} is a section: name a key in it"
    if path[:2] == ("data", "source") and (len(path) == 2 or path[-1] in ("kind", *LEADING)):
        return "which data are trained on is chosen above: leave this out"
    if start is not None and taken_over(".".join(path)):
        return f"{key} is that of what one starts from: leave it out"
    if path[-1] == "metadata" and (text.startswith(("/", "\\", "~")) or ".." in text or ":" in text):
        return "a table is named as it lies in the data"
    return None


def _check_leading(here: Wanted, changes: Mapping[str, str], overrides: Sequence[str]) -> None:
    """Refuses changes that lead to files, without looking at these.

    Raises:
        UserError: there is one.
    """
    usual, changed = (texts(load(here.base, [*here.leading, *more])) for more in ((), overrides))
    for key, value in changed.items():
        if usual.get(key, value if key.endswith(".source") and value == "minilm" else "") != value:
            said = next((one for one in changes if key.startswith(one)), key)
            raise UserError(f"argument '{said}={changes.get(said, '')}': {key} leads to files, which is not said here")


def _mistakes(error: UserError, changes: Mapping[str, str]) -> list[Mistake]:
    """What an error says, at the keys that it is about."""
    found = list[Mistake]()
    for line in error.message.split("\n"):
        placed = _PLACED.match(line)
        text = placed["text"] if placed else line
        key = placed["key"] if placed and placed["key"] in changes else None
        if key is None or not _names(text, key):  # of a section, the last change is named
            key = _about(text, changes) or key
        found.append(Mistake(key=key, message=sentence(UserError(text))))
    return found


def _names(message: str, key: str) -> bool:
    """Whether a message has the last word of a key."""
    return re.search(rf"\b{re.escape(key.rpartition('.')[2])}\b", message) is not None


def _about(message: str, changes: Mapping[str, str]) -> str | None:
    """The change that a message speaks of."""
    named = [key for key in changes if key in message] or [key for key in changes if _names(message, key)]
    named = named or [key for key, text in changes.items() if any(word in text for word in _QUOTED.findall(message))]
    return max(named, key=len) if named else (next(iter(changes)) if len(changes) == 1 else None)
