r"""The Inception network of the Fréchet Inception Distance, and the Inception score.

It is Inception-v3 (Szegedy et al., "Rethinking the Inception architecture", 2016) as it was published for TensorFlow on
2015-12-05, with 1008 outputs. Its means over a neighbourhood leave out what lies beyond the edge, and its last block
takes the neighbourhood's maximum. Each block sends its input along several paths and puts their channels together.

The file is the user's own: ``pt_inception-2015-12-05-6726825d.pth``, whatever it is called. The values v = 0 .. 255 of
a picture, brought to 299 pixels, enter as (v - 128) / 128. How they are brought there moves a Fréchet distance by more
than models differ (Parmar et al., "On aliased resizing and surprising subtleties in GAN evaluation", 2022), so it is
part of the name.

The Inception score (Salimans et al., "Improved techniques for training GANs", 2016) of classes' probabilities p(y | x),
whose mean over pictures is p(y),

.. math:: \mathrm{IS} = \exp \operatorname{E}_x \mathrm{KL} \big( p(y | x) \,\|\, p(y) \big),                        (1)

lies between 1 and the number of classes. It knows nothing about the data, and means little off ImageNet.
"""

import math
import string
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from carrara.autoencoder.efficientnet import as_colour, resized_square
from carrara.errors import UserError
from carrara.evaluate.features import Features, FeatureVectors
from carrara.evaluate.kernel import Estimate
from carrara.files import BadFile, is_regular, read_pickled
from carrara.pixels import Pictures
from carrara.seeds import permutation

SIZE = 299
"""In pixels, of what the network sees."""
WIDTH, CLASSES = 2048, 1008
_EPSILON = 1e-3
_MIDDLE, _SPREAD = 128 / 127.5 - 1, 128 / 127.5  # (v - 128) / 128 in terms of x = v / 127.5 - 1
_POOLED = ("Conv2d_2b_3x3", "Conv2d_4a_3x3")

Filter = tuple[int, int, int]
"""Channels that come out, and the height and width of the kernel."""
Paths = Mapping[str, Sequence[Sequence[Filter]]]
"""By name, the steps of each path; the filters of one step stand side by side."""


@final
class InceptionFeatures(Features):
    """The pooled features that a Fréchet Inception Distance compares.

    Args:
        path: of the weights.
        legacy: resizes like TensorFlow 1, as the first FIDs did: bilinear, not antialiased, off by part of a pixel.
            Else bicubic and antialiased.

    Raises:
        UserError: there is no such file, or it holds another network.
    """

    width = WIDTH
    own_metrics = ("is",)

    def __init__(self, path: Path, *, legacy: bool = False) -> None:
        super().__init__()
        self.network, self._legacy = _loaded(path), legacy
        kernel = "bilinear, as in TensorFlow 1" if legacy else "bicubic, antialiased"
        self.name = f"Inception (FID's) at {SIZE} px, {kernel}"

    def forward(self, pixels: Pictures) -> FeatureVectors:
        with torch.autocast(pixels.device.type, enabled=False):
            colour = as_colour(pixels.float())
            brought = bilinear_as_in_tensorflow(colour, SIZE) if self._legacy else resized_square(colour, SIZE)
            return self.network((brought - _MIDDLE) / _SPREAD)

    def logits(self, vectors: FeatureVectors) -> Float[Tensor, "B 1008"]:
        """Of the classes, from this network's features; the Inception score was defined without the last bias."""
        return vectors.to(self.device) @ self.network.fc.weight.T


def inception_score(logits: Float[Tensor, "N K"], *, splits: int = 10, seed: int = 0) -> Estimate:
    """Equation (1): the mean over parts of a shuffled set, and its standard error; papers print sqrt(splits) times it.

    Raises:
        ValueError: fewer pictures than parts, or fewer than two parts.
    """
    if not 2 <= splits <= len(logits):
        raise ValueError(f"{len(logits)} pictures cannot be divided into {splits} parts of an Inception score")
    shuffled = logits[permutation(len(logits), "inception score", seed)].double()
    scores = torch.stack([_score(part) for part in shuffled.tensor_split(splits)])
    return Estimate(scores.mean().item(), (scores.std() / splits**0.5).item())


