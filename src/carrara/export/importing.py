"""A model of a diffusers pipeline, as a model of ours.

What ``carrara export`` has written says what it was (``carrara.json``), and becomes that again, to the bit. Any other
folder becomes a network that is told the number of its step, as theirs are; see ``nn.embedding``.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from carrara.autoencoder import AnyFirstStage, IdentityConfig, Kl, Vq
from carrara.backbone import DiT, DiTConfig, UNet, UNetConfig
from carrara.conditioning import AnyConditioner, ClipText, ClipTextConfig, LabelsConfig, UnconditionalConfig
from carrara.errors import UserError, unknown
from carrara.export import dits, folders, kls, scheduling, text_unets, texts, unets, vqs
from carrara.export.diffusers import FOLDED, RECORD, STAGES, class_table
from carrara.export.names import read as renamed
from carrara.export.names import shapes
from carrara.files import BadFile, Malformed, as_kind, check_inside, is_regular, read_as, read_tensors
from carrara.kinds import LARGEST_SAMPLE, mapping_of
from carrara.model import DiffusionModel, ModelConfig
from carrara.naming import told_names, unet_names
from carrara.nn import BESIDE, bounded, step_features
from carrara.saved import FORMAT, About, Document
from carrara.shapes import by

PIPELINES = ("DDPMPipeline", "DDIMPipeline", "LDMPipeline", "DiTPipeline", *texts.PIPELINES)
STAGE_KINDS: Mapping[str, type[kls.Theirs] | type[vqs.Theirs]] = {"AutoencoderKL": kls.Theirs, "VQModel": vqs.Theirs}
EDGE = 64
"""Of a network that does not say for which pictures it is."""
CLOSE = 1e-4
"""Numbers of another machine may differ by that."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a folder says of its parts.

    Attributes:
        network: the configuration.
        stage: of the autoencoder; None without one.
        scheduler: ``scheduler_config.json``.
        index: ``model_index.json``.
        files: with the network's weights, and the autoencoder's.
        encoders: of texts.
    """

    network: unets.Theirs | text_unets.Theirs | dits.Theirs
    stage: kls.Theirs | vqs.Theirs | None
    scheduler: Mapping[str, Any]
    index: Mapping[str, Any]
    files: tuple[Sequence[Path], Sequence[Path]]
    encoders: tuple[texts.Encoder, ...] = ()


def read(path: Path, out: Path) -> Iterator[str]:
    """Makes the model's folder ``out``, and yields sentences.

    Raises:
        UserError: the pipeline, or a part of it, is nowhere here; or a file is missing or damaged.
    """
    check_inside(path)
    index = folders.read_index(path)
    if (pipeline := str(index.get("_class_name"))) not in PIPELINES:
        raise unknown(f"pipeline in {folders.INDEX}", pipeline, PIPELINES)
    found, known = parts(path, index, pipeline), is_regular(path / RECORD)
    config, about = recorded(path / RECORD, found) if known else foreign(found)
    model = built(config, {**about, "imported": pipeline}, found)
    read_network(model, found, known)
    if isinstance(model.conditioner, ClipText):
        texts.read_encoders(model.conditioner, found.encoders)
    if found.stage is not None:
        read_stage(model, found, path / FOLDED if known else None)
    model.eval().save(out)
    yield f"it was made by Carrara, and is what it was: {RECORD} says so" if known else _told(found, config)
    yield from scheduling.unread(found.scheduler)
    yield from texts.left_out(index)


def parts(path: Path, index: Mapping[str, Any], pipeline: str) -> Found:
    """Reads what a folder says of its parts, and looks for their weights.

    Raises:
        UserError: a part is missing, or of another class than there is here.
    """
    if pipeline == "DiTPipeline":
        network = folders.part(path, index, "transformer", ("DiTTransformer2DModel", "Transformer2DModel"))
        described = folders.read_config(network / "config.json", dits.Theirs)
    elif pipeline in texts.PIPELINES:
        network = folders.part(path, index, "unet", ("UNet2DConditionModel",))
        described = folders.read_config(network / "config.json", text_unets.Theirs)
    else:
        network = folders.part(path, index, "unet", ("UNet2DModel",))
        described = folders.read_config(network / "config.json", unets.Theirs)
    scheduler = folders.part(path, index, "scheduler", scheduling.SCHEDULERS)
    named = STAGES.get(pipeline)
    kinds = STAGE_KINDS if named == "vqvae" else {"AutoencoderKL": kls.Theirs}
    stage = None if named is None else folders.part(path, index, named, tuple(kinds))
    return Found(
        network=described,
        stage=None if stage is None else folders.read_config(stage / "config.json", kinds[index[stage.name][1]]),
        scheduler=folders.read_mapping(scheduler / "scheduler_config.json"),
        index=index,
        files=(folders.weight_files(network), () if stage is None else folders.weight_files(stage)),
        encoders=texts.find(path, index, pipeline) if pipeline in texts.PIPELINES else (),
    )


def recorded(path: Path, found: Found) -> tuple[ModelConfig, dict[str, Any]]:
    """What the exported model was.

    Raises:
        UserError: the record is damaged, or the folder's parts are others now.
    """
    try:
        document = read_as(path, Document, known=FORMAT)
        as_kind(document.about, About)
        config = as_kind(dict(document.model), ModelConfig)
    except (BadFile, Malformed) as error:
        why = error.why if isinstance(error, BadFile) else str(error)
        raise BadFile(path, f"is damaged (it {why})", "delete it, and the folder is taken as any other's") from None
    mine = scheduling.scheduler(config)
    if any(found.scheduler.get(key) != value for key, value in mine.items()):
        raise _changed("the scheduler")
    transformer = isinstance(found.network, dits.Theirs)
    latent = config.first_stage.kind != "identity"
    told = config.conditioner.encoders if isinstance(config.conditioner, ClipTextConfig) else ()
    if len(told) != len(found.encoders) or any(
        one.tokenizer != len(other.vocabulary.to_bytes()) for one, other in zip(told, found.encoders, strict=True)
    ):
        raise _changed("what reads the texts")
    if transformer != (config.backbone.kind == "dit") or latent != (found.stage is not None):
        raise _changed("the pipeline")
    return config, dict(document.about)


def foreign(found: Found) -> tuple[ModelConfig, dict[str, Any]]:
    """How the model of somebody else is built.

    Raises:
        UserError: a part of it is nowhere here.
    """
    schedule, parameterization, settings = scheduling.read_scheduler(found.scheduler)
    network, steps = found.network, scheduling.steps_of(schedule)
    stage = _stage(found.stage)
    edges = network.sample_size if isinstance(network.sample_size, tuple) else 2 * (network.sample_size or EDGE,)
    shape = (network.in_channels if found.stage is None else found.stage.in_channels, *_times(edges, stage.factor or 1))
    if min(shape) < 1 or prod(shape) > LARGEST_SAMPLE:
        raise UserError(f"the folder describes no model that works: its pictures have {by(shape)} numbers")
    transformer, guidance = (
        isinstance(network, dits.Theirs),
        texts.GUIDANCE.get(str(found.index.get("_class_name")), 1.0),
    )
    if found.stage is not None and found.stage.latent_channels != network.in_channels:
        channels = f"{network.in_channels} channels, and the autoencoder's latents {found.stage.latent_channels}"
        raise UserError(f"the folder describes no model that works: its network has {channels}")
    try:
        config = ModelConfig(
            shape=shape,
            backbone=_backbone(network, steps),
            schedule=schedule,
            parameterization=parameterization,
            conditioner=_conditioner(found, shape[1:]),
            first_stage=stage,
            learned_variance=transformer and network.out_channels == 2 * network.in_channels,
            sample=settings if not found.encoders else replace(settings, guidance=guidance),
        )
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"the folder describes no model that works: {error}") from None
    return config, {}


def _stage(found: kls.Theirs | vqs.Theirs | None) -> AnyFirstStage:
    match found:
        case None:
            return IdentityConfig()
        case kls.Theirs():
            return kls.ours(found)
        case vqs.Theirs():
            return vqs.ours(found)


def _backbone(network: unets.Theirs | text_unets.Theirs | dits.Theirs, steps: int) -> UNetConfig | DiTConfig:
    match network:
        case unets.Theirs():
            return unets.ours(network, steps)
        case text_unets.Theirs():
            return text_unets.ours(network, steps)
        case dits.Theirs():
            return dits.ours(network, steps)


def _conditioner(found: Found, edges: Sequence[int]) -> AnyConditioner:
    match found.network:
        case unets.Theirs():
            return UnconditionalConfig()
        case text_unets.Theirs():
            return texts.ours(found.encoders, found.network, edges, found.index)
        case dits.Theirs():
            return LabelsConfig(classes=classes(found, found.network))


def classes(found: Found, network: dits.Theirs) -> tuple[str, ...]:
    """The names of a transformer's classes, none of them twice; its numbers where it has no names."""
    count = network.num_embeds_ada_norm or 0
    labels = mapping_of(found.index.get("id2label")) or {}
    said = [str(labels.get(str(k), k)).strip()[:200] or str(k) for k in range(count)]
    often = Counter(said)
    return tuple(f"{name} ({k})" if often[name] > 1 else name for k, name in enumerate(said))


