"""Reading the model of a run's folder."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from carrara.classifier import Classifier
from carrara.distilled import DistilledDecoder
from carrara.errors import UserError, close_match, command
from carrara.files import (
    BadFile,
    as_kind,
    has_parts,
    is_folder,
    is_regular,
    lies_in,
    make_folder,
    read_tensors,
    read_yaml,
    scratch,
    sealed,
)
from carrara.kinds import mapping_of
from carrara.lora import merge, read_adapter
from carrara.model import (
    AnySaved,
    AutoencoderConfig,
    DiffusionModel,
    Model,
    ModelConfig,
    build_saved,
    load_model,
    read_config,
)
from carrara.nn.low_rank import adapts, merged
from carrara.saved import CONFIG, About, Saved, damage, digest, read_part
from carrara.train import checkpoint

S = TypeVar("S", bound=Saved)
SHIPPED = files("carrara") / "models"
"""The folder of the models that come with the package."""
TINY = "tiny-decoder"
"""The folder, in a run's, of the decoder that was distilled from its first stage."""
EARLY = "early"
"""The folder, in a run's, of the model as it was after a part of the run."""


def open_model(path: Path) -> Model:
    """Loads the model of a run's folder, of one of its checkpoints, of a model's own folder, or a shipped one by name.

    A run that went on after its model was finished gives the newest checkpoint's, which is newer.

    Raises:
        UserError: there is none, or it is damaged.
    """
    model = read_saved(path, Model)
    attach_decoder(model, path)
    early = located(path) / EARLY
    model.early = early if is_regular(early / "config.json") and lies_in(early, path) else None
    return model


def open_classifier(path: Path) -> Classifier:
    """Loads the classifier of a run's folder.

    Raises:
        UserError: there is none, or it is damaged.
    """
    makes = command("train DATA", preset="classifier", run="DIR")
    return read_saved(path, Classifier, f"'{path}' holds no classifier: '{makes}' makes one")


def shipped(path: Path) -> Path | None:
    """The folder of the shipped model that ``path`` names; None if there is none of this name."""
    known = Path(str(SHIPPED)) / path.name
    return known if path == Path(path.name) and is_regular(known / "config.json") else None


def names_shipped(path: Path) -> bool:
    """Whether a model that ships is meant: there is one of this name, and no folder of it here."""
    return not is_folder(path) and shipped(path) is not None


def located(path: Path) -> Path:
    """Where a model is: in the folder ``path``, or in the package."""
    return path if is_folder(path) else shipped(path) or path


def run_of(path: Path) -> Path | None:
    """The run that a model's folder is or belongs to, as ``best/`` and ``checkpoints/step-N`` do; None if to none."""
    above = path.resolve().parents
    return next((run for run in (path, *above[:2]) if is_regular(run / "recipe.yaml")), None)


def read_section(run: Path, name: str) -> Mapping[str, Any]:
    """A section of a run's ``recipe.yaml``, as plain values.

    Raises:
        UserError: it cannot be read.
    """
    path = run / "recipe.yaml"
    try:
        sections = mapping_of(read_yaml(path)) or {}
    except BadFile as error:
        raise UserError(f"'{path}' cannot be read (it {error.why}): restore it") from None
    if (section := mapping_of(sections.get(name))) is None:
        raise UserError(f"'{path}' has no section '{name}': restore it")
    return section


def attach_decoder(model: Model, run: Path) -> None:
    """Gives the model the decoder that was distilled in ``run``, if there is one and it is this first stage's."""
    place = _beside(model.about) or located(run)
    folder = place / TINY
    if not (folder / "model").is_dir() or not lies_in(folder / "model", place):
        return
    decoder = read_saved(folder, DistilledDecoder)
    if decoder.config.teacher == first_stage_digest(model):
        model.fast = lambda z: decoder.to(z.device)(z)


def first_stage_digest(model: Model) -> str:
    """What identifies a first stage: its configuration and its weights."""
    return digest(model.config.first_stage, model.first_stage)


def configured(path: Path) -> ModelConfig | AutoencoderConfig:
    """How the model of a run is built, without its weights; errors as in ``open_model``."""
    config, _ = read_config(newest(path))
    return open_model(path).config if config.kind == "decoder" or config.kind == "classifier" else config


def begun_about(run: Path) -> dict[str, Any]:
    """What the newest checkpoint of a run, or its model, says about itself; nothing before there is one."""
    newest, _ = checkpoint.latest(run / "checkpoints")
    newest = newest or run / "model"
    return dict(read_config(newest)[1]) if is_regular(newest / "config.json") else {}


def read_saved(path: Path, wanted: type[S], refusal: str = "") -> S:
    """Loads what the folder ``path`` holds, as it is.

    Args:
        refusal: what is said of something else; else it says itself what it is for.

    Raises:
        UserError: it is something else, damaged, or not there.
    """
    folder = newest(path)
    _check_whole(folder, path)
    saved: Saved = _from_checkpoint(folder) if checkpoint.is_checkpoint(folder) else _from_model(folder)
    if not isinstance(saved, wanted):
        raise UserError(refusal or f"'{path}' holds {saved.purpose(path)}")
    return saved


