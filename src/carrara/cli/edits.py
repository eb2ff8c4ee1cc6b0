"""The verbs of ``carrara edit RUN VERB ...``, each a function with options of its own.

To add one: its signature here, under ``@verb("...")``, and what it does in ``recipe.edits``, whose ``base`` has what
all share.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from carrara.cli.options import ASKING, BETWEEN, DRAWING, PAINTING, Asking, Between, Drawing, Painting
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
def restore(
    run: Run,
    /,
    *images: Path,
    task: str,
    factor: int = 4,
    blur: float = 2.0,
    noise: float = 0.0,
    by: str = "pigdm",
    drawing: Drawing = DRAWING,
) -> None:
    """Makes small, blurred or colourless pictures whole, by a model that was never trained for it.

    Examples:
        carrara edit runs/photos restore small.png --task upscale --factor 4
        carrara edit runs/photos restore --task deblur --blur 1.5 --noise 3
        carrara edit runs/photos restore grey.png --task colour -n 8
        carrara edit openmoji restore --task deblur --sampler ddpm

    Parameters
    ----------
    images
        Pictures; held-out ones of the run's own data, spoilt first and shown beside, if not given.
    task
        upscale, deblur or colour.
    factor
        How many times larger to make them, for upscale.
    blur
        How much they are blurred, for deblur: a Gaussian's standard deviation in pixels.
    noise
        Standard deviation of their noise, of values from 0 to 255.
    by
        How sure the picture is of a half-finished result: pigdm, or dps, which knows less and takes longer to tune.
    """
    from carrara.cli import commands
    from carrara.recipe import edits

    spoilt = edits.Spoilt(task=task, factor=factor, blur=blur, noise=noise, by=by)
    commands.draw_over(run, drawing, lambda job: edits.restore(job, images, spoilt))


@verb("PICTURE --mask PICTURE")
def inpaint(
    run: Run,
    image: Path,
    /,
    *,
    mask: Path | None = None,
    box: str | None = None,
    painting: Painting = PAINTING,
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
    """
    from carrara.cli import commands
    from carrara.recipe import edits

    feather, asked = painting.feather, (painting.resamplings, painting.jump, painting.sampler)
    commands.draw_over(
        run, painting, lambda job: edits.inpaint(job, image, mask, box, edits.repaint(job.model, *asked), feather)
    )


@verb("PICTURE --canvas HEIGHTxWIDTH")
def outpaint(
    run: Run,
    image: Path,
    /,
    *,
    canvas: str | None = None,
    margins: str | None = None,
    painting: Painting = PAINTING,
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
    """
    from carrara.cli import commands
    from carrara.recipe import edits, size_of

    size = size_of(canvas)
    feather, asked = painting.feather, (painting.resamplings, painting.jump, painting.sampler)
    commands.draw_over(
        run, painting, lambda job: edits.outpaint(job, image, size, margins, edits.repaint(job.model, *asked), feather)
    )


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


@verb("PICTURE ...")
def invert(run: Run, /, *images: Path, strength: float = 1.0, refinements: int = 5, asking: Asking = ASKING) -> None:
    """Finds the noise that becomes each picture, makes the picture of it again, and says how well.

    Examples:
        carrara edit openmoji invert heart.png --prompt "red heart"
        carrara edit runs/photos invert a.png b.png --steps 100

    Parameters
    ----------
    images
        Pictures; they are brought to the model's own size, or to --size.
    strength
        How far into noise, 0 to 1.
    refinements
        Of each step; 0 is plain DDIM inversion, and sooner done. There are 50 steps without guidance, if not given.
    """
    from carrara.cli import commands
    from carrara.recipe import edits

    asked = asking.unless(steps=50, guidance=1.0)
    commands.draw_over(run, asked, lambda job: edits.invert(job, images, strength, refinements))


@verb("PICTURE ... --prompt PROMPT")
def rewrite(
    run: Run,
    /,
    *images: Path,
    source: str | None = None,
    strength: float = 1.0,
    refinements: int = 5,
    asking: Asking = ASKING,
) -> None:
    """Makes something else of pictures: inverts them as what they are and draws what is asked for from their noise.

    Examples:
        carrara edit openmoji rewrite heart.png --source "red heart" --prompt "blue heart"
        carrara edit runs/digits rewrite three.png --source 3 --prompt 8

    Parameters
    ----------
    images
        Pictures; they are brought to the model's own size, or to --size.
    source
        What they show, as --prompt; nothing in particular, if not given.
    strength
        How far into noise, 0 to 1: less keeps more of the picture.
    refinements
        Of each step of the inversion; there are 50, if --steps is not given.
    """
    from carrara.cli import commands
    from carrara.recipe import edits

    asked = asking.unless(steps=50)
    commands.draw_over(run, asked, lambda job: edits.rewrite(job, images, source, strength, refinements))


@verb("[PICTURE PICTURE]")
def interpolate(
    run: Run,
    /,
    *images: Path,
    frames: int = 9,
    between: Between = BETWEEN,
    asking: Asking = ASKING,
) -> None:
    """Goes from one picture, prompt or seed to another, as a strip and as an animation.

    An autoencoder's run goes from picture to picture in its latents, with --frames and --out alone.

    Examples:
        carrara edit openmoji interpolate --prompt "red heart" --to "red apple" --frames 24
        carrara edit runs/digits interpolate a.png b.png
        carrara edit runs/digits interpolate --prompt 3 --seed 1 --to-seed 2
        carrara edit runs/autoencoder interpolate a.png b.png

    Parameters
    ----------
    images
        Two pictures, by way of the noise that becomes them, without guidance, if not given. Without them, from prompt
        to prompt or from seed to seed. There are 50 steps, if not given.
    frames
        Pictures from one end to the other.
    """
    from carrara.cli import commands

    commands.interpolate(run, images, frames, asking, between)


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
