"""denoising-diffusion-pytorch, the network and the loss of it, in the loop of its ``Trainer``.

The package imports torchvision, which its data set alone uses, and which has no build for CPUs here: an empty module
takes that place.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

NAME = "denoising-diffusion-pytorch"
ENVIRONMENT = ("lucidrains", f"{NAME}==2.3.4", ("einops", "ema-pytorch==0.8.3", "accelerate"))


@dataclass(frozen=True, kw_only=True)
class Lucidrains:
    """What its trainer trains; in bfloat16, as ``amp=True, mixed_precision_type="bf16"`` have it, unless it is told not
    to."""

    diffusion: Any
    optimizer: torch.optim.Optimizer
    average: Any
    bfloat16: bool

    def step(self, x: Tensor) -> float:
        """A step with pictures (B, 3, H, W) in [0, 1]; the loss."""
        self.diffusion.train()
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.bfloat16):
            loss = self.diffusion(x)
        found = loss.item()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.diffusion.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.average.update()
        return found

    @torch.no_grad()
    def answer(self, x: Tensor, t: Tensor) -> Tensor:
        """The averaged network, evaluated once."""
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.bfloat16):
            return self.average.ema_model.eval().model(x, t).float()

    @torch.inference_mode()
    def sample(self, count: int) -> Tensor:
        """Pictures (count, 3, H, W) in [0, 1]."""
        with torch.autocast(self.diffusion.betas.device.type, torch.bfloat16, enabled=self.bfloat16):
            return self.average.ema_model.eval().sample(batch_size=count).float()


def lucidrains(
    edge: int, multipliers: Sequence[int], steps: int, device: torch.device, bfloat16: bool = True
) -> Lucidrains:
    """A network of 64 channels and more, and what trains it, with the defaults of the package for all the rest."""
    torchvision = ModuleType("torchvision")
    torchvision.transforms, torchvision.utils = ModuleType("transforms"), ModuleType("utils")  # type: ignore[attr-defined]
    sys.modules["torchvision"] = torchvision
    from denoising_diffusion_pytorch import GaussianDiffusion, Unet
    from ema_pytorch import EMA

    network = Unet(dim=64, dim_mults=tuple(multipliers), flash_attn=True)
    diffusion = GaussianDiffusion(network, image_size=edge, timesteps=1000, sampling_timesteps=steps).to(device)
    optimizer = torch.optim.Adam(diffusion.parameters(), lr=1e-4, betas=(0.9, 0.99))
    average = EMA(diffusion, beta=0.995, update_every=10)
    return Lucidrains(diffusion=diffusion, optimizer=optimizer, average=average, bfloat16=bfloat16)
