"""What a recipe says of its data, and what that opens. A run's ``data`` section is all that is needed for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import prod
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, TypeAdapter, ValidationError

from carrara.data.base import Dataset, nested, split
from carrara.data.loader import batch_of, spread
from carrara.data.sources import BUILTIN, SOURCES, AnySource, Fact, source_mapping
from carrara.data.transforms import Transform
from carrara.errors import UserError
from carrara.files import PIXEL_LIMIT
from carrara.kinds import BY_KIND, UNSAID
from carrara.modality import AnyModality, Numbers
from carrara.shapes import by
from carrara.types import Batch


def _edges(value: object) -> object:
    return (value,) if isinstance(value, int) else value


SizeSetting = Annotated[tuple[int, ...], BeforeValidator(_edges)]
"""(height, width) in pixels, (length,) of sounds, (depth, height, width) of volumes; one number is all edges."""
BESIDE = ("skin_tones", "points", "thickness")
"""Keys of sources that stand beside ``source`` in older recipes."""


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """What to train on.

    Attributes:
        source: a folder, or one of the built-in data sets; None = still to be named.
        size: (height, width) that pictures are brought to, or (length,), or (depth, height, width); None = chosen from
            the data.
        channels: 1 grey, 3 colour, 4 colour with transparency, others for ``.npy`` arrays; None = the data's.
        fit: what becomes of another shape: ``cover`` crops, ``contain`` adds a border, ``stretch`` distorts.
        crop: where ``cover`` crops: the centre, or at random.
        flip: mirrors half of the pictures; not for text, digits or scores.
        held_out: the part of the data that is never trained on, but measured.
        part: of the other data, which is trained on, chosen by content: smaller ones lie within larger ones; None = all
            of them.
        turns: copies of a picture, and a drawing and its variants, take turns: one of them in an epoch.
        buckets: sizes in the place of the one, of which each picture is trained on in the one that is most like it;
            ``auto`` = chosen from the data.
    """

    source: Annotated[AnySource | None, BeforeValidator(source_mapping), BY_KIND] = None
    size: SizeSetting | None = None
    channels: int | None = None
    fit: Literal["cover", "contain", "stretch"] = "cover"
    crop: Literal["center", "random"] = "center"
    flip: bool = False
    held_out: float = 0.05
    part: Annotated[float | None, UNSAID] = field(default=None, repr=False)
    turns: bool = False
    buckets: tuple[SizeSetting, ...] | Literal["auto"] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", self._of_all_edges(self.size) if self.size else self.size)
        if self.buckets != "auto":
            object.__setattr__(self, "buckets", tuple(map(self._of_all_edges, self.buckets)))
        for size in ((self.size,) if self.size else ()) + (self.buckets if self.buckets != "auto" else ()):
            if min(size) < 4:
                raise ValueError(f"samples need at least 4 places along each edge, as 4x4 pixels, got {by(size)}")
            if prod(size) > PIXEL_LIMIT:
                raise ValueError(f"samples have at most {PIXEL_LIMIT:,} places, got {by(size)}")
        if self.channels is not None and self.channels < 1:
            raise ValueError(f"pictures need at least 1 channel, got {self.channels}")
        if not 0 <= self.held_out < 1:
            raise ValueError(f"held_out is a part of the data, at least 0 and below 1, got {self.held_out}")
        if self.part is not None and not 0 < self.part <= 1:
            raise ValueError(f"part is what is trained on of the data, above 0 and at most 1, got {self.part}")

    def _of_all_edges(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """A size with an edge for each axis of the source's examples; one number stands for all."""
        spatial = 2 if self.source is None else self.source.spatial
        if len(size) == 1:
            return size * max(spatial, 1)
        if len(size) != spatial:
            edges = "1 edge" if spatial == 1 else f"{spatial} edges"
            raise ValueError(f"these data have {edges}, and {by(size)} are {len(size)}: name as many, or one for all")
        return size

    def open(self) -> Dataset:
        """All of the data.

        Raises:
            UserError: there are none, or none are named.
        """
        if self.source is None:
            raise UserError(f"no data are named: set data.source to a folder, or to one of {', '.join(BUILTIN)}")
        return self.source.open(max(self.size) if self.size else None)

    def parts(self, whole: Dataset) -> tuple[Dataset, Dataset]:
        """The data to train on, and the data held out, which are the same whatever part of the others is."""
        training, held_out = split(whole, self.held_out)
        return (training if self.part is None else nested(training, self.part)), held_out

    def transform(self) -> Transform | None:
        """What brings pictures to their size; None for points."""
        if self.size is None or self.channels is None:
            return None
        assert self.buckets != "auto", "a resolved recipe has sizes"
        return Transform(
            size=self.size,
            channels=self.channels,
            fit=self.fit,
            crop=self.crop,
            flip=self.flip,
            buckets=self.buckets,
            missing=isinstance(self.modality, Numbers) and self.modality.missing,
        )

    def examples(self, count: int) -> Batch:
        """So many examples from all over the held-out data, or from the others where none are held out.

        Raises:
            UserError: the data are gone.
        """
        training, held_out = self.parts(self.open())
        shown = held_out if len(held_out) else training
        return batch_of(shown, self.transform(), spread(count, len(shown)))

    @property
    def shape(self) -> tuple[int, ...]:
        """One sample's: (C, H, W), or that of the source's points.

        Raises:
            UserError: the size of the pictures is still open.
        """
        own = self.source.shape if self.source else None
        if self.size is not None and self.channels is not None:
            return (self.channels, *self.size)
        if own is None:
            raise UserError(
                "the recipe leaves the size of the pictures open: set data.size and data.channels, or give data"
            )
        return own

    @property
    def smallest(self) -> tuple[int, ...]:
        """The ``shape`` of a sample that is as small along each edge as those of any bucket; errors as of it."""
        sizes = () if self.buckets == "auto" else self.buckets
        edges = [min(edges) for edges in zip(*sizes, strict=True)] or self.shape[1:]
        return self.shape[:1] + tuple(map(min, self.shape[1:], edges))

    @property
    def modality(self) -> AnyModality | None:
        """What the numbers of a sample are; None for pictures and plain points."""
        return self.source.modality if self.source else None

    @property
    def facts(self) -> tuple[Fact, ...]:
        """What is quoted beside a likelihood."""
        return self.source.facts if self.source else ()


