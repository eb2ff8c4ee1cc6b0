"""A model that stays as it is, and a copy of a part of its network beside it that learns to read a picture."""

from carrara.backbone import AnyBackbone, Controlled, ControlledConfig, UNetConfig
from carrara.conditioning import AnyImageCondition
from carrara.errors import UserError
from carrara.model import DiffusionModel, ModelConfig
from carrara.objective import AnyLearn, Control

NETWORK, COPY, OWN = (f"denoiser.backbone.{part}" for part in ("network.", "copy.", ""))


def seen_of(config: ModelConfig, learn: AnyLearn) -> tuple[AnyBackbone, AnyImageCondition | None]:
    """The network of a model that learns, and the picture that it sees.

    Raises:
        UserError: it sees one already, or has no way down that could be copied.
    """
    if not isinstance(learn, Control):
        return config.backbone, config.image
    if config.image is not None:
        raise UserError(
            f"this model sees a picture already ({config.image.kind}): name one that sees none, or learn all"
        )
    if not isinstance(config.backbone, UNetConfig):
        raise UserError(f"a control copies the way down of a U-Net, and this model's network is {config.backbone.kind}")
    return ControlledConfig(network=config.backbone), learn.image


def with_control(model: DiffusionModel, begun: DiffusionModel) -> DiffusionModel:
    """A model with the weights of another one, twice where they are copied, of which the copy alone learns."""
    state, own = model.state_dict(), begun.state_dict()
    for name, value in own.items():
        inner = name.removeprefix(OWN) if name.startswith(OWN) else None
        for to in (name,) if inner is None else (NETWORK + inner, COPY + inner):
            if to in state:
                state[to] = value
    model.load_state_dict(state)
    model.fast = begun.fast
    backbone = model.denoiser.backbone
    assert isinstance(backbone, Controlled)
    model.requires_grad_(False)
    for part in (backbone.copy, backbone.hint, backbone.joins):
        part.requires_grad_(True)
    return model
