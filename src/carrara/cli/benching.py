"""``carrara bench``: how fast this machine is, and how near a model comes to what it can do."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from carrara.cli.terminal import Terminal
    from carrara.measure.recipe_speed import RecipeSpeed
    from carrara.measure.timing import Timing
    from carrara.measure.ways import Ways

HEADINGS = ("images/s", "ms/image", "spread", "GFLOP/s", "of conv.", "of product")
_BATCH = 16
"""Samples of a step where nothing is said."""


def bench(
    run: Path | None = None,
    /,
    *overrides: str,
    preset: str | None = None,
    batch: int | None = None,
    precision: str | None = None,
    compiled: Annotated[bool, Parameter(name="--compile", negative="")] = False,
    rounds: int = 15,
    no_tune: bool = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Measures how fast a model trains and samples here, and how near that is to what the machine can do.

    Everything takes turns, and medians count. Rates are compared with those of a 3x3 convolution and of a matrix
    product, measured in the same turns and precision. Nothing is written. docs/speed.md says how to read the table.

    Examples:
        carrara bench
        carrara bench runs/photos --batch 64
        carrara bench --preset digits --precision float32
        carrara bench runs/photos --compile --json

    Parameters
    ----------
    run
        A run's folder: its network and its data are measured.
    overrides
        Changes to the recipe, key=value.
    preset
        A preset instead, or a recipe file; without both it is ddpm-cifar, the network of DDPM for CIFAR-10.
    batch
        Samples of a step; 16, unless the changes say otherwise.
    precision
        float32, bfloat16 or auto; the recipe's, if not given.
    compiled
        Compile the network with torch.compile first, which takes a minute or more.
    rounds
        How often each thing is measured.
    no_tune
        Measure layers in torch's way only, and not which way through each is the fastest here.
    as_json
        Print numbers for a program: seconds, bytes, operations.
    """
    from carrara.cli.terminal import console
    from carrara.measure.recipe_speed import measure_recipe_speed

    if run is not None and "=" in str(run) and not run.exists():
        run, overrides = None, (str(run), *overrides)
    said = {"train.batch": batch, "train.precision": precision}
    changes = [f"{key}={value}" for key, value in said.items() if value is not None]
    changed = [f"train.batch={_BATCH}", *overrides, *changes]
    speed = measure_recipe_speed(run, preset, changed, rounds=rounds, compiled=compiled, tune=not no_tune)
    if as_json:
        console.print(json.dumps(speed.values(), indent=2))
    else:
        _show(speed, console)


def _show(of: "RecipeSpeed", console: "Terminal") -> None:
    from rich.table import Table

    from carrara.cli.terminal import bold

    speed = of.speed
    console.print(bold(of.subject), f", {speed.parameters:,} parameters that learn")
    console.print(f"batches of {of.batch} in {str(speed.precision).removeprefix('torch.')}; {of.machine}")
    table = Table("", *HEADINGS, box=None, padding=(0, 1, 0, 0))
    for column in table.columns[1:]:
        column.justify = "right"
    for work in (*speed.works, *of.roofs):
        table.add_row(work.name, *_images(work), *_rates(work, of))
    console.print(table)
    convolution, product = (roof.about for roof in of.roofs)
    console.print(f"\nthe convolution is {convolution}, the product {product}: the fastest of several")
    if speed.sampling is not None:
        console.print(f"sampling    {speed.sampling:.3g} images/s, in {speed.steps} steps of the model's own sampler")
    if of.reading is not None:
        files, memory = of.reading
        console.print(f"reading     {files:,.0f} examples/s the first time, {memory:,.0f} again from memory")
        if files < speed.works[0].speed:
            console.print(
                "Reading is slower than training: the first epoch waits for files. Smaller files help, or more cores."
            )
    if speed.ways is not None and speed.ways.measured:
        _show_ways(speed.ways, console)
    if speed.ways is not None and speed.ways.threads is not None:
        console.print(f"threads     {speed.ways.threads} make a step faster than all; a long training takes so many")
    if speed.memory:
        console.print(f"memory      {speed.memory / 2**30:.2f} GiB at the peak of training")


def _show_ways(ways: "Ways", console: "Terminal") -> None:
    """What was measured of each size of layer; a long training takes the fastest."""
    from rich.table import Table

    titles = "layer", "kernel", "maps", "ways, ms forward and backward", "gain"
    table = Table(*titles, box=None, padding=(0, 1, 0, 0))
    for one in ways.measured:
        took = ", ".join(f"{way} {took:.3g}" for way, took in one.milliseconds.items())
        sizes = ("x".join(map(str, size)) for size in (one.weight, (one.pictures, one.weight[1], *one.places)))
        table.add_row(one.kind, *sizes, took, f"{one.gain:.2f}")
    console.print("\nthe ways through each layer; a training of 10 minutes or more takes the fastest")
    console.print(table)


def _images(work: "Timing") -> tuple[str, str, str]:
    """Images a second, milliseconds for one, and how far the repetitions lie apart."""
    if not work.images:
        return "", "", f"{work.spread:.0%}"
    return f"{work.speed:,.1f}", f"{1e3 * work.median / work.images:.3g}", f"{work.spread:.0%}"


def _rates(work: "Timing", of: "RecipeSpeed") -> tuple[str, str, str]:
    """Operations a second, and their parts of the rooflines."""
    if not work.flops:
        return "", "", ""
    convolution, product = (f"{work.rate / roof.rate:.0%}" for roof in of.roofs)
    return f"{work.rate / 1e9:,.0f}", convolution, product
