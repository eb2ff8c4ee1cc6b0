"""An exported model in torch, onnxruntime, onnxruntime with int8 weights, and a browser: how long a picture takes, and
what int8 costs.

    carrara export openmoji --to onnx --int8 --out /tmp/openmoji-onnx
    carrara export openmoji --to page --out /tmp/openmoji-page
    python benchmarks/runtimes.py openmoji /tmp/openmoji-onnx --page /tmp/openmoji-page --wish "a star"

Each is timed as the median of some drawings of one picture, taken in turns so that another program's load falls on all
of them. In the browser that is from the press of the button to the picture, previews on the way included. The cost of
int8 is how far pictures of the same seeds differ, in values and in kernel distance of EfficientNet's features, for
pairs; beside it stands the kernel distance between float32 pictures of other seeds, which is 0 but for chance.
"""

import argparse
import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from threading import Thread

import numpy as np
import torch

from carrara.evaluate.features import EfficientNetFeatures, extract
from carrara.evaluate.kernel import kernel_distance
from carrara.export.onnx_checks import drawn
from carrara.measure.timing import processor
from carrara.model import DiffusionModel, load_model
from carrara.runtime import OnnxModel
from carrara.runtime.draws import integer
from carrara.runtime.model import Settings
from carrara.store.runs import newest

Draw = Callable[[str | None, int], object]
"""Draws one picture of a wish and a seed."""


class Silent(SimpleHTTPRequestHandler):
    """A server of files without a log."""

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def browser(folder: Path, steps: int) -> Iterator[Draw]:
    """A page in chromium."""
    from playwright.sync_api import sync_playwright

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as running:
        opened = running.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = opened.new_page()
        page.set_default_timeout(600_000)
        page.goto(f"http://127.0.0.1:{server.server_port}/#steps={steps}&sampler=ddim")
        page.wait_for_selector("#draw:enabled")

        def draw(wish: str | None, seed: int) -> None:
            field = page.locator("#wish:visible, #classes:visible").first
            if wish is not None:
                field.fill(wish) if page.is_visible("#wish") else field.select_option(wish)
            page.fill("#seed", str(seed))
            page.click("#draw")
            page.wait_for_selector("#status:text-matches('Step|Drawing')")
            page.wait_for_selector("#status:text-matches('Drawn in')")

        print(f"chromium {opened.version}, onnxruntime-web on one thread")
        yield draw
        opened.close()
    server.shutdown()


def features_of(pictures: np.ndarray, network: EfficientNetFeatures) -> torch.Tensor:
    """(N, D) of pictures (N, H, W, C) uint8."""
    pixels = torch.from_numpy(pictures).movedim(-1, 1).float() / 127.5 - 1
    return torch.cat(list(extract(network, pixels.split(16))))


def machine(threads: int) -> str:
    """The processor's name, and what it runs."""
    info = Path("/proc/cpuinfo")
    name = processor(info.read_text() if info.exists() else "")
    packages = ", ".join(f"{package} {version(package)}" for package in ("torch", "onnxruntime"))
    return f"{name}, {threads} thread(s) of {os.cpu_count()}, {packages}; load {os.getloadavg()[0]:.1f}"


def timed(ways: dict[str, Draw], wishes: list[str | None], turns: int, steps: int) -> None:
    """Prints the table of seconds."""
    taken = {name: list[float]() for name in ways}
    for turn in range(turns + 1):  # the first one warms
        for name, draw in ways.items():
            began = time.perf_counter()
            draw(wishes[turn % len(wishes)], turn)
            if turn:
                taken[name].append(time.perf_counter() - began)
    print(
        f"\n| a picture of {steps} steps by | median, s | least, s | ms a step | times torch's |\n|---|---|---|---|---|"
    )
    reference = statistics.median(taken["torch"])
    for name, seconds in taken.items():
        median = statistics.median(seconds)
        print(
            f"| {name} | {median:.2f} | {min(seconds):.2f} | {1000 * median / steps:.1f} | {median / reference:.2f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--page", type=Path, help="the folder of --to page, drawn from by chromium")
    parser.add_argument("--wish", action="append", help="several are drawn by chance")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = load_model(newest(given.run))
    assert isinstance(model, DiffusionModel)
    settings = Settings(steps=given.steps, sampler="ddim")
    opened = {name: OnnxModel(given.folder, precision=name, threads=given.threads) for name in ("float32", "int8")}
    wishes = given.wish or [None]
    print(machine(given.threads))
    ways: dict[str, Draw] = {
        "torch": lambda wish, seed: drawn(model, [wish], [seed], given.steps, "ddim"),
        "onnxruntime": lambda wish, seed: opened["float32"].sample([wish], seeds=[seed], settings=settings),
        "onnxruntime, int8": lambda wish, seed: opened["int8"].sample([wish], seeds=[seed], settings=settings),
    }
    with ExitStack() as stack:
        if given.page:
            ways["onnxruntime-web"] = stack.enter_context(browser(given.page, given.steps))
        timed(ways, wishes, given.turns, given.steps)

    def sampled(name: str, first: int) -> np.ndarray:
        seeds = range(first, first + given.pictures)
        chosen = [wishes[integer("wish", seed) % len(wishes)] for seed in seeds]
        return opened[name].sample(chosen, seeds=seeds, settings=settings)

    exact, coarse, fresh = sampled("float32", 0), sampled("int8", 0), sampled("float32", given.pictures)
    difference = np.abs(exact.astype(int) - coarse.astype(int))
    network = EfficientNetFeatures()
    a, b, c = (features_of(pictures, network) for pictures in (exact, coarse, fresh))
    pairs, others = kernel_distance(a, b, paired=True), kernel_distance(a, c)
    print(
        f"\nint8 and float32, {given.pictures} pictures of the same seeds: {difference.mean():.2f}/255 on average, ",
        end="",
    )
    print(f"{difference.max()}/255 at most; kernel distance {pairs.value:.2g} ± {pairs.error:.1g}")
    print(f"float32, pictures of other seeds: kernel distance {others.value:.2g} ± {others.error:.1g}; {network.name}")
    print(f"load at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
