"""Is a trained upscaler better than interpolation? On held-out pictures of its own data.

    python benchmarks/upscale.py RUN [--count 400] [--steps 15]

RUN is what `carrara train --preset upscale-x4` made. Each held-out picture is reduced by the model's factor,
antialiased and rounded to 8 bits, and enlarged again: by Pillow's bicubic and Lanczos kernels, and by the model, one
sample each. The perceptual distance is to the picture itself (`carrara.autoencoder.PerceptualConfig`); the kernel
distance is between what was made and all pictures, in the features of EfficientNet-lite0; PSNR says how far single
pixels are off, which favours what is blurred.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from machine import described
from PIL import Image
from torch import Tensor

from carrara import evaluate, pixels
from carrara.autoencoder import PerceptualConfig
from carrara.conditioning import Lowres
from carrara.data import batch_of, spread
from carrara.device import default_device
from carrara.draw import Request, finish, sample
from carrara.draw.image_input import seen
from carrara.model import DiffusionModel
from carrara.recipe import build
from carrara.recipe.loading import load
from carrara.store import OpenModel, open_model
from carrara.types import Batch

BATCH = 32
KERNELS = {"bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}


def enlarged(low: Tensor, factor: int, kernel: Image.Resampling) -> Tensor:
    """Pictures (B, C, h, w) by Pillow."""
    size = factor * low.shape[3], factor * low.shape[2]
    large = (pixels.to_image(array).resize(size, kernel) for array in pixels.to_uint8(low))
    return torch.stack([pixels.to_tensor(np.array(picture)) for picture in large])


def made(model: DiffusionModel, x: Tensor, steps: int) -> Iterator[Tensor]:
    """The model's, a sample of each picture that it sees reduced; a picture's number is its seed."""
    numbers = torch.arange(len(x))
    for part, k in zip(x.split(BATCH), numbers.split(BATCH), strict=True):
        image = seen(model, Batch(x=part, position=k))
        asked = Request(wishes=(None,) * len(k), seeds=tuple(k.tolist()), settings=model.settings(steps=steps))
        yield pixels.rounded(finish(sample(OpenModel(model=model), asked, image=image)))


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Per picture, in dB."""
    return 10 * torch.log10(4 / (x - y).square().flatten(1).mean(1).clamp(min=1e-10))


def main(run: Path, count: int, steps: int) -> None:
    """Prints the table."""
    model, recipe = open_model(run).to(default_device()), load(run / "recipe.yaml")
    assert isinstance(model, DiffusionModel) and isinstance(model.image, Lowres), "name a run that enlarges pictures"
    _, held_out = build.parts(recipe, build.dataset(recipe))
    x = batch_of(held_out, build.transform(recipe), spread(count, len(held_out))).x
    low = model.image.reduced(x)
    ways = {name: enlarged(low, model.image.factor, kernel) for name, kernel in KERNELS.items()}
    ways["model"] = torch.cat(list(made(model, x, steps)))
    distance, network = PerceptualConfig().build(), evaluate.extractor()
    real = torch.cat(list(evaluate.extract(network, x.split(BATCH))))
    print(f"{described()}; {len(x)} held-out pictures, {steps} steps; {network.name}\n")
    print("| | perceptual distance | KID x 1000 | PSNR, dB |\n|---|---|---|---|")
    for name, y in ways.items():
        with torch.no_grad():
            parts = zip(y.split(BATCH), x.split(BATCH), strict=True)
            apart = torch.cat([distance(a, b) for a, b in parts])
        kid = evaluate.kernel_distance(torch.cat(list(evaluate.extract(network, y.split(BATCH)))), real)
        error = apart.std() / len(apart) ** 0.5
        print(
            f"| {name} | {apart.mean():.4f} ± {error:.4f} | {1000 * kid.value:.1f} ± {1000 * kid.error:.1f} "
            f"| {psnr(y, x).mean():.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--steps", type=int, default=15)
    given = parser.parse_args()
    main(given.run, given.count, given.steps)
