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

import json
import logging
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from carrara.autoencoder.efficientnet import as_colour, resized_square
from carrara.errors import UserError
from carrara.evaluate.features import Features, FeatureVectors
from carrara.evaluate.kernel import Estimate
from carrara.pixels import Pictures

DINOV2_SIZE = 224
"""In pixels, of what DINOv2 was trained on for the most part, and of what papers measure on."""
_TOGETHER = 64
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
        self.size = int(self.network.config.vision_config.image_size)
        self.width = int(self.network.config.projection_dim)
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
        read: Any = _tokenizer(self._folder)
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
        self.width, patch = int(self.network.config.hidden_size), int(self.network.config.patch_size)
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
    if find_spec("transformers") is None:
        raise UserError(f"features '{kind}' need the package 'transformers': pip install 'carrara[text]'")
    if not (config := folder / "config.json").is_file():
        raise UserError(
            f"'{folder}' holds no network (there is no config.json): write {kind}:FOLDER with one that does"
        )
    import transformers

    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    try:
        found = json.loads(config.read_bytes()).get("model_type")
        options: dict[str, Any] = {"local_files_only": True, "use_safetensors": True, "dtype": torch.float32}
        load = getattr(transformers, name).from_pretrained
        network, told = load(folder, output_loading_info=True, **options) if found == kind else (None, {})
    except Exception as error:  # whatever is wrong in the folder, the package says it in its own way
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"no {kind} network can be read from '{folder}' ({reason})") from error
    if network is None:
        raise UserError(f"'{folder}' holds a network of the kind '{found}', not '{kind}': name another folder")
    if missing := sorted(told["missing_keys"]):
        raise UserError(f"'{folder}' holds only a part of a {kind} network: '{missing[0]}' and more are missing")
    return network.eval().requires_grad_(False)


def _tokenizer(folder: Path) -> Any:
    """CLIP's; without these files the package would make one up that knows no words."""
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        raise UserError(f"'{folder}' has no tokenizer, which reads the captions: add the model's tokenizer.json")
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # as above
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"the tokenizer in '{folder}' cannot be read ({reason})") from error
