from collections.abc import Iterator
from itertools import islice

import pytest
import torch
from torch import Tensor, nn

from carrara.autoencoder import FirstStage, KlConfig
from carrara.autoencoder.tiny import TinyDecoder, TinyDecoderConfig, decoded_shape
from carrara.objective.distillation import DecoderDistillation, exact_psnr
from carrara.seeds import Draws, torch_generator
from carrara.train import TrainSettings, TrainState, held_out, train
from carrara.types import Batch

SHAPE = (3, 16, 12)


class Linear(FirstStage):
    """Latents are means of patches, drawn with some noise; the decoder is one layer."""

    def __init__(self, noise: float = 0.1) -> None:
        super().__init__()
        self.noise = noise
        self.map = nn.Conv2d(3, 3 * 16, 1, bias=False)
        with torch.no_grad():
            self.map.weight.copy_(torch.linspace(-0.5, 0.5, 3 * 48).sin().reshape(48, 3, 1, 1))

    def latent_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (3, shape[1] // 4, shape[2] // 4)

    def encode_raw(self, pixels: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(pixels, 4)

    def latents(self, raw: Tensor, draws: Draws | None) -> Tensor:
        return 2 * raw if draws is None else 2 * raw + self.noise * draws.normal("posterior", *raw.shape[1:])

    def decode(self, z: Tensor) -> Tensor:
        return nn.functional.pixel_shuffle(self.map(z), 4)


def pictures(step: int, count: int = 16) -> Batch:
    """Smooth ones."""
    position = torch.arange(step * count, (step + 1) * count)
    coarse = Draws(5, position).uniform("picture", 3, 4, 3) * 2 - 1
    return Batch(x=nn.functional.interpolate(coarse, SHAPE[1:], mode="bilinear"), position=position)


def tiny(stage: FirstStage, shape: tuple[int, ...] = SHAPE) -> TinyDecoder:
    with torch_generator("decoder"):
        config = TinyDecoderConfig(widths=(16,), blocks=(1,))
        return config.build(stage.latent_shape(shape), decoded_shape(stage, shape))


def distillation(stage: FirstStage | None = None, **options: object) -> DecoderDistillation:
    stage = stage or Linear()
    return DecoderDistillation(decoder=tiny(stage), first_stage=stage, **options)


def draws(batch: Batch, step: int = 0) -> Draws:
    return Draws(0, batch.position, step)


def test_only_the_tiny_decoder_is_trained_and_saved() -> None:
    stage = Linear()
    objective, batch = distillation(stage), pictures(0)
    assert [name for name, _ in objective.named_children()] == ["decoder"]
    assert {id(p) for p in objective.roles()["main"]} == {id(p) for p in objective.parameters()}
    objective(batch, "main", draws(batch)).per_sample.mean().backward()
    assert all(p.grad is None and not p.requires_grad for p in stage.parameters())
    assert objective.decoder.out.weight.grad.abs().max() > 0
    assert not objective.train()._held[0].training


def latents_of(objective: DecoderDistillation, batch: Batch) -> Tensor:
    stage = objective._held[0]
    return stage.latents(stage.encode_raw(batch.x), draws(batch))


def target_of(objective: DecoderDistillation, batch: Batch) -> Tensor:
    full = objective._held[0].decode(latents_of(objective, batch)).clamp(-1, 1)
    return (1 - objective.original) * full + objective.original * batch.x


@pytest.mark.parametrize("original", [0.0, 0.25, 1.0])
def test_the_loss_by_hand(original: float) -> None:
    objective, batch = distillation(original=original), pictures(0)
    expected = (objective.decoder(latents_of(objective, batch)) - target_of(objective, batch)).square().mean((1, 2, 3))
    report = objective(batch, "main", draws(batch))
    torch.testing.assert_close(report.per_sample, expected)
    assert all(log.shape == (16,) for log in report.logs.values())


def test_a_perceptual_distance_counts() -> None:
    plain, batch = distillation(), pictures(0)
    both = distillation(perceptual=0.5, distance=lambda x, y: (x - y).abs().mean((1, 2, 3)))
    with torch.no_grad():
        error, more = (objective(batch, "main", draws(batch)) for objective in (plain, both))
        target = target_of(plain, batch)
        distance = (plain.decoder(latents_of(plain, batch)) - target).abs().mean((1, 2, 3))
    torch.testing.assert_close(more.per_sample, error.per_sample + 0.5 * distance)
    torch.testing.assert_close(more.logs["perceptual"], distance)


def test_the_loss_is_a_function_of_weights_batch_and_draws() -> None:
    objective, batch = distillation(), pictures(3)
    one, same, other = (objective(batch, "main", draws(batch, step)).per_sample for step in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    parts = torch.cat([objective(part, "main", draws(part, 1)).per_sample for part in batch.split(5)])
    torch.testing.assert_close(parts, one)


def endless(start: int) -> Iterator[Batch]:
    step = start
    while True:
        yield pictures(step)
        step += 1


def test_it_learns_a_linear_decoder() -> None:
    """The error falls below a fiftieth of the range from black to white: 35 dB."""
    objective = distillation(original=0.0)
    settings = TrainSettings(steps=150, lr=2e-2, warmup=20, decay=0.5, precision="float32", ema_half_life=1.0)
    before = held_out(objective, [pictures(-1)], seed=0)
    list(train(TrainState(objective, settings), endless, settings, seed=0))
    after = held_out(objective, islice(endless(10_000), 2), seed=0)
    assert before["agreement"] < 20 and after["agreement"] > 35
    assert abs(after["psnr"] - after["full_psnr"]) < 0.2


def test_pictures_that_the_factor_does_not_divide() -> None:
    shape = (3, 18, 13)
    stage = KlConfig(channels=4, multipliers=(1, 1), blocks=1, patch=2).build(shape)
    objective = DecoderDistillation(decoder=tiny(stage, shape), first_stage=stage, original=0.5)
    x = Draws(0, torch.arange(2)).uniform("x", *shape)
    batch = Batch(x=x, position=torch.arange(2))
    assert objective(batch, "main", draws(batch)).per_sample.shape == (2,)
    measured = objective.validate(batch, draws(batch))
    full = stage.decode(stage.latents(stage.encode_raw(x), None)).clamp(-1, 1)[..., :18, :13]
    torch.testing.assert_close(measured["full_psnr"], exact_psnr(full.detach(), x))
    assert set(measured) == {"psnr", "full_psnr", "agreement"} and all(v.shape == (2,) for v in measured.values())


def test_psnr_by_hand() -> None:
    x = torch.zeros(2, 1, 2, 2)
    y = torch.stack([torch.full((1, 2, 2), 0.2), torch.zeros(1, 2, 2)])
    assert exact_psnr(x, y).tolist() == pytest.approx([20.0, 100.0])


def test_a_mixture_has_parts() -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        distillation(original=1.5)
