"""What a form wants to be planned: data, a preset or a model to begin with, and a folder; and how a command says it."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final

from carrara.data import as_source
from carrara.errors import UserError
from carrara.recipe.loading import load
from carrara.recipe.names import spelled_path
from carrara.recipe.schema import Recipe
from carrara.run.plan import FINE_TUNING, Plan, plan, plan_finetuning, preset_for


def plan_of(source: str | None, preset: str | None, folder: Path, overrides: Sequence[str], start: str | None) -> Plan:
    """A plan of what a form asks for: a new model, or one that goes on from ``start``.

    Raises:
        UserError: as ``run.plan``; where ``start`` lies is not said.
    """
    if start is None or source is None:
        return plan(source, preset, folder, overrides)
    try:
        return plan_finetuning(Path(start), source, folder, overrides)
    except UserError as error:
        raise UserError(error.message.replace(start, Path(start).name)) from None


@final
@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a plan is for."""

    source: str
    preset: str | None
    folder: Path
    start: str | None = None

    def plan(self, overrides: Sequence[str]) -> Plan:
        """What would be trained, with some changes."""
        return plan_of(self.source, self.preset, self.folder, overrides, self.start)

    @cached_property
    def begun(self) -> Recipe:
        """The recipe that it begins as, with what that leaves open."""
        return load(self.base, self.leading)

    @property
    def base(self) -> str:
        """The name of the preset that it begins as."""
        return FINE_TUNING if self.start is not None else self.preset or preset_for(as_source(self.source))[0]

    @property
    def leading(self) -> list[str]:
        """What it says of files."""
        kind = as_source(self.source).kind
        data = [] if kind == self.source else [f"data.source={json.dumps({'kind': kind, 'path': self.source})}"]
        return [*data, *([] if self.start is None else [f"objective.start={json.dumps(self.start)}"])]

    @cached_property
    def refusal(self) -> str:
        """Why nothing can be planned without a change; empty if something can."""
        try:
            self.plan(())
        except UserError as error:
            return error.message
        return ""

    def arguments(self, overrides: Sequence[str], resumes: bool) -> list[str]:
        """Of ``carrara``."""
        run = ["--run", str(self.folder)]
        if resumes:
            return ["train", *overrides, *run]
        if self.start is not None:
            return ["finetune", self.start, self.source, *overrides, *run]
        preset = [] if self.preset is None else ["--preset", self.preset]
        return ["train", self.source, *overrides, *preset, *run]

    def asked(self, overrides: Sequence[str], resumes: bool) -> dict[str, Any]:
        """Of ``plan_of``."""
        names = ("source", "preset", "start")
        own = {name: None if resumes else getattr(self, name) for name in names}
        return {**own, "folder": str(self.folder), "overrides": list(overrides)}

    def overrides(self, changes: Mapping[str, str], usual: Plan | None) -> list[str]:
        """What is changed; and where that lies in a section that the preset leaves open, this as it was chosen."""
        if usual is not None and usual.resumes:
            return _overrides(changes)
        chosen = kinds_chosen(self.begun, self.begun if usual is None else usual.recipe, changes)
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
