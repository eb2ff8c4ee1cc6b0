"""Models that see pictures: a network that answers what it sees makes just that, at any size, with any guidance."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from carrara.autoencoder import Identity, VaeConfig
from carrara.backbone import Backbone, MlpConfig, UNetConfig
from carrara.conditioning import AnyImageCondition, LabelsConfig, LayoutMap, Lowres, Masked, UnconditionalConfig
from carrara.denoiser import Denoiser
from carrara.draw import Drawing, finish
from carrara.draw.image_input import fill, paint, seen, upscale
from carrara.errors import UserError
from carrara.model import DiffusionModel, ModelConfig
from carrara.noise import X0, Cosine, UniformTimes, UnitWeighting
from carrara.objective import DiffusionObjective
from carrara.sample import SampleSettings
from carrara.seeds import Draws
from carrara.types import Batch, Conditioning
from drawings import drawing_of, drawn

NETWORK = UNetConfig(channels=8, multipliers=(1,), attention_levels=(), blocks=1)


class Seeing(Backbone):
    """Answers the first channels of what it sees, as x0, and remembers what it saw and heard."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.seen: list[Tensor] = []
        self.heard: list[Tensor] = []

    def forward(self, x: Tensor, noise_level: Tensor, cond: Conditioning) -> Tensor:
        assert cond.image is not None and cond.image.shape[2:] == x.shape[2:]
        self.seen.append(cond.image)
        if cond.vector is not None:
            self.heard.append(cond.vector)
        return self.weight * cond.image[:, : x.shape[1]]


def model(image: AnyImageCondition | None, classes: tuple[str, ...] = (), see: bool = True) -> DiffusionModel:
    condition = LabelsConfig(classes=classes) if classes else UnconditionalConfig()
    config = ModelConfig(
        shape=(3, 8, 8),
        backbone=NETWORK,
        schedule=Cosine(),
        parameterization=X0(),
        conditioner=condition,
        image=image,
        sample=SampleSettings(steps=3),
    )
    made = DiffusionModel(config).eval()
    if see:
        made.denoiser.backbone = Seeing()
    return made


def asked(made: DiffusionModel, count: int = 2) -> Drawing:
    return drawing_of(made, *[None] * count)


def pictures(*shape: int) -> Tensor:
    return Draws(1, torch.arange(1)).uniform("pictures", *shape) * 2 - 1


@pytest.mark.parametrize("size", [(2, 2), (4, 5), (9, 3)])
def test_an_upscaler_makes_what_it_sees_at_any_size(size: tuple[int, int]) -> None:
    made, low = model(Lowres(factor=4)), pictures(3, *size)
    assert isinstance(made.image, Lowres)
    x = finish(upscale(asked(made), made.image, low))
    smooth = torch.nn.functional.interpolate(low, scale_factor=4.0, mode="bicubic", antialias=True)
    assert x.shape == (2, 3, 4 * size[0], 4 * size[1])
    assert torch.allclose(x, smooth.expand_as(x), atol=1e-5)


def test_large_pictures_are_seen_by_windows_of_the_training() -> None:
    made, low = model(Lowres(factor=4)), pictures(3, 5, 5)
    assert isinstance(made.image, Lowres) and isinstance(made.denoiser.backbone, Seeing)
    finish(upscale(asked(made, 1), made.image, low))
    assert {window.shape[2:] for window in made.denoiser.backbone.seen} == {(8, 8)}


def test_a_map_and_a_hole_are_seen_as_they_are() -> None:
    layout = model(LayoutMap(colours=((0, 0, 0), (255, 0, 0), (0, 255, 0))))
    assert isinstance(layout.image, LayoutMap)
    numbers = torch.arange(64).reshape(1, 8, 8) % 3
    x = finish(paint(asked(layout), layout.image, numbers))
    assert torch.allclose(x[0], (numbers == torch.arange(3)[:, None, None]).float(), atol=1e-5)

    masked, picture, new = model(Masked()), pictures(3, 8, 8), torch.zeros(8, 8, dtype=torch.bool)
    new[2:5, 3:] = True
    assert isinstance(masked.image, Masked)
    x = finish(fill(asked(masked), masked.image, picture, new, feather=2))
    assert torch.equal(x[:, :, ~new], picture[:, :, ~new].expand(2, -1, -1)), "what is known is kept bit by bit"
    assert torch.allclose(x[:, :, new], torch.zeros(()), atol=1e-5), "of the hole nothing is seen"


