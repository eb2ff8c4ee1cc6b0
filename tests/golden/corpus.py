"""The corpus as data: small runs of all kinds, and what is made of them by all verbs, through the command alone.

Everything happens in one folder, where ``inputs.prepare`` has put pictures, and all paths are relative to it. A run is
made by its calls, in ``runs/NAME``. An output is made by its own, in ``out/NAME``; one that changes a run works on a
copy of it, ``copies/NAME``. In the calls these are {run}, {out} and {copy}.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Call = tuple[str, ...]
"""Arguments of the command, in which {run}, {copy} and {out} stand for folders."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A small training.

    Attributes:
        calls: they make it.
        needs: runs that are made before.
    """

    name: str
    calls: tuple[Call, ...]
    needs: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """Where it is made."""
        return f"runs/{self.name}"


@dataclass(frozen=True, kw_only=True)
class Output:
    """What calls make of a run.

    Attributes:
        run: the run's name.
        needs: other runs that are made before.
        heard: what the calls print is recorded, too.
        slow: it takes more than a second.
    """

    name: str
    run: str
    calls: tuple[Call, ...]
    needs: tuple[str, ...] = ()
    heard: bool = False
    slow: bool = False

    @property
    def folder(self) -> str:
        """Where it writes."""
        return f"out/{self.name}"

    @property
    def copy(self) -> str | None:
        """The copy of its run that it changes, if it does."""
        return f"copies/{self.name}" if any("{copy}" in part for call in self.calls for part in call) else None


UNET = "model.backbone={kind: unet, channels: 8, multipliers: [1, 2], blocks: 1, attention_levels: [1], head_width: 8}"
SMALL = "model.backbone={kind: unet, channels: 8, multipliers: [1], blocks: 1, attention_levels: [], head_width: 8}"
READS = (
    "model.backbone={kind: unet, channels: 8, multipliers: [1, 2], blocks: 1, attention_levels: [1], "
    "transformer_depths: [0, 1], context_width: 0}"
)
STAGE = "{kind: kl, channels: 8, multipliers: [1, 2], patch: 1, blocks: 1, latent_channels: 2}"
PIECES = (
    "[UNK] , 0 1 2 3 4 5 6 7 8 9 a b d e g h i l m n o r u w x ##0 ##3 ##4 ##o ##w ##6 ##x ##u ##m ##b ##e ##r ##1 ##8 "
    "##7 ##2 ##9 ##d ##n ##i ##g ##h ##l ##5 box number high low blue green red 10 21"
)
"""A vocabulary is given: a learned one had its pieces in another order in each process when this was recorded."""
TRAINED = ("train.batch=4", "train.precision=float32", "train.lr=1e-2", "train.warmup=0", "train.steps=6")
SEEN = ("preview.every=3", "preview.count=4", "preview.held_out=4")
TINY = ("data.size=8", "sample.steps=4", *TRAINED, *SEEN)
TWO = (
    *("data.size=8", "sample.steps=4", *TRAINED, *SEEN),
    f"autoencoder.first_stage={STAGE}",
    *("autoencoder.train.steps=5", "autoencoder.train.batch=4", "autoencoder.train.warmup=0"),
    *("autoencoder.train.precision=float32", "autoencoder.preview.every=5", "autoencoder.preview.count=2"),
)
COSINE = (
    *("model.schedule=cosine", "model.parameterization=v", "objective.times=uniform", "objective.weighting=unit"),
    *("train.optimizer=adamw", "train.decay=0.3", "sample.grid=uniform", "model.backbone.patch=1"),
)
"""What the preset ``digits`` was when its runs were recorded."""
QUICK = (
    *("objective.trajectories=8", "objective.solver=4", "train.steps=4", "train.batch=4", "train.warmup=0"),
    *("train.precision=float32", "preview.every=2", "preview.count=2", "preview.held_out=4"),
    *("train.optimizer=adamw", "train.lr=5e-4"),  # as the preset had them when it was recorded
)


def trained(name: str, *arguments: str, then: Sequence[Call] = (), **more: Any) -> Run:
    """A run of ``carrara train``."""
    return Run(name=name, calls=(("train", *arguments, "--run", f"runs/{name}"), *then), **more)


RUNS = (
    trained(
        *("pixel", "photos", "--preset", "pixel", *TINY, UNET, "model.conditioner=none"),
        *("checkpoint.early=0.5", "checkpoint.every=3", "data.held_out=0.4", "data.flip=true"),
    ),
    trained(
        *("digits", "digits", "--preset", "digits", *TINY, *COSINE, UNET),
        *("preview.best=loss", "seed=3", "data.held_out=0.01"),
    ),
    trained("photos", "photos", *TINY, UNET, "sample.grid=uniform", "sample.guidance=2", "data.held_out=0.4"),
    trained(
        *("eps", "photos", *TINY, SMALL, "model.schedule={kind: linear, steps: 40}", "model.parameterization=eps"),
        *("objective.weighting=unit", "objective.times=uniform", "objective.loss=hybrid"),
        *("sample.sampler=ddpm", "sample.grid=trailing", "train.optimizer=adamw", "model.conditioner=none"),
        *("checkpoint.early=null", "data.crop=random", "data.held_out=0.1"),
    ),
    trained(
        *("edm", "photos", *TINY, SMALL, "model.schedule=ve", "model.parameterization=edm"),
        *("objective.weighting=unit", "objective.times=log_normal", "sample.sampler=heun", "sample.grid=karras"),
    ),
    trained(
        *("flow", "photos", *TINY, SMALL, "model.parameterization=flow", "objective.times=logit_normal"),
        *("objective.weighting=unit", "train.accumulate=2", "train.weight_decay=0.1", "data.fit=contain"),
    ),
    trained(
        *("minsnr", "photos", *TINY, SMALL, "model.schedule=cosine", "model.parameterization=v"),
        *("objective.weighting=min_snr", "objective.times=uniform", "train.recompute=true", "data.fit=stretch"),
        *("preview.best=kid", "preview.patience=1"),
    ),
    trained(
        *("dit", "photos", *TINY, "model.backbone={kind: dit, width: 16, depth: 2, heads: 2, patch: 2}"),
        "train.optimizer=muon",
    ),
    trained("sprites", "photos", "--preset", "sprites", *TINY, UNET, "model.backbone.modulation=context"),
    trained("vectors", "measured", *TINY, SMALL, "data.held_out=0.2"),
    trained("stacks", "stacks", "--preset", "pixel", *TINY, SMALL, "data.held_out=0.2"),
    trained(
        *("points", "swissroll", "--preset", "swissroll", "data.points=400", "sample.steps=6", *TRAINED, *SEEN),
        *("model.backbone={kind: mlp, width: 16, depth: 2}", "preview.count=40"),
    ),
    trained(
        *("text", "captioned", "--preset", "pixel", *TINY, READS, "data.held_out=0.3", "sample.guidance=2"),
        f"model.conditioner={{kind: text, width: 8, depth: 1, heads: 1, vocabulary: '{PIECES}'}}",
    ),
    trained(
        *("encoder", "captioned", "--preset", "pixel", *TINY, READS, "data.held_out=0.3", "sample.guidance=2"),
        *("model.conditioner=encoder", "train.steps=3"),
    ),
    trained("buckets", "scans", "--preset", "pixel", *TINY, SMALL, "data.buckets=auto", "data.size=12"),
    trained(
        *("latent", "photos", "--preset", "latent", *TWO, SMALL, "data.size=16", "model.conditioner=labels"),
        *("autoencoder.objective.perceptual=0", "data.held_out=0.1"),
        then=(
            (
                *("distill", "runs/latent", "--decoder", "objective.decoder={widths: [8, 8], blocks: [1, 1]}"),
                *("train.steps=3", "train.batch=4", "preview.count=2", "preview.every=3", "train.precision=float32"),
            ),
        ),
    ),
    trained(
        *("kl", "photos", "--preset", "autoencoder-kl-f4", "data.size=32", *TRAINED, *SEEN, "data.held_out=0.1"),
        *(f"model.first_stage={STAGE}", "objective.perceptual=0.2", "objective.learned_scale=true", "train.steps=4"),
    ),
    trained(
        *("critic", "photos", "--preset", "autoencoder-kl-f4", "data.size=16", *TRAINED, *SEEN, "data.held_out=0.1"),
        *(f"model.first_stage={STAGE}", "objective.critic={channels: 4, layers: 1, start: 2, lead: 1, r1: 1.0}"),
        *("objective.perceptual=0", "train.steps=4"),
    ),
    trained(
        *("vq", "photos", "--preset", "autoencoder-vq-f4", "data.size=16", *TRAINED, *SEEN, "data.held_out=0.1"),
        *("objective.perceptual=0", "objective.error=l2", "preview.best=loss"),
        "model.first_stage={kind: vq, codes: 16, channels: 8, multipliers: [1, 2], blocks: 1, latent_channels: 2}",
    ),
    trained(
        *("within", "photos", "--preset", "pixel", *TINY, SMALL, "data.size=16", "model.conditioner=none"),
        *("model.first_stage={kind: trained, run: runs/vq}", "sample.clip=false", "checkpoint.early=null"),
        needs=("vq",),
    ),
    trained(
        *("vae", "--preset", "vae-two-layer", "data.size=8", *TRAINED, *SEEN, "data.held_out=0.006"),
        *("model.first_stage.hidden=8", "model.first_stage.latents=[3,2]"),
    ),
    trained(
        *("ladder", "photos", "--preset", "vae", "data.size=8", "data.channels=3", *TRAINED, *SEEN),
        "model.first_stage={kind: vae, hidden: 8, latents: [3, 2], depth: 1, inference: ladder, likelihood: gaussian}",
        *("objective.free_bits=0.1", "objective.warmup=4", "data.held_out=0.3"),
    ),
    trained("masked", "photos", "--preset", "inpaint", *TINY, SMALL, "data.held_out=0.2"),
    trained(
        *("lowres", "photos", "--preset", "upscale-x4", *TINY, SMALL, "model.image.factor=2", "data.held_out=0.2"),
        "model.conditioner=labels",
    ),
    trained("map", "mapped", "--preset", "segmentation", *TINY, SMALL, "data.held_out=0.2"),
    trained(
        *("holes", "photos", "--preset", "latent", *TWO, SMALL, "data.size=16", "model.conditioner=labels"),
        *("autoencoder.objective.perceptual=0", "data.held_out=0.3", "model.image=masked", "train.steps=3"),
    ),
    trained("judge", "photos", "--preset", "classifier", *TRAINED, *SEEN, UNET, "data.size=8", "data.held_out=0.3"),
    trained(
        *("latent-judge", "photos", "--preset", "classifier", *TRAINED, *SEEN, SMALL, "data.held_out=0.3"),
        "model.first_stage={kind: trained, run: runs/latent}",
        needs=("latent",),
    ),
    Run(
        name="quick",
        calls=(("distill", "runs/photos", "--steps", "2", "--run", "runs/quick", *QUICK),),
        needs=("photos",),
    ),
)


def sampled(name: str, run: str, *arguments: str, **more: Any) -> Output:
    """An output of ``carrara sample``."""
    return Output(name=name, run=run, calls=(("sample", "{run}", *arguments, "--out", "{out}"),), **more)


def edited(name: str, run: str, verb: str, *arguments: str, **more: Any) -> Output:
    """An output of ``carrara edit``."""
    pictures = tuple(f"pictures/{part}" if part in PICTURES else part for part in arguments)
    call = ("edit", "{run}", verb, *pictures, "--out", "{out}")
    return Output(name=f"{verb}-{name}", run=run, calls=(call,), **more)


def measured(name: str, run: str, *arguments: str, **more: Any) -> Output:
    """An output of ``carrara evaluate``, on a copy of the run."""
    return Output(name=f"evaluate-{name}", run=run, calls=(("evaluate", "{copy}", *arguments),), **more)


def went_on(run: str, *arguments: str, **more: Any) -> Output:
    """A training that goes on."""
    return Output(name=f"go-on-{run}", run=run, calls=(("train", *arguments, "--run", "{copy}"),), **more)


def again(name: str, run: str, made: str, *call: str, **more: Any) -> Output:
    """A picture that is made and made again from what it says of itself."""
    given = tuple(f"pictures/{part}" if part in PICTURES else part for part in call)
    replay = ("replay", f"{{out}}/{made}", "--out", "{out}/again.png", "--pictures", "pictures")
    first = (given[0], "{run}", *given[1:], "--out", "{out}")
    return Output(name=f"replay-{name}", run=run, calls=(first, replay), heard=True, **more)


NAMES = ("a", "b", "square", "large", "small", "grey", "clear", "mask", "strokes", "layout")
PICTURES = {f"{name}.png" for name in NAMES}

TWO_EACH = ("-n", "2")
ONE = ("-n", "1")

SAMPLES = (
    # Unconditional models, and those that are led by their earlier self.
    sampled("led-by-early", "pixel", "-n", "3", "--strip"),
    sampled("alone", "pixel", "-n", "3", "--guidance", "1"),
    sampled("led-further", "pixel", *TWO_EACH, "--guidance", "4", "--rescale", "0.5"),
    sampled("weak-early", "pixel", *TWO_EACH, "--guidance", "2", "--weak", "runs/pixel/early"),
    sampled("weak-checkpoint", "pixel", *TWO_EACH, "--guidance", "2", "--weak", "runs/pixel/checkpoints/step-3"),
    sampled("led-varied", "pixel", *TWO_EACH, "--vary", "guidance=1,3"),
    sampled("panorama", "pixel", *ONE, "--size", "8x20", "--tile", "8", "--strip"),
    sampled("larger", "pixel", *ONE, "--size", "12"),
    sampled("judged", "pixel", *TWO_EACH, "--classifier", "runs/judge", "--class", "red", needs=("judge",)),
    sampled(
        *("judged-more", "pixel", *TWO_EACH, "--classifier", "runs/judge", "--class", "green"),
        *("--classifier-scale", "4", "--guidance", "1", "--seed", "5"),
        needs=("judge",),
    ),
    # Samplers and grids.
    *(
        sampled(f"by-{name}", "digits", "3", *ONE, "--sampler", name)
        for name in ("ddpm", "ddim", "euler", "euler_a", "heun", "dpmpp", "dpmpp_sde", "unipc", "lms")
    ),
    *(
        sampled(f"grid-{name}", "digits", "3", *ONE, "--grid", name, "--steps", "5")
        for name in ("uniform", "trailing", "leading", "quadratic", "karras")
    ),
    # Labels, mixtures, several wishes, guidance.
    sampled("each-class", "digits"),
    sampled("labels", "digits", "3", "7", *TWO_EACH, "--guidance", "2", "--seed", "11", "--strip"),
    sampled("several", "digits", "3+8", "3:0.5+8:0.5", *ONE),
    sampled("composed", "digits", "3 | 8", "3::0.5 | 8::0.5", "3::1 | 8::-0.5", *ONE, "--guidance", "3"),
    sampled("negative", "digits", "7", *TWO_EACH, "--guidance", "3", "--negative", "1"),
    sampled("apg", "digits", "7", *ONE, "--guidance", "4", "--method", "apg"),
    sampled("cfg-zero", "photos", "red", *ONE, "--guidance", "4", "--method", "cfg_zero"),
    sampled("interval", "digits", "7", *ONE, "--guidance", "4", "--interval", "0.2", "0.8"),
    sampled("rescale", "digits", "7", *ONE, "--guidance", "4", "--rescale", "0.7"),
    sampled("vary-guidance", "digits", "3", "7", *ONE, "--vary", "guidance=1,3"),
    sampled("vary-seed", "digits", "3", *ONE, "--vary", "seed=0,1", "--negative", "5", "--guidance", "2"),
    sampled("vary-sampler", "digits", "3", *ONE, "--vary", "sampler=ddim,euler_a", "--steps", "3"),
    Output(name="best", run="digits", calls=(("sample", "{run}/best", "3", *TWO_EACH, "--out", "{out}"),)),
    Output(
        name="checkpoint",
        run="pixel",
        calls=(("sample", "{run}/checkpoints/step-3", *TWO_EACH, "--out", "{out}"),),
    ),
    sampled("photos-labels", "photos", *TWO_EACH),
    sampled("hybrid", "eps", *TWO_EACH),
    sampled("edm", "edm", "green", *TWO_EACH),
    sampled("flow", "flow", "green", *TWO_EACH),
    sampled("dit", "dit", "red", *TWO_EACH, "--size", "12x8"),
    sampled("context", "sprites", "red", *TWO_EACH),
    sampled("vectors", "vectors", "0.2,-1", "1,0.5", *TWO_EACH),
    sampled("vectors-none", "vectors", *TWO_EACH),
    sampled("stacks", "stacks", *TWO_EACH),
    sampled("points", "points", "-n", "12", "--strip"),
    sampled("points-ddim", "points", "-n", "12", "--sampler", "ddim", "--steps", "3"),
    sampled("buckets", "buckets", *ONE, "--size", "8x20"),
    # Words.
    sampled("words", "text", "a red box", "a (blue:1.5) box, low", *TWO_EACH),
    sampled("words-composed", "text", "red box | low", "red::0.7 | blue::0.3", *ONE, "--negative", "green"),
    sampled("words-none", "text", *TWO_EACH),
    sampled("read", "encoder", "a red box", "a (blue:1.5) box", *ONE, "--vary", "guidance=1,3"),
    Output(
        name="openmoji",
        run="digits",
        calls=(
            ("sample", "openmoji", "a (red:1.4) heart", *ONE, "--steps", "2", "--negative", "blue", "--out", "{out}"),
        ),
    ),
    # Latents.
    sampled("latent", "latent", "red", *TWO_EACH, "--strip"),
    sampled("latent-fast", "latent", "red", *TWO_EACH, "--fast", "--strip"),
    sampled("latent-larger", "latent", "green", *ONE, "--size", "20x32", "--tile", "16"),
    sampled(
        *("latent-judged", "latent", *TWO_EACH, "--classifier", "runs/latent-judge", "--class", "red"),
        needs=("latent-judge",),
    ),
    sampled("codes", "within", *TWO_EACH),
    sampled("vae", "vae", "-n", "3"),
    sampled("ladder", "ladder", "-n", "3", "--seed", "4"),
    sampled("few-steps", "quick", "red", "green", *TWO_EACH, "--strip"),
    sampled("few-steps-none", "quick", "-n", "3"),
)

RED = ("--prompt", "red")

EDITS = (
    edited("plain", "photos", "img2img", "a.png", "b.png", *RED, *ONE),
    edited(
        *("options", "photos", "img2img", "a.png", "--wish", "red", *TWO_EACH, "--strength", "0.8", "--guidance", "3"),
        *("--negative", "green", "--sampler", "euler_a", "--steps", "5", "--grid", "quadratic", "--seed", "9"),
        *("--size", "8x12"),
    ),
    edited("early", "pixel", "img2img", "clear.png", *ONE),
    edited(
        *("judged", "pixel", "img2img", "a.png", *ONE, "--classifier", "runs/judge", "--class", "red"),
        *("--classifier-scale", "3"),
        needs=("judge",),
    ),
    edited("weak", "pixel", "img2img", "a.png", *ONE, "--weak", "runs/pixel/early", "--guidance", "2"),
    edited("composed", "digits", "img2img", "grey.png", *ONE, "--prompt", "3::0.6 | 8::0.4"),
    edited("latent", "latent", "img2img", "large.png", *RED, *ONE),
    edited("fast", "latent", "img2img", "large.png", *RED, *ONE, "--fast"),
    edited("words", "text", "img2img", "a.png", "--prompt", "a (red:1.3) box", *ONE, "--strength", "0.9"),
    edited("plain", "photos", "variation", "a.png", "-n", "3"),
    edited("tiled", "pixel", "variation", "a.png", *ONE, "--size", "8x16", "--tile", "8", "--strength", "0.9"),
    edited("mask", "photos", "inpaint", "a.png", "--mask", "mask.png", *RED, *ONE, "--resamplings", "2"),
    edited("strokes", "photos", "inpaint", "a.png", "--mask", "strokes.png", *ONE, "--jump", "2", "--resamplings", "2"),
    edited(
        *("box", "pixel", "inpaint", "a.png", "--box", "4,2,5,4", *TWO_EACH, "--resamplings", "3"),
        *("--sampler", "ddim", "--size", "8x8"),
    ),
    edited(
        "latent", "latent", "inpaint", "large.png", "--box", "4,4,8,6", *ONE, "--feather", "3", "--resamplings", "2"
    ),
    edited("trained", "masked", "inpaint", "square.png", "--box", "2,2,4,4", *TWO_EACH),
    edited("trained-latent", "holes", "inpaint", "large.png", "--box", "2,2,8,8", *RED, *ONE),
    edited(
        *("canvas", "photos", "outpaint", "square.png", "--canvas", "8x16", *RED, *ONE, "--tile", "8"),
        *("--resamplings", "2"),
    ),
    edited("margins", "masked", "outpaint", "small.png", "--margins", "1,2,3,0", *ONE),
    edited("latent", "latent", "outpaint", "square.png", "--margins", "4,4,4,4", *ONE, "--resamplings", "1"),
    edited("plain", "photos", "invert", "a.png", "b.png", "--steps", "4"),
    edited("told", "digits", "invert", "grey.png", "--prompt", "3", "--steps", "4", "--strength", "0.5"),
    edited("ddim", "latent", "invert", "large.png", "--steps", "4", "--refinements", "0"),
    edited("plain", "digits", "rewrite", "grey.png", "--source", "3", "--prompt", "8", "--steps", "4"),
    edited(
        *("options", "photos", "rewrite", "a.png", *RED, "--steps", "4", "--guidance", "3", "--strength", "0.7"),
        *("--negative", "green", "--refinements", "2"),
    ),
    edited("pictures", "photos", "interpolate", "a.png", "b.png", "--frames", "3", "--steps", "4"),
    edited("wishes", "photos", "interpolate", *RED, "--to", "green", "--frames", "3", "--steps", "4"),
    edited(
        *("seeds", "digits", "interpolate", "--prompt", "3", "--seed", "1", "--to-seed", "2", "--frames", "4"),
        *("--steps", "4"),
    ),
    edited(
        *("words", "text", "interpolate", "--prompt", "red box", "--to", "a low blue box", "--frames", "3"),
        *("--steps", "4"),
    ),
    edited("decoded", "kl", "interpolate", "large.png", "b.png", "--frames", "3"),
    edited("decoded-held-out", "vae", "interpolate"),
    *(
        edited(f"{task}-{by}", "photos", "restore", "--task", task, *options, "--by", by, *ONE, "--steps", "3")
        for by in ("pigdm", "dps")
        for task, *options in (("upscale", "--factor", "2"), ("deblur", "--blur", "1.5", "--noise", "3"), ("colour",))
    ),
    edited("picture", "photos", "restore", "small.png", "--task", "upscale", "--factor", "2", *RED, *TWO_EACH),
    edited("alone", "pixel", "restore", "grey.png", "--task", "colour", *ONE),
    edited(
        *("latent", "latent", "restore", "large.png", "--task", "deblur", "--sampler", "ddpm", *ONE),
        *("--steps", "2"),
    ),
    edited("plain", "lowres", "upscale", "small.png", *RED, *TWO_EACH),
    edited("noise", "lowres", "upscale", "a.png", *ONE, "--noise", "0.3", "--guidance", "2", "--tile", "8"),
    edited("plain", "map", "map", "layout.png", *TWO_EACH),
    edited("size", "map", "map", "layout.png", *ONE, "--size", "12"),
    edited("held-out", "kl", "reconstruct"),
    edited("pictures", "vq", "reconstruct", "a.png", "large.png"),
    edited("latent", "latent", "reconstruct", "large.png"),
    edited("vae", "vae", "reconstruct"),
    edited("plain", "vae", "traverse"),
    edited("layer", "ladder", "traverse", "--steps", "3", "--layer", "1"),
)

DRAWN = ("--samples", "24")

MEASUREMENTS = (
    measured("nll", "digits"),
    measured("nll-exact", "eps", "--metrics", "nll", "--exact"),
    measured("nll-hybrid", "eps", "--metrics", "nll"),
    measured("nll-latent", "latent", "--metrics", "nll,reconstruction", slow=True),
    measured("nll-points", "points", "--metrics", "nll,flow"),
    measured("nll-vae", "vae", "--metrics", "nll,reconstruction", slow=True),
    measured("nll-ladder", "ladder", "--metrics", "nll"),
    measured("nll-text", "text", "--metrics", "nll"),
    measured("nll-map", "map", "--metrics", "nll"),
    measured("nll-early", "pixel", "--metrics", "nll"),
    measured("flow", "stacks", "--metrics", "flow", slow=True),
    measured("reconstruction", "kl"),
    measured("reconstruction-codes", "vq", "--metrics", "reconstruction", slow=True),
    measured("samples", "photos", "--metrics", "kid,fid,prdc,memorisation", *DRAWN, slow=True),
    measured("samples-early", "pixel", "--metrics", "kid,fid,prdc,memorisation", *DRAWN, slow=True),
    measured("samples-few", "quick", "--metrics", "kid", *DRAWN, slow=True),
    measured("retrieval", "text", "--metrics", "retrieval", slow=True),
    Output(name="evaluate-best", run="digits", calls=(("evaluate", "{copy}/best", "--metrics", "nll"),)),
    measured("report", "digits", "--metrics", "nll", "--report"),
    measured("report-vae", "vae", "--report"),
    measured("report-few", "quick", "--report"),
    measured("report-early", "pixel", "--report"),
    Output(
        name="compare",
        run="digits",
        calls=(("compare", "{run}", "runs/photos", "runs/eps", "--out", "{out}/page.html"),),
        needs=("photos", "eps"),
    ),
)

OTHERS = (
    again("sample", "digits", "grid.png", "sample", "3", "7", *ONE, "--guidance", "2"),
    again("one", "photos", "0001.png", "sample", "red", *TWO_EACH),
    again("strip", "latent", "strip.png", "sample", "red", *TWO_EACH, "--fast", "--strip"),
    again("early", "pixel", "grid.png", "sample", *TWO_EACH),
    again("points", "points", "grid.png", "sample", "-n", "8"),
    again("vae", "vae", "0001.png", "sample", *TWO_EACH),
    again("few", "quick", "grid.png", "sample", "red", *TWO_EACH),
    Output(
        name="replay-edit",
        run="photos",
        calls=(
            ("edit", "{run}", "img2img", "pictures/a.png", *RED, *ONE, "--out", "{out}"),
            ("replay", "{out}/a-1.png", "--out", "{out}/again.png", "--pictures", "pictures"),
            ("replay", "{out}/sheet.png", "--run", "{run}/model", "--out", "{out}/sheet-again.png"),
        ),
        heard=True,
    ),
    went_on("digits", "train.steps=8"),
    went_on("pixel", "train.steps=9"),
    went_on("points", "train.steps=8"),
    went_on("text", "train.steps=7"),
    went_on("latent", "train.steps=7"),
    went_on("kl", "train.steps=5"),
    went_on("vae", "train.steps=8"),
    went_on("buckets", "train.steps=8"),
    Output(
        name="go-on-quick",
        run="quick",
        calls=(("distill", "runs/photos", "--steps", "2", "--run", "{copy}", "train.steps=6"),),
        needs=("photos",),
    ),
    Output(
        name="decoder-goes-on",
        run="latent",
        calls=(
            ("distill", "{copy}", "--decoder", "train.steps=4"),
            ("sample", "{copy}", "red", *ONE, "--fast", "--out", "{out}"),
        ),
    ),
    Output(name="presets", run="digits", calls=(("presets",),), heard=True),
    Output(name="inspect", run="digits", calls=(("inspect", "{run}"),), heard=True),
    Output(name="inspect-latent", run="latent", calls=(("inspect", "{run}"),), heard=True),
    Output(
        name="inspect-picture",
        run="digits",
        calls=(
            ("sample", "{run}", "3", *ONE, "--out", "{out}"),
            ("inspect", "{out}/0000.png"),
        ),
        heard=True,
    ),
    Output(name="inspect-data", run="digits", calls=(("inspect", "data", "captioned"),), heard=True),
    Output(
        name="inspect-schedule",
        run="digits",
        calls=(
            ("inspect", "schedule", "scaled_linear", "--steps", "250", "--out", "{out}/linear"),
            (
                "inspect",
                "schedule",
                "{run}",
                "zero_terminal_snr=true",
                "--image",
                "pictures/a.png",
                "--out",
                "{out}/own",
            ),
        ),
        heard=True,
    ),
    Output(name="shipped", run="digits", calls=(("inspect", "openmoji"),), heard=True),
)

KEPT = (
    trained(
        *("kept-digits", "digits", "--preset", "digits", *TINY, *COSINE, SMALL),
        *("data.held_out=0.01", "checkpoint.keep=1"),
        then=(
            ("sample", "runs/kept-digits", "3", "8", *ONE, "--out", "runs/kept-digits/drawn"),
            (
                "edit",
                "runs/kept-digits",
                "img2img",
                "pictures/grey.png",
                "--prompt",
                "3",
                *ONE,
                "--out",
                "runs/kept-digits/drawn",
            ),
        ),
    ),
    trained(
        *("kept-early", "photos", "--preset", "pixel", *TINY, SMALL, "model.conditioner=none", "checkpoint.early=0.5"),
        then=(("sample", "runs/kept-early", *TWO_EACH, "--out", "runs/kept-early/drawn"),),
    ),
    trained(
        *("kept-latent", "photos", "--preset", "latent", *TWO, SMALL, "data.size=16", "model.conditioner=labels"),
        *("autoencoder.objective.perceptual=0", "data.held_out=0.1"),
        "autoencoder.first_stage={kind: kl, channels: 4, multipliers: [1, 2], patch: 1, blocks: 1, latent_channels: 2}",
        then=(("sample", "runs/kept-latent", "red", *TWO_EACH, "--out", "runs/kept-latent/drawn"),),
    ),
    trained(
        *("kept-points", "swissroll", "--preset", "swissroll", "data.points=400", "sample.steps=6", *TRAINED, *SEEN),
        *("model.backbone={kind: mlp, width: 16, depth: 2}", "preview.count=40", "checkpoint.keep=1"),
        then=(("sample", "runs/kept-points", "-n", "12", "--out", "runs/kept-points/drawn"),),
    ),
    trained(
        *(
            "kept-text",
            "captioned",
            "--preset",
            "pixel",
            *TINY,
            "data.held_out=0.1",
            "sample.guidance=2",
            "checkpoint.early=null",
        ),
        "model.backbone={kind: unet, channels: 8, multipliers: [1], blocks: 1, attention_levels: [], "
        "transformer_depths: [1], context_width: 0}",
        f"model.conditioner={{kind: text, width: 8, depth: 1, heads: 1, vocabulary: '{PIECES}'}}",
        then=(("sample", "runs/kept-text", "a (red:1.3) box", *TWO_EACH, "--out", "runs/kept-text/drawn"),),
    ),
    Run(
        name="kept-quick",
        calls=(
            ("distill", "runs/kept-digits", "--steps", "2", "--run", "runs/kept-quick", *QUICK),
            ("sample", "runs/kept-quick", "3", *TWO_EACH, "--out", "runs/kept-quick/drawn"),
        ),
        needs=("kept-digits",),
    ),
)
"""Runs of which the folders lie in ``runs/``, as the recorded commit made them: they still open. ``record.py --keep``
made them."""


def opened(run: str, what: str, *calls: Call) -> Output:
    """What becomes of such a run now."""
    return Output(name=f"kept-{run}-{what}", run=f"kept-{run}", calls=calls, heard=what == "replay")


def drawn_again(name: str) -> Call:
    """A picture that was drawn then is made again."""
    again = ("--out", f"{{out}}/{name}", "--pictures", "pictures")
    return ("replay", f"{{run}}/drawn/{name}", "--run", "{run}", *again)


OPENED = (
    opened("digits", "sample", ("sample", "{run}", "3", "8", *ONE, "--out", "{out}")),
    opened("digits", "img2img", ("edit", "{run}", "img2img", "pictures/grey.png", "--prompt", "3", "--out", "{out}")),
    opened("digits", "nll", ("evaluate", "{copy}", "--metrics", "nll")),
    opened("digits", "replay", drawn_again("grid.png"), drawn_again("grey-1.png")),
    opened("digits", "inspect", ("inspect", "{run}")),
    opened("early", "sample", ("sample", "{run}", *TWO_EACH, "--out", "{out}")),
    opened("early", "restore", ("edit", "{run}", "restore", "--task", "colour", *ONE, "--out", "{out}")),
    opened("early", "replay", drawn_again("0001.png")),
    opened("latent", "sample", ("sample", "{run}", "red", *TWO_EACH, "--out", "{out}")),
    opened(
        "latent", "inpaint", ("edit", "{run}", "inpaint", "pictures/large.png", "--box", "4,4,8,6", "--out", "{out}")
    ),
    opened("latent", "nll", ("evaluate", "{copy}", "--metrics", "nll")),
    opened("latent", "replay", drawn_again("grid.png")),
    opened("points", "sample", ("sample", "{run}", "-n", "12", "--out", "{out}")),
    opened("points", "nll", ("evaluate", "{copy}", "--metrics", "nll")),
    opened("points", "replay", drawn_again("grid.png")),
    opened("points", "goes-on", ("train", "train.steps=9", "--run", "{copy}")),
    opened("text", "sample", ("sample", "{run}", "a (red:1.3) box", *TWO_EACH, "--out", "{out}")),
    opened(
        "text",
        "rewrite",
        ("edit", "{run}", "rewrite", "pictures/a.png", "--prompt", "red", "--steps", "3", "--out", "{out}"),
    ),
    opened("text", "nll", ("evaluate", "{copy}", "--metrics", "nll")),
    opened("text", "replay", drawn_again("0001.png")),
    opened("quick", "sample", ("sample", "{run}", "3", *TWO_EACH, "--out", "{out}")),
    opened("quick", "replay", drawn_again("grid.png")),
)

OUTPUTS: tuple[Output, ...] = (*SAMPLES, *EDITS, *MEASUREMENTS, *OTHERS, *OPENED)
