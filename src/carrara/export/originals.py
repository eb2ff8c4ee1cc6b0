"""``carrara import FILE``: the checkpoints that the authors of a network have published, as models of ours.

A file says what it is by the names and shapes of its tensors. What these leave open (how many heads, which noise)
has options, and unless one is given the published network's value; what was taken is said.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carrara.errors import UserError, known, option
from carrara.export import compvis, guided, latent, transformers
from carrara.export.command import taken
from carrara.export.weights import Weights
from carrara.files import BadFile, as_safetensors


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A way to name a network's tensors.

    Attributes:
        signs: names that every such network has, by which it is found in a file.
        read: ``(weights, out, **options)`` makes the model's folder, and yields sentences; its keywords are the options
            that mean something.
    """

    signs: tuple[str, ...]
    read: Callable[..., Iterator[str]]


LAYOUTS: Mapping[str, Layout] = {
    "guided-diffusion": Layout(signs=guided.SIGNS, read=guided.read),
    "dit": Layout(signs=transformers.SIGNS, read=transformers.read_dit),
    "stable-diffusion": Layout(signs=compvis.SIGNS, read=compvis.read),
    "latent-diffusion": Layout(signs=latent.SIGNS, read=latent.read),
    "sit": Layout(signs=transformers.SIGNS, read=transformers.read_sit),
}


def read(path: Path, out: Path, *, layout: str | None = None, **options: Any) -> Iterator[str]:
    """Makes the model's folder ``out`` of a file, and yields sentences.

    Raises:
        UserError: the file holds no network that is known, or is damaged, or an option means nothing to it.
    """
    with as_safetensors(path) as source:
        name, weights = recognised(Weights(path, source), layout)
        function = LAYOUTS[name].read
        yield f"'{path}' holds a network of {name}{', of which the moving average is taken' if weights.average else ''}"
        yield from function(weights, out, **taken(function, name, options))


def recognised(weights: Weights, layout: str | None) -> tuple[str, Weights]:
    """The name of the layout, and the network's tensors without what stands before all of their names.

    Args:
        layout: the one that is meant; None if the names of tensors say it.

    Raises:
        UserError: none of them fits.
    """
    names = [known("layout", layout, LAYOUTS)] if layout else list(LAYOUTS)
    found = {
        name: below
        for name in names
        for below in (weights.unwrapped(LAYOUTS[name].signs),)
        if all(sign in below.shapes for sign in LAYOUTS[name].signs)
    }
    if len(found) > 1:
        which = " or ".join(option("layout", name) for name in found)
        raise UserError(f"'{weights.path}' is of {' or '.join(found)}, whose tensors have equal names: say {which}")
    if found:
        return found.popitem()
    shown = ", ".join(f"'{name[:60]}'" for name in sorted(weights.shapes)[:3])
    raise BadFile(weights.path, f"is no network of {' or '.join(names)}: its tensors are called {shown} and so on")