def test_guidance_leads_away_from_nothing_seen_or_from_no_words() -> None:
    image = pictures(4, 8, 8).expand(2, -1, -1, -1)
    for classes, scale in (((), 3.0), (("cat", "dog"), 1.0)):
        made = model(Masked(), classes)
        settings = replace(made.settings(), guidance=3.0)
        wishes = [classes[0] if classes else None] * 2
        last = drawn(made, *wishes, settings=settings, image=image)
        assert torch.allclose(last, scale * image[:, :3], atol=1e-4)


def test_a_model_says_what_it_needs() -> None:
    for image, word in ((Masked(), "mask=MASK"), (Lowres(), "upscale"), (LayoutMap(colours=((0, 0, 0),)), "map")):
        made = model(image)
        with pytest.raises(UserError, match=word):
            drawn(made, None)
    blind = model(None, see=False)
    assert seen(blind, Batch(x=pictures(3, 8, 8), position=torch.arange(1))) is None
    with pytest.raises(UserError, match=r"model\.image"):
        drawn(blind, None, image=pictures(4, 8, 8))


def test_what_is_seen_needs_latents_with_places() -> None:
    vectors = replace(model(None).config, first_stage=VaeConfig(latents=(4,), hidden=8), backbone=MlpConfig(width=8))
    with pytest.raises(ValueError, match="no places"):
        DiffusionModel(replace(vectors, image=Masked()))


def objective(drop: float) -> tuple[DiffusionObjective, Seeing]:
    network = Seeing()
    built = DiffusionObjective(
        first_stage=Identity(),
        conditioner=LabelsConfig(classes=("a", "b")).build(4),
        denoiser=Denoiser(network, Cosine(), X0()),
        times=UniformTimes(),
        weighting=UnitWeighting(),
        image=Lowres(factor=2, augmentation=0.0),
        drop=drop,
    )
    return built, network


def test_the_loss_is_what_is_not_seen() -> None:
    x = pictures(3, 8, 8).expand(64, -1, -1, -1)
    smooth = torch.nn.functional.interpolate(x, (4, 4), mode="bicubic", antialias=True)
    x = torch.nn.functional.interpolate(smooth.clamp(-1, 1), (8, 8), mode="bicubic", antialias=True)
    batch = Batch(x=x, position=torch.arange(64), columns={"label": torch.eye(2)[torch.arange(64) % 2]})
    built, network = objective(0.5)
    loss = built(batch, "main", Draws(0, batch.position)).per_sample
    left = (network.seen[0][:, -1] == 0).flatten(1).all(1)
    assert 16 < left.sum() < 48, "half of the pictures are dropped"
    assert torch.allclose(loss[left], x.square().flatten(1).mean(1)[left], rtol=1e-4)
    expected = (network.seen[0][:, :3] - x).square().flatten(1).mean(1)
    assert torch.allclose(loss[~left], expected[~left], rtol=1e-3, atol=1e-6)


def test_words_are_dropped_with_the_picture_and_alone() -> None:
    built, network = objective(0.5)
    batch = Batch(x=torch.ones(400, 3, 4, 4), position=torch.arange(400), columns={"label": torch.ones(400, 2)})
    draws = Draws(0, batch.position)
    built(batch, "main", draws)
    sees, hears = (network.seen[0][:, -1] == 1).flatten(1).all(1), (network.heard[0] != 0).any(1)
    keep = draws.uniform("condition dropout") >= 0.5
    assert torch.equal(hears, sees & keep)
    assert [(sees & hears).sum() > 60, (sees & ~hears).sum() > 60, (~sees & ~hears).sum() > 120] == [True] * 3


def test_held_out_loss_is_the_same_each_time() -> None:
    built, _ = objective(0.5)
    batch = Batch(x=pictures(3, 8, 8), position=torch.tensor([7]), columns={"label": torch.ones(1, 2)})
    first, second = (built.validate(batch, Draws(0, batch.position)) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