def built(config: ModelConfig, about: Mapping[str, Any], found: Found) -> DiffusionModel:
    """The untrained model, if it has no more numbers than the files.

    Raises:
        UserError: it has, or its parts do not fit together.
    """
    files = [path for part in (*found.files, *(one.files for one in found.encoders)) for path in part]
    for path in files:
        if not is_regular(path):
            raise BadFile(path, "is not there")
    try:
        with bounded(sum(path.stat().st_size for path in files) + BESIDE):
            return DiffusionModel(config, about)
    except ValueError as error:
        raise UserError(f"the folder describes no model that works: {error}") from None


def read_network(model: DiffusionModel, found: Found, known: bool) -> None:
    """Gives a model's network, and its table of classes, their weights.

    Args:
        known: whether the folder says what the model was.

    Raises:
        UserError: the files hold something else; or the network is told its steps in another way than was said.
    """
    network, levels = (
        model.denoiser.backbone,
        scheduling.levels_of(model.config.schedule, model.config.parameterization),
    )
    if isinstance(network, DiT):
        assert isinstance(found.network, dits.Theirs)
        like = dits.tensors(network, torch.zeros((found.network.num_embeds_ada_norm or 0) + 1, network.config.width))
        taken, rows = dits.state_of(network, folders.read_weights(found.files[0], _shapes(like), folders.current))
        read_classes(model, rows, known)
        network.load_state_dict({**network.state_dict(), **taken})
        return
    assert isinstance(network, UNet)
    assert not isinstance(found.network, dits.Theirs)
    state = network.state_dict()
    named = unet_names(network.config, state)
    like = shapes(state, named)
    conditioner = model.conditioner
    if isinstance(conditioner, ClipText):
        like |= shapes(conditioner.state_dict(), told_names(conditioner.state_dict()))
    if found.network.time_embedding_type == "learned":  # which text_unets refuses
        like["time_proj.weight"] = (len(levels), network.config.channels)
    tensors = folders.read_weights(found.files[0], like, folders.current)
    learned = tensors.get("time_proj.weight")
    first, shift, rows = found.network.flip_sin_to_cos, found.network.freq_shift, len(levels)
    features = step_features(rows, network.config.channels, cosines_first=first, shift=shift)
    table = features if learned is None else learned
    taken = renamed(tensors, named)
    if network.config.steps is not None:
        taken |= {"noise.levels": levels, "noise.table": table}
    elif (unets.table(network.noise, levels) - table).abs().max() > CLOSE:
        raise _changed("the table of steps")
    network.load_state_dict(taken)
    if isinstance(conditioner, ClipText):
        own = conditioner.state_dict()
        conditioner.load_state_dict({**own, **renamed(tensors, told_names(own))})


