"""FID's Inception: the names and shapes of its file, its numbers, its two ways to resize, and the score."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from carrara.autoencoder.efficientnet import resized_square
from carrara.errors import UserError
from carrara.evaluate import InceptionFeatures, extractor, inception_score, sample_metrics
from carrara.evaluate.inception import Inception, bilinear_as_in_tensorflow


def made_weights() -> dict[str, Tensor]:
    """Random weights by the file's names, with which the features keep a moderate size."""
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in Inception().state_dict().items()}
    rng, weights = np.random.default_rng(0), dict[str, Tensor]()
    for name, shape in sorted(shapes.items()):
        if name.endswith("num_batches_tracked"):
            continue
        z = torch.from_numpy(rng.standard_normal(shape, np.float32))
        if len(shape) > 1:
            weights[name] = z * (2 / z[0].numel()) ** 0.5
        elif name.endswith(("bn.weight", "running_var")):
            weights[name] = 1 + 0.1 * z.clamp(-2, 2)
        else:
            weights[name] = 0.1 * z
    return weights


def picture(size: int) -> Tensor:
    """Waves, rounded to 8 bits."""
    place = torch.arange(size) / size
    waves = torch.sin(9 * place[:, None] + 14 * place + torch.tensor([0.0, 1, 2])[:, None, None])
    return (127.5 * (waves[None] + 1)).round() / 127.5 - 1


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inception") / "pt_inception.pth"
    torch.save(made_weights(), path)
    return path


@pytest.fixture(scope="module")
def inception(file: Path) -> InceptionFeatures:
    return InceptionFeatures(file)


def test_names_and_shapes_are_those_of_the_file() -> None:
    """The digest was taken once from the network of the package torch-fidelity 0.4.0, which reads the same file."""
    with torch.device("meta"):
        state = Inception().state_dict()
    lines = sorted(f"{name} {tuple(t.shape)}" for name, t in state.items() if not name.endswith("num_batches_tracked"))
    assert len(lines) == 472
    assert hashlib.blake2b("\n".join(lines).encode(), digest_size=8).hexdigest() == "f881bcf4b12eed87"


def test_numbers_are_those_of_an_independent_program(inception: InceptionFeatures, file: Path) -> None:
    """Of the package torch-fidelity 0.4.0, with the same weights and the same picture."""
    found = InceptionFeatures(file, legacy=True)(picture(40))
    assert found[0, [0, 700, 1400, 2047]].tolist() == pytest.approx([0, 0.05146677, 0.31612149, 0.72185624], rel=1e-4)
    assert found.mean().item() == pytest.approx(0.59020263, rel=1e-5)
    logits = inception.logits(found)
    assert [logits.abs().mean().item(), logits[0, 0].item()] == pytest.approx([1.1014899, -0.0606121], rel=1e-4)


def test_shapes_and_names(inception: InceptionFeatures) -> None:
    found = inception(picture(40)[:, :1].repeat(2, 1, 1, 1))
    assert found.shape == (2, inception.width) == (2, 2048)
    assert inception.logits(found).shape == (2, 1008)
    assert inception.name == "Inception (FID's) at 299 px, bicubic, antialiased"
    assert not found.requires_grad
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(inception(picture(40)), inception(picture(40)))


def test_it_is_made_by_name(file: Path) -> None:
    assert extractor(f"inception-legacy:{file}").name == "Inception (FID's) at 299 px, bilinear, as in TensorFlow 1"


