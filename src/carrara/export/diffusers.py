"""A model as a folder of stock diffusers, which needs no code of ours.

What there is of this model's architecture in diffusers is written so that it gives the same numbers; what there is not
is refused, part by part. A file ``carrara.json``, which diffusers does not look at, says what the model was, so that
``carrara import`` gives back the same weights to the bit.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from carrara.autoencoder import Kl, Vq
from carrara.backbone import DiT, UNet
from carrara.conditioning import ClipText, UnconditionalConfig
from carrara.errors import UserError, option
from carrara.export import dits, kls, scheduling, text_unets, texts, unets, vqs
from carrara.export.adapters import write_lora
from carrara.export.folders import write_index, write_json, write_part
from carrara.export.names import written
from carrara.files import write_bytes, write_tensors
from carrara.model import DiffusionModel
from carrara.naming import unet_names
from carrara.saved import config_json
from carrara.store import open_model

RECORD, FOLDED = "carrara.json", "carrara.safetensors"
STAGES = {"LDMPipeline": "vqvae", "DiTPipeline": "vae", **dict.fromkeys(texts.PIPELINES, "vae")}
"""What the first stage is called in pipelines that have one."""


def export(model_folder: Path, out: Path, label: str | None = None) -> Iterator[str]:
    """Fills ``out``, and yields sentences.

    Args:
        label: the class that is drawn, of a U-Net with classes.

    Raises:
        UserError: a part of the model is nowhere in diffusers.
    """
    model = open_model(model_folder).diffusion(
        f"'{model_folder}' is no diffusion model, and pipelines of diffusers are: name the run that was trained on it"
    )
    check(model)
    network, conditioner = model.denoiser.backbone, model.conditioner
    if isinstance(conditioner, ClipText):
        if label is not None:
            raise UserError(f"this model has no classes: leave {option('label')} out")
    elif isinstance(network, UNet) and (model.conditioner.column is not None or label is not None):
        model = of_class(model, label)
        yield f"every picture is of the class '{label}': no pipeline of diffusers tells such a U-Net a class"
    elif label is not None:
        raise UserError(f"a DiTPipeline is told the class when it is called: leave {option('label')} out")
    schedule = scheduling.scheduler(model.config)
    pipeline = _pipeline(model, schedule["_class_name"])
    parts = {"scheduler": schedule["_class_name"], **write_network(model, out)}
    if (stage := STAGES.get(pipeline)) is not None:
        parts[stage] = write_stage(model, out, stage)
    classes = getattr(model.conditioner, "classes", ())
    more: dict[str, Any] = {}
    if isinstance(conditioner, ClipText):
        more = {**texts.write(conditioner, out), **texts.index_of(conditioner)}
    labels = {"id2label": {str(k): name.replace(",", " ") for k, name in enumerate(classes)}} if classes else {}
    write_json(out / "scheduler" / "scheduler_config.json", schedule)
    write_index(out, pipeline, parts, {**labels, **more})
    write_bytes(out / RECORD, config_json(model.config, model.about))
    yield f"it is a {pipeline} of {', '.join(parts.values())}"
    yield from scheduling.remarks(model.config)
    if isinstance(network, UNet | DiT):
        yield from write_lora(model_folder, out, network, "transformer" if isinstance(network, DiT) else "unet")


def check(model: DiffusionModel) -> None:
    """Refuses a model for which there is no pipeline.

    Raises:
        UserError: which part is nowhere in diffusers.
    """
    config = model.config
    pixels = config.first_stage.kind == "identity"
    for fits, part in (
        (config.modality is None and len(config.shape) == 3, "samples that are no pictures"),
        (config.backbone.kind in ("unet", "dit"), f"the network '{config.backbone.kind}'"),
        (config.first_stage.kind in ("identity", "kl", "vq"), f"the first stage '{config.first_stage.kind}'"),
        (config.backbone.kind == "unet" or not pixels, "a transformer of pixels, with no autoencoder"),
        (config.image is None, "a picture beside the noise"),
        (config.backbone.kind == "dit" or not config.learned_variance, "a learned variance beside the estimate"),
        (config.conditioner.kind in ("none", "labels", "clip"), f"the condition '{config.conditioner.kind}'"),
        (model.few_steps is None, "a number of steps that it was distilled to"),
    ):
        if not fits:
            raise UserError(
                f"this model has {part}, and no pipeline of stock diffusers does: what can be written are U-Nets of "
                "pixels or of a KL or VQ autoencoder's latents, and transformers of KL latents, without a condition or "
                "with classes; and U-Nets of KL latents with the text encoders of an imported Stable Diffusion "
                "(model.conditioner.kind=clip), from which one can go on training"
            )
    if config.backbone.kind == "dit" and config.first_stage.kind == "vq":
        raise UserError("stock diffusers has no transformer of a VQ autoencoder's latents: train with a KL autoencoder")
    if isinstance(model.conditioner, ClipText):
        if config.first_stage.kind != "kl" or config.backbone.kind != "unet":
            raise UserError("stock diffusers tells texts of CLIP's to U-Nets of a KL autoencoder's latents alone")
        texts.check(model.conditioner)


def of_class(model: DiffusionModel, label: str | None) -> DiffusionModel:
    """The model that draws one class: its vector is added to the embedding of every noise level.

    Raises:
        UserError: no class is named, or none of this model's.
    """
    if model.conditioner.column is None:
        raise UserError(f"this model has no classes: leave {option('label')} out")
    if label is None:
        raise UserError(
            "no pipeline of stock diffusers tells such a U-Net a class: name the one that is drawn, as in "
            f"{option('label', 'NAME')}"
        )
    vector = model.conditions([label]).vector
    assert vector is not None
    plain = replace(model.config.sample, guidance=1.0)
    config = replace(model.config, conditioner=UnconditionalConfig(), sample=plain)
    single = DiffusionModel(config, {**model.about, "label": label})
    single.denoiser.load_state_dict(model.denoiser.state_dict())
    single.first_stage.load_state_dict(model.first_stage.state_dict())
    with torch.no_grad():
        single.denoiser.get_parameter("backbone.noise.layers.2.bias").add_(vector[0])
    return single.eval()


def write_network(model: DiffusionModel, out: Path) -> dict[str, str]:
    """Writes the network. Returns the name of the part, and its class."""
    network, schedule = model.denoiser.backbone, model.config.schedule
    if isinstance(network, DiT):
        answers = 1 + model.config.learned_variance
        mine = dits.theirs(network, model.latent_shape, answers)
        write_part(out / "transformer", dits.as_json(mine), dits.tensors(network, class_table(model, network)))
        return {"transformer": "DiTTransformer2DModel"}
    assert isinstance(network, UNet)
    if isinstance(model.conditioner, ClipText):
        return write_text_network(model, model.conditioner, network, out)
    state = network.state_dict()
    found = unets.theirs(network, model.latent_shape, scheduling.steps_of(schedule))
    tensors = written(state, unet_names(network.config, state))
    if found.time_embedding_type == "learned":
        levels = scheduling.levels_of(schedule, model.config.parameterization)
        tensors["time_proj.weight"] = unets.table(network.noise, levels).detach().contiguous()
    write_part(out / "unet", unets.as_json(found), tensors)
    return {"unet": "UNet2DModel"}


def write_text_network(model: DiffusionModel, conditioner: ClipText, network: UNet, out: Path) -> dict[str, str]:
    """The same of a network that looks at texts."""
    told, numbers = conditioner.told_width, conditioner.config.features
    found = text_unets.theirs(network, model.latent_shape, told, None if told is None else numbers)
    state = network.state_dict()
    tensors = text_unets.kernels(written(state, unet_names(network.config, state)), found)
    write_part(out / "unet", text_unets.as_json(found), tensors | texts.written_told(conditioner))
    return {"unet": "UNet2DConditionModel"}


def class_table(model: DiffusionModel, network: DiT) -> Tensor:
    """The vectors of the model's classes as a transformer of theirs has them; all zero without any."""
    state = model.conditioner.state_dict()
    nothing = state.get("nothing", torch.zeros(network.config.width))
    return dits.table_of(list(state.get("table", ())), nothing)


def write_stage(model: DiffusionModel, out: Path, name: str) -> str:
    """Writes the autoencoder, and what its weights were where they had to be changed. Returns its class."""
    stage, config, shape = model.first_stage, model.config.first_stage, model.config.shape
    state = stage.state_dict()
    if isinstance(stage, Vq):
        assert config.kind == "vq"
        write_part(out / name, vqs.as_json(vqs.theirs(stage, config, shape)), vqs.folded(stage))
    else:
        assert isinstance(stage, Kl)
        assert config.kind == "kl"
        write_part(out / name, kls.as_json(kls.theirs(stage, config, shape)), kls.folded(stage))
    kept = vqs.KEPT if isinstance(stage, Vq) else kls.FOLDED
    write_tensors(out / FOLDED, {one: state[one].detach().contiguous() for one in kept})
    return "VQModel" if isinstance(stage, Vq) else "AutoencoderKL"


def _pipeline(model: DiffusionModel, scheduler: str) -> str:
    if isinstance(model.denoiser.backbone, DiT):
        return "DiTPipeline"
    if isinstance(model.conditioner, ClipText):
        return texts.check(model.conditioner)
    return "LDMPipeline" if model.first_stage.learned else scheduler.replace("Scheduler", "Pipeline")
