"""The verbs of ``carrara edit RUN VERB ...``, each a function with options of its own.

To add one: its signature here, under ``@verb("...")``, and what it does in ``recipe.edits``, whose ``base`` has what
all share.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from carrara.errors import UserError, unknown

edits = App(
    name="edit",
    help="Makes new pictures of your own: carrara edit RUN VERB PICTURE ...",
    help_epilogue="'carrara edit VERB --help' has the options and examples of each.",
    usage="Usage: carrara edit RUN VERB [ARGS] [OPTIONS]",
)

Run = Annotated[
    Path, Parameter(help="A run's folder, its best/, a checkpoint in it, or the name of a model that ships.")
]


def verb(arguments: str) -> Callable[[Callable[..., None]], Any]:
    """Registers a verb, whose ``arguments`` stand in its help."""
    return lambda function: edits.command(
        function, usage=" ".join(f"Usage: carrara edit RUN {function.__name__} {arguments} [OPTIONS]".split())
    )


def verb_first(arguments: list[str]) -> list[str]:
    """``edit RUN VERB ...`` as ``edit VERB RUN ...``, in which options depend on the verb alone.

    Raises:
        UserError: there is no such verb.
    """
    if arguments[:1] != ["edit"] or len(arguments) < 2 or arguments[1] in _verbs() or arguments[1].startswith("-"):
        return arguments
    _, run, *others = arguments
    if not others:
        raise UserError(f"what shall be done with pictures of '{run}'? carrara edit {run} {'|'.join(_verbs())} ...")
    if others[0] not in _verbs() and not others[0].startswith("-"):
        raise unknown("edit", others[0], _verbs())
    return ["edit", others[0], run, *others[1:]]


def _verbs() -> list[str]:
    return [name for name in edits if not name.startswith("-")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How a diffusion model draws over pictures: the options that its verbs share."""

    prompt: Annotated[str | None, Parameter(name=["--prompt", "--wish"])] = None
    "What to draw, as 'carrara sample' takes it: words, or a label; nothing in particular, if not given."
    negative: str | None = None
    "What guidance leads away from, in the place of nothing in particular."
    weak: Path | None = None
    "A weaker model of the same data that guidance leads away from instead."
    guidance: float | None = None
    "Guidance scale: 1 = off, larger = more of what was asked for."
    sampler: str | None = None
    "As of 'carrara sample'."
    grid: str | None = None
    "As of 'carrara sample'."
    steps: int | None = None
    "How many steps lead from noise to data; an edit that begins later makes the rest of them."
    seed: int = 0
    "The first result's seed; the others count up."
    count: Annotated[int, Parameter(name=["--count", "-n"])] = 4
    "How many results for each picture."
    size: str | None = None
    "Height x width that pictures are brought to first, as in 96x64, or one number for a square."
    tile: str | None = None
    "Show the network windows of this size, as it knows them, and make one large picture of its answers."
    fast: bool = False
    "Decode with the tiny decoder that 'carrara distill RUN --decoder' made."
    out: Path | None = None
    "The folder for the pictures; a new one in the run's samples/, if not given."


DRAWING = Drawing()
"""Nothing is asked for."""


@verb("PICTURE ...")
def img2img(run: Run, /, *images: Path, strength: float = 0.6, drawing: Drawing = DRAWING) -> None:
    """Draws pictures again from a noised copy of them (SDEdit).

    Examples:
        carrara edit openmoji img2img sketch.png --prompt "a red heart" --strength 0.7
        carrara edit runs/digits img2img three.png --prompt 8 --guidance 3

    Parameters
    ----------
    images
        Pictures; they are brought to the model's own size, or to --size.
    strength
        How far into noise it goes first: 0 keeps the picture, 1 next to nothing. Of 20 steps it makes 12 at 0.6.
    """
    from carrara.cli import commands
    from carrara.recipe import edits

    commands.draw_over(run, drawing, lambda job: edits.img2img(job, images, strength))


@verb("PICTURE")
def variation(run: Run, image: Path, /, *, strength: float = 0.5, drawing: Drawing = DRAWING) -> None:
    """Draws one picture again, a little differently for each seed.

    Examples:
        carrara edit runs/photos variation a.png -n 8

    Parameters
    ----------
    image
        The picture.
    strength
        How different, 0 to 1; see img2img.
    """
    from carrara.cli import commands
    from carrara.recipe import edits

    commands.draw_over(run, drawing, lambda job: edits.variation(job, image, strength))