def read_classes(model: DiffusionModel, rows: Tensor, known: bool) -> None:
    """Gives the conditioner the rows of a transformer's table of classes.

    Raises:
        UserError: the folder says what the model was, and it had another table.
    """
    state = model.conditioner.state_dict()
    if "table" in state:
        count = len(state["table"])
        model.conditioner.load_state_dict({"table": rows[:count], "nothing": rows[-1]})
    network = model.denoiser.backbone
    assert isinstance(network, DiT)
    if known and not torch.equal(class_table(model, network), rows):
        raise _changed("the table of classes")


def read_stage(model: DiffusionModel, found: Found, folded: Path | None) -> None:
    """Gives a model's autoencoder its weights.

    Args:
        folded: the file of what they were before they were changed; None if they were not.

    Raises:
        UserError: the files hold something else.
    """
    stage = model.first_stage
    assert isinstance(stage, Kl | Vq)
    assert found.stage is not None
    state = stage.state_dict()
    named = vqs.names(state) if isinstance(stage, Vq) else kls.names(state)
    tensors = folders.read_weights(found.files[1], shapes(state, named), folders.current)
    std = kls.std_of(found.stage.scaling_factor).expand_as(state["std"])
    taken = renamed(tensors, named) | {"mean": state["mean"], "std": std}
    if isinstance(stage, Vq):
        taken |= vqs.chosen(taken["codebook.codes"])
    if folded is not None:
        kept = vqs.KEPT if isinstance(stage, Vq) else kls.FOLDED
        taken |= read_tensors(folded, like={name: state[name] for name in kept})
    stage.load_state_dict(taken)
    mine = vqs.folded(stage) if isinstance(stage, Vq) else kls.folded(stage)
    if folded is not None and any((one - tensors[name]).abs().max() > CLOSE for name, one in mine.items()):
        raise _changed("the autoencoder")


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(one.shape) for name, one in tensors.items()}


def _times(edges: Sequence[int], factor: int) -> tuple[int, ...]:
    return tuple(edge * factor for edge in edges)


def _changed(what: str) -> UserError:
    return UserError(
        f"{what} is not as it was exported: delete {RECORD} from the folder, and it is taken as any other's"
    )


def _told(found: Found, config: ModelConfig) -> str:
    edges = "x".join(map(str, config.shape[1:]))
    size = "" if found.network.sample_size is not None else ", which it does not say"
    return f"it makes pictures of {edges} pixels{size}, and is sampled by {config.sample.sampler.kind}"
