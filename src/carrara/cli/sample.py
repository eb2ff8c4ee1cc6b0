"""``carrara sample``."""

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import Parameter as Argument
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from carrara import pixels
from carrara.cli.launching import launch
from carrara.cli.options import RUN, Output, made_of, typed, value, with_options
from carrara.cli.progress import watched
from carrara.cli.terminal import bold, console, together
from carrara.draw import Ask, Request, collect_together, draw_variation, read_variation, record, request, result_of
from carrara.files import check_place
from carrara.ranks import in_all, rank
from carrara.store import OpenModel, Store, working_folder

WISHES = Argument(
    "prompts",
    Argument.VAR_POSITIONAL,
    annotation=Annotated[
        str,
        Parameter(
            help="What to draw: prompts, in which (words:1.3) count more; or labels, several at once (a+b), mixtures "
            '(a:0.5+b:0.5), or vectors (0.2,-1). Bars join several, "a | b", which may have weights, "a::0.7 | b::0.3".'
        ),
    ],
)


@dataclass(frozen=True, kw_only=True)
class SampleOutput(Output):
    """What is made of samples.

    Attributes:
        strip: Also a strip of pictures from noise to sample.
        vary: Also one picture with a row for each wish and a column for each value of a setting, as in guidance=1,3,6
            or seed=0,1,2.
    """

    strip: bool = False
    vary: str | None = None


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How many draw.

    Attributes:
        launch: Draw in so many processes of this machine, one for each GPU, which share the batches of 64 that one
            process draws: prints what torchrun would be told, and runs it.
    """

    launch: int | None = None


def draw(folder: Path, ask: Ask, output: SampleOutput | None = None) -> Path:
    """Draws samples into a folder: all together, and one by one. Returns the folder.

    Where processes were started together, each draws a part, and the first one writes.
    """
    output = output or SampleOutput()
    variation = None if output.vary is None else read_variation(output.vary)
    with together() as device:
        opened, asked, out = in_all(lambda: _opened(Store(device), folder, ask, output))
        if ask.weak is None and asked.weak is not None:
            console.print(
                f"guided by {asked.settings.guidance:g} away from what the model was early in its training: "
                "--guidance 1 switches it off, and is faster"
            )
        samples = collect_together(opened, asked, watched, strip=output.strip)

        def write() -> None:
            about = record(opened, asked)
            paths = samples.save(out, about)
            if variation is not None:
                picture = result_of(watched(draw_variation(opened, asked, ask.changes, variation)))
                paths.insert(0, pixels.save_png(picture, out / "sheet.png", {"vary": output.vary, "of": about}))
            console.print(f"{len(asked.seeds)} samples in ", bold(out), f": begin with {paths[0].name}")

        in_all(write if rank() == 0 else lambda: None)
    return out


def _opened(store: Store, folder: Path, ask: Ask, output: SampleOutput) -> tuple[OpenModel, Request, Path]:
    """The model, what is asked of it, and the folder for what it draws."""
    opened = store.open(folder)
    asked = request(opened, ask)
    out = output.out or pixels.fresh(working_folder(folder) / "samples" / "sample")
    check_place(out)
    return opened, asked, out


def _run(given: Mapping[str, Any]) -> int | None:
    if (count := given.get("launch")) is not None:
        return launch(count, ["sample", *typed({**given, "launch": None}, PARAMETERS)])
    draw(given["run"], value(Ask, given), value(SampleOutput, given))
    return None


PARAMETERS = [RUN, WISHES, *made_of(Ask, ["prompts"]), *made_of(SampleOutput), *made_of(Launch)]
command_sample = with_options(_run, "", PARAMETERS)