def _score(logits: Tensor) -> Tensor:
    log_p = logits.log_softmax(1)
    log_mean = log_p.logsumexp(0) - math.log(len(logits))
    return (log_p.exp() * (log_p - log_mean)).sum(1).mean().exp()


def bilinear_as_in_tensorflow(pixels: Pictures, size: int) -> Float[Tensor, "B C size size"]:
    """Pictures (B, C, size, size): output pixel k lies at k H / size of the input, counted from the first pixel."""
    rows, columns = (_mixing(edge, size).to(pixels) for edge in pixels.shape[-2:])
    return rows @ pixels @ columns.T


def _mixing(edge: int, size: int) -> Tensor:
    """(size, edge): how much of each input pixel is in each output pixel."""
    place = torch.arange(size) * edge / size
    low = place.long()
    high, share = (low + 1).clamp(max=edge - 1), (place - low)[:, None]
    return F.one_hot(low, edge) * (1 - share) + F.one_hot(high, edge) * share


def _loaded(path: Path) -> "Inception":
    if not is_regular(path):
        raise UserError(
            f"there is no file '{path}': Inception features need pt_inception-2015-12-05-6726825d.pth, FID's weights"
        )
    with torch.device("meta"):
        network = Inception()
    try:
        network.load_state_dict(dict(read_pickled(path)), assign=True)
    except Exception as error:  # of an archive, a pickle, or names and shapes: each says it in its own way
        reason = error.why if isinstance(error, BadFile) else " ".join(str(error).split())[:200]
        raise UserError(f"'{path}' does not hold FID's Inception network ({reason})") from error
    return network.eval().requires_grad_(False)


