"""The networks of a model as ONNX graphs, by torch's exporter, of any batch and size.

What the exporter cannot leave open is put in other words first: networks that double a map by a transposed convolution
ask whether a size is twice another one, so here they repeat the pixels and convolve, which is the same for every size.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from carrara.backbone import Backbone
from carrara.conditioning import EncodedText, LearnedText
from carrara.conditioning.encoders import text_encoder
from carrara.errors import UserError
from carrara.export.quiet import quiet
from carrara.model import DiffusionModel
from carrara.nn import Upsample
from carrara.types import Conditioning

OPSET = 20
LARGEST = 2_000_000_000
"""Bytes of a graph, which is one file of Google's protobuf."""
MOST = 1 << 14


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A network that is exported.

    Attributes:
        name: of its file.
        network: as it is called with the tensors of ``inputs``, in their order.
        inputs: an example of each, with a batch of 2.
        open: of each input, by axis, the name of the edge, and of what it is a multiple.
        own: the edges at the model's own size.
        numbers: of tokens, if these go in, all below it.
        least, most: times its multiple, the shortest and the longest edge that is left open.
    """

    name: str
    network: nn.Module
    inputs: Mapping[str, Tensor]
    open: Mapping[str, Mapping[int, tuple[str, int]]]
    output: str
    own: Mapping[str, int] = field(default_factory=dict[str, int])
    least: int = 2
    most: int = MOST
    numbers: int = 0


def denoiser_graph(model: DiffusionModel) -> Graph:
    """The network F: a scaled state, the half log-SNR and the condition to F, (B, c, h, w)."""
    network = model.denoiser.backbone
    multiple, least = multiple_of(network), least_of(network)
    c, *edges = model.latent_shape
    size = [multiple * (least + 2), multiple * (least + 4)]
    vector = model.config.backbone.vector_width
    inputs = {"x": torch.randn(2, c, *size), "level": torch.tensor([0.5, -1.0])}
    axes: dict[str, Mapping[int, tuple[str, int]]] = {
        "x": {0: ("batch", 1), 2: ("height", multiple), 3: ("width", multiple)},
        "level": {0: ("batch", 1)},
    }
    if model.conditioner.column is not None:
        inputs["vector"], axes["vector"] = torch.randn(2, vector), {0: ("batch", 1)}
    if (width := model.conditioner.token_width) is not None:
        inputs["tokens"], inputs["mask"] = torch.randn(2, 5, width), torch.ones(2, 5, dtype=torch.bool)
        inputs["mask"][1] = False
        axes["tokens"] = axes["mask"] = {0: ("batch", 1), 1: ("tokens", 1)}
    asked = _Asked(resized(network), learned_variance=model.config.learned_variance, tokens="tokens" in inputs)
    own: dict[str, int] = dict(zip(("height", "width"), edges, strict=True))
    return Graph(name="denoiser.onnx", network=asked, inputs=inputs, open=axes, output="output", own=own, least=least)


def decoder_graph(model: DiffusionModel) -> Graph:
    """Latents (B, c, h, w) to pixels (B, C, H, W), not cropped."""
    z = torch.randn(2, model.latent_shape[0], 6, 8)
    axes = {"z": {0: ("batch", 1), 2: ("height", 1), 3: ("width", 1)}}
    network = _Decoded(resized(model.first_stage))
    return Graph(name="decoder.onnx", network=network, inputs={"z": z}, open=axes, output="pixels")


def text_graph(conditioner: EncodedText | LearnedText) -> Graph:
    """Numbers of a text's tokens (B, L) to their features (B, L, D)."""
    if isinstance(conditioner, EncodedText):
        encoder = text_encoder(conditioner.config.source)
        network, most, numbers = _Encoded(encoder.network), encoder.reader.limit, encoder.reader.numbers
    else:
        network, most, numbers = _Learned(conditioner), MOST, conditioner.reader.numbers
    ids = torch.ones(2, 6, dtype=torch.int64)
    axes = {"ids": {0: ("batch", 1), 1: ("tokens", 1)}}
    return Graph(
        name="text.onnx", network=network, inputs={"ids": ids}, open=axes, output="features", most=most, numbers=numbers
    )


