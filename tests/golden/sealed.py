"""Runs of every kind as 0.1.0 leaves them, with sealed folders of models: each later version makes the same of them.

Their folders lie in ``runs/sealed-NAME``. ``record.py --keep --only sealed`` made them, and ``record.py --add``
recorded what was made of them then. Neither is done again: what a later version adds has a name of its own.
"""

from corpus import ONE, QUICK, SEEN, SMALL, TINY, TRAINED, TWO, TWO_EACH, Call, Output, Run, drawn_again, trained

STAGE = "channels: 4, multipliers: [1, 2], blocks: 1, latent_channels: 2"
READS = (
    "model.backbone={kind: unet, channels: 8, multipliers: [1], blocks: 1, attention_levels: [], "
    "transformer_depths: [1], context_width: 0}"
)
LEARNED = ("data.size=16", *TRAINED, *SEEN, "data.held_out=0.1", "objective.perceptual=0")


def kept(name: str, *arguments: str, then: tuple[Call, ...] = ()) -> Run:
    """A run whose folder is kept."""
    return trained(f"kept-sealed-{name}", *arguments, "checkpoint.keep=1", then=then)


def drawn(run: str, verb: str, *arguments: str) -> Call:
    """What is drawn when the run is made, and kept in it."""
    return (verb, f"runs/kept-sealed-{run}", *arguments, "--out", f"runs/kept-sealed-{run}/drawn")


SEALED = (
    kept(
        *("pixel", "photos", "--preset", "pixel", *TINY, SMALL, "model.conditioner=none", "checkpoint.early=0.5"),
        *("data.held_out=0.4", "preview.best=loss"),
        then=(drawn("pixel", "sample", *TWO_EACH),),
    ),
    kept(
        *("words", "captioned", "--preset", "pixel", *TINY, READS, "data.held_out=0.1", "sample.guidance=2"),
        *("checkpoint.early=null", "model.conditioner={kind: text, width: 8, depth: 1, heads: 1, pieces: 100}"),
        then=(drawn("words", "sample", "a (red:1.3) box", *TWO_EACH),),
    ),
    kept(
        *("latent", "photos", "--preset", "latent", *TWO, SMALL, "data.size=16", "model.conditioner=labels"),
        *("autoencoder.objective.perceptual=0", "data.held_out=0.1", "checkpoint.early=null"),
        f"autoencoder.first_stage={{kind: kl, patch: 1, {STAGE}}}",
        then=(
            (
                *(
                    "distill",
                    "runs/kept-sealed-latent",
                    "--decoder",
                    "objective.decoder={widths: [8, 8], blocks: [1, 1]}",
                ),
                *("train.steps=3", "train.batch=4", "preview.count=2", "preview.every=3", "train.precision=float32"),
            ),
            drawn("latent", "sample", "red", *TWO_EACH),
        ),
    ),
    kept(
        "kl", "photos", "--preset", "autoencoder-kl-f4", *LEARNED, f"model.first_stage={{kind: kl, patch: 1, {STAGE}}}"
    ),
    kept(
        "vq", "photos", "--preset", "autoencoder-vq-f4", *LEARNED, f"model.first_stage={{kind: vq, codes: 16, {STAGE}}}"
    ),
    kept(
        *("vae", "--preset", "vae-two-layer", "data.size=8", *TRAINED, *SEEN, "data.held_out=0.006"),
        *("model.first_stage.hidden=8", "model.first_stage.latents=[3,2]"),
        then=(drawn("vae", "sample", *TWO_EACH),),
    ),
    kept("judge", "photos", "--preset", "classifier", *TRAINED, *SEEN, SMALL, "data.size=8", "data.held_out=0.3"),
    kept(
        *("masked", "photos", "--preset", "inpaint", *TINY, SMALL, "data.held_out=0.2", "checkpoint.early=null"),
        then=(drawn("masked", "edit", "inpaint", "pictures/square.png", "--box", "2,2,4,4", *ONE),),
    ),
    kept(
        *("lowres", "photos", "--preset", "upscale-x4", *TINY, SMALL, "model.image.factor=2", "data.held_out=0.2"),
        *("model.conditioner=labels", "checkpoint.early=null"),
        then=(drawn("lowres", "edit", "upscale", "pictures/small.png", *ONE),),
    ),
    Run(
        name="kept-sealed-few",
        calls=(
            ("distill", "runs/kept-sealed-latent", "--steps", "2", "--run", "runs/kept-sealed-few", *QUICK),
            drawn("few", "sample", "red", *TWO_EACH),
        ),
        needs=("kept-sealed-latent",),
    ),
)


def opened(run: str, what: str, *calls: Call, needs: tuple[str, ...] = (), heard: bool = False) -> Output:
    """What becomes of such a run now."""
    name, others = f"kept-sealed-{run}", tuple(f"kept-sealed-{other}" for other in needs)
    return Output(name=f"{name}-{what}", run=name, calls=calls, needs=others, heard=heard)


def sampled(*arguments: str) -> Call:
    """Samples."""
    return ("sample", "{run}", *arguments, "--out", "{out}")


def measured(metric: str) -> Call:
    """A measurement."""
    return ("evaluate", "{copy}", "--metrics", metric)


OPENED_SEALED = (
    opened("pixel", "sample", sampled(*TWO_EACH)),
    opened("pixel", "best", ("sample", "{run}/best", *TWO_EACH, "--out", "{out}")),
    opened(
        *("pixel", "judged"),
        sampled(*TWO_EACH, "--classifier", "runs/kept-sealed-judge", "--class", "red", "--classifier-scale", "3"),
        needs=("judge",),
    ),
    opened("words", "sample", sampled("a (red:1.3) box", *TWO_EACH)),
    opened("words", "nll", measured("nll")),
    opened("latent", "sample", sampled("red", *TWO_EACH)),
    opened("latent", "fast", sampled("red", *TWO_EACH, "--fast")),
    opened("kl", "reconstruction", measured("reconstruction")),
    opened("vq", "reconstruction", measured("reconstruction")),
    opened("vae", "sample", sampled(*TWO_EACH)),
    opened("vae", "nll", measured("nll")),
    opened(
        "masked",
        "inpaint",
        ("edit", "{run}", "inpaint", "pictures/square.png", "--box", "2,2,4,4", *ONE, "--out", "{out}"),
    ),
    opened("lowres", "upscale", ("edit", "{run}", "upscale", "pictures/small.png", *ONE, "--out", "{out}")),
    opened("few", "sample", sampled("red", *TWO_EACH)),
    *(
        opened(run, "replay", drawn_again(picture), heard=True)
        for run, picture in (
            *(("pixel", "0001.png"), ("words", "0001.png"), ("latent", "0001.png"), ("vae", "0001.png")),
            *(("masked", "square-1.png"), ("lowres", "small-1.png"), ("few", "0001.png")),
        )
    ),
)
"""One call each, or more, of what every kind is for."""
