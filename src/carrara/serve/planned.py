"""A plan as the page asks for it: what would be trained, why so, and what is wrong with what was changed.

A mistake does not end the planning: what is wrong is left out, and said at its key. Whoever asks names data by an id,
a preset by its name and a run by a word; keys that lead to files are refused before anything looks at them.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
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
from carrara.run.plan import Plan, plan, preset_for
from carrara.serve.datasets import Datasets, Offered
from carrara.serve.keys import LEADING, keys_of, texts
from carrara.serve.said import sentence
from carrara.serve.settings import ServeSettings

Id = Annotated[str, Field(min_length=1, max_length=100)]
Text = Annotated[str, Field(max_length=2000)]
NAME = re.compile(r"\w[\w.-]{0,59}")
SECTIONS = frozenset(Recipe.model_fields) - {"seed"}
_PLACED = re.compile(r"argument '(?P<key>[^=']{1,200})=.*?': (?P<text>.*)", re.DOTALL)
_CHECKED = 64
"""Recipes of which it is remembered whether they can be built."""


class PlanBody(BaseModel):
    """What to train, as the page says it."""

    model_config = ConfigDict(extra="forbid")

    data: Id
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
        arguments: what follows on ``carrara train``, so that a terminal does the same.
        asked: the arguments of ``run.plan``.
    """

    name: str
    preset: str
    plan: Plan | None
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
        if self.plan is None:
            return own
        stages = [{"title": title_of(stage), "kind": stage.recipe.objective.kind} for stage in self.plan.stages]
        keys = [key.shown(self.usual, self.changes) for key in keys_of(self.plan.recipe)]
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

    def __init__(self, settings: ServeSettings, datasets: Datasets) -> None:
        self._home, self._datasets, self._lock = settings.home.absolute(), datasets, RLock()
        self._checked = dict[str, str]()

    def plan(self, body: PlanBody) -> Planned:
        """What would be trained.

        Raises:
            UserError: the data or the preset are none, or nothing at all can be planned for them.
        """
        offered = self._datasets.find(body.data)
        with self._lock:
            preset = known("preset", body.preset, presets()) if body.preset else None
            source = str(Path(offered.source).absolute()) if not offered.builtin else offered.source
            name, wrong = self._named(body.name, offered, preset)
            here = _Asked(source=source, preset=preset, folder=self._home / name)
            usual, changes, mistakes = self._usual(here), dict[str, str](), [*wrong]
            for key, text in body.changes.items():
                if (why := _refused(key, text)) is not None:
                    mistakes.append(Mistake(key=key, message=why))
                else:
                    changes[key] = text
            made, more = self._possible(here, usual, changes)
            shown = {key.key: key.value for key in keys_of(usual.recipe)}
            return Planned(
                name=name,
                preset=made.recipe.preset or preset or "",
                plan=made,
                usual=shown,
                changes=body.changes,
                mistakes=(*mistakes, *more),
                arguments=here.arguments(here.overrides(changes, usual), made.resumes),
                asked=here.asked(here.overrides(changes, usual), made.resumes),
            )

    def _named(self, name: str | None, offered: Offered, preset: str | None) -> tuple[str, list[Mistake]]:
        """The run's name, or one that is free and what is wrong with the other."""
        if name:
            if NAME.fullmatch(name) is None:
                why = "a run's name has letters, digits, points, hyphens and underscores: take another one"
                return self._free(offered), [Mistake(key="name", message=why)]
            folder = self._home / name
            if (
                folder.exists()
                and not (folder / "recipe.yaml").is_file()
                and not (is_folder(folder) and is_bare(folder))
            ):
                why = f"there is something else called '{name}' among the runs: take another name"
                return self._free(offered), [Mistake(key="name", message=why)]
            return name, []
        return self._free(offered), []

    def _free(self, offered: Offered) -> str:
        stem = re.sub(r"[^\w.-]+", "-", as_source(offered.source).name).strip(".-_")[:50] or "run"
        names = (stem, *(f"{stem}-{number}" for number in range(2, 100_000)))
        return next(name for name in names if not (self._home / name).exists())

    def _usual(self, here: "_Asked") -> Plan:
        """Without any change."""
        return plan(here.source, here.preset, here.folder, ())

    def _possible(self, here: "_Asked", usual: Plan, changes: dict[str, str]) -> tuple[Plan, list[Mistake]]:
        """The plan with all changes that are possible, and what is wrong with the others, which are left out."""
        mistakes = list[Mistake]()
        while changes:
            try:
                overrides = here.overrides(changes, usual)
                _check_leading(here, changes, overrides)
                made = plan(here.source, here.preset, here.folder, overrides)
                self._check(made)
                return made, mistakes
            except UserError as error:
                found = _mistakes(error, changes)
            mistakes += found
            wrong = {one.key for one in found if one.key is not None} & changes.keys()
            for key in wrong or set(changes):
                del changes[key]
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


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What a plan is for."""

    source: str
    preset: str | None
    folder: Path

    def arguments(self, overrides: Sequence[str], resumes: bool) -> list[str]:
        """Of ``carrara train``."""
        preset = ["--preset", self.preset] if self.preset is not None and not resumes else []
        source = [] if resumes else [self.source]
        return [*source, *overrides, *preset, "--run", str(self.folder)]

    def asked(self, overrides: Sequence[str], resumes: bool) -> dict[str, Any]:
        """Of ``run.plan``."""
        own = {"source": None, "preset": None} if resumes else {"source": self.source, "preset": self.preset}
        return {**own, "folder": str(self.folder), "overrides": list(overrides)}

    def overrides(self, changes: Mapping[str, str], usual: Plan) -> list[str]:
        """What is changed; and where that lies in a section that the preset leaves open, this as it was chosen."""
        if usual.resumes:
            return _overrides(changes)
        preset = load(self.preset or preset_for(as_source(self.source))[0])
        chosen = kinds_chosen(preset, usual.recipe, changes)
        return _overrides({**chosen, **changes})


def kinds_chosen(preset: Recipe, usual: Recipe, changes: Collection[str]) -> dict[str, str]:
    """What must be said besides so that changes below sections of several kinds mean the kind that a form shows.

    Args:
        preset: with what it leaves open; of a section that it does, all is said as ``usual`` has it.
        changes: keys.
    """
    found = dict[str, str]()
    for path in (spelled_path(key.split(".")) for key in changes):
        for place in range(2, len(path)):
            before, now = (_at(recipe, path[:place]) for recipe in (preset, usual))
            name, kind = ".".join(path[:place]), getattr(now, "kind", None)
            if kind is None or not is_dataclass(now) or name in changes or name == "data.source":
                continue
            if before is None:
                found[name] = json.dumps(_plain(now))
                break
            found[f"{name}.kind"] = str(kind)
    return found


def _at(recipe: Recipe, path: Sequence[str]) -> Any:
    """What lies at a path; nothing where there is none."""
    value: Any = recipe
    for name in path:
        value = getattr(value, name, None)
    return value


def _plain(section: Any) -> Any:
    """A section as JSON has it."""
    if is_dataclass(section):
        return {field.name: _plain(getattr(section, field.name)) for field in fields(section)}
    return [_plain(one) for one in section] if isinstance(section, tuple) else section


def _overrides(changes: Mapping[str, str]) -> list[str]:
    """As a command has them: sections before what is below them, and nothing as null."""
    ordered = sorted(changes, key=lambda key: key.count("."))
    return [f"{key}={changes[key] if changes[key].strip() else 'null'}" for key in ordered]


def _refused(key: str, text: str) -> str | None:
    """Why a key may not be changed here at all."""
    if not key or "=" in key or not key.isprintable():
        return "this is no key of a recipe"
    path = spelled_path(key.split("."))
    if len(path) == 1 and path[0] in SECTIONS:
        return f"{key} is a section: name a key in it"
    if path[:2] == ("data", "source") and (len(path) == 2 or path[-1] in ("kind", *LEADING)):
        return "which data are trained on is chosen above: leave this out"
    if path[-1] == "metadata" and (text.startswith(("/", "\\", "~")) or ".." in text or ":" in text):
        return "a table is named as it lies in the data"
    return None


def _check_leading(here: _Asked, changes: Mapping[str, str], overrides: Sequence[str]) -> None:
    """Refuses changes that lead to files, without looking at these.

    Raises:
        UserError: there is one.
    """
    about = {"kind": as_source(here.source).kind}
    first = [] if about["kind"] == here.source else [f"data.source={json.dumps({**about, 'path': here.source})}"]
    preset = here.preset or preset_for(as_source(here.source))[0]
    usual, changed = (texts(load(preset, [*first, *more])) for more in ((), overrides))
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
    return max(named, key=len) if named else (next(iter(changes)) if len(changes) == 1 else None)