@final
class Inception(nn.Module):
    """See the module's head; the parts are called as in the file."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Convolution(3, (32, 3, 3), stride=2, padded=False)
        self.Conv2d_2a_3x3 = _Convolution(32, (32, 3, 3), padded=False)
        self.Conv2d_2b_3x3 = _Convolution(32, (64, 3, 3))
        self.Conv2d_3b_1x1 = _Convolution(64, (80, 1, 1))
        self.Conv2d_4a_3x3 = _Convolution(80, (192, 3, 3), padded=False)
        self.Mixed_5b = _Block(192, _SQUARES, pooled=32)
        self.Mixed_5c = _Block(256, _SQUARES, pooled=64)
        self.Mixed_5d = _Block(288, _SQUARES, pooled=64)
        self.Mixed_6a = _Block(288, _SMALLER_6, stride=2)
        self.Mixed_6b = _Block(768, _lines(128), pooled=192)
        self.Mixed_6c = _Block(768, _lines(160), pooled=192)
        self.Mixed_6d = _Block(768, _lines(160), pooled=192)
        self.Mixed_6e = _Block(768, _lines(192), pooled=192)
        self.Mixed_7a = _Block(768, _SMALLER_7, stride=2)
        self.Mixed_7b = _Block(1280, _CROSSES, pooled=192)
        self.Mixed_7c = _Block(2048, _CROSSES, pooled=192, pool="max")
        self.fc = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Float[Tensor, "B 3 299 299"]) -> Float[Tensor, "B 2048"]:
        """Pictures, (v - 128) / 128, to pooled features."""
        for name, part in self.named_children():
            if name == "fc":
                break
            x = part(x)
            if name in _POOLED:
                x = F.max_pool2d(x, 3, stride=2)
        return x.mean(dim=(2, 3))


_SQUARES: Paths = {
    "branch1x1": [[(64, 1, 1)]],
    "branch5x5": [[(48, 1, 1)], [(64, 5, 5)]],
    "branch3x3dbl": [[(64, 1, 1)], [(96, 3, 3)], [(96, 3, 3)]],
}
_SMALLER_6: Paths = {
    "branch3x3": [[(384, 3, 3)]],
    "branch3x3dbl": [[(64, 1, 1)], [(96, 3, 3)], [(96, 3, 3)]],
}
_SMALLER_7: Paths = {
    "branch3x3": [[(192, 1, 1)], [(320, 3, 3)]],
    "branch7x7x3": [[(192, 1, 1)], [(192, 1, 7)], [(192, 7, 1)], [(192, 3, 3)]],
}
_CROSSES: Paths = {
    "branch1x1": [[(320, 1, 1)]],
    "branch3x3": [[(384, 1, 1)], [(384, 1, 3), (384, 3, 1)]],
    "branch3x3dbl": [[(448, 1, 1)], [(384, 3, 3)], [(384, 1, 3), (384, 3, 1)]],
}


def _lines(c: int) -> Paths:
    """Filters of 1 by 7 and 7 by 1 with c channels between them."""
    return {
        "branch1x1": [[(192, 1, 1)]],
        "branch7x7": [[(c, 1, 1)], [(c, 1, 7)], [(192, 7, 1)]],
        "branch7x7dbl": [[(c, 1, 1)], [(c, 7, 1)], [(c, 1, 7)], [(c, 7, 1)], [(192, 1, 7)]],
    }


class _Block(nn.Module):
    """Paths side by side, and one that looks at neighbourhoods of 3 by 3.

    Args:
        inputs: channels.
        paths: all start at the input.
        pooled: channels of the last path; 0 leaves the neighbourhoods' maxima as they are, at half the size.
        stride: of the last filter in each path, which is then not padded.
        pool: what the last path takes of a neighbourhood.
    """

    def __init__(
        self, inputs: int, paths: Paths, *, pooled: int = 0, stride: int = 1, pool: Literal["mean", "max"] = "mean"
    ) -> None:
        super().__init__()
        self._pool: str = pool
        self._paths = [list(_names(path, steps)) for path, steps in paths.items()]
        for names, steps in zip(self._paths, paths.values(), strict=True):
            channels = inputs
            for k, (side_by_side, filters) in enumerate(zip(names, steps, strict=True), start=1):
                reduces = stride if k == len(steps) else 1
                for name, shape in zip(side_by_side, filters, strict=True):
                    self.add_module(name, _Convolution(channels, shape, stride=reduces, padded=reduces == 1))
                channels = sum(shape[0] for shape in filters)
        self.branch_pool = _Convolution(inputs, (pooled, 1, 1)) if pooled else None

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([*(self._along(path, x) for path in self._paths), self._neighbourhoods(x)], dim=1)

    def _along(self, path: Sequence[Sequence[str]], x: Tensor) -> Tensor:
        for names in path:
            x = torch.cat([self.get_submodule(name)(x) for name in names], dim=1)
        return x

    def _neighbourhoods(self, x: Tensor) -> Tensor:
        if self.branch_pool is None:
            return F.max_pool2d(x, 3, stride=2)
        if self._pool == "max":
            return self.branch_pool(F.max_pool2d(x, 3, stride=1, padding=1))
        return self.branch_pool(F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False))


def _names(path: str, steps: Sequence[Sequence[Filter]]) -> Iterator[list[str]]:
    """What the filters of each step are called: ``path``; or ``path_1``, ...; those side by side ``path_2a``, ..."""
    for k, filters in enumerate(steps, start=1):
        name = f"{path}_{k}" if len(steps) > 1 else path
        letters = string.ascii_lowercase[: len(filters)] if len(filters) > 1 else [""]
        yield [name + letter for letter in letters]


class _Convolution(nn.Module):
    """A convolution, its batch norm, and ReLU; padded, it keeps the size."""

    def __init__(self, inputs: int, shape: Filter, *, stride: int = 1, padded: bool = True) -> None:
        super().__init__()
        outputs, height, width = shape
        padding = (height // 2, width // 2) if padded else 0
        self.conv = nn.Conv2d(inputs, outputs, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))