def read_settings(section: Mapping[str, Any]) -> DataSettings:
    """The section ``data`` of a run's ``recipe.yaml``, of this version or of an older one.

    Raises:
        UserError: it is none.
    """
    try:
        return TypeAdapter(DataSettings).validate_python(migrated(section))
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"data.{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def migrated(section: Any, below: Any = None) -> Any:
    """The section as it is written today: in older ones, a source is a name, and its keys stand beside it.

    Those that a source did not have meant nothing, and are left out.

    Args:
        section: what is no section is left as it is.
        below: the section over which it will be laid, which may say of which kind the source is.
    """
    if not isinstance(section, Mapping):
        return section
    new = {
        key: source_mapping(value) if key == "source" else value for key, value in section.items() if key not in BESIDE
    }
    own, under = _keys(new), _keys(below)
    kind = own.get("kind", under.get("kind"))
    had = {field.name for field in fields(SOURCES[kind])} if isinstance(kind, str) and kind in SOURCES else set[str]()
    moved = {key: section[key] for key in BESIDE if key in section and key in had}
    return {**new, "source": {**own, **moved}} if moved else new


def _keys(section: Any) -> Mapping[str, Any]:
    """Of its source."""
    source = source_mapping(section.get("source")) if isinstance(section, Mapping) else None
    return source if isinstance(source, Mapping) else {}