def _check_whole(folder: Path, path: Path) -> None:
    """Refuses a damaged model, and says which other one of the run ``path`` is whole."""
    if not sealed.is_verifying() or (why := damage(folder)) is None:
        return
    run = run_of(located(path)) or path
    others = [*reversed(checkpoint.steps(run / "checkpoints")), *(run / name for name in ("model", "best", EARLY))]
    sound = next((one for one in others if one != folder and is_sound(one)), None)
    instead = "restore it from a copy" if sound is None else f"'{sound}' is whole: name that one"
    raise UserError(f"the model in '{folder}' is damaged: {why}; {instead}")


def is_sound(folder: Path) -> bool:
    """Whether a model is in a folder, and its files are what was written, as far as that was written down."""
    return is_regular(folder / CONFIG) and damage(folder) is None


def newest(path: Path) -> Path:
    """The folder with the newest weights of a run: ``model/`` or a checkpoint; or ``path`` itself, if it is one."""
    path = located(path)
    if not is_folder(path):
        ships = [folder.name for folder in Path(str(SHIPPED)).glob("*/")]
        raise UserError(f"there is no run '{path}': '{command('train')}' makes one.{close_match(str(path), ships)}")
    if is_regular(path / "config.json"):
        return path
    newest, finished = next(iter(checkpoint.steps(path / "checkpoints")[-1:]), None), path / "model"
    for led in (finished, newest or finished):
        if not lies_in(led, path):
            raise UserError(f"'{led}' leads out of the run's folder: name the folder that it leads to")
    if is_regular(finished / CONFIG):
        _check_whole(finished, path)
        if newest is None or (step_of(finished) or 0) >= _checkpoint_step(newest):
            return finished
    if newest is None:
        raise UserError(
            f"'{path}' holds no run: there is neither model/ nor a checkpoint in it. "
            f"Name the folder of a run; '{command('train')}' makes one"
        )
    return newest


def step_of(folder: Path) -> int | None:
    """The step at which a model was written; None if there is none."""
    return as_kind(read_config(folder)[1], About).step if is_regular(folder / CONFIG) else None


def _checkpoint_step(folder: Path) -> int:
    """N of ``step-N``; 0 of a checkpoint that has been given another name."""
    number = folder.name.removeprefix("step-")
    return int(number) if number.isdecimal() else 0


def _from_model(folder: Path) -> AnySaved:
    """What a model's folder holds: its weights, or an adapter of those of a model that ships."""
    if (base := _beside(read_config(folder)[1])) is None:
        return load_model(folder)
    model = load_model(folder, weights_in=base)
    if not isinstance(model, DiffusionModel):
        raise BadFile(folder / CONFIG, "is of a model that has no adapters")
    with torch.no_grad():
        merge(model.denoiser.backbone, read_adapter(folder), 1.0, str(folder))
    return model


def _beside(about: Mapping[str, Any]) -> Path | None:
    """The folder of the model that ships whose weights a model has; None if it has its own.

    Raises:
        UserError: none of this name ships.
    """
    if (name := as_kind(about, About).beside) is None:
        return None
    if (base := shipped(Path(name))) is None:
        raise UserError(f"this model is an adapter of '{name[:60]}', which does not come with Carrara: install another")
    return base


def _from_checkpoint(path: Path) -> AnySaved:
    """The averages, over the tensors that are not averaged: those of a frozen first stage."""
    if has_parts(path):
        with scratch() as place:
            whole = place / path.name
            make_folder(whole)
            checkpoint.consolidate(path, whole)
            return _from_checkpoint(whole)
    config, about = read_config(path)
    model = build_saved(path, config, {**about, "step": _checkpoint_step(path) or about.get("step", 0)})
    own, averages = model.state_dict(), read_tensors(path / "ema.safetensors")
    if adapts(averages):
        return _adapted(path, model, averages)
    for name, part in model.named_children():
        if is_regular(file := path / f"{name}.safetensors"):
            read_part(file, part)
    for name in own.keys() & averages.keys():
        if own[name].shape != averages[name].shape:
            raise BadFile(path / "ema.safetensors", f"holds '{name}' of another shape than config.json says")
    model.load_state_dict({name: averages[name] for name in own if name in averages}, strict=False)
    return model.eval()


def _adapted(path: Path, model: AnySaved, averages: Mapping[str, Tensor]) -> AnySaved:
    """The weights that stay, with the averages of what is learned beside them."""
    live = {
        f"{name}.{key}": value
        for name, _ in model.named_children()
        if is_regular(file := path / f"{name}.safetensors")
        for key, value in read_tensors(file).items()
    }
    try:
        model.load_state_dict({**model.state_dict(), **merged({**live, **averages})})
    except (RuntimeError, KeyError) as error:
        why = " ".join(str(error).split())[:200]
        raise BadFile(path / "ema.safetensors", f"does not fit config.json, or is damaged ({why})") from None
    return model.eval()
