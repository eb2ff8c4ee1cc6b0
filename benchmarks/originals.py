"""Networks of the authors' own code beside what ``carrara import`` makes of their checkpoints.

    python benchmarks/originals.py guided-diffusion CLONE
    python benchmarks/originals.py dit CLONE            (needs timm)
    python benchmarks/originals.py sit CLONE            (needs timm and torchdiffeq)
    python benchmarks/originals.py ldm CLONE            (needs einops)

CLONE is a clone of the project's repository. Nothing of it is changed. Weights are random, so that every layer says
something. What is printed is the largest error of one answer, relative to its largest value, and of the picture, in
steps of 255: of what 20 steps from the same noise lead to (of ldm, what its autoencoder makes of latents).
"""

import contextlib
import io
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from carrara.export.command import import_model
from carrara.model import DiffusionModel
from carrara.sample import Ddim
from carrara.store import open_model
from carrara.types import Conditioning

STEPS = 20
COUNT = 2
CLASSES = (3, 5)


class Pair:
    """A network of theirs, and the model that its checkpoint became.

    Args:
        network: theirs.
        saved: what its project would have written.
        options: of the command.
    """

    def __init__(self, network: Any, saved: Any, **options: Any) -> None:
        self.network = network
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            torch.save(saved, Path(folder, "checkpoint.pt"))
            if "autoencoder" in options:
                options["autoencoder"] = _autoencoder(Path(folder))
            import_model(Path(folder, "checkpoint.pt"), run=Path(folder, "run"), **options)
            model = open_model(Path(folder, "run"))
        assert isinstance(model, DiffusionModel)
        self.model = model

    def cond(self) -> Conditioning:
        """Of the classes 3 and 5, where there are classes."""
        if self.model.conditioner.column is None:
            return Conditioning()
        return self.model.conditions([self.model.config.conditioner.classes[k] for k in CLASSES])

    def noise(self) -> Tensor:
        return torch.randn(COUNT, *self.model.latent_shape, generator=torch.Generator().manual_seed(0))

    @torch.no_grad()
    def answer(self, x: Tensor, t: float) -> Tensor:
        """Of our network, about a state as theirs sees it, at a time of ours."""
        c = self.model.denoiser.coefficients(torch.tensor(t, dtype=torch.float64))
        return self.model.denoiser.output(x / c.inp, c, self.cond())

    @torch.no_grad()
    def drawn(self) -> Tensor:
        settings, schedule = self.model.config.sample, self.model.config.schedule
        denoise = self.model.denoiser.bind(self.cond())
        times = settings.grid(STEPS, schedule)
        wrapped = settings.wrap(denoise, denoise, schedule)
        *_, last = Ddim().steps(wrapped, self.noise(), times, schedule, torch.zeros_like)
        return last.x


def guided(clone: Path) -> Iterator[tuple[str, Tensor, Tensor, Tensor, Tensor]]:
    """Of openai/guided-diffusion, by its own script's functions."""
    from guided_diffusion.script_util import create_model_and_diffusion, model_and_diffusion_defaults

    for name, flags, options in (
        ("their own defaults", {}, {}),
        (
            "as ImageNet 64",
            {"num_head_channels": 32, "use_new_attention_order": True, "noise_schedule": "cosine"}
            | {"resblock_updown": True, "learn_sigma": True, "class_cond": True, "num_res_blocks": 3},
            {"head_width": 32, "order": "qkv", "schedule": "cosine", "size": 32},
        ),
        (
            "as ImageNet 128",
            {"num_heads": 4, "resblock_updown": True, "learn_sigma": True, "class_cond": True},
            {"size": 32},
        ),
        (
            "as ImageNet 256",
            {"num_head_channels": 16, "resblock_updown": True, "learn_sigma": True, "channel_mult": "1,1,2"},
            {"head_width": 16, "size": 32},
        ),
        ("without scales", {"use_scale_shift_norm": False, "learn_sigma": True}, {"size": 32}),
    ):
        asked = {**model_and_diffusion_defaults(), "num_channels": 32, "channel_mult": "1,2,3"}
        asked |= {"attention_resolutions": "32,16", "num_res_blocks": 1, "timestep_respacing": f"ddim{STEPS}", **flags}
        network, diffusion = create_model_and_diffusion(**asked)
        stirred(network)
        pair = Pair(network, network.state_dict(), **options)
        told = {"y": torch.tensor(CLASSES)} if asked["class_cond"] else {}
        x, channels = pair.noise(), pair.model.shape[0]
        with torch.no_grad():
            made = diffusion.ddim_sample_loop(network, x.shape, noise=x, model_kwargs=told, device="cpu")
            theirs = [network(x, torch.full((COUNT,), k), **told)[:, :channels] for k in (0, 1, 500, 999)]
        ours = [pair.answer(x, (k + 1) / 1000) for k in (0, 1, 500, 999)]
        yield name, torch.stack(ours), torch.stack(theirs), pair.drawn(), made


