"""What samples are like beside held-out pictures, captions and training pictures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from carrara import evaluate, pixels, plots
from carrara.data import contents, spread
from carrara.errors import UserError, option
from carrara.evaluate import ClipFeatures, check_metrics, clip_score, sample_metrics
from carrara.measure.measurement import MetricResult
from carrara.measure.run_data import Split
from carrara.measure.samples import features_of
from carrara.measure.subject import Subject
from carrara.recipe import build
from carrara.train.runner import Sums, means, sums
from carrara.types import Batch

RETRIEVED = 100
"""Pictures among which the right one is looked for."""
COMPARED = 512
"""Examples of each part, whose losses are compared."""
SPLITS: tuple[Split, ...] = ("train", "held out")


def distance_measure(name: str) -> Callable[[Subject], MetricResult]:
    """What measures a metric of samples against held-out pictures, one of ``evaluate.SAMPLE_METRICS``."""

    def measure(subject: Subject) -> MetricResult:
        samples, features, split = subject.samples, subject.features, f"{subject.data.adjective} pictures"
        check_metrics([name], subject.settings.samples, len(subject.data.held_out), features=features, split=split)
        real, fake = subject.reference("held out"), samples.vectors(features)
        scores = sample_metrics(fake, real, [name], features=features, split=split)
        return MetricResult(lines=scores.lines(), data={**scores.data(), **samples.record})

    return measure


def measure_clip_score(subject: Subject) -> MetricResult:
    """Whether samples show what held-out captions say, in the eyes of CLIP."""
    features = subject.features
    if not isinstance(features, ClipFeatures):
        raise UserError(f"a CLIP score is of CLIP's features alone: give {option('features', 'clip:FOLDER')}")
    samples = subject.samples
    if not samples.of_captions:
        raise UserError(f"'{subject.folder}' does not read captions, so there is nothing to compare its samples with")
    wishes, split = [wish or "" for wish in samples.wishes("held out")], subject.data.adjective
    score = clip_score(samples.vectors(features), features.texts(wishes))
    return MetricResult(
        lines=[
            f"CLIP score    {score.value:.2f} ± {score.error:.2g}    {len(wishes)} samples of {split} captions",
            f"features      {features.name}",
        ],
        data={"clip_score": asdict(score), "fake": len(wishes), **_looked(subject)},
    )


def measure_memorisation(subject: Subject) -> MetricResult:
    """Whether samples repeat training pictures, and how much lower the loss is on these than on held-out ones."""
    subject.diffusion("draws nothing, so it repeats nothing: this metric is for models that diffuse")
    data, samples = subject.data, subject.samples
    if data.held_out is data.splits["train"]:
        raise UserError(
            "memorisation is told from held-out pictures, and this run held none out: train with data.held_out=0.1"
        )
    wishes = samples.wishes("train")
    training = subject.reference("train")

    def draw_again(numbers: Sequence[int]) -> Tensor:
        return torch.cat(list(samples.pictures([wishes[k] for k in numbers], numbers)))

    def read_again(indices: Sequence[int]) -> Tensor:
        return data.batch(indices, "train").x

    verdict = evaluate.memorisation(samples.vectors(subject.features, "train"), training, subject.reference("held out"))
    losses = _losses(subject)
    return MetricResult(
        lines=[*verdict.lines(), *_gaps(losses), f"features      {subject.features.name}"],
        data={**verdict.data(), "loss": losses, **_looked(subject)},
        picture=evaluate.closest_pairs(verdict, draw_again, read_again),
    )


def _losses(subject: Subject) -> Mapping[str, Mapping[str, float]]:
    """At each noise level on either part of the data; none of a model of few steps, which learned from no picture."""
    if subject.model.few_steps is not None and not subject.model.spans:
        return {}
    model, data, seed = subject.model, subject.data, subject.settings.seed
    objective = build.objective(data.recipe, model).to(model.device).eval()

    def losses(batch: Batch) -> Sums:
        return sums(objective, [batch], seed)

    return {part: means(data.measured(losses, part, f"loss on the {part} data", COMPARED)) for part in SPLITS}


def _gaps(losses: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The same for a terminal."""
    if not losses:
        return []
    lines = ["noise level   loss on training, on held-out data"]
    for name, value in losses["train"].items():
        other = losses["held out"][name]
        lines.append(f"  {name.removeprefix('loss@'):<11} {value:.4f}  {other:.4f}  {other / value - 1:+.0%}")
    return lines


@torch.no_grad()
def measure_retrieval(subject: Subject) -> MetricResult:
    """Whether what the model draws for held-out captions is nearer to the right picture than to the others."""
    if not subject.model.conditioner.reads_captions:
        raise UserError(f"'{subject.folder}' does not read captions, so there is nothing to find again")
    if subject.model.image is not None:
        raise UserError(f"'{subject.folder}' sees parts of pictures, so finding these again says nothing of captions")
    data, chosen = subject.data, _retrieved(subject)
    wishes = [_prompt(subject, k) for k in chosen]
    right = data.batch(chosen).x
    made = subject.samples.made(wishes)
    vectors = [features_of(subject.features, x) for x in (made, right)]
    score = evaluate.retrieval(*vectors)
    lines = [
        f"found first   {score.first:.0%}, {score.times_chance:.1f} times chance",
        f"captions      {score.count} {data.adjective} ones",
        f"among five    {score.fifth:.0%}",
        f"mean rank     {score.rank:.1f}    chance is {(score.count + 1) / 2:.1f}",
        f"features      {subject.features.name}",
    ]
    shown = spread(12, len(chosen))
    picture = plots.sheet(
        [[pixels.to_image(pixels.to_uint8(x)[k]).resize((96, 96)) for k in shown] for x in (right, made)],
        [(wishes[k] or "")[:14] for k in shown],
        ["right", "made"],
    )
    looked = {"times_chance": score.times_chance, **_looked(subject)}
    return MetricResult(lines=lines, data={**asdict(score), **looked}, picture=picture)


def _retrieved(subject: Subject) -> list[int]:
    """Held-out pictures that are to be found by what is drawn for their captions.

    Raises:
        UserError: there are fewer than two.
    """
    data = subject.data.held_out
    single = [alike[0] for alike in contents(data) if data.captions(alike[0])]  # variants could be taken for each other
    known = [k for k in single if _prompt(subject, k) is not None]
    if len(known) < 2:
        raise UserError(
            f"'{subject.folder}' has fewer than two held-out pictures with captions: train with data.held_out=0.1"
        )
    return [known[k] for k in spread(RETRIEVED, len(known))]


def _prompt(subject: Subject, example: int) -> str | None:
    return subject.model.conditioner.as_prompt(subject.data.held_out.captions(example)[0])


def _looked(subject: Subject) -> dict[str, Any]:
    """What was looked at, and by what."""
    return {"features": subject.features.name, **subject.samples.record}