def without(name: str) -> Callable[[dict[str, Tensor]], object]:
    return lambda weights: {key: value for key, value in weights.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("fc.bias"), "fc.bias"),
        (lambda weights: {**weights, "AuxLogits.fc.bias": torch.zeros(1)}, "AuxLogits"),
        (lambda weights: {**weights, "fc.weight": torch.zeros(1000, 2048)}, r"1000, 2048"),
        (lambda weights: [1, 2], "does not hold FID's Inception network"),
    ],
)
def test_the_load_is_strict(
    tmp_path: Path, change: Callable[[dict[str, Tensor]], object], message: str, file: Path
) -> None:
    torch.save(change(torch.load(file, weights_only=True)), tmp_path / "other.pth")
    with pytest.raises(UserError, match=message):
        InceptionFeatures(tmp_path / "other.pth")


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file '.*': Inception features need pt_inception-2015-12-05-6726825d.pth"):
        extractor(f"inception:{tmp_path / 'none.pth'}")
    (tmp_path / "text.pth").write_text("these are no weights")
    with pytest.raises(UserError, match="does not hold FID's Inception network"):
        extractor(f"inception:{tmp_path / 'text.pth'}")
    with pytest.raises(UserError, match="features 'inception' need weights from your disk: write inception:FILE"):
        extractor("inception")


def test_tensorflows_resizing_by_hand() -> None:
    """From 2 to 4 pixels, places 0, 1/2, 1, 3/2: the last has no right neighbour."""
    x = torch.tensor([0.0, 1.0]).expand(1, 1, 2, 2)
    assert bilinear_as_in_tensorflow(x, 4)[0, 0, 0].tolist() == [0, 0.5, 1, 1]
    assert torch.equal(bilinear_as_in_tensorflow(x.mT, 4), bilinear_as_in_tensorflow(x, 4).mT)
    wide = torch.arange(12.0).reshape(1, 1, 2, 6)
    assert bilinear_as_in_tensorflow(wide, 3)[0, 0, 0].tolist() == [0, 2, 4]  # every second pixel: it aliases


@pytest.mark.parametrize("size", [500, 64])
def test_the_other_resizing_is_pillows_which_clean_fid_takes(size: int) -> None:
    values = np.random.default_rng(0).uniform(60, 200, (size, size)).astype(np.float32)  # nothing to clip
    theirs = np.asarray(Image.fromarray(values).resize((299, 299), Image.Resampling.BICUBIC))
    ours = resized_square(torch.from_numpy(values)[None, None].double() / 127.5 - 1, 299)
    np.testing.assert_allclose(127.5 * (ours[0, 0].numpy() + 1), theirs, atol=1e-4)


def test_scores_where_the_answer_is_known() -> None:
    sure = 50.0 * torch.eye(8).repeat(100, 1)
    assert inception_score(sure, splits=2).value == pytest.approx(8, rel=0.02)
    assert inception_score(torch.zeros(40, 8)).value == pytest.approx(1, abs=1e-9)
    assert inception_score(sure[:1].repeat(40, 1)).value == pytest.approx(1, abs=1e-9)  # sure, but always of the same
    with pytest.raises(ValueError, match="9 pictures cannot be divided into 10 parts"):
        inception_score(torch.zeros(9, 8))


def test_the_score_is_the_equation_and_does_not_mind_the_order() -> None:
    logits = torch.from_numpy(np.random.default_rng(0).normal(0, 2, (60, 5)))
    p = torch.softmax(logits, 1)

    def score(part: Tensor) -> float:
        return float(torch.exp((part * (part / part.mean(0)).log()).sum(1).mean()))

    found = inception_score(logits, splits=2)
    low, high = found.value - found.error, found.value + found.error  # of two parts, the parts themselves
    assert low < score(p) < high + 0.1
    by_class = logits[logits.argmax(1).argsort()]
    assert inception_score(by_class, splits=3).value == pytest.approx(inception_score(logits, splits=3).value, rel=0.15)


def test_the_score_comes_from_features(inception: InceptionFeatures) -> None:
    fake = torch.from_numpy(np.random.default_rng(0).normal(size=(40, 2048)).astype(np.float32))
    found = sample_metrics(fake, fake[:20], ["is"], features=inception, split="held-out pictures").scores[0]
    assert found.value == inception_score(inception.logits(fake)).value