@verb("PICTURE --mask PICTURE")
def inpaint(
    run: Run,
    image: Path,
    /,
    *,
    mask: Path | None = None,
    box: str | None = None,
    feather: int | None = None,
    resamplings: int = 10,
    jump: int = 1,
    drawing: Drawing = DRAWING,
) -> None:
    """Makes a part of a picture new, and keeps the rest of it (RePaint).

    Examples:
        carrara edit openmoji inpaint face.png --mask mask.png --prompt "face with sunglasses"
        carrara edit runs/photos inpaint a.png --box 10,20,30,16 --size 64 --resamplings 20

    Parameters
    ----------
    image
        The picture; it keeps its size, unless --size brings it to another.
    mask
        A picture of the same size: white where something new is made. One of a single colour counts where it is opaque.
    box
        The part that is made new as x,y,w,h, in the place of a mask: left, top, width and height in pixels.
    feather
        Of a model in latents: over how many pixels beside the mask the new part fades into the picture; beyond, every
        pixel is kept. 2, if not given.
    resamplings
        How often each step is gone over, so that the new part fits the rest: 1 is fast, and fits badly.
    jump
        How many steps are gone over at a time.
    """
    from carrara.cli import commands
    from carrara.recipe import edits

    how = edits.repaint(resamplings, jump, drawing.sampler)
    commands.draw_over(run, drawing, lambda job: edits.inpaint(job, image, mask, box, how, feather))


@verb("PICTURE --canvas HEIGHTxWIDTH")
def outpaint(
    run: Run,
    image: Path,
    /,
    *,
    canvas: str | None = None,
    margins: str | None = None,
    feather: int | None = None,
    resamplings: int = 10,
    jump: int = 1,
    drawing: Drawing = DRAWING,
) -> None:
    """Draws what is around a picture.

    Examples:
        carrara edit runs/photos outpaint a.png --canvas 64x128 --tile 64
        carrara edit openmoji outpaint rocket.png --size 64 --margins 0,32,0,0 --prompt "rocket"

    Parameters
    ----------
    image
        The picture; it keeps its size, unless --size brings it to another.
    canvas
        Height x width of the result, with the picture in its middle.
    margins
        How many pixels to add, as top,right,bottom,left, in the place of a canvas.
    feather
        See inpaint.
    resamplings
        See inpaint.
    jump
        See inpaint.
    """
    from carrara.cli import commands
    from carrara.recipe import edits, size_of

    how = edits.repaint(resamplings, jump, drawing.sampler)
    commands.draw_over(run, drawing, lambda job: edits.outpaint(job, image, size_of(canvas), margins, how, feather))


@verb("PICTURE ...")
def upscale(run: Run, /, *images: Path, noise: float = 0.0, drawing: Drawing = DRAWING) -> None:
    """Enlarges pictures, by a model that was trained to: 'carrara train DATA --preset upscale-x4'.

    Examples:
        carrara edit runs/upscale upscale small.png
        carrara edit runs/upscale upscale old.jpg --noise 0.1 -n 2

    Parameters
    ----------
    images
        Pictures of any size; --size is what they are brought to before.
    noise
        How much noise hides the flaws of bad pictures, 0 to 1.
    """
    from carrara.cli import commands
    from carrara.recipe import edits

    commands.draw_over(run, drawing, lambda job: edits.upscale(job, images, noise))


@edits.command(name="map", usage="Usage: carrara edit RUN map MAP ... [OPTIONS]")
def paint_map(run: Run, /, *images: Path, drawing: Drawing = DRAWING) -> None:
    """Paints over maps of flat colours, by a model that was trained to: 'carrara train DATA --preset segmentation'.

    Examples:
        carrara edit runs/segmentation map layout.png -n 6

    Parameters
    ----------
    images
        Maps; each colour is taken for the nearest one of the training's. They are brought to the model's own size, or
        to --size.
    """
    from carrara.cli import commands
    from carrara.recipe import edits

    commands.draw_over(run, drawing, lambda job: edits.paint_map(job, images))


@verb("[PICTURE ...]")
def reconstruct(run: Run, /, *images: Path, out: Path | None = None) -> None:
    """Sends pictures through a trained autoencoder.

    Examples:
        carrara edit runs/photos reconstruct
        carrara edit runs/photos reconstruct a.png b.png

    Parameters
    ----------
    images
        Pictures; held-out ones of the run's own data, if not given.
    out
        The folder for the pictures; a new one in the run's samples/, if not given.
    """
    from carrara.cli import commands

    commands.edit(run, "reconstruct", images, out)


@verb("[PICTURE PICTURE]")
def interpolate(run: Run, /, *images: Path, out: Path | None = None, steps: int = 9) -> None:
    """Goes from one picture to another in an autoencoder's latents.

    Examples:
        carrara edit runs/photos interpolate a.png b.png --steps 12

    Parameters
    ----------
    images
        Two pictures; held-out ones of the run's own data, if not given.
    out
        The folder for the pictures; a new one in the run's samples/, if not given.
    steps
        Pictures from one end to the other.
    """
    from carrara.cli import commands

    commands.edit(run, "interpolate", images, out, steps=steps)


@verb("")
def traverse(run: Run, /, *, out: Path | None = None, steps: int = 9, layer: int = 0) -> None:
    """Moves single latents of a variational autoencoder from one side to the other.

    Examples:
        carrara edit runs/vae traverse

    Parameters
    ----------
    out
        The folder for the pictures; a new one in the run's samples/, if not given.
    steps
        Pictures from one end to the other.
    layer
        Whose latents to traverse, from 1 next to the pixels; 0 = the last.
    """
    from carrara.cli import commands

    commands.edit(run, "traverse", (), out, steps=steps, layer=layer)
