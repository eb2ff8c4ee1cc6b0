r"""Whether a run is sound, in sentences. Each check is a function of the evidence, and says what it saw and what to do.

The moving average is warm when the beginning of the run has left it. After N images, the weights of the run's first
tenth still have the share

.. math:: 2^{-\int_{N/10}^N dn / h(n)}, \qquad h(n) = \min(h_{max}, r n)                                            (1)

of the average (``train.ema``, equations 1 and 2), an integral in closed form.
"""

import math
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch

from carrara.errors import UserError, command, option, spelled
from carrara.measure import likeness
from carrara.measure.likeness import Likeness, Shares
from carrara.recipe.loading import load
from carrara.recipe.schema import Recipe
from carrara.seeds import Draws
from carrara.store import OpenModel
from carrara.store.best import BETTER, leader, waited
from carrara.train import TrainSettings, read_log, read_training
from carrara.train.log import LogLine

FindingLevel = Literal["good", "note", "warning"]

_LEVEL = re.compile(r"loss@t=\d{1,3}(\.\d{1,9})?")
TOLERANCE = 0.02
"""A held-out measure is as good as its best within this part of it."""
FALL = 0.01
"""A loss has fallen if it has lost this part of itself."""
STALE = 0.01
"""The share that the first tenth of a run may have in the moving average."""
LATENT_STD = 0.8, 1.25
"""Between these the standard deviation of a latent channel is near 1."""
SEEN = 0.02
"""A difference of shares of black or white that one sees."""
SURE = 3.0
"""Standard errors beyond which a difference is none of chance."""
CONTRAST = 1.2
"""So many times the data's contrast, or one part of it by that, is another one."""
ENCODED = 64
"""Held-out pictures whose latents are measured."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A sentence about a run: ``good``, worth a ``note``, or a ``warning``.

    Attributes:
        text: with marks where it names options and commands; see ``errors``.
    """

    level: FindingLevel
    text: str

    def __str__(self) -> str:
        return spelled(self.text)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known about a run.

    Attributes:
        recipe: resolved.
        log: the lines of log.jsonl.
        held_out: the lines of held_out.jsonl.
        guidable: whether the model has a condition, and can be guided by it.
        latent_std: of what diffuses, per channel, over held-out pictures; None where there is no autoencoder.
        kept: the step of the best model, if that was asked for.
        likeness: how samples of the finished model compare with held-out pictures, if that was looked at.
    """

    recipe: Recipe
    log: Sequence[LogLine] = ()
    held_out: Sequence[LogLine] = ()
    guidable: bool = False
    latent_std: Sequence[float] | None = None
    kept: int | None = None
    likeness: Likeness | None = None


def examine(opened: OpenModel) -> list[Finding]:
    """All that can be said about an open run, warnings first; nothing if it is none."""
    folder = opened.folder
    if not (folder / "recipe.yaml").is_file():
        return []
    held_out = read_log(folder / "held_out.jsonl")
    evidence = Evidence(
        recipe=load(folder / "recipe.yaml"),
        log=read_training(folder / "log.jsonl"),
        held_out=held_out,
        guidable=opened.model.guidable,
        latent_std=latent_std(opened),
        kept=leader(held_out, folder),
        likeness=likeness.read(folder, opened.model.about.get("step")),
    )
    return findings(evidence)


def findings(evidence: Evidence) -> list[Finding]:
    """What the checks say, warnings first."""
    found = [finding for check in CHECKS for finding in check(evidence)]
    return sorted(found, key=lambda finding: ("warning", "note", "good").index(finding.level))


@torch.no_grad()
def latent_std(opened: OpenModel) -> list[float] | None:
    """The standard deviation of each channel of what diffuses, over held-out pictures; None where nothing is learned,
    or where the data are gone."""
    stage = opened.model.first_stage
    if not stage.learned:
        return None
    try:
        x = opened.examples(ENCODED)
    except UserError:
        return None
    z = stage.latents(stage.encode_raw(x), Draws(0, torch.arange(len(x), device=x.device)))
    return z.double().transpose(0, 1).flatten(1).std(1).tolist()


def completion(evidence: Evidence) -> list[Finding]:
    """Whether the training came to its end."""
    if not evidence.log:
        return [Finding(level="note", text="Nothing is logged yet: the run has not made a step.")]
    done = _progress(evidence)
    if done == 1:
        return [Finding(level="good", text=f"The training is complete: {evidence.log[-1]['step']} steps.")]
    preview = evidence.recipe.preview
    if preview.best is not None and 0 < preview.patience <= waited(evidence.held_out, evidence.kept):
        sampling = command("sample RUN/best")
        text = f"Patience ended the training at {done:.0%}: '{sampling}' has the best model, of step {evidence.kept}."
        return [Finding(level="good", text=text)]
    going_on = command("train", run="RUN")
    text = f"The training is unfinished, at {done:.0%}: '{going_on}' goes on from the last checkpoint."
    return [Finding(level="note", text=text)]


def finite_losses(evidence: Evidence) -> list[Finding]:
    """Whether there were steps whose loss or gradient was not finite; these changed nothing."""
    bad = [line["step"] for line in evidence.log if line.get("skipped") or line.get("loss") is None]
    if not bad:
        return [Finding(level="good", text="Every step had a finite loss.")] if evidence.log else []
    often = len(bad) > 0.001 * len(evidence.log)
    text = (
        f"{len(bad)} of {len(evidence.log)} steps had no finite loss or gradient and were skipped, the last one step "
        f"{bad[-1]}: lower train.lr, or set train.precision=float32."
    )
    return [Finding(level="warning" if often else "note", text=text)]


def rate_decay(evidence: Evidence) -> list[Finding]:
    """Whether the learning rate fell at the end, which takes the jitter out of the weights."""
    rates = [line["lr"] for line in evidence.log if (line.get("lr") or 0) > 0]
    if not rates or _progress(evidence) < 1:
        return []
    part = rates[-1] / max(rates)
    if part < 0.5:
        return [Finding(level="good", text=f"The learning rate fell to {100 * part:.2g}% of its peak by the end.")]
    text = "The learning rate never fell: train.decay=0.3 lowers it over the last part of a run, which lowers the loss."
    return [Finding(level="note", text=text)]


def average_warmth(evidence: Evidence) -> list[Finding]:
    """Whether the moving average, which samples are drawn with, has forgotten the beginning of the run."""
    if not evidence.log or not evidence.log[-1]["images"]:
        return []
    settings, images = evidence.recipe.train, float(evidence.log[-1]["images"])
    half_life, share = half_life_at(settings, images), early_share(settings, images)
    if share <= STALE:
        text = f"The moving average is warm: its half-life is {half_life:,.0f} of the {images:,.0f} images seen."
        return [Finding(level="good", text=text)]
    text = (
        f"The moving average still holds {share:.0%} of the run's first tenth: its half-life is {half_life:,.0f} "
        f"images, and {images:,.0f} were seen. Train longer, or set train.ema_rampup=0.05 or a train.ema_half_life of "
        f"{images / 10:,.0f} or less."
    )
    return [Finding(level="warning", text=text)]


def half_life_at(settings: TrainSettings, images: float) -> float:
    """h of equation (1) after ``images`` images."""
    limit = math.inf if settings.ema_rampup is None else settings.ema_rampup * images
    return min(settings.ema_half_life, limit)


def early_share(settings: TrainSettings, images: float) -> float:
    """Equation (1): the share of the first tenth of a run of ``images`` images in its moving average."""
    first, ramp, most = images / 10, settings.ema_rampup, settings.ema_half_life
    if ramp == 0:
        return 0.0
    bend = 0.0 if ramp is None else min(max(most / ramp, first), images)  # where r n reaches h_max, on [N/10, N]
    rising = 0.0 if ramp is None else math.log(bend / first) / ramp
    return 2.0 ** -(rising + (images - max(bend, first)) / most)


def level_progress(evidence: Evidence) -> list[Finding]:
    """Whether the held-out loss fell at every noise level."""
    levels = by_level(evidence.held_out)
    if not levels or len(evidence.held_out) < 2:
        return []
    falls = {t: 1 - values[-1] / values[0] for t, values in levels.items() if values[0] > 0}
    first = evidence.held_out[0]["step"]
    still = [f"{t:g}" for t, fall in falls.items() if fall < FALL]
    if falls and not still:
        text = (
            f"The held-out loss fell at every noise level since step {first}, by {min(falls.values()):.0%} to "
            f"{max(falls.values()):.0%}."
        )
        return [Finding(level="good", text=text)]
    if not still:
        return []
    rising = any(fall < -FALL for fall in falls.values())
    text = (
        f"The held-out loss has not fallen at t = {', '.join(still)} since step {first}. Either it was at its least by "
        "then (near t = 1 it soon is), or these noise levels are not learned: then train there more often "
        "(objective.times), or let them weigh more (objective.weighting)."
    )
    return [Finding(level="warning" if rising else "note", text=text)]


def latent_spread(evidence: Evidence) -> list[Finding]:
    """Whether the latents that diffuse have a standard deviation near 1, as schedules assume."""
    if evidence.latent_std is None:
        return []
    low, high = min(evidence.latent_std), max(evidence.latent_std)
    if low >= LATENT_STD[0] and high <= LATENT_STD[1]:
        return [Finding(level="good", text=f"The latents have a standard deviation near 1: {low:.2f} to {high:.2f}.")]
    text = (
        f"The latents' standard deviation goes from {low:.2f} to {high:.2f} over the channels, and schedules assume 1: "
        "the autoencoder was measured on other data, or its training was cut off. Run its command again, or train an "
        "autoencoder on these data."
    )
    return [Finding(level="warning", text=text)]


def guidance_training(evidence: Evidence) -> list[Finding]:
    """Whether the model also learned what to say without a condition, which guidance leads away from."""
    drop = evidence.recipe.objective.condition_drop
    if not evidence.guidable or drop is None:
        return []
    if drop == 1:
        text = "The condition was always dropped (objective.drop=1): the model does not know it. Train with 0.1."
        return [Finding(level="warning", text=text)]
    if drop > 0:
        text = f"Guidance is trained: the condition was dropped for {drop:.0%} of the samples."
        return [Finding(level="good", text=text)]
    asked = evidence.recipe.sample.guidance != 1
    text = (
        "Guidance is not trained: the condition was never dropped (objective.drop=0), so the estimate without it is "
        f"arbitrary. Sample with {option('guidance', 1)} or against a {option('weak')} model, or train with "
        "objective.drop=0.1."
    )
    return [Finding(level="warning" if asked else "note", text=text)]


def looks(evidence: Evidence) -> list[Finding]:
    """Whether samples have as much black, white and contrast as held-out pictures."""
    found = evidence.likeness
    if found is None:
        return []
    other = [name for name, shares in (("black", found.black), ("white", found.white)) if _differs(shares)]
    ratios = [made / real for made, real in zip(found.made, found.real, strict=True) if real > 0]
    other += ["contrast"] if any(not 1 / CONTRAST < ratio < CONTRAST for ratio in ratios) else []
    led = ", led away from the model's earlier self" if found.led else ""
    distance = (
        ""
        if found.distance is None or found.error is None
        else (f" Their kernel distance is {1000 * found.distance:.0f} ± {1000 * found.error:.0f} (x 1000).")
    )
    text = (
        f"Of {found.count} samples{led}, {_of(found.black)} of the values are near black and {_of(found.white)} near "
        f"white, in brackets those of as many held-out pictures; contrast {likeness.said(found.made)} "
        f"({likeness.said(found.real)}).{distance}"
    )
    if not other:
        return [Finding(level="good", text=text)]
    much = found.black.made + found.white.made > found.black.real + found.white.real
    less = f", or sample with less {option('guidance')}" if much and (found.led or evidence.guidable) else ""
    more = f" They have another {' and '.join(other)} than the data: train longer{less}."
    return [Finding(level="warning", text=text + more)]


def _differs(shares: Shares) -> bool:
    """Whether the shares of samples and of pictures differ by more than chance, and by what one sees."""
    return abs(shares.made - shares.real) > max(SEEN, SURE * shares.error)


def _of(shares: Shares) -> str:
    return f"{shares.made:.1%} ({shares.real:.1%})"


def overfitting(evidence: Evidence) -> list[Finding]:
    """Whether the held-out measure was best long before the end, or drifts away from the training's."""
    if not evidence.held_out:
        change = "preview.every and preview.held_out" if evidence.recipe.data.held_out else "data.held_out=0.05"
        text = f"Nothing is measured on held-out data yet, so overfitting cannot be seen: set {change}."
        return [Finding(level="note", text=text)]
    name, costs = held_out_costs(evidence.held_out)
    if len(costs) < 2:
        return []
    steps = [line["step"] for line in evidence.held_out]
    best = min(range(len(costs)), key=costs.__getitem__)
    worse = (costs[-1] - costs[best]) / max(abs(costs[best]), 1e-12)
    gaps = train_gaps(evidence)
    if worse > TOLERANCE and steps[-1] - steps[best] > 0.1 * steps[-1]:
        text = (
            f"The run overfits: the held-out {name} was best after step {steps[best]}, and has become {worse:.0%} "
            f"worse by step {steps[-1]}. {_remedy(evidence, steps[best])}, or take more data, data.flip=true, dropout, "
            "or a smaller network."
        )
        return [Finding(level="warning", text=text)]
    if gaps and gaps[-1] > 1.1 and gaps[-1] > 1.1 * gaps[0]:
        text = (
            f"The held-out loss is {gaps[-1] - 1:.0%} above the training loss, and was {gaps[0] - 1:+.0%} after step "
            f"{steps[0]}: the model begins to know the training data by heart. More data or a smaller network helps."
        )
        return [Finding(level="note", text=text)]
    more = " It still improves: more steps would help." if best == len(costs) - 1 and _improving(costs) else ""
    return [Finding(level="good", text=f"No sign of overfitting in the held-out {name}.{more}")]