def dit(clone: Path) -> Iterator[tuple[str, Tensor, Tensor, Tensor, Tensor]]:
    """Of facebookresearch/DiT, by its own network and its own diffusion."""
    from diffusion import create_diffusion
    from models import DiT

    for patch, learned in ((2, True), (4, False)):
        network = DiT(input_size=8, patch_size=patch, hidden_size=96, depth=3, num_heads=4, learn_sigma=learned)
        stirred(network)
        pair = Pair(network, {"ema": network.state_dict()}, heads=4, autoencoder=True, layout="dit")
        told, x = {"y": torch.tensor(CLASSES)}, pair.noise()
        diffusion = create_diffusion(f"ddim{STEPS}", learn_sigma=learned)
        with torch.no_grad():
            made = diffusion.ddim_sample_loop(
                network, x.shape, noise=x, clip_denoised=False, model_kwargs=told, device="cpu"
            )
            theirs = [network(x, torch.full((COUNT,), k), **told)[:, :4] for k in (0, 1, 500, 999)]
        ours = [pair.answer(x, (k + 1) / 1000) for k in (0, 1, 500, 999)]
        yield (
            f"patches of {patch}",
            torch.stack(ours),
            torch.stack(theirs),
            pair.drawn(),
            made,
        )


def sit(clone: Path) -> Iterator[tuple[str, Tensor, Tensor, Tensor, Tensor]]:
    """Of willisma/SiT, by its own network and Euler's method of its own sampler."""
    from models import SiT
    from transport import Sampler, create_transport

    for patch, learned in ((2, True), (4, False)):
        network = SiT(input_size=8, patch_size=patch, hidden_size=96, depth=3, num_heads=4, learn_sigma=learned)
        stirred(network)
        pair = Pair(network, network.state_dict(), heads=4, autoencoder=True, layout="sit")
        told, x = {"y": torch.tensor(CLASSES)}, pair.noise()
        sampler = Sampler(create_transport())
        with torch.no_grad():
            made = sampler.sample_ode(sampling_method="euler", num_steps=STEPS + 1)(x, network, **told)[-1]
            theirs = [-network(x, torch.full((COUNT,), 1 - t), **told) for t in (0.001, 0.2, 0.5, 1.0)]
        ours = [pair.answer(x, t) for t in (0.001, 0.2, 0.5, 1.0)]
        yield f"patches of {patch}", torch.stack(ours), torch.stack(theirs), pair.drawn(), made


