r"""Vision transformers that others have trained, from a local folder in the format of the package transformers.

CLIP (Radford et al., "Learning transferable visual models from natural language supervision", 2021) puts pictures and
texts into one space. With the features f of a picture and g of its caption, the CLIP score (Hessel et al., "CLIPScore",
2021) is the mean over pictures of

.. math:: s = 100 \max(0, \cos(f, g)).                                                                           (1)

The paper has 2.5 in the place of 100. DINOv2 (Oquab et al., 2023) learned from pictures alone; Stein et al. ("Exposing
flaws of generative model evaluation metrics", 2023) found that with its features Fréchet distances agree best with
people.

Pictures are stretched to the network's size. Nothing is downloaded, no code of a folder is run, and only safetensors
are read.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from carrara.autoencoder.efficientnet import as_colour, resized_square
from carrara.conditioning.pretrained import (
    CONFIG,
    check_package,
    load_pretrained,
    load_tokenizer,
    read_foreign_config,
)
from carrara.errors import UserError
from carrara.evaluate.features import Features, FeatureVectors
from carrara.evaluate.kernel import Estimate
from carrara.files import BadFile, is_regular
from carrara.pixels import Pictures

DINOV2_SIZE = 224
"""In pixels, of what DINOv2 was trained on for the most part, and of what papers measure on."""
_TOGETHER = 64
_LARGEST = 1 << 14
_CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # mean, std of values in [0, 1]
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@final
class ClipFeatures(Features):
    """CLIP's features of pictures, and of texts in the same space; of any length.

    Args:
        folder: of a whole CLIP model; ``texts`` needs its tokenizer too.

    Raises:
        UserError: it cannot be read, or the package is missing.
    """

    own_metrics = ("cmmd",)

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.network, self._folder = _pretrained(folder, "clip", "CLIPModel"), folder
        self.size = _size(folder, self.network.config.vision_config, "image_size")
        self.width = _size(folder, self.network.config, "projection_dim")
        self.name = f"CLIP ({folder.resolve().name}) at {self.size} px, bicubic, antialiased"

    def forward(self, pixels: Pictures) -> FeatureVectors:
        seen = _standardised(pixels, self.size, _CLIP)
        with torch.autocast(pixels.device.type, enabled=False):
            return self.network.visual_projection(self.network.vision_model(pixel_values=seen).pooler_output)

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> FeatureVectors:
        """Features of texts, on the CPU; what is longer than the network reads, 77 tokens as a rule, is cut off.

        Raises:
            UserError: the folder has no tokenizer.
        """
        longest = int(self.network.config.text_config.max_position_embeddings)
        read: Any = load_tokenizer(self._folder)
        parts: list[Tensor] = []
        for first in range(0, len(texts), _TOGETHER):
            chosen = list(texts[first : first + _TOGETHER])
            tokens = read(chosen, padding=True, truncation=True, max_length=longest, return_tensors="pt")
            ids, mask = (tokens[name].to(self.device) for name in ("input_ids", "attention_mask"))
            states = self.network.text_model(input_ids=ids, attention_mask=mask).pooler_output
            parts.append(self.network.text_projection(states).cpu())
        return torch.cat(parts)


def clip_score(pictures: Float[Tensor, "N D"], texts: Float[Tensor, "N D"]) -> Estimate:
    """Equation (1): the mean and its standard error.

    Args:
        pictures: CLIP's features of pictures.
        texts: those of their captions, in the same order.

    Raises:
        ValueError: fewer than two.
    """
    if len(pictures) < 2:
        raise ValueError(f"a CLIP score with its error needs at least two pictures, and there are {len(pictures)}")
    scores = 100 * F.cosine_similarity(pictures.double(), texts.double()).clamp(min=0)
    return Estimate(scores.mean().item(), (scores.std() / len(scores) ** 0.5).item())


@final
class DinoFeatures(Features):
    """DINOv2's features: what its class token has become.

    Args:
        folder: of the model.
        size: in pixels, that pictures are brought to: a multiple of the network's patches.

    Raises:
        UserError: it cannot be read, the size does not suit it, or the package is missing.
    """

    def __init__(self, folder: Path, size: int = DINOV2_SIZE) -> None:
        super().__init__()
        self.network, self.size = _pretrained(folder, "dinov2", "Dinov2Model"), size
        self.width, patch = (_size(folder, self.network.config, name) for name in ("hidden_size", "patch_size"))
        if size < patch or size % patch:
            raise UserError(f"DINOv2 in '{folder}' looks at patches of {patch} px: {size} px is no multiple of that")
        self.name = f"DINOv2 ({folder.resolve().name}) at {size} px, bicubic, antialiased"

    def forward(self, pixels: Pictures) -> FeatureVectors:
        seen = _standardised(pixels, self.size, _IMAGENET)
        with torch.autocast(pixels.device.type, enabled=False):
            return self.network(pixel_values=seen).pooler_output


def _standardised(
    pixels: Pictures, size: int, statistics: tuple[tuple[float, ...], tuple[float, ...]]
) -> Float[Tensor, "B 3 h w"]:
    """Pictures as a network was trained on them."""
    mean, std = (torch.tensor(values, device=pixels.device)[:, None, None] for values in statistics)
    return ((resized_square(as_colour(pixels.float()), size) + 1) / 2 - mean) / std


def _pretrained(folder: Path, kind: str, name: str) -> Any:
    """A network of the package transformers, frozen, complete, in float32."""
    check_package(f"features '{kind}'")
    if not is_regular(folder / CONFIG):
        raise UserError(
            f"'{folder}' holds no network (there is no config.json): write {kind}:FOLDER with one that does"
        )
    found = read_foreign_config(folder).get("model_type")
    if found != kind:
        raise UserError(f"'{folder}' holds a network of the kind '{found}', not '{kind}': name another folder")
    import transformers

    network, told = load_pretrained(folder, f"{kind} network", lambda _: getattr(transformers, name))
    if missing := sorted(told["missing_keys"]):
        raise UserError(f"'{folder}' holds only a part of a {kind} network: '{missing[0]}' and more are missing")
    return network


def _size(folder: Path, config: Any, name: str) -> int:
    """A size that a network's configuration declares."""
    value = getattr(config, name, None)
    if not isinstance(value, int) or not 1 <= value <= _LARGEST:
        raise BadFile(folder / CONFIG, f"has '{name}' wrong (a number from 1 to {_LARGEST})")
    return value