def _improving(costs: Sequence[float]) -> bool:
    """Whether the last measurement gained as much as matters."""
    return (costs[-2] - costs[-1]) / max(abs(costs[-2]), 1e-12) > FALL


def by_level(held_out: Sequence[LogLine]) -> dict[float, list[float]]:
    """The history of the held-out loss at each noise level t that every line has."""
    names = [name for name in (held_out[0] if held_out else {}) if _LEVEL.fullmatch(name)]
    shared = [name for name in names if all(line.get(name) is not None for line in held_out)]
    return {float(name.partition("=")[2]): [line[name] for line in held_out] for name in shared}


def _remedy(evidence: Evidence, step: int) -> str:
    """How to have the model of an earlier step."""
    if evidence.kept is not None:
        return f"RUN/best has the model of step {evidence.kept}: use that"
    return f"Stop there (train.steps={step}), keep the best one (preview.best=loss)"


def held_out_costs(held_out: Sequence[LogLine]) -> tuple[str, list[float]]:
    """What stands for a model's quality on held-out data, lower being better: its name, and its history.

    The mean loss over the noise levels, or the ELBO, or the PSNR, the latter two with their sign changed.
    """
    if levels := by_level(held_out):
        return "loss", [sum(values) / len(values) for values in zip(*levels.values(), strict=True)]
    for name, sign in BETTER.items():
        if all(line.get(name) is not None for line in held_out):
            return name.upper() if name in ("elbo", "psnr") else name, [-sign * line[name] for line in held_out]
    return "loss", []


def train_gaps(evidence: Evidence) -> list[float]:
    """The held-out loss in units of the training loss around each measurement, of a model of diffusion.

    The training loss is the mean over the later half of the steps since the measurement before: it still falls.
    """
    if not by_level(evidence.held_out):
        return []
    _, costs = held_out_costs(evidence.held_out)
    logged = [line["step"] for line in evidence.log]
    ends = [bisect_right(logged, line["step"]) for line in evidence.held_out]
    gaps: list[float] = []
    for cost, (begin, end) in zip(costs, pairwise([0, *ends]), strict=True):
        recent = [
            loss for line in evidence.log[(begin + end) // 2 : end] if (loss := line.get("simple", line.get("loss")))
        ]
        if recent and sum(recent) > 0:
            gaps.append(cost * len(recent) / sum(recent))
    return gaps


def _progress(evidence: Evidence) -> float:
    last: Mapping[str, float] = evidence.log[-1]
    return evidence.recipe.train.progress(int(last["step"]), last["seconds"])


Check = Callable[[Evidence], list[Finding]]

CHECKS: tuple[Check, ...] = (
    completion,
    finite_losses,
    rate_decay,
    average_warmth,
    level_progress,
    overfitting,
    looks,
    latent_spread,
    guidance_training,
)