def multiple_of(network: Backbone) -> int:
    """The edges that the exported network takes are multiples of it."""
    return int(getattr(getattr(network, "config", None), "patch", 1))


def least_of(network: Backbone) -> int:
    """The shortest edge, times ``multiple_of``, at which no map of the network is a single place, which would be a case
    of its own for the exporter."""
    return max(2, 2 ** len(getattr(network, "downsample", ())) + 1)


def traced(graph: Graph) -> bytes:
    """The graph as an ONNX file holds it.

    Raises:
        UserError: torch cannot export it, or it is too large for one file.
    """
    edges: dict[str, Any] = {}
    shapes = tuple(_axes(graph.open[name], edges, graph) for name in graph.inputs)
    try:
        with torch.no_grad(), quiet("torch.onnx"):
            program = torch.export.export(
                graph.network.eval(), tuple(graph.inputs.values()), dynamic_shapes=(shapes,), strict=False
            )
            found: Any = torch.onnx.export(
                program,
                dynamo=True,
                input_names=list(graph.inputs),
                output_names=[graph.output],
                opset_version=OPSET,
                verbose=False,
            )
    except Exception as error:  # torch's exporter raises almost anything
        why = " ".join(str(error).split())[:200]
        raise UserError(f"torch cannot export this model's {graph.name.partition('.')[0]} ({why})") from error
    if found.model_proto.ByteSize() > LARGEST:
        raise UserError(
            f"this model's {graph.name.partition('.')[0]} has more than {LARGEST // 10**9} GB, which do not fit into "
            "one file of ONNX: export a smaller model"
        )
    return found.model_proto.SerializeToString()


def _axes(open_axes: Mapping[int, tuple[str, int]], edges: dict[str, Any], graph: Graph) -> dict[int, Any]:
    """What torch calls dynamic dimensions; the same name is the same one."""
    found: dict[int, Any] = {}
    for axis, (name, multiple) in open_axes.items():
        if name not in edges:
            edges[name] = torch.export.Dim(name, min=1 if name in ("batch", "tokens") else graph.least, max=graph.most)
        found[axis] = edges[name] if multiple == 1 else multiple * edges[name]
    return found


def resized(network: nn.Module) -> nn.Module:
    """A copy of a network with another form of its doublings."""
    copy = deepcopy(network)
    for part in list(copy.modules()):
        for name, child in part.named_children():
            if isinstance(child, Upsample):
                setattr(part, name, _Repeated(child.conv))
    return copy


@final
class _Repeated(nn.Module):
    """What ``Upsample`` does to any size."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        return self.conv(F.interpolate(x, size=size, mode="nearest"))


@final
class _Asked(nn.Module):
    """F alone, told by plain tensors."""

    def __init__(self, network: nn.Module, *, learned_variance: bool, tokens: bool) -> None:
        super().__init__()
        self.network, self.learned_variance, self.tokens = network, learned_variance, tokens

    def forward(self, *given: Tensor) -> Tensor:
        x, level, *told = given
        vector = told[0] if told else None
        tokens, mask = (told[1], told[2]) if self.tokens else (None, None)
        answer = self.network(x, level, Conditioning(vector=vector, tokens=tokens, mask=mask))
        return answer.chunk(2, dim=1)[0] if self.learned_variance else answer


@final
class _Decoded(nn.Module):
    def __init__(self, stage: nn.Module) -> None:
        super().__init__()
        self.stage = stage

    def forward(self, *given: Tensor) -> Tensor:
        stage: Any = self.stage
        return stage.decode(given[0])


@final
class _Encoded(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *given: Tensor) -> Tensor:
        return self.network(given[0])


@final
class _Learned(nn.Module):
    def __init__(self, conditioner: LearnedText) -> None:
        super().__init__()
        self.conditioner = conditioner

    def forward(self, *given: Tensor) -> Tensor:
        (ids,) = given
        return self.conditioner.features(ids, torch.ones_like(ids, dtype=torch.bool))
