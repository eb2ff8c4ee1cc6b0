"""The demonstration of Sohl-Dickstein et al. (2015, figure 1) on a Swiss roll, and what the added noise is for.

    carrara train swissroll
    python examples/swissroll.py runs/swissroll docs/gallery

writes ``swissroll.png``: data noised (first row, left to right), noise denoised (second row, right to left),
and the drift of the reverse process (third row); and ``swissroll-ablation.png``: ancestral sampling with its noise and
without.
"""

import sys
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from carrara import load, pixels, plots
from carrara.data import open_dataset
from carrara.noise import add_noise, transition
from carrara.sample import Ddpm, Uniform, draws_for, initial, last, noise_for
from carrara.seeds import Draws
from carrara.types import UNCONDITIONAL

COUNT, STEPS, LIMIT, SIZE = 2000, 200, 3.0, 260
TIMES = (0.0, 0.05, 0.1, 0.25, 1.0)


def panel(points: Tensor) -> Image.Image:
    """The points in the plane."""
    return plots.Plane(SIZE, LIMIT).points(points, radius=0.9).picture()


@torch.no_grad()
def main(run: Path, out: Path) -> None:
    """Draws both pages."""
    model = load(run).model
    schedule, denoise = model.config.schedule, model.denoiser.bind(UNCONDITIONAL)
    data = torch.stack(
        [torch.from_numpy(example.pixels) for example in map(open_dataset("swissroll").__getitem__, range(COUNT))]
    )

    eps = Draws(1, torch.arange(COUNT)).normal("page", 2)
    noised = [add_noise(data, eps, *schedule(torch.tensor(t))) for t in TIMES]

    draws, grid = draws_for(range(COUNT)), Uniform()(STEPS, schedule)
    x, noise = initial(draws, (2,), schedule), noise_for(draws, (2,))
    states = {1.0: x, **{round(step.t, 6): step.x for step in Ddpm().steps(denoise, x, grid, schedule, noise)}}
    denoised = [states[t] for t in TIMES]

    line = torch.linspace(-2.4, 2.4, 15)
    places = torch.cartesian_prod(line, line)
    drifts: list[Image.Image] = []
    for t in TIMES[1:]:
        now, before = (torch.tensor(v, dtype=torch.float64) for v in (t, t - 1 / STEPS))
        step = transition(schedule, before, now)
        mean = step.from_x_t.float() * places + step.from_x0.float() * denoise(places, now.float())
        drift = mean - places
        plane = plots.Plane(SIZE, LIMIT).points(states[t], radius=0.5, color=plots.GRID)
        drifts.append(plane.arrows(places, drift * 0.3 / drift.norm(dim=1).quantile(0.9)).picture())
    blank = Image.new("RGB", (SIZE, SIZE), plots.PAPER)

    rows = [list(map(panel, noised)), list(map(panel, denoised)), [blank, *drifts]]
    labels = ["data, noised", "noise, denoised", "drift"]
    save(plots.sheet(rows, [f"t = {t:g}" for t in TIMES], labels), out / "swissroll.png")

    silent = last(Ddpm().steps(denoise, x, grid, schedule, lambda _: torch.zeros_like(x))).x
    names = ["data", "with the added noise", "without it"]
    save(plots.sheet([[panel(data), panel(denoised[0]), panel(silent)]], names, [""]), out / "swissroll-ablation.png")
    for name, points in zip(names, (data, denoised[0], silent), strict=True):
        print(f"{name:22} standard deviations {points.std(0).tolist()}")


def save(page: Image.Image, path: Path) -> None:
    """Writes a page with a palette, which is enough for dots and arrows."""
    print(pixels.save_png(page.quantize(32), path, overwrite=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
