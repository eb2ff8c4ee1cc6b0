"""``carrara sample``."""

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import Parameter as Argument
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from carrara import pixels
from carrara.cli.options import RUN, Output, made_of, value, with_options
from carrara.cli.progress import watched
from carrara.cli.terminal import bold, console
from carrara.draw import Ask, collect, draw_variation, read_variation, record, request, result_of, sample
from carrara.files import check_place
from carrara.store import Store, working_folder

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


def draw(folder: Path, ask: Ask, output: SampleOutput | None = None) -> Path:
    """Draws samples into a folder: all together, and one by one. Returns the folder."""
    output = output or SampleOutput()
    variation = None if output.vary is None else read_variation(output.vary)
    opened = Store().open(folder)
    asked = request(opened, ask)
    if ask.weak is None and asked.weak is not None:
        console.print(
            f"guided by {asked.settings.guidance:g} away from what the model was early in its training: --guidance 1 "
            "switches it off, and is faster"
        )
    out = output.out or pixels.fresh(working_folder(folder) / "samples" / "sample")
    check_place(out)
    samples = collect(opened, asked, watched(sample(opened, asked)))
    about = record(opened, asked)
    paths = samples.save(out, about, strip=output.strip)
    if variation is not None:
        picture = result_of(watched(draw_variation(opened, asked, ask.changes, variation)))
        paths.insert(0, pixels.save_png(picture, out / "sheet.png", {"vary": output.vary, "of": about}))
    console.print(f"{len(asked.seeds)} samples in ", bold(out), f": begin with {paths[0].name}")
    return out


def _run(given: Mapping[str, Any]) -> None:
    draw(given["run"], value(Ask, given), value(SampleOutput, given))


command_sample = with_options(_run, "", [RUN, WISHES, *made_of(Ask, ["prompts"]), *made_of(SampleOutput)])
