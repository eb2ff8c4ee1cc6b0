"""What is said of an exported folder: its README, and remarks."""

from collections.abc import Iterator, Mapping
from typing import Any

from carrara.model import DiffusionModel

_README = """# {title}, for onnxruntime

Exported by Carrara {carrara}. Drawing needs numpy, onnxruntime and, for a PNG, Pillow{tokenizers}; torch is not needed:

    python -m carrara.runtime {folder}{wish} -n 4 --out x.png

| | |
|---|---|
| pictures | {channels} channels, {height}x{width}; other sizes in multiples of {step} |
| condition | {condition} |
| sampler | {sampler}, {steps} steps, guidance {guidance:g} |

How far it is from torch, as measured when it was exported:

| | largest difference |
|---|---|
{rows}

`card.json` has everything that a program needs to draw: the schedule, what the network predicts, the grid of times, and
a checksum of every file. The network takes `x` (the state times c_in), `level` (the half log-SNR){told}.
"""


def readme(card: Mapping[str, Any], folder: str) -> str:
    """The text of README.md."""
    condition, sample = card["condition"], card["sample"]
    channels, height, width = card["shape"]
    classes = condition.get("classes", [])
    kind = condition["kind"]
    return _README.format(
        title=card["title"],
        carrara=card["carrara"],
        tokenizers=", and tokenizers" if kind == "text" else "",
        folder="FOLDER",
        wish={"labels": f' --class "{classes[0]}"' if classes else "", "text": ' --prompt "a red heart"'}.get(kind, ""),
        channels=channels,
        height=height,
        width=width,
        step=card["factor"] * card["multiple"],
        condition={"none": "none", "labels": f"{len(classes)} classes", "vectors": "numbers"}.get(kind, "text"),
        sampler=sample["sampler"]["kind"],
        steps=sample["steps"],
        guidance=sample["guidance"],
        rows="\n".join(_rows(card["checks"])),
        told={"none": "", "text": ", `vector`, `tokens` and `mask`"}.get(kind, " and `vector`"),
    )


def _rows(checks: Mapping[str, Any]) -> Iterator[str]:
    for name, found in checks.items():
        if name == "drawing":
            ms = f"{found['milliseconds']:.1f} ms a step"
            yield f"| a drawing of {found['steps']} steps | {found['largest']}/255 ({ms}, one thread) |"
        elif name == "int8":
            size = f"{found['bytes'] / 1e6:.1f} MB and not {found['bytes_of_float32'] / 1e6:.1f}"
            cost = f"{found['mean']:.2f}/255 on average, {found['largest']}/255 at most"
            yield f"| the same with int8 weights ({size}) | {cost} ({found['milliseconds']:.1f} ms a step) |"
            if moved := found["kernel_distance"]:
                distance = f"{moved['distance']:.2g} ± {moved['error']:.1g}; of other seeds {moved['other_seeds']:.2g}"
                yield f"| kernel distance of {moved['pictures']} pictures with int8 weights | {distance} |"
        else:
            yield f"| {name} | {found['largest_error']:.1e} of values up to {found['largest_value']:.2g} |"


def int8_sentences(checks: Mapping[str, Any]) -> Iterator[str]:
    """What int8 weights save and cost."""
    cost, exact = checks["int8"], checks["drawing"]
    yield (
        f"with int8 weights the network has {cost['bytes'] / 1e6:.1f} MB and not "
        f"{cost['bytes_of_float32'] / 1e6:.1f}, a step takes {cost['milliseconds']:.1f} ms and not "
        f"{exact['milliseconds']:.1f}, and pictures differ by {cost['mean']:.2f}/255 on average"
    )
    if moved := cost["kernel_distance"]:
        yield (
            f"the kernel distance between {moved['pictures']} pictures with and without int8 weights is "
            f"{moved['distance']:.2g} ± {moved['error']:.1g}; between float32 pictures of other seeds it is "
            f"{moved['other_seeds']:.2g} ({moved['features']})"
        )
    else:
        yield "the kernel distance of int8 weights is not measured: that needs pip install 'carrara[metrics]'"


def remarks(model: DiffusionModel) -> Iterator[str]:
    """What the runtime does otherwise than Carrara."""
    if model.fast is not None:
        yield "the distilled decoder for previews is not exported"
    if model.conditioner.column == "text":
        yield "texts need the package tokenizers beside onnxruntime, and are taken as they are: no weights, no bars"
