r"""Low-rank adaptation (LoRA): a layer that is trained keeps its weights and learns a product of two small ones.

.. math:: W' = W + \frac{a}{r} B A, \quad A \in R^{r \times n}, \; B \in R^{m \times r}                              (1)

(Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2022, section 4.1). B begins at zero, so that W' = W
before the first step. A kernel (m, n, *k) is taken as a matrix (m, n k): A is then a convolution with the same kernel
to r channels, and B one of a single place, as peft has them.

W' stands in the place of W (``torch.nn.utils.parametrize``), so whoever looks at a layer's weight sees (1).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Whose weights can be adapted."""
_OWN = ".parametrizations.weight."


@final
@dataclass(frozen=True, kw_only=True)
class Factors:
    """What was learned about one weight.

    Attributes:
        down: A of equation (1), (r, n, *k).
        up: B, (m, r, *1).
        scale: a / r.

    Raises:
        ValueError: these do not belong together.
    """

    down: Tensor
    up: Tensor
    scale: float

    def __post_init__(self) -> None:
        ones = (1,) * (self.down.ndim - 2)
        if min(self.down.ndim, self.up.ndim) < 2 or self.up.shape[1:] != (self.down.shape[0], *ones):
            raise ValueError(f"a factor of {tuple(self.down.shape)} does not go with one of {tuple(self.up.shape)}")

    @property
    def rank(self) -> int:
        """r."""
        return self.down.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weight that they are for, (m, n, *k)."""
        return self.up.shape[0], *self.down.shape[1:]

    def added(self, weight: Tensor, times: float = 1.0) -> Tensor:
        """Equation (1), with what is added taken ``times``."""
        product = self.up.flatten(1) @ self.down.flatten(1)
        return weight + (times * self.scale) * product.view_as(weight).to(weight)


class LowRank(nn.Module):
    """Equation (1) of one weight.

    Args:
        weight: W, (m, n) or (m, n, *k).
        rank: r.
        alpha: a.
    """

    alpha: Tensor

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        ones = (1,) * (weight.ndim - 2)
        self.down = nn.Parameter(weight.new_empty(rank, *weight.shape[1:]))
        self.up = nn.Parameter(weight.new_zeros(weight.shape[0], rank, *ones))
        self.register_buffer("alpha", torch.tensor(float(alpha)))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def forward(self, weight: Tensor) -> Tensor:
        """W to W'."""
        return weight + self.alpha / len(self.down) * (self.up.flatten(1) @ self.down.flatten(1)).view_as(weight)


def adapted(network: nn.Module, patterns: Sequence[str], rank: int, alpha: float) -> list[str]:
    """Lets the layers of a network whose names fit a pattern learn by equation (1), and nothing else in it.

    Args:
        patterns: as of file names, ``*.to_tokens.*``; they are compared with a layer's name, and with its end. Without
            any, the layers of attention, or all linear ones of a network that has none.

    Returns:
        The names of the layers.

    Raises:
        ValueError: a pattern fits no layer; or all layers are too small for the rank.
    """
    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, LAYERS)}
    fitting = {pattern: [name for name in layers if _fits(name, pattern)] for pattern in patterns or _attentive(layers)}
    if (idle := next((pattern for pattern, names in fitting.items() if not names), None)) is not None:
        ends = sorted({name.rpartition(".")[2] for name in layers})
        raise ValueError(f"no linear or convolution of the network is called '{idle}': their names end with {ends}")
    chosen = [name for name in layers if any(name in names for names in fitting.values())]
    network.requires_grad_(False)
    smallest = {name: min(len(layers[name].weight), layers[name].weight[0].numel()) for name in chosen}
    if rank > max(smallest.values()):
        raise ValueError(
            f"rank {rank} is above that of every layer, {max(smallest.values())} at most: take a lower one"
        )
    for name in chosen:  # a layer that is smaller takes its own rank, with the same a / r
        own, weight = min(rank, smallest[name]), layers[name].weight
        parametrize.register_parametrization(layers[name], "weight", LowRank(weight, own, alpha * own / rank))
    return chosen


def factors_of(network: nn.Module) -> dict[str, Factors]:
    """What the layers of a network have learned by equation (1), by their names."""
    return dict(_each(network.state_dict()))


def adapts(state: Mapping[str, Tensor]) -> bool:
    """Whether there are factors of equation (1) among a module's tensors."""
    return any(_OWN in name for name in state)


def merged(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a module, with W' in the place of W and its factors; others as they are."""
    found = dict(_each(state))
    own = {name: value for name, value in state.items() if _OWN not in name}
    return own | {f"{name}.weight": one.added(state[f"{name}{_OWN}original"]) for name, one in found.items()}


def _each(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Factors]]:
    for name, up in state.items():
        layer, own, last = name.partition(f"{_OWN}0.")
        if own and last == "up":
            down, alpha = state[f"{layer}{own}down"], state[f"{layer}{own}alpha"]
            yield layer, Factors(down=down, up=up, scale=float(alpha) / len(down))


def _attentive(layers: Mapping[str, nn.Module]) -> list[str]:
    """The names of the layers of attention; of all linear layers, where there are none of these."""
    within = {name.rpartition(".")[0] for name in layers if name.rpartition(".")[2] in ("q", "kv", "qkv")}
    found = [name for name in layers if name.rpartition(".")[0] in within]
    return found or [name for name, layer in layers.items() if isinstance(layer, nn.Linear)]


def _fits(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"*.{pattern}")
