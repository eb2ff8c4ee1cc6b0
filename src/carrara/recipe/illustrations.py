"""Pictures of what a run's model makes, for pages about it: ones that it drew before, if its weights are the same."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from carrara import pixels
from carrara.autoencoder import LayeredVae
from carrara.errors import UserError
from carrara.evaluate import page
from carrara.model import AnyModel, DiffusionModel
from carrara.recipe.editing import examples
from carrara.recipe.sampling import PictureKind, collect, record, request
from carrara.task import compared

DRAWN = 12
"""Samples that are drawn where the run has none."""
RECONSTRUCTED = 8


def drawn(folder: Path, model: AnyModel) -> list[page.Picture]:
    """What a model makes: samples and their way from noise, or reconstructions."""
    if not isinstance(model, DiffusionModel) and not isinstance(model.first_stage, LayeredVae):
        return _reconstructions(folder, model)
    if isinstance(model, DiffusionModel) and model.image is not None:
        return _previewed(folder)
    kinds: list[PictureKind] = ["grid", "strip"] if isinstance(model, DiffusionModel) else ["grid"]
    found = {kind: _found(folder, model, kind) for kind in kinds}
    if None in found.values():
        found |= _draw(folder, model, [kind for kind in kinds if found[kind] is None])
    alts = {"grid": "Samples of the model", "strip": "Samples on their way from noise, left, to data, right"}
    captions = {"grid": "Samples", "strip": "From noise to data"}
    return [
        page.Picture(image=opened(path), alt=alts[kind], caption=f"{captions[kind]}: {path.relative_to(folder)}")
        for kind, path in found.items()
        if path is not None
    ]


def _found(folder: Path, model: AnyModel, kind: PictureKind) -> Path | None:
    """The newest picture of a kind that the model drew with the weights that it has now."""
    names = ("**/grid*.png", "step-*.png") if kind == "grid" else ("**/strip*.png",)
    paths = [path for name in names for path in (folder / "samples").glob(name)]
    digest = model.digest()
    for path in sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            about = pixels.read_recipe(path)
        except UserError:
            continue
        if about.get("weights") == digest and about.get("picture") == kind:
            return path
    return None


def _draw(folder: Path, model: AnyModel, kinds: Sequence[PictureKind]) -> dict[PictureKind, Path | None]:
    wanted = request(model, (), DRAWN, 0, {})
    samples, where = collect(model, wanted), folder / "samples" / "report"
    return {
        kind: pixels.save_png(
            samples.picture(kind), where / f"{kind}.png", record(folder, model, wanted, kind), overwrite=True
        )
        for kind in kinds
    }


def _previewed(folder: Path) -> list[page.Picture]:
    """The last preview of a model that sees pictures."""
    alt = "What the model was given, what it made of it, and held-out pictures"
    last = sorted((folder / "samples").glob("step-*.png"))[-1:]
    return [page.Picture(image=opened(path), alt=alt, caption=f"Preview: {path.relative_to(folder)}") for path in last]


def _reconstructions(folder: Path, model: AnyModel) -> list[page.Picture]:
    try:
        image = compared(model, examples(model, folder, RECONSTRUCTED))
    except UserError:
        return []  # the data are gone
    alt = "Held-out pictures, and below each what the autoencoder makes of it"
    return [page.Picture(image=image, alt=alt, caption="Held-out pictures and their reconstructions")]


def opened(path: Path) -> Image.Image:
    """A picture from a file that is closed again."""
    with Image.open(path) as image:
        return image.copy()
