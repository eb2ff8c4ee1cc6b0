r"""The exponential moving average of the weights, which is what a model samples with.

After a step that saw b images the average moves to the weights by

.. math:: \bar\theta \leftarrow \theta + 0.5^{b / h} (\bar\theta - \theta)                                         (1)

so h, the half-life, is in images, and means the same at every batch size. While the run is young a fixed half-life
would remember the initial noise; so it is at most a part r of the n images seen before the step (Karras et al.,
"Elucidating the design space of diffusion-based generative models", 2022, appendix F.2),

.. math:: h = \min(h_{max}, r n).                                                                                (2)
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from carrara.train import sharding


class Ema:
    """The averages of a module's trainable parameters, and copies of its persistent buffers.

    Args:
        module: already on its device.
        half_life: h_max, in images.
        rampup: r, or None for equation (1) with a constant half-life.
    """

    def __init__(self, module: nn.Module, *, half_life: float, rampup: float | None) -> None:
        self._module, self._half_life, self._rampup = module, half_life, rampup
        self._parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
        persistent = module.state_dict().keys()
        self._buffers = [name for name, _ in module.named_buffers() if name in persistent]
        self._averages = {name: live.detach().clone() for name, live in self._live().items()}

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """The averages by name: live, what a checkpoint writes and reads back."""
        return self._averages

    @torch.no_grad()
    def update(self, images_seen: int, batch: int) -> None:
        """Equation (1), after a step on ``batch`` images that followed ``images_seen`` others."""
        keep = self._keep(images_seen, batch)
        for name, live in self._live().items():
            if name in self._parameters:
                self._averages[name].lerp_(live, 1 - keep)
            else:
                self._averages[name].copy_(live)

    def buffers(self) -> dict[str, Tensor]:
        """The module's own persistent buffers: what a forward pass may change."""
        return {name: self._module.get_buffer(name) for name in self._buffers}

    @torch.no_grad()
    def growth(self, smallest: float) -> float:
        """How many times the norm of the average the norm of the weights is; not finite if they are not.

        Args:
            smallest: the average counts as if it had at least this root mean square.
        """
        live = list(self._parameters.values())
        norms = [sharding.norm(tensors) for tensors in (live, [self._averages[name] for name in self._parameters])]
        own, average = torch.stack(norms).tolist()
        return own / max(average, smallest * sum(p.numel() for p in live) ** 0.5)

    @contextmanager
    def swapped_in(self) -> Generator[None, None, None]:
        """The module has the averaged weights, in evaluation mode; after it, its own again, bit for bit. All ranks
        enter, and each may compute alone."""
        own = {name: live.detach().clone() for name, live in self._live().items()}
        modes = {module: module.training for module in self._module.modules()}
        try:
            self._assign(self._averages)
            self._module.eval()
            with sharding.together(self._module):
                yield
        finally:
            self._assign(own)
            for module, training in modes.items():
                module.training = training

    def _keep(self, images_seen: int, batch: int) -> float:
        limit = float("inf") if self._rampup is None else self._rampup * images_seen
        half_life = min(self._half_life, limit)
        return 0.5 ** (batch / half_life) if half_life > 0 else 0.0

    def _live(self) -> dict[str, Tensor]:
        return {**self._parameters, **self.buffers()}

    @torch.no_grad()
    def _assign(self, values: Mapping[str, Tensor]) -> None:
        for name, live in self._live().items():
            live.copy_(values[name])
