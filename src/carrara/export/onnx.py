"""``carrara export RUN --to onnx``: a folder from which ``carrara.runtime`` draws with numpy and onnxruntime alone.

``denoiser.onnx`` is the network, ``decoder.onnx`` the decoder of latents, ``text.onnx`` the text encoder; of these each
takes any batch and size. ``condition.npy`` has what labels or texts become, and ``card.json`` says everything else: the
schedule, how to sample, a checksum of every file, and how far the graphs are from torch.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from carrara import __version__
from carrara.conditioning import ClipText, EncodedText, Labels, LearnedText, PooledText, Vectors
from carrara.conditioning.encoders import text_encoder
from carrara.errors import UserError
from carrara.export.onnx_checks import Checked, check_drawing, check_graph, check_moved
from carrara.export.onnx_graphs import Graph, decoder_graph, denoiser_graph, least_of, multiple_of, text_graph, traced
from carrara.export.onnx_words import int8_sentences, readme, remarks
from carrara.export.quantized import quantized
from carrara.files import write_bytes
from carrara.model import DiffusionModel, load_model
from carrara.noise import AnySchedule, DiscreteSchedule, RectifiedFlow, VarianceExploding
from carrara.runtime import card as cards
from carrara.runtime import samplers
from carrara.seeds import torch_generator

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_ALONE = "this run is an autoencoder without diffusion, and nothing can be drawn from it: export a diffusion run"


def export(model_folder: Path, out: Path, *, int8: bool = False) -> Iterator[str]:
    """Fills the folder ``out``, and yields sentences about it.

    Args:
        int8: also writes the denoiser with weights of 8 bits, and measures what that costs.

    Raises:
        UserError: a package is missing, the model has something that the runtime does not know, or onnxruntime does not
            say the same as torch.
    """
    check_packages()
    model = load_model(model_folder)
    if not isinstance(model, DiffusionModel):
        raise UserError(_ALONE)
    check_model(model)
    model.denoiser.eval()
    files: dict[str, bytes] = {}
    checks: dict[str, Any] = {}
    for graph in graphs(model):
        files[graph.name] = traced(graph)
        checked = check_graph(graph, files[graph.name])
        checks[graph.name] = asdict(checked)
        yield _sentence(graph, checked)
    files |= condition_files(model)
    document = described(model, model_folder)
    write_folder(out, document, files)
    checks["drawing"] = asdict(check_drawing(model, out))
    yield f"a drawing of {checks['drawing']['steps']} steps differs from torch's by {checks['drawing']['largest']}/255"
    if int8:
        files["denoiser.int8.onnx"] = quantized(files["denoiser.onnx"])
        write_folder(out, document, files)
        checks["int8"] = asdict(check_drawing(model, out, int8=True)) | {
            "bytes": len(files["denoiser.int8.onnx"]),
            "bytes_of_float32": len(files["denoiser.onnx"]),
        }
        moved = check_moved(model, out, checks["drawing"]["milliseconds"])
        checks["int8"]["kernel_distance"] = None if moved is None else asdict(moved)
        yield from int8_sentences(checks)
    document = {**document, "checks": checks}
    write_folder(out, document, files)
    write_bytes(out / "README.md", readme(document, out.name).encode())
    yield from remarks(model)


def graphs(model: DiffusionModel) -> Iterator[Graph]:
    """The networks that the model has."""
    with torch_generator("export to onnx"):
        yield denoiser_graph(model)
        if model.config.first_stage.kind != "identity":
            yield decoder_graph(model)
        if isinstance(model.conditioner, EncodedText | LearnedText):
            yield text_graph(model.conditioner)


def check_packages() -> None:
    """Refuses where a package is missing."""
    for name in PACKAGES:
        if find_spec(name) is None:
            raise UserError(f"exporting to ONNX needs the package '{name}': pip install 'carrara[onnx]'")


def check_model(model: DiffusionModel) -> None:
    """Refuses what the runtime cannot draw.

    Raises:
        UserError: with the part that does not fit.
    """
    config = model.config
    if len(model.shape) != 3 or config.modality is not None:
        raise UserError(f"only models of pictures are exported to ONNX, and this one makes {model.medium.name}")
    if isinstance(model.conditioner, ClipText):
        raise UserError("the text encoders of CLIP are not exported to ONNX: train with model.conditioner=text")
    if model.first_stage.levels is not None:
        raise UserError("this model goes from masks to levels, and carrara.runtime only from noise to numbers")
    if model.spans:
        raise UserError(
            "this model is told where its steps end (objective.kind=mean_flow), which carrara.runtime does not say: "
            "export a model that diffuses, or its student"
        )
    if model.image is not None:
        raise UserError(
            f"this model sees a picture beside its input (image={model.image.kind}), which carrara.runtime does not "
            "give it: export a model without"
        )
    if model.first_stage.factor is None or len(model.latent_shape) != 3:
        raise UserError(
            "the latents of this model have no places, so its pictures have no open size to be exported with"
        )
    settings = config.sample
    if settings.method.kind != "cfg":
        raise UserError(
            f"this model is guided by {settings.method.kind}, and carrara.runtime guides by cfg alone: set "
            "sample.method=cfg in its recipe"
        )
    kind = settings.sampler.kind
    if kind not in samplers.SAMPLERS:
        raise UserError(f"carrara.runtime has no sampler {kind}")


def described(model: DiffusionModel, folder: Path) -> dict[str, Any]:
    """The card, without its files and checks."""
    config, settings = model.config, model.config.sample
    return {
        "format": cards.FORMAT,
        "carrara": __version__,
        "title": str(model.about.get("data") or model.about.get("preset") or folder.parent.name),
        "shape": list(model.shape),
        "latent": list(model.latent_shape),
        "factor": model.first_stage.factor,
        "multiple": multiple_of(model.denoiser.backbone),
        "smallest": min(
            *model.latent_shape[1:], multiple_of(model.denoiser.backbone) * least_of(model.denoiser.backbone)
        ),
        "schedule": _schedule(config.schedule),
        "parameterization": {key: value for key, value in asdict(config.parameterization).items() if value is not None},
        "condition": _condition(model),
        "few_steps": model.few_steps,
        "sample": {
            "sampler": _finite(asdict(settings.sampler)),
            "grid": asdict(settings.grid),
            "steps": settings.steps,
            "guidance": settings.guidance,
            "interval": list(settings.interval),
            "rescale": settings.rescale,
            "clip": settings.clip,
            "threshold": settings.threshold,
        },
        "about": {key: value for key, value in model.about.items() if isinstance(value, str | int | float)},
    }


def write_folder(out: Path, document: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
    """Writes the files of a folder that has no name yet, and the card that describes them."""
    listed = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()} for name, content in files.items()
    }
    for name, content in files.items():
        write_bytes(out / name, content)
    text = json.dumps({**document, "files": listed}, indent=1, ensure_ascii=False, allow_nan=False)
    write_bytes(out / "card.json", text.encode())


def condition_files(model: DiffusionModel) -> dict[str, bytes]:
    """``condition.npy``, and the tokenizer of texts."""
    conditioner = model.conditioner
    if isinstance(conditioner, Labels | Vectors):
        rows = [conditioner.table.detach().numpy(), conditioner.nothing.detach().numpy()[None]]
        return {"condition.npy": _npy(np.concatenate(rows))}
    if isinstance(conditioner, PooledText):
        weight, bias = conditioner.pooled.weight.detach().numpy(), conditioner.pooled.bias.detach().numpy()
        table = np.concatenate([weight.T, bias[None], conditioner.nothing.detach().numpy()[None]])
        return {"condition.npy": _npy(table), "tokenizer.json": _tokenizer(conditioner).encode()}
    return {}


def _tokenizer(conditioner: PooledText) -> str:
    match conditioner:
        case EncodedText():
            return text_encoder(conditioner.config.source).reader.to_json()
        case LearnedText():
            return conditioner.reader.to_json()
        case _:
            raise AssertionError(conditioner)


def _condition(model: DiffusionModel) -> dict[str, Any]:
    conditioner, width = model.conditioner, model.config.backbone.vector_width
    match conditioner:
        case Labels(classes=classes):
            return {"kind": "labels", "classes": list(classes), "size": len(classes), "width": width}
        case Vectors(size=size):
            return {"kind": "vectors", "size": size, "width": width}
        case PooledText(token_width=size):
            return {"kind": "text", "size": size, "width": width, "apart": isinstance(conditioner, EncodedText)}
        case _:
            return {"kind": "none"}


def _schedule(schedule: AnySchedule) -> dict[str, Any]:
    match schedule:
        case DiscreteSchedule():
            times = np.arange(schedule.steps + 1, dtype=np.float64) / schedule.steps
            return {"kind": "table", "alpha": schedule(torch.from_numpy(times))[0].tolist()}
        case RectifiedFlow() | VarianceExploding():
            return asdict(schedule)


def _finite(keys: dict[str, Any]) -> dict[str, Any]:
    """Without what is infinite, which JSON has no number for; the runtime takes what is missing for that."""
    return {name: value for name, value in keys.items() if value != float("inf")}


def _npy(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(array, np.float32), allow_pickle=False)
    return file.getvalue()


def _sentence(graph: Graph, checked: Checked) -> str:
    return (
        f"{graph.name} says what torch says to {checked.largest_error:.1e}, of values up to "
        f"{checked.largest_value:.2g}, at {len(checked.cases)} sizes and batches"
    )
