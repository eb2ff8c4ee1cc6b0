"""Pictures of what a run's model makes, for pages about it.

Ones that it drew before are taken if its weights are the same, and if they were drawn as ``carrara evaluate`` draws: so
that the pictures of a page show what its figures measure.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from carrara import pixels
from carrara.draw import Ask, Request, collect, record, request
from carrara.draw.reconstruct import compared
from carrara.draw.request import read_request
from carrara.draw.samples import PictureKind
from carrara.errors import UserError
from carrara.evaluate import page
from carrara.files import NotWritten
from carrara.pixels import read_picture
from carrara.store import OpenModel

DRAWN = 12
"""Samples that are drawn where the run has none."""
RECONSTRUCTED = 8


def illustrate(opened: OpenModel) -> list[page.Figure]:
    """What a model makes: samples and their way from noise, or reconstructions."""
    folder, model = opened.folder, opened.model
    if not model.draws:
        return _reconstructions(opened)
    if model.image is not None:
        return _previews(folder)
    kinds: list[PictureKind] = ["grid", "strip"] if model.diffuses else ["grid"]
    wanted = request(opened, Ask(count=DRAWN))
    shown = {kind: _newest(opened, kind, wanted) for kind in kinds}
    missing: list[PictureKind] = [kind for kind in kinds if shown[kind] is None]
    shown |= _draw(opened, missing, wanted) if missing else {}
    alts = {"grid": "Samples of the model", "strip": "Samples on their way from noise, left, to data, right"}
    captions = {"grid": "Samples", "strip": "From noise to data"}
    return [
        page.Figure(image=found.image, alt=alts[kind], caption=f"{captions[kind]}{found.where}")
        for kind, found in shown.items()
        if found is not None
    ]


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """A picture, and where it lies, as it follows after what it is."""

    image: Image.Image
    where: str = ""


def _newest(opened: OpenModel, kind: PictureKind, wanted: Request) -> _Shown | None:
    """The newest picture of a kind that the model drew in the same manner with the weights that it has now."""
    names = ("**/grid*.png", "step-*.png") if kind == "grid" else ("**/strip*.png",)
    paths = [path for name in names for path in (opened.folder / "samples").glob(name)]
    digest = opened.model.digest()
    for path in sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            about = pixels.read_recipe(path)
            same = about.get("weights") == digest and about.get("picture") == kind
            if same and _manner(read_request(about["request"])) == _manner(wanted):
                return _Shown(image=read_picture(path), where=f": {path.relative_to(opened.folder)}")
        except (UserError, KeyError, TypeError, ValueError):
            continue
    return None


def _manner(wanted: Request) -> tuple[object, ...]:
    """What a picture depends on besides what is to be seen on it, and besides where the weaker model is kept."""
    weak = wanted.weak and wanted.weak.weights
    return wanted.settings, wanted.size, wanted.fast, wanted.negative, wanted.guide, weak


def _draw(opened: OpenModel, kinds: Sequence[PictureKind], wanted: Request) -> dict[PictureKind, _Shown | None]:
    """Draws, and keeps it for the next time where that can be written."""
    samples, found = collect(opened, wanted, strip="strip" in kinds), dict[PictureKind, _Shown | None]()
    for kind in kinds:
        image, path = samples.picture(kind), opened.folder / "samples" / "report" / f"{kind}.png"
        about, where = record(opened, wanted, kind), ""
        with suppress(NotWritten):
            pixels.save_png(image, path, about, overwrite=True, within=opened.folder)
            where = f": {path.relative_to(opened.folder)}"
        found[kind] = _Shown(image=image, where=where)
    return found


def _previews(folder: Path) -> list[page.Figure]:
    """The last preview of a model that sees pictures."""
    alt = "What the model was given, what it made of it, and held-out pictures"
    last = sorted((folder / "samples").glob("step-*.png"))[-1:]
    return [
        page.Figure(image=read_picture(path), alt=alt, caption=f"Preview: {path.relative_to(folder)}") for path in last
    ]


def _reconstructions(opened: OpenModel) -> list[page.Figure]:
    try:
        image = compared(opened.model, opened.examples(RECONSTRUCTED))
    except UserError:
        return []  # the data are gone
    alt = "Held-out pictures, and below each what the autoencoder makes of it"
    return [page.Figure(image=image, alt=alt, caption="Held-out pictures and their reconstructions")]
