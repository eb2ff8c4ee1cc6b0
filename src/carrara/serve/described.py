"""What a page needs to know of a model: what it can be asked, and what can be done to pictures with it.

The options are the fields of ``Ask`` and of the verbs, explained by their docstrings. Of these a model has those that
it understands, with its own settings where nothing is said.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, get_args, get_type_hints

from carrara.autoencoder import LayeredVae
from carrara.docs import field_docs, summary
from carrara.draw import VERBS, Ask, Verb
from carrara.draw.request import reusable
from carrara.draw.verbs.restore import LIKELIHOODS, Task
from carrara.errors import UserError
from carrara.medium import Picture, PictureMedium
from carrara.model import Model
from carrara.sample import SampleSettings
from carrara.sample.catalogue import GRIDS, METHODS, SAMPLERS
from carrara.serve.adapters import fitting, stranger
from carrara.serve.settings import ServeSettings
from carrara.serve.shelf import Entry, Shelf
from carrara.store import OpenModel

MAIN = (
    *("negative", "count", "seed", "size", "steps", "guidance", "sampler", "lora"),
    *(
        "strength",
        "source",
        "to",
        "to_seed",
        "frames",
        "task",
        "factor",
        "canvas",
        "feather",
        "span",
        "channels",
        "layer",
    ),
)
"""Options that are shown at once, in this order."""
Bounds = tuple[int | float | None, int | float | None]
"""The least and the most that a form offers."""
_GUIDANCE = frozenset({"guidance", "method", "interval", "rescale", "weak", "negative"})
_CLASSIFIED = frozenset({"classifier", "label", "classifier_scale"})
_FEW = frozenset({"count", "seed", "size", "fast", "lora"})
_SIZES = frozenset({"size", "tile", "canvas"})
_FIXED: Mapping[str, Sequence[str]] = {
    "sampler": tuple(SAMPLERS),
    "grid": tuple(GRIDS),
    "method": tuple(METHODS),
    "task": get_args(Task),
    "by": tuple(LIKELIHOODS),
}
_BOUNDS: Mapping[str, Bounds] = {
    "guidance": (0, 20),
    "rescale": (0, 1),
    "threshold": (0, 1),
    "strength": (0, 1),
    "classifier_scale": (0, 10),
    "cache": (1, 10),
    "factor": (2, 16),
    "blur": (0, 16),
    "feather": (0, 64),
    "resamplings": (1, 20),
    "jump": (1, 20),
    "refinements": (0, 20),
    "layer": (0, 64),
}


def described(shelf: Shelf, settings: ServeSettings, name: str) -> dict[str, Any]:
    """All that a page needs of a model, by its id.

    Raises:
        UserError: there is none, or it is damaged.
    """
    entry, opened = shelf.entry(name), shelf.open(name)
    model = opened.model
    adapters = fitting(shelf, entry, model)
    others = _others(shelf, entry, adapters)
    return {
        **entry.listed,
        "classes": list(model.conditioner.classes),
        "prompt": prompted(model),
        "parameters": sum(weights.numel() for weights in model.parameters()),
        "fast": model.fast is not None,
        "options": list(_asked(model, settings, others)),
        "strangers": {one.id: start for one in adapters if (start := stranger(one, entry))},
        "verbs": [_verb(kind, opened, settings) for kind in VERBS.values() if can(kind, opened)],
    }


def prompted(model: Model) -> str | None:
    """What the model can be told: words, labels, or nothing."""
    conditioner = model.conditioner
    if conditioner.column is None:
        return None
    return "labels" if conditioner.classes and not conditioner.reads_captions else "words"


def usual_count(model: Model) -> int:
    """How many samples are drawn where nobody says: of words one, which is soonest there, and else some."""
    return 1 if prompted(model) == "words" else 4


def _others(shelf: Shelf, own: Entry, adapters: Sequence[Entry]) -> dict[str, list[str]]:
    """The other models that this one could use, by the options that name them."""
    alike = [entry for entry in shelf.entries().values() if entry.id != own.id and entry.size == own.size]
    kinds = {"weak": "diffusion", "classifier": "classifier"}
    found = {option: [entry.id for entry in alike if entry.kind == kind] for option, kind in kinds.items()}
    return {**found, "lora": [entry.id for entry in adapters]}


def understood(model: Model, others: Mapping[str, Sequence[str]]) -> set[str]:
    """The names of the fields of ``Ask`` that mean something to a model."""
    names = {field.name for field in fields(Ask)} - {"prompts"}
    if not model.draws:
        return set()
    if not model.diffuses:
        return {"count", "seed"}
    if model.few_steps is not None:
        names &= _FEW | {"steps"} if model.spans else _FEW
    if not model.size:
        names -= {"size", "tile"}
    if not model.guidable:
        names -= {"negative"} if model.earlier_self is not None or others["weak"] else _GUIDANCE
    if not reusable(model):
        names -= {"cache"}
    names -= {name for name in ("weak", "lora") if not others[name]}
    if not others["classifier"]:
        names -= _CLASSIFIED
    if model.first_stage.levels is not None:
        names -= {"method", "rescale", "threshold", "clip", "weak"} | _CLASSIFIED
    if not isinstance(model.medium, PictureMedium):
        names -= {"clip", "threshold", "tile"}
    return names if model.fast is not None else names - {"fast"}


def _asked(model: Model, settings: ServeSettings, others: Mapping[str, Sequence[str]]) -> Iterator[dict[str, Any]]:
    own = model.settings()
    defaults: dict[str, Any] = {field.name: getattr(own, field.name) for field in fields(SampleSettings)}
    defaults |= {"count": usual_count(model), "seed": 0, "size": "x".join(map(str, model.size)), "tile": None}
    choices = {**_FIXED, **others, "label": ()}
    if model.first_stage.levels is not None:
        choices["sampler"] = ("absorbing",)
    names = understood(model, others)
    bounds = {"count": (1, settings.count), "steps": (1, settings.steps), "seed": (0, (1 << 53) - 1)}
    yield from _options(Ask, names, defaults, choices, bounds)


def _options(
    what: type,
    names: Iterable[str],
    defaults: Mapping[str, Any],
    choices: Mapping[str, Sequence[str]],
    bounds: Mapping[str, Bounds],
) -> Iterator[dict[str, Any]]:
    """The fields of a dataclass as a page has them, those that are shown at once first."""
    hints, docs, wanted = get_type_hints(what), field_docs(what), set(names)
    bounds = {**_BOUNDS, **bounds}
    order = {name: place for place, name in enumerate(MAIN)}
    for field in sorted(fields(what), key=lambda one: order.get(one.name, len(MAIN))):
        if field.name not in wanted:
            continue
        usual = None if field.default is MISSING else field.default
        made: dict[str, Any] = {
            "name": field.name,
            "doc": docs.get(field.name, ""),
            "type": _type(field.name, hints[field.name], choices),
            "default": _plain(defaults.get(field.name, usual)),
            "main": field.name in MAIN,
            "needed": field.default is MISSING,
        }
        if made["type"] in ("choice", "weighed"):
            made["choices"] = list(choices[field.name])
        least, most = bounds.get(field.name, (None, None))
        made |= {} if least is None else {"least": least}
        yield made | ({} if most is None else {"most": most})


def _type(name: str, hint: Any, choices: Mapping[str, Sequence[str]]) -> str:
    if name in _SIZES:
        return "size"
    if choices.get(name):
        return "weighed" if hint == tuple[str, ...] else "choice"
    kinds = get_args(hint) or (hint,)
    if any(getattr(kind, "__origin__", None) is tuple for kind in kinds):
        return "pair"
    for kind, called in ((bool, "bool"), (int, "int"), (float, "float")):
        if kind in kinds:
            return called
    return "text"


def _plain(value: Any) -> Any:
    """A default as JSON has it; of what has a kind, its name."""
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, bool | int | float | str) else getattr(value, "kind", str(value))


def verb_names(kind: type[Verb]) -> list[str]:
    """The fields of a verb, its own first."""
    return [field.name for field in fields(kind)]


def can(kind: type[Verb], opened: OpenModel) -> bool:
    """Whether a model can do it, to whatever pictures."""
    model = opened.model
    try:
        kind.check_model(model)
    except UserError:
        return False
    image = None if model.image is None else model.image.kind
    learned = model.first_stage.learned and model.first_stage.levels is None
    match kind.name:
        case "upscale":
            return image == "lowres"
        case "map":
            return image == "map"
        case "inpaint" | "outpaint":
            return image in (None, "masked")
        case "reconstruct":
            return learned
        case "traverse":
            return isinstance(model.first_stage, LayeredVae)
        case "interpolate":
            return image is None and (model.diffuses or learned)
        case _:
            return image is None


def _verb(kind: type[Verb], opened: OpenModel, settings: ServeSettings) -> dict[str, Any]:
    hints = get_type_hints(kind)
    images = "many" if hints.get("images") == tuple[Picture, ...] else 1 if "image" in hints else 0
    own = [name for name in verb_names(kind) if hints[name] not in (Picture, Picture | None, tuple[Picture, ...])]
    bounds: dict[str, Bounds] = {"frames": (2, settings.count), "steps": (1, settings.count)}
    medium = opened.model.medium
    if isinstance(medium, PictureMedium):
        own = [name for name in own if name not in ("span", "channels")]
    else:
        own = [name for name in own if name not in ("box", "feather")]
    docs = summary(kind)
    return {
        "name": kind.name,
        "doc": docs.partition("\n\n")[0],
        "images": images,
        "mask": "mask" in hints and isinstance(medium, PictureMedium),
        "options": list(_options(kind, own, {}, _FIXED, bounds)),
        "leaves": sorted({*kind.leaves, *verb_names(kind)} - {"image", "images", "mask"}),
        "usual": {"count": 4} | {name: _plain(value) for name, value in kind.usual.items()},
    }
