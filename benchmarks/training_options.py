"""Which options of the training help on our own data? Emoji at 16 px, without a condition, for the same time.

    python benchmarks/training_options.py [VARIANT ...] [--minutes 4] [--seeds 0,1]

Variants are made of these, joined by "+", as in flow+self:

    v           the velocity on a cosine schedule, all noise levels alike
    minsnr      the same with min-SNR weights (Hang et al., 2023)
    flow        rectified flow, logit-normal times (Esser et al., 2024)
    ot          noise is paired with data by optimal transport within the batch (Tong et al., 2024)
    self        self-conditioning: the network also sees its own last estimate (Chen et al., "Analog Bits", 2023)
    align       the middle of the network is drawn towards EfficientNet-lite0's features of the clean picture (after Yu
                et al., "Representation Alignment for Generation", 2025)

The last three are written here and nowhere else: the package has what has earned its place. The kernel distance is of
1000 samples (25 steps) to all held-out pictures.
"""

import argparse
from collections.abc import Callable, Iterable, Mapping
from time import perf_counter

import torch
import torch.nn.functional as F
from machine import described
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from carrara import evaluate
from carrara.data import Dataset, batch_of
from carrara.model import DiffusionModel
from carrara.noise import add_noise
from carrara.objective import DiffusionObjective, DiffusionSettings
from carrara.pixels import rounded
from carrara.recipe import build
from carrara.recipe.loading import load
from carrara.recipe.resolve import resolve
from carrara.recipe.schema import Recipe
from carrara.sample import generate
from carrara.seeds import Draws, torch_generator
from carrara.train import TrainState, train
from carrara.types import Conditioning, DenoiseFn, Role

SAMPLES, BATCH, STEPS, FEATURES = 1000, 250, 25, 96
COMMON = [
    "data.held_out=0.2",
    "model.conditioner=none",
    "model.backbone.modulation=scale_shift",
    "sample.guidance=1",
    "train.batch=64",
    "train.optimizer=muon",
    "train.lr=2.0e-3",
    "train.decay=0.5",
]
CHANGES = {
    "minsnr": ["objective.weighting=min_snr"],
    "flow": ["model.schedule=rectified_flow", "model.parameterization=flow", "objective.times=logit_normal"],
}


class Tried(DiffusionObjective):
    """The diffusion loss with what is tried."""

    parts: frozenset[str] = frozenset()
    features: Callable[[Tensor], Tensor]
    projection: nn.Module

    def roles(self) -> Mapping[Role, Iterable[nn.Parameter]]:
        extra = self.projection.parameters() if "align" in self.parts else ()
        return {"main": [*self.conditioner.parameters(), *self.denoiser.parameters(), *extra]}

    def _loss(self, x0: Tensor, cond: Conditioning, t: Tensor, draws: Draws) -> Tensor:
        alpha, sigma = self.denoiser.schedule(t)
        coefficients = self.denoiser.parameterization(alpha, sigma)
        eps = draws.normal("noise", *x0.shape[1:])
        if "ot" in self.parts and self.training:
            cost = torch.cdist(x0.flatten(1), eps.flatten(1)).square()
            eps = eps[torch.tensor(linear_sum_assignment(cost.numpy())[1])]
        x_t = add_noise(x0, eps, alpha, sigma)
        if "self" in self.parts:
            cond = self._seen(x_t, t, cond, draws)
        middle: list[Tensor] = []
        if aligned := "align" in self.parts and self.training:
            hook = self.denoiser.backbone.middle[0].register_forward_hook(lambda _m, _i, out: middle.append(out))
        output = self.denoiser.output(x_t, coefficients, cond)
        loss = self._error(output, x0, eps, t)
        if aligned:
            hook.remove()
            said = self.projection(middle[0].float().mean((2, 3)))
            loss = loss + 0.5 * (1 - F.cosine_similarity(said, self.features(x0), dim=1))
        return loss

    def _seen(self, x_t: Tensor, t: Tensor, cond: Conditioning, draws: Draws) -> Conditioning:
        """The network's own estimate beside x_t, for half of the samples in training."""
        nothing = torch.zeros_like(x_t)
        with torch.no_grad():
            estimate = self.denoiser(x_t, t, Conditioning(vector=cond.vector, image=nothing))
        keep = draws.uniform("self-conditioning") < (0.5 if self.training else 1.0)
        return Conditioning(vector=cond.vector, image=torch.where(keep[:, None, None, None], estimate, nothing))


