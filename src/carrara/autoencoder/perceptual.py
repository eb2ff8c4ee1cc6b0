r"""The distance of two pictures as a network sees them (Zhang et al., "The unreasonable effectiveness of deep features
as a perceptual metric", 2018).

With f_l(x) the map of stage l of a network that was trained to tell things apart, each of its vectors of length 1,

.. math:: d(x, y) = \sum_l \frac{1}{h_l w_l} \sum_{i, j} \sum_c a_{lc} \left( f_l(x) - f_l(y) \right)^2_{cij}.       (1)

With EfficientNet-lite0 every a is one over the number of stages; LPIPS is VGG16 with an a learned from what people
judged. A map that is one place high or wide shows no shapes: its stage is left out, so small pictures have fewer.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from carrara.autoencoder.efficientnet import STAGES, as_colour, efficientnet_lite0
from carrara.autoencoder.spectral import SpectralConfig
from carrara.errors import UserError
from carrara.files import BadFile, read_pickled, read_tensors
from carrara.pixels import Pictures
from carrara.shapes import PerSample

_TINY = 1e-10  # keeps the direction of a vector of zeros, and its gradient, finite

Looks = tuple[Tensor, ...]
"""What a network sees of pictures: (B, C_l, h_l, w_l) float32 for each stage l, times the root of a."""


class Perceptual(nn.Module, ABC):
    """Equation (1). Abstract in whose maps; it has no parameters, and its buffers are in no state dict.

    Attributes:
        name: which network looks, for a report.
    """

    name: str

    @abstractmethod
    def maps(self, pixels: Pictures) -> tuple[Tensor, ...]:
        """f_l before its vectors are made of length 1, for each l whose map is 2x2 or more.

        Args:
            pixels: (B, C, H, W) in [-1, 1].
        """

    @abstractmethod
    def weights(self, stages: int) -> Sequence[Tensor | float]:
        """a_l, (C_l, 1, 1) or one for all channels, when so many ``stages`` are used."""

    def features(self, pixels: Pictures) -> Looks:
        """Looks at pictures (B, C, H, W) in [-1, 1]: once is enough for a target that stays the same.

        Raises:
            UserError: other than 1, 3 or 4 channels, or too small.
        """
        maps = [f.float() for f in self.maps(pixels)]
        if not maps:
            raise UserError(
                f"no perceptual distance for {pixels.shape[-2]}x{pixels.shape[-1]} pixels, which are too few: "
                "set objective.perceptual=0"
            )
        return tuple(
            f * (f.square().sum(1, keepdim=True) + _TINY).rsqrt() * a**0.5
            for f, a in zip(maps, self.weights(len(maps)), strict=True)
        )

    def distance(self, x: Looks, y: Looks) -> PerSample:
        """Equation (1) of pictures that have been looked at."""
        parts = [(f - g).square().sum(1).mean(dim=(1, 2)) for f, g in zip(x, y, strict=True)]
        return torch.stack(parts).sum(0)

    def forward(self, x: Pictures, y: Pictures) -> PerSample:
        """Equation (1) of pictures (B, C, H, W) in [-1, 1].

        Raises:
            UserError: other than 1, 3 or 4 channels, or too small.
        """
        return self.distance(self.features(x), self.features(y))


@dataclass(frozen=True, kw_only=True)
class PerceptualConfig:
    """EfficientNet-lite0, from a package that ships it."""

    spatial: ClassVar[int] = 2
    """Axes of places of what it looks at."""

    kind: Literal["efficientnet"] = "efficientnet"

    def build(self) -> Perceptual:
        """Makes the distance.

        Raises:
            UserError: the package is not installed.
        """
        return _EfficientNet()


@final
class _EfficientNet(Perceptual):
    name = "EfficientNet-lite0 (ImageNet)"

    def __init__(self) -> None:
        super().__init__()
        self.network = efficientnet_lite0()

    def maps(self, pixels: Pictures) -> tuple[Tensor, ...]:
        stages = sum(min(pixels.shape[-2:]) > 2 ** (k + 1) for k in range(STAGES))
        return self.network.features(pixels, stages) if stages else ()

    def weights(self, stages: int) -> Sequence[float]:
        return [1 / stages] * stages


@dataclass(frozen=True, kw_only=True)
class LpipsConfig:
    """LPIPS with VGG16, from weights that you have.

    Attributes:
        path: a folder or a file (.safetensors, .pth, .pt or .bin) with VGG16's weights by torchvision's names
            (``features.0.weight``) and LPIPS's own (``lin0.model.1.weight``).
    """

    spatial: ClassVar[int] = 2

    kind: Literal["lpips"] = "lpips"
    path: str

    def build(self) -> Perceptual:
        """Makes the distance.

        Raises:
            UserError: weights are missing or cannot be read.
        """
        return _Lpips(Path(self.path))


_CONVOLUTIONS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
_CHANNELS = (3, 64, 128, 256, 512, 512)
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, in [0, 1]


@final
class _Lpips(Perceptual):
    """VGG16 (Simonyan and Zisserman, 2014), seen after the last ReLU before each pooling and at its end."""

    name = "LPIPS (VGG16)"
    mean: Tensor
    std: Tensor

    def __init__(self, path: Path) -> None:
        super().__init__()
        for name, value in _checked(_read(path), path).items():
            self.register_buffer(name.replace(".", "_"), value, persistent=False)
        for name, value in (("mean", _MEAN), ("std", _STD)):
            self.register_buffer(name, 2 * torch.tensor(value)[:, None, None], persistent=False)

    def maps(self, pixels: Pictures) -> tuple[Tensor, ...]:
        h = (as_colour(pixels) + 1 - self.mean) / self.std
        maps: list[Tensor] = []
        for stage in _CONVOLUTIONS:
            if maps and min(h.shape[-2:]) < 4:
                break
            h = F.max_pool2d(h, 2) if maps else h
            for k in stage:
                h = F.relu(
                    F.conv2d(
                        h, self.get_buffer(f"features_{k}_weight"), self.get_buffer(f"features_{k}_bias"), padding=1
                    )
                )
            maps.append(h)
        return tuple(maps)

    def weights(self, stages: int) -> Sequence[Tensor]:
        return [self.get_buffer(f"lin{k}_model_1_weight")[0].clamp(min=0) for k in range(stages)]


def _read(path: Path) -> Mapping[str, Tensor]:
    """All tensors of a file, or of the files of a folder, by name."""
    suffixes = (".safetensors", ".pth", ".pt", ".bin")
    files = sorted(f for f in path.iterdir() if f.suffix in suffixes) if path.is_dir() else [path]
    tensors: dict[str, Tensor] = {}
    for file in files:
        try:
            read = read_tensors(file) if file.suffix == ".safetensors" else read_pickled(file)
            tensors |= {str(name): tensor for name, tensor in read.items() if torch.is_tensor(tensor)}
        except (BadFile, TypeError, ValueError, AttributeError) as error:
            reason = error.why if isinstance(error, BadFile) else str(error)
            raise UserError(f"'{file}' cannot be read as weights ({reason}): give another features.path") from None
    return tensors


def _checked(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """What LPIPS needs of ``tensors``, in float32."""
    shapes = _shapes()
    wrong = [name for name, shape in shapes.items() if name not in tensors or tensors[name].shape != shape]
    if wrong:
        others = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise UserError(
            f"'{path}' lacks {wrong[0]}{others}: LPIPS needs VGG16's weights by torchvision's names and its own, "
            "lin0.model.1.weight to lin4.model.1.weight"
        )
    return {name: tensors[name].float() for name in shapes}


def _shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for level, stage in enumerate(_CONVOLUTIONS):
        inp, out = _CHANNELS[level : level + 2]
        for k in stage:
            shapes |= {f"features.{k}.weight": (out, inp, 3, 3), f"features.{k}.bias": (out,)}
            inp = out
        shapes[f"lin{level}.model.1.weight"] = (1, out, 1, 1)
    return shapes


AnyPerceptual = PerceptualConfig | LpipsConfig | SpectralConfig
"""The union that recipes hold."""
