"""Who takes part in ``peers.py``: the same network in several libraries, each in its own loop.

Everything is imported where it is used: a contender is a process of its own, and must not pay for others.
"""

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lucidrains import ENVIRONMENT, NAME, lucidrains

EDGE = 32
OURS, AZULA = "carrara", "azula, ADM network, bfloat16, 64-wide heads"
TUNED, COMPILED = "diffusers, bfloat16, 64-wide heads", ", compiled"
LUCIDRAINS = f"{NAME}, a network of its own, bfloat16"


@dataclass(frozen=True, kw_only=True)
class Contender:
    """What is repeated and timed: ``train`` a step, ``forward`` an evaluation of the network."""

    parameters: int
    works: Mapping[str, Callable[[], object]]


def carrara_(batch: int, precision: str, compiled: bool = False, tuned: bool = True) -> Contender:
    """The preset ``ddpm-cifar`` in the trainer of ``carrara train``; as in a long training, by the fastest way through
    each layer."""
    from copy import deepcopy
    from itertools import repeat

    import torch

    from carrara.device import default_device
    from carrara.measure.ways import measure_ways
    from carrara.memory import keep_freed
    from carrara.nn import choose, compile_for_sampling, lowered
    from carrara.recipe import build
    from carrara.recipe.loading import load
    from carrara.train import TrainState, autocast, train
    from carrara.train.precision import matmul_dtype
    from carrara.types import UNCONDITIONAL, Batch

    keep_freed()
    changes = ["model.backbone.dropout=0", f"train.batch={batch}", f"train.precision={precision}"]
    recipe, device = load("ddpm-cifar", [*changes, f"train.compile={json.dumps(compiled)}"]), default_device()
    model = build.model(recipe).to(device)
    state = TrainState(build.objective(recipe, model).to(device), recipe.train)
    x = torch.rand(batch, 3, EDGE, EDGE, device=device) * 2 - 1
    same = Batch(x=x, position=torch.arange(batch))
    if tuned and not compiled and device.type == "cpu":
        choose(state.objective, measure_ways(state.objective, same, recipe.train)[0].fastest)
    reports = train(state, lambda _: repeat(same), recipe.train, seed=0)
    averaged, t = deepcopy(model).eval(), torch.rand(batch, device=device)
    dtype = matmul_dtype(recipe.train.precision, device)
    network = averaged.denoiser if dtype is torch.float32 else lowered(averaged.denoiser, dtype)
    if compiled:
        compile_for_sampling(network.backbone)

    def forward() -> None:
        with torch.no_grad(), autocast(recipe.train.precision, device):
            network(x, t, UNCONDITIONAL)

    return Contender(parameters=_count(model), works={"train": lambda: next(reports), "forward": forward})


def diffusers_(batch: int, heads: int, bfloat16: bool, compiled: bool = False) -> Contender:
    """``UNet2DModel`` in the loop of diffusers' unconditional example."""
    import torch
    import torch.nn.functional as F

    warnings.simplefilter("ignore")
    from diffusers import DDPMScheduler, UNet2DModel
    from diffusers.optimization import get_scheduler
    from diffusers.training_utils import EMAModel

    plain, attending = ("DownBlock2D", "UpBlock2D"), ("AttnDownBlock2D", "AttnUpBlock2D")
    levels = (plain, attending, plain, plain)
    network = UNet2DModel(
        sample_size=EDGE,
        block_out_channels=(128, 256, 256, 256),
        layers_per_block=2,
        down_block_types=tuple(level[0] for level in levels),
        up_block_types=tuple(level[1] for level in reversed(levels)),
        attention_head_dim=heads,
    ).to(_device())
    if compiled:
        network.compile()
    noising = DDPMScheduler(num_train_timesteps=1000)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8)
    rate = get_scheduler("cosine", optimizer=optimizer, num_warmup_steps=500, num_training_steps=100_000)
    average = EMAModel(network.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75)
    x, t = _drawn(batch, 3, EDGE, EDGE) * 2 - 1, _times(batch)

    def answer(noisy: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=bfloat16):
            return network(noisy, at).sample.float()

    def loss() -> torch.Tensor:
        noise, at = torch.randn_like(x), _times(batch)
        return F.mse_loss(answer(noising.add_noise(x, noise, at), at), noise)

    def follow() -> None:
        rate.step()
        average.step(network.parameters())

    return by_hand(network, optimizer, loss, follow, lambda: answer(x, t))


