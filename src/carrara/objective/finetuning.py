"""Fine-tuning: a trained model learns from other data. The loss is that of ``diffusion``; what is here is what learns.

The two questions of every fine-tuning are which weights it starts from, and which of them learn.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from carrara.conditioning import AnyImageCondition
from carrara.kinds import BY_KIND, SPELLED
from carrara.objective.diffusion import DiffusionSettings


@dataclass(frozen=True, kw_only=True)
class Everything:
    """All weights of the network and of the condition learn."""

    kind: Literal["all"] = "all"


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Products of two small matrices learn, which are added to weights that stay; see ``nn.low_rank``.

    Attributes:
        rank: of the products.
        alpha: what they are multiplied by, over the rank; None = the rank.
        layers: which linear layers and convolutions of the network, by patterns of their names (``*.to_tokens.*``) or
            of the ends of these (``conv1``); () = those of attention.
    """

    kind: Literal["lora"] = "lora"
    rank: int = 8
    alpha: float | None = None
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.rank <= 1 << 12:
            raise ValueError(f"the rank of an adapter is from 1 to {1 << 12}, and is {self.rank}")
        if self.alpha is not None and not 0 < self.alpha <= 1e6:
            raise ValueError(f"alpha must be above 0, and is {self.alpha}")


@dataclass(frozen=True, kw_only=True)
class Token:
    """A new word learns, and nothing else: its embedding (Gal et al., "An Image is Worth One Word: Personalizing
    Text-to-Image Generation using Textual Inversion", 2023).

    Attributes:
        word: as prompts will say it; the captions of the data must say it.
        begin: the words whose mean it begins with.
    """

    kind: Literal["token"] = "token"
    word: str = ""
    begin: str = ""

    def __post_init__(self) -> None:
        if not self.word:
            raise ValueError("a new word learns, and none is named: set objective.learn.word, as prompts will say it")


@dataclass(frozen=True, kw_only=True)
class Prior:
    r"""What the model drew before, so that it is not forgotten (prior preservation, Ruiz et al., "DreamBooth", 2023,
    equation 2): half of each batch, in the mean, are samples x' of its own, told c',

    .. math:: L = E \, \ell(x, c) + \lambda E \, \ell(x', c').                                                      (1)

    Attributes:
        prompt: c', what is asked for: the class of the subject; empty = nothing in particular.
        count: how many are drawn, before training begins.
        weight: lambda.
    """

    prompt: str = ""
    count: int = 100
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.count <= 1_000_000:
            raise ValueError(f"a prior has 1 to 1,000,000 pictures, and not {self.count}")
        if not 0 < self.weight <= 1000:
            raise ValueError(f"the weight of the prior is above 0 and at most 1000, and is {self.weight}")


@dataclass(frozen=True, kw_only=True)
class Control:
    """A copy of the U-Net's way down learns to read a picture, beside the U-Net, which stays; see ``backbone.control``.

    Attributes:
        image: what picture it is.
    """

    kind: Literal["control"] = "control"
    image: Annotated[AnyImageCondition, SPELLED, BY_KIND]


AnyLearn = Everything | Lora | Token | Control
"""The tagged union that recipes hold."""


@dataclass(frozen=True, kw_only=True)
class FineTuningSettings(DiffusionSettings):
    """A trained model learns further, from other data.

    Attributes:
        start: the folder of the run, or of the model, whose weights it begins with; or the name of one that ships.
        learn: what of them learns: ``all``, a ``lora`` beside them, a ``token`` alone, or a ``control``.
        caption: what all pictures of the data show, as prompts say it; empty = what the data say.
        prior: what it drew before is not to be forgotten; None = it may be.
    """

    kind: Literal["finetuning"] = "finetuning"  # pyright: ignore[reportIncompatibleVariableOverride]
    start: str = ""
    learn: Annotated[AnyLearn, SPELLED, BY_KIND] = Lora()
    caption: str = ""
    prior: Prior | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prior is not None and isinstance(self.learn, Token):
            raise ValueError("a word alone learns, so nothing is forgotten: leave prior out")
        if self.prior is not None and isinstance(self.learn, Control):
            raise ValueError("what was drawn before has no picture that a control could read: leave prior out")