def denoiser_of(model: DiffusionModel, own: bool) -> DenoiseFn:
    """In bfloat16, clipped; with self-conditioning it remembers its last estimate."""
    memory: dict[str, Tensor] = {}

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        cond = model.conditioner.null(len(x))
        if own:
            earlier = memory.get("x0") if memory and float(t) < float(memory["t"]) else None
            cond = Conditioning(vector=cond.vector, image=torch.zeros_like(x) if earlier is None else earlier)
        with torch.autocast("cpu", torch.bfloat16):
            x0 = model.denoiser(x, t.expand(len(x)), cond).float().clamp(-1, 1)
        memory.update(x0=x0, t=t)
        return x0

    return denoise


def tried(variant: str, minutes: float, seed: int) -> str:
    """Trains and measures one variant: a row of the table."""
    parts = frozenset(variant.split("+"))
    changes = [change for part in parts for change in CHANGES.get(part, [])]
    recipe = load("sprites", [*COMMON, f"seed={seed}", f"train.minutes={minutes}", *changes])
    data = build.dataset(recipe)
    recipe = resolve(recipe, data.info, "cpu").recipe
    training, held_out = build.parts(recipe, data)
    with torch_generator(seed, "initial weights"):
        model = DiffusionModel(build.model_config(recipe))
        if "self" in parts:
            model.denoiser.backbone = model.config.backbone.build(model.latent_shape, image_channels=3)
    settings = recipe.objective
    assert isinstance(settings, DiffusionSettings)
    objective = Tried(
        first_stage=model.first_stage,
        conditioner=model.conditioner,
        denoiser=model.denoiser,
        times=settings.times,
        weighting=settings.weighting,
        drop=settings.drop,
    )
    objective.parts = parts
    features = evaluate.extractor(size=FEATURES)
    if "align" in parts:
        _align(objective, model, recipe, training, features)
    state, begun = TrainState(objective, recipe.train), perf_counter()
    for _ in train(state, build.loader(recipe, training).batches, recipe.train, seed=seed):
        pass
    speed = state.clock.images / (perf_counter() - begun)
    real = batch_of(held_out, build.transform(recipe), range(len(held_out))).x
    made: list[Tensor] = []
    with state.ema.swapped_in(), torch.no_grad():
        objective.eval()
        for first in range(0, SAMPLES, BATCH):
            *_, last = generate(
                denoiser_of(model, "self" in parts),
                model.latent_shape,
                range(first, first + BATCH),
                sampler=recipe.sample.sampler,
                grid=recipe.sample.grid,
                steps=STEPS,
                schedule=model.config.schedule,
            )
            made.append(rounded(last.x))
    vectors = [torch.cat(list(evaluate.extract(features, x.split(64)))) for x in (torch.cat(made), real)]
    found = evaluate.kernel_distance(*vectors)
    return f"| {variant} | {seed} | {speed:.0f} | {1000 * found.value:.0f} ± {1000 * found.error:.0f} |"


def _align(
    objective: Tried, model: DiffusionModel, recipe: Recipe, training: Dataset, features: evaluate.Features
) -> None:
    width = model.config.backbone.widths[-1]
    objective.projection = nn.Sequential(nn.Linear(width, 512), nn.SiLU(), nn.Linear(512, features.width))
    pictures = batch_of(training, build.transform(recipe), range(len(training))).x
    vectors = torch.cat(list(evaluate.extract(features, pictures.split(64))))
    known = {x.numpy().tobytes(): v for x, v in zip(pictures, vectors - vectors.mean(0), strict=True)}
    objective.features = lambda x: torch.stack([known[one.numpy().tobytes()] for one in x.contiguous()])


def main(variants: list[str], minutes: float, seeds: list[int]) -> None:
    """Prints the table."""
    print(f"{described()}; {minutes:g} minutes each; {evaluate.extractor(size=FEATURES).name}\n")
    print("| variant | seed | images/s | KID x 1000 |\n|---|---|---|---|", flush=True)
    for variant in variants:
        for seed in seeds:
            print(tried(variant, minutes, seed), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("variants", nargs="*", default=["v", "minsnr", "flow", "flow+ot", "flow+self", "flow+align"])
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[0])
    given = parser.parse_args()
    main(given.variants, given.minutes, given.seeds)
