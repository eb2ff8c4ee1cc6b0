r"""The unconditional models of latent diffusion (Rombach et al., 2022): CelebA, FFHQ, LSUN, from their authors' files.

The network is that of ``guided``, of latents of an autoencoder with a codebook or with a KL term, which is in the same
file. The file also has the betas, whose square roots are in equal steps, and by what latents were scaled, if they were.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from carrara.errors import UserError, known, option
from carrara.export import autoencoders, guided
from carrara.export.weights import Weights, built
from carrara.files import BadFile
from carrara.noise import Eps, ScaledLinear

UNET = "model.diffusion_model."
SIGNS = (
    f"{UNET}input_blocks.0.0.weight",
    f"{UNET}middle_block.1.qkv.weight",
    f"{autoencoders.ABOVE}{autoencoders.SIGNS[0]}",
)
AVERAGE = "model_ema."
SIZE, HEAD_WIDTH = 256, 32
BETAS = (0.0015, 0.0195)
"""The first and the last, where the file has none."""
ALIKE = 0.01
"""Betas in float16 differ by less, relatively."""


def read(
    weights: Weights,
    out: Path,
    *,
    size: int | None = None,
    heads: int | None = None,
    head_width: int | None = None,
    order: str | None = None,
) -> Iterator[str]:
    """Makes the model's folder ``out``, and yields what is to be said of it.

    Raises:
        UserError: the file holds no such model, or an option means none.
    """
    weights = weights.averaged(UNET, AVERAGE)
    network, size, order = weights.below(UNET), size or SIZE, known("order", order or "heads", guided.ORDERS)
    if heads is None and head_width is None:
        head_width = HEAD_WIDTH
    stage = autoencoders.in_file(weights.below(autoencoders.ABOVE), scale_of(weights))
    seen, schedule = guided.look(network), schedule_of(weights, BETAS)
    if seen.channels != stage.config.latent_channels:
        raise BadFile(weights.path, f"holds a network of {seen.channels} channels, and its latents have other ones")
    edge, rest = divmod(size, stage.stage.factor)
    if rest or not edge:
        factor = stage.stage.factor
        raise UserError(
            f"{option('size')} is a multiple of {factor}: so many pixels are one of the autoencoder's latents"
        )
    config = guided.configured(network, seen, (edge, heads, head_width), schedule, Eps())
    sample = replace(config.sample, clip=False)
    config = replace(config, shape=(stage.config.in_channels, size, size), first_stage=stage.stage, sample=sample)
    model = built(config, weights, {"imported": "latent-diffusion"}, stage.size)
    stage.give(model.first_stage)
    guided.load(model, network, seen, order)
    model.eval().save(out)
    copy = ", of which the moving average of the network is taken" if weights.average else ""
    divided = f"{heads} heads" if heads else f"heads of width {head_width}"
    yield (
        f"the weights do not say it, so it is taken for one of {size}x{size} pixels and {divided}, {order} split first "
        f"(as most that are published, where no option says otherwise){copy}"
    )


def scale_of(weights: Weights, usual: float = 1.0) -> float:
    """By what latents are multiplied."""
    if weights.shapes.get("scale_factor") != ():
        return usual
    return weights.read({"scale_factor": ()})["scale_factor"].item()


def schedule_of(weights: Weights, usual: tuple[float, float]) -> ScaledLinear:
    """The schedule of the file's betas.

    Raises:
        UserError: they are of another one.
    """
    if "betas" not in weights.shapes:
        return ScaledLinear(beta_start=usual[0], beta_end=usual[1])
    steps = weights.shapes["betas"]
    if len(steps) != 1 or not 2 <= steps[0] <= guided.STEPS:
        raise BadFile(weights.path, f"holds betas of shape {steps}, and they are at most {guided.STEPS}")
    betas = weights.read({"betas": steps})["betas"].double()
    ends = [float(f"{one:.6g}") for one in betas[[0, -1]].tolist()]
    ends = usual if all(abs(a - b) <= ALIKE * b for a, b in zip(ends, usual, strict=True)) else ends
    try:
        schedule = ScaledLinear(beta_start=ends[0], beta_end=ends[1], steps=steps[0])
    except ValueError:
        raise BadFile(weights.path, "holds betas that are none") from None
    if bool(((schedule.betas() - betas).abs() > ALIKE * torch.as_tensor(schedule.betas())).any()):
        raise BadFile(weights.path, "holds betas whose square roots are not in equal steps, as latent diffusion's are")
    return schedule
