"""What differs between U-Nets of other programs."""

from dataclasses import dataclass
from typing import Annotated, Literal

from carrara.backbone.base import check_timesteps
from carrara.kinds import UNSAID
from carrara.nn import WIDEST


@dataclass(frozen=True, kw_only=True)
class Conventions:
    """What differs between networks that are otherwise the same.

    Attributes:
        groups: of every group norm; None is as many as suit each width. With one number, networks that are narrower
            than 128 have a place in other programs, too.
        eps: what group norms add to the variance.
        halving: how a level is halved: each place looks at all of its neighbours, or to the right and down.
        timesteps: the network is told the number of a step, by a table of as many; None: the half log-SNR.
        resampling: ``residual``: levels are halved and doubled within residual blocks, by means and by repetition
            (Dhariwal and Nichol, 2021, section 3); None: by convolutions.
        embedded: what the embedding is made for in the place of ``channels``: it has 4 times as many features.
    """

    groups: int | None = None
    eps: float = 1e-5
    halving: Literal["centred", "right"] = "centred"
    timesteps: int | None = None
    resampling: Annotated[Literal["residual"] | None, UNSAID] = None
    embedded: Annotated[int | None, UNSAID] = None

    def __post_init__(self) -> None:
        if self.embedded is not None and (self.embedded < 4 or self.embedded % 4 or self.embedded > WIDEST):
            raise ValueError(f"embedded is a multiple of 4 up to {WIDEST}, got {self.embedded}")
        if self.groups is not None and self.groups < 1:
            raise ValueError(f"there is at least 1 group, got {self.groups}")
        if not 0 < self.eps < 1:
            raise ValueError(f"eps is small and above 0, got {self.eps}")
        check_timesteps(self.timesteps)
