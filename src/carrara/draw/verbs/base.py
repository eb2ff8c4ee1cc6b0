"""What all edits have in common. An edit is a verb: a value that says what is done to which pictures.

A verb's fields, and what its docstring says of them, are the options of the command, the arguments in Python, and what
its pictures carry. To add one: a file with its class beside these, and a line in ``VERBS``.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image
from pydantic import ConfigDict
from torch import Tensor

from carrara import pixels
from carrara.draw.ask import Ask, request_each
from carrara.draw.drawing import editable
from carrara.draw.generate import Progress, Remark
from carrara.draw.request import Request
from carrara.draw.samples import origin, record
from carrara.errors import UserError, command
from carrara.medium import Medium, Picture, PictureMedium, save_animation, save_numbers
from carrara.model import Model
from carrara.shapes import Signals
from carrara.store import OpenModel

Steps = Generator[Progress | Remark, None, "Results"]
"""Where an edit is, and at its end what came of it. Whoever iterates watches it, and cancels it by not going on."""


@dataclass(frozen=True, kw_only=True)
class Verb(ABC):
    """Something that is done to pictures. Abstract in what.

    ``name`` is what it is called, ``arguments`` are the pictures that it takes and what it cannot do without, as one
    writes it (see ``errors``), and ``leaves`` the options of ``Ask`` that mean nothing to it. ``pictures`` says whether
    it is done to pictures alone, and not to sounds, music or volumes.
    """

    __pydantic_config__ = ConfigDict(arbitrary_types_allowed=True, extra="forbid", allow_inf_nan=False)

    name: ClassVar[str]
    arguments: ClassVar[str]
    leaves: ClassVar[frozenset[str]] = frozenset()
    usual: ClassVar[Mapping[str, Any]] = {}
    pictures: ClassVar[bool] = True

    @abstractmethod
    def run(self, opened: OpenModel, request: Request) -> Steps:
        """Does it.

        Args:
            request: what is drawn for each picture: a result per seed.

        Raises:
            UserError: a picture or an option that does not fit the model.
        """

    def request(self, opened: OpenModel, ask: Ask) -> Request:
        """What is drawn for each picture, from what a user says; ``usual`` stands where nothing is said.

        Raises:
            UserError: the model draws nothing, or it does not understand what is asked.
        """
        self.check(ask)
        self.check_model(opened.model)
        return request_each(opened, ask.unless(**self.usual))

    @classmethod
    def check_model(cls, model: Model) -> None:
        """Refuses a model that can do no such thing, whatever the pictures are."""
        editable(model, pictures=cls.pictures)

    def check(self, ask: Ask) -> None:
        """Refuses what means nothing here."""
        none = Ask()
        said = [name for name in sorted(self.leaves) if getattr(ask, name) != getattr(none, name)]
        if said:
            raise UserError(f"{self.name} takes no {', no '.join(said)}: leave that out")

    @property
    def record(self) -> dict[str, Any]:
        """What its pictures carry: its name, and what is known of each field."""
        known = {field.name: _plain(getattr(self, field.name)) for field in fields(self)}
        return {"verb": self.name, **{name: value for name, value in known.items() if value is not None}}


class DecodedVerb(Verb):
    """A verb of autoencoders: nothing is drawn. Abstract in what it does."""

    leaves = frozenset(field.name for field in fields(Ask))

    @classmethod
    def check_model(cls, model: Model) -> None:
        pass  # it depends on what is done

    def request(self, opened: OpenModel, ask: Ask) -> Request:
        self.check(ask)
        return Request(wishes=(), seeds=(), settings=opened.model.settings())


@dataclass(frozen=True, kw_only=True)
class Results(ABC):
    """What came of a verb. Abstract in which files it makes.

    Attributes:
        verb: what was done; what was left open is said as it was chosen.
    """

    verb: Verb

    @property
    @abstractmethod
    def images(self) -> list[Image.Image]:
        """What was made, without the sheet."""

    @abstractmethod
    def save(self, opened: OpenModel, out: Path) -> list[Path]:
        """Writes files that say how they were made, the one to look at first. Nothing is overwritten."""

    @abstractmethod
    def picture(self, about: Mapping[str, Any]) -> Image.Image:
        """The one that a record is about."""

    def sample(self, about: Mapping[str, Any]) -> Tensor | None:
        """The same as a sample (C, *N), where there is one."""
        return None


@dataclass(frozen=True, kw_only=True)
class Plates(Results):
    """Pictures that an autoencoder made, by their names."""

    plates: tuple[tuple[str, Image.Image], ...]

    @property
    def images(self) -> list[Image.Image]:
        return [image for _, image in self.plates]

    def save(self, opened: OpenModel, out: Path) -> list[Path]:
        about = origin(opened, "edit") | {"edit": self.verb.record}
        return [
            pixels.save_png(image, out / f"{name}.png", {**about, "result": k})
            for k, (name, image) in enumerate(self.plates)
        ]

    def picture(self, about: Mapping[str, Any]) -> Image.Image:
        return self.plates[about["result"]][1]


@dataclass(frozen=True, kw_only=True)
class SheetRow:
    """What came of one picture, or of what else samples are.

    Attributes:
        name: of the picture, from which its results' names are made.
        before: (K, C, *N) in [-1, 1], what the sheet shows left of the results: the picture, its mask, ...
        results: (R, C, *N) in [-1, 1].
    """

    name: str
    before: Signals
    results: Float[Tensor, "R C *N"]


RowSteps = Generator[Progress | Remark, None, SheetRow]
"""Where the drawing of a row is, and at its end the row."""


@dataclass(frozen=True, kw_only=True)
class Edited(Results):
    """What a model of diffusion drew.

    Attributes:
        rows: one for each picture.
        before: what each of the pictures left of the results is.
        labels: of the results; their seeds, if there are none.
        medium: what they are.
        animated: whether the results of a row are the pictures of an animation, too.
    """

    request: Request
    rows: tuple[SheetRow, ...]
    before: tuple[str, ...] = ("input",)
    labels: tuple[str, ...] = ()
    medium: Medium = PictureMedium()
    animated: bool = False

    @property
    def images(self) -> list[Image.Image]:
        if not isinstance(self.medium, PictureMedium):
            return [self.medium.single(x) or self.medium.grid(x[None]) for row in self.rows for x in row.results]
        return [_image(result) for row in self.rows for result in row.results]

    def sheet(self) -> Image.Image:
        """Side by side: a row per picture, with what was there before, and the results; white beside smaller ones."""
        labels = [*self.before, *(self.labels or (f"seed {seed}" for seed in self.request.seeds))]
        rows = [torch.cat([row.before.cpu(), row.results.cpu()]) for row in self.rows]
        if not isinstance(self.medium, PictureMedium):
            return pixels.stacked([self.medium.grid(x, 1, labels) for x in rows])
        height, width = (max(x.shape[axis] for x in rows) for axis in (2, 3))
        x = torch.cat([F.pad(x, (0, width - x.shape[3], 0, height - x.shape[2]), value=1.0) for x in rows])
        return pixels.grid(x, len(labels), row_labels=[row.name for row in self.rows], column_labels=labels)

    def save(self, opened: OpenModel, out: Path) -> list[Path]:
        about = record(opened, self.request, "edit") | {"edit": self.verb.record}
        paths = [pixels.save_png(self.sheet(), out / "sheet.png", about)]
        for number, row in enumerate(self.rows, start=1):
            if self.animated and isinstance(self.medium, PictureMedium):
                paths += [save_animation(row.results, out / f"{row.name}.{kind}") for kind in ("gif", "webp")]
            for k, result in enumerate(row.results, start=1):
                own = {**about, "row": number, "column": k}
                if isinstance(self.medium, PictureMedium):
                    paths.append(_written(result, out / f"{row.name}-{k}.png", own))
                else:
                    written = self.medium.write(result.cpu(), out / f"{row.name}-{k}", own)
                    paths += written or [save_numbers(result.cpu(), out / f"{row.name}-{k}.npy")]
        return paths

    def picture(self, about: Mapping[str, Any]) -> Image.Image:
        if "row" not in about:
            return self.sheet()
        result = self.rows[about["row"] - 1].results[about["column"] - 1]
        if isinstance(self.medium, PictureMedium):
            return _image(result)
        return self.medium.single(result.cpu()) or self.medium.grid(result.cpu()[None])

    def sample(self, about: Mapping[str, Any]) -> Tensor | None:
        return self.rows[about["row"] - 1].results[about["column"] - 1].cpu() if "row" in about else None


def _image(x: Tensor) -> Image.Image:
    return pixels.to_image(pixels.to_pixels(x))


def _written(x: Tensor, path: Path, about: Mapping[str, Any]) -> Path:
    """One picture; as numbers where PNG cannot hold its channels."""
    return pixels.save_png(_image(x), path, about) if len(x) in (1, 3, 4) else save_numbers(x, path)


def _plain(value: Any) -> Any:
    """As JSON has it."""
    match value:
        case Picture():
            return value.record
        case list() | tuple():
            return [_plain(one) for one in cast(Sequence[Any], value)]
        case _:
            return value


def check_named(images: Sequence[Picture], verb: Verb, does: str) -> None:
    """Refuses to begin without a picture."""
    if not images:
        raise UserError(f"{verb.name} {does}, and none is named: {command(f'edit RUN {verb.name} {verb.arguments}')}")


def untrained(opened: OpenModel, what: str, preset: str) -> UserError:
    """What to say where a model was not trained to do something."""
    train = command("train DATA", preset=preset)
    return UserError(f"'{opened.folder}' was not trained {what}: train one that is with '{train}'")