def azula_(batch: int) -> Contender:
    """azula's ADM network in the shape of DDPM's, in bfloat16."""
    import torch
    import torch.nn.functional as F
    from azula.plugins.adm import make_model
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    denoiser = make_model(
        learn_var=False,
        image_size=EDGE,
        num_channels=128,
        channel_mult=(1, 2, 2, 2),
        num_res_blocks=2,
        attention_resolutions=(16,),
        num_head_channels=64,
        dropout=0.0,
    ).to(_device())
    network = denoiser.backbone
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9999))
    x, t = _drawn(batch, 3, EDGE, EDGE) * 2 - 1, _times(batch)

    def answer(noisy: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            return network(noisy, at).float()

    def loss() -> torch.Tensor:
        noise, at = torch.randn_like(x), _times(batch)
        alpha, sigma = (part[:, None, None, None] for part in denoiser.schedule(at / 1000))
        return F.mse_loss(answer(alpha * x + sigma * noise, at), noise)

    return by_hand(network, optimizer, loss, lambda: average.update_parameters(network), lambda: answer(x, t))


def lucidrains_(batch: int) -> Contender:
    """denoising-diffusion-pytorch's own network of 35.7 million parameters, in its trainer's loop."""
    trainer = lucidrains(EDGE, (1, 2, 4, 8), 50, _device())
    x, t = _drawn(batch, 3, EDGE, EDGE), _times(batch)
    works = {"train": lambda: trainer.step(x), "forward": lambda: trainer.answer(x, t)}
    return Contender(parameters=_count(trainer.diffusion.model), works=works)


def carrara_sd(batch: int, compiled: bool) -> Contender:
    """The U-Net in the shape of Stable Diffusion v1's, as it is sampled."""
    import torch

    from carrara.backbone import UNETS
    from carrara.memory import keep_freed
    from carrara.nn import compile_for_sampling, lowered
    from carrara.types import Conditioning

    keep_freed()
    with _device():
        network = lowered(UNETS["sd-v1"].build((4, 64, 64)).eval(), torch.bfloat16)
    if compiled:
        compile_for_sampling(network)
    x, t = _drawn(batch, 4, 64, 64), _drawn(batch)
    told = Conditioning(tokens=_drawn(batch, 77, 768))

    def forward() -> None:
        with torch.no_grad(), torch.autocast(x.device.type, torch.bfloat16):
            network(x, t, told)

    return Contender(parameters=_count(network), works={"forward": forward})


def diffusers_sd(batch: int, compiled: bool) -> Contender:
    """``UNet2DConditionModel`` of Stable Diffusion v1 in bfloat16, as its pipeline calls it."""
    import torch

    warnings.simplefilter("ignore")
    from diffusers import UNet2DConditionModel

    with _device():
        network = UNet2DConditionModel(sample_size=64, cross_attention_dim=768).to(torch.bfloat16).eval()
    if compiled:
        network.compile()
    x, tokens, t = _drawn(batch, 4, 64, 64).bfloat16(), _drawn(batch, 77, 768).bfloat16(), _times(batch)

    def forward() -> None:
        with torch.no_grad():
            network(x, t, encoder_hidden_states=tokens, return_dict=False)

    return Contender(parameters=_count(network), works={"forward": forward})


def by_hand(
    network: Any, optimizer: Any, loss: Callable[[], Any], follow: Callable[[], object], answer: Callable[[], object]
) -> Contender:
    """A contender whose loop is written here: a step of its optimizer, and what follows it."""
    import torch

    def train() -> None:
        network.train()
        value = loss()
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        follow()
        value.item()

    def forward() -> None:
        network.eval()
        with torch.no_grad():
            answer()

    return Contender(parameters=_count(network), works={"train": train, "forward": forward})


NETWORKS: dict[str, dict[str, Callable[[int], Contender]]] = {
    "ddpm-cifar": {
        OURS: lambda batch: carrara_(batch, "auto"),
        f"{OURS}, float32": lambda batch: carrara_(batch, "float32"),
        f"{OURS}, float32, torch's convolutions": lambda batch: carrara_(batch, "float32", tuned=False),
        f"{OURS}{COMPILED}": lambda batch: carrara_(batch, "auto", compiled=True),
        "diffusers as shipped (float32, 8-wide heads)": lambda batch: diffusers_(batch, 8, False),
        "diffusers, float32, 64-wide heads": lambda batch: diffusers_(batch, 64, False),
        TUNED: lambda batch: diffusers_(batch, 64, True),
        f"{TUNED}{COMPILED}": lambda batch: diffusers_(batch, 64, True, compiled=True),
        AZULA: azula_,
        LUCIDRAINS: lucidrains_,
    },
    "sd-v1": {
        OURS: lambda batch: carrara_sd(batch, compiled=False),
        f"{OURS}{COMPILED}": lambda batch: carrara_sd(batch, compiled=True),
        "diffusers, bfloat16": lambda batch: diffusers_sd(batch, compiled=False),
        f"diffusers, bfloat16{COMPILED}": lambda batch: diffusers_sd(batch, compiled=True),
    },
}
"""By the network and by the name."""
ELSEWHERE = {AZULA: ("azula", "azula==0.11.1", ("einops", "gdown")), LUCIDRAINS: ENVIRONMENT}
"""Who needs an environment of its own: see ``environment``."""


def _device() -> Any:
    from carrara.device import default_device

    return default_device()


def _drawn(*shape: int) -> Any:
    import torch

    return torch.rand(*shape, device=_device())


def _times(batch: int) -> Any:
    import torch

    return torch.randint(0, 1000, (batch,), device=_device())


def _count(network: Any) -> int:
    return sum(p.numel() for p in network.parameters())
