"""Do metrics of samples notice what is wrong with pictures?

    python benchmarks/corruptions.py [OUT.png]

Two random halves of OpenMoji: one is the data; the other stands for the samples, and is blurred, made noisy, or
compressed as JPEG, more and more. Clean, the halves should not differ. A distance should grow with every level; what
counts neighbours may overlook the slightest ones. The chart shows each metric over the levels, the table their numbers.
"""

import io
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from carrara.data import Transform, batch_of, openmoji
from carrara.evaluate import Features, extract, extractor, frechet_distance_of_sets, kernel_distance, precision_recall
from carrara.pixels import save_png, to_tensor, to_uint8
from carrara.plots import Chart, Line, sheet
from carrara.seeds import Draws, permutation

SIZE, LOOKED = 64, 96
"""The size of the pictures, and the size that the network sees."""

Curves = Mapping[str, list[float]]
"""Each metric's values, level by level."""


def blur(x: Tensor, sigma: float) -> Tensor:
    """Pictures (B, C, H, W) under a Gaussian of so many pixels."""
    return _drawn_again(x, lambda image: image.filter(ImageFilter.GaussianBlur(sigma)))


def noise(x: Tensor, std: float) -> Tensor:
    """With normal noise on every value, in units of half the span from black to white."""
    return (x + std * Draws(0, torch.arange(len(x))).normal("corruption", *x.shape[1:])).clamp(-1, 1)


def jpeg(x: Tensor, loss: float) -> Tensor:
    """As JPEG of the quality 100 - ``loss``."""

    def compressed(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, format="JPEG", quality=round(100 - loss))
        return Image.open(file)

    return _drawn_again(x, compressed)


CORRUPTIONS: Mapping[str, tuple[Callable[[Tensor, float], Tensor], Sequence[float]]] = {
    "blur, px": (blur, (0.4, 0.8, 1.6, 3.2)),
    "noise": (noise, (0.05, 0.1, 0.2, 0.4)),
    "JPEG, 100 - quality": (jpeg, (20, 50, 80, 95)),
}


def measured(fake: Tensor, real: Tensor) -> dict[str, float]:
    """All metrics of features of samples and data."""
    distances = {"fid": frechet_distance_of_sets(fake, real), "kid": kernel_distance(fake, real).value}
    return {**distances, **precision_recall(fake, real).data()}


def curves(
    features: Features,
    samples: Tensor,
    real: Tensor,
    corrupt: Callable[[Tensor, float], Tensor],
    levels: Sequence[float],
) -> Curves:
    """Metrics of pictures as they are, and at each level."""
    seen = [measured(vectors(features, x), real) for x in (samples, *(corrupt(samples, level) for level in levels))]
    return {name: [found[name] for found in seen] for name in seen[0]}


def vectors(features: Features, x: Tensor) -> Tensor:
    """Features of pictures (B, C, H, W)."""
    return torch.cat(list(extract(features, x.split(32))))


def halves(size: int) -> tuple[Tensor, Tensor]:
    """All emoji, shuffled and divided."""
    data = openmoji(size)
    order = permutation(len(data), "corruptions").tolist()
    parts = order[: len(data) // 2], order[len(data) // 2 :]
    one, other = (batch_of(data, Transform(size=(size, size)), part).x for part in parts)
    return one, other


def chart(found: Mapping[str, Curves]) -> Image.Image:
    """One drawing for each metric, with a curve for each corruption."""
    names = list(next(iter(found.values())))
    drawn = [
        Chart(
            title=name,
            lines=[Line(name=kind, x=range(len(c[name])), y=c[name]) for kind, c in found.items()],
            x_label="level, 0 is clean",
            y_label=name,
        ).picture(420, 280)
        for name in names
    ]
    return sheet([drawn[:3], drawn[3:]], [""] * 3, [""] * 2)


def table(found: Mapping[str, Curves]) -> Iterator[str]:
    """A row for each corruption and level."""
    names = list(next(iter(found.values())))
    yield f"| corruption | level | {' | '.join(names)} |"
    yield "|---" * (2 + len(names)) + "|"
    for kind, by_metric in found.items():
        for k, level in enumerate((0, *CORRUPTIONS[kind][1])):
            yield f"| {kind} | {level:g} | {' | '.join(f'{by_metric[name][k]:.4g}' for name in names)} |"


def main(out: Path) -> None:
    """Prints the table and draws the chart."""
    from machine import described

    samples, data = halves(SIZE)
    features = extractor(size=LOOKED)
    real = vectors(features, data)
    print(f"{described()}; {features.name}; {len(samples)} OpenMoji of {SIZE} px against {len(data)} others\n")
    clean = kernel_distance(vectors(features, samples), real)
    low, high = clean.interval
    print(f"Clean: kernel distance {clean.value:.2g}, 95 % interval {low:.2g} to {high:.2g}\n", flush=True)
    found = {kind: curves(features, samples, real, *how) for kind, how in CORRUPTIONS.items()}
    print("\n".join(table(found)))
    print(f"\n{save_png(chart(found), out)}")


def _drawn_again(x: Tensor, change: Callable[[Image.Image], Image.Image]) -> Tensor:
    return torch.stack([to_tensor(np.asarray(change(Image.fromarray(pixels)))) for pixels in to_uint8(x)])


if __name__ == "__main__":
    main(Path(*sys.argv[1:2] or ["corruptions.png"]))