def ldm(clone: Path) -> Iterator[tuple[str, Tensor, Tensor, Tensor, Tensor]]:
    """Of CompVis/latent-diffusion: a network of latents, and what its decoder makes of latents."""
    listed = sys.modules["omegaconf.listconfig"] = ModuleType("omegaconf.listconfig")  # for a test of types alone
    sys.modules["omegaconf"], listed.ListConfig = ModuleType("omegaconf"), tuple  # type: ignore[attr-defined]
    from ldm.modules.diffusionmodules.model import Decoder, Encoder
    from ldm.modules.diffusionmodules.openaimodel import UNetModel

    sizes = {"image_size": 8, "model_channels": 32, "num_res_blocks": 2, "channel_mult": (1, 2, 3)}
    stages = {"ch": 32, "out_ch": 3, "ch_mult": (1, 2), "num_res_blocks": 2, "attn_resolutions": ()}
    stages |= {"in_channels": 3, "resolution": 16, "z_channels": 4}
    for name, more, scale in (("as CelebA", {}, 1.0), ("as churches", {"use_scale_shift_norm": True}, 0.3)):
        network = UNetModel(
            in_channels=4, out_channels=4, attention_resolutions=(2, 4), num_head_channels=32, **sizes, **more
        )
        double = scale != 1
        encoder, decoder = Encoder(double_z=double, **stages), Decoder(**stages)
        quant, post = torch.nn.Conv2d(4 + 4 * double, 4 + 4 * double, 1), torch.nn.Conv2d(4, 4, 1)
        parts = {"model.diffusion_model": network, "first_stage_model.encoder": encoder}
        parts |= {"first_stage_model.decoder": decoder, "first_stage_model.quant_conv": quant}
        parts |= {"first_stage_model.post_quant_conv": post}
        for part in parts.values():
            stirred(part)
        saved = {f"{above}.{one}": value for above, part in parts.items() for one, value in part.state_dict().items()}
        saved |= {"betas": torch.linspace(0.0015**0.5, 0.0195**0.5, 1000) ** 2}
        codes = torch.randn(64, 4)
        book = {"first_stage_model.quantize.embedding.weight": codes}
        saved |= {"scale_factor": torch.tensor(scale)} if double else book
        pair = Pair(network, {"state_dict": saved}, size=16)
        x = pair.noise()
        with torch.no_grad():
            theirs = [network(x, torch.full((COUNT,), k)) for k in (0, 1, 500, 999)]
            z = x / scale
            if not double:
                nearest = (z.movedim(1, -1).unsqueeze(-2) - codes).square().sum(-1).argmin(-1)
                z = codes[nearest].movedim(-1, 1)
            mine, other = pair.model.first_stage.decode(x), decoder(post(z))
        ours = [pair.answer(x, (k + 1) / 1000) for k in (0, 1, 500, 999)]
        yield name, torch.stack(ours), torch.stack(theirs), mine, other


def _autoencoder(folder: Path) -> Path:
    """The folder of a small autoencoder of diffusers."""
    from diffusers import AutoencoderKL

    made = AutoencoderKL(
        block_out_channels=(16, 32),
        down_block_types=2 * ("DownEncoderBlock2D",),
        up_block_types=2 * ("UpDecoderBlock2D",),
        norm_num_groups=4,
    )
    made.save_pretrained(folder / "vae")
    return folder / "vae"


def stirred(network: Any) -> None:
    """Gives every layer something to say."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weights in network.parameters():
            if weights.requires_grad:
                weights += 0.03 * torch.randn(weights.shape)
    network.eval()


PEERS: dict[str, Callable[[Path], Iterator[tuple[str, Tensor, Tensor, Tensor, Tensor]]]] = {
    "guided-diffusion": guided,
    "dit": dit,
    "sit": sit,
    "ldm": ldm,
}


def only_layers() -> None:
    """Lets timm's layers be imported alone where there is no torchvision, which its data sets want."""
    timm = find_spec("timm")
    if timm is None or find_spec("torchvision") is not None:
        return
    for name in ("torchvision", "torchvision.ops", "torchvision.ops.misc", "timm", "timm.models"):
        sys.modules[name] = ModuleType(name)
    sys.modules["torchvision.ops.misc"].FrozenBatchNorm2d = torch.nn.Identity  # type: ignore[attr-defined]
    sys.modules["timm"].__path__, sys.modules["timm"].__spec__ = list(timm.submodule_search_locations or ()), timm
    sys.modules["timm.models.vision_transformer"] = import_module("timm.layers")
    for name in ("torchvision", "torchvision.ops", "torchvision.ops.misc"):
        del sys.modules[name]


def main(name: str, clone: str) -> None:
    sys.path.insert(0, clone)
    torch.manual_seed(0)
    only_layers()
    for case, ours, theirs, mine, other in PEERS[name](Path(clone)):
        answer = (ours - theirs).abs().max() / theirs.abs().max()
        picture = (mine - other).abs().max() * 127.5
        print(f"{name}, {case}: one answer {answer:.1e}, the picture {picture:.4f} of 255")


if __name__ == "__main__":
    main(*sys.argv[1:])
