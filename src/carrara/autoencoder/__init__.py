"""First stages: pixels to latents and back."""

from carrara.autoencoder.base import FirstStage, Identity, IdentityConfig, LearnedStage
from carrara.autoencoder.critic import Critic, CriticConfig
from carrara.autoencoder.hierarchical import LayeredVae, VaeConfig
from carrara.autoencoder.levels import Levels, LevelsConfig
from carrara.autoencoder.perceptual import AnyPerceptual, LpipsConfig, Perceptual, PerceptualConfig
from carrara.autoencoder.spectral import SpectralConfig, SpectralDistance
from carrara.autoencoder.stages import ConvolutionalStage, Kl, KlConfig, Reconstruction, Vq, VqConfig
from carrara.autoencoder.statistics import measure
from carrara.autoencoder.tiny import TinyDecoder, TinyDecoderConfig

AnyFirstStage = IdentityConfig | KlConfig | VqConfig | VaeConfig | LevelsConfig
"""The union that saved models hold."""

__all__ = [
    "AnyFirstStage",
    "AnyPerceptual",
    "ConvolutionalStage",
    "Critic",
    "CriticConfig",
    "FirstStage",
    "Identity",
    "IdentityConfig",
    "Kl",
    "KlConfig",
    "LayeredVae",
    "LearnedStage",
    "Levels",
    "LevelsConfig",
    "LpipsConfig",
    "Perceptual",
    "PerceptualConfig",
    "Reconstruction",
    "SpectralConfig",
    "SpectralDistance",
    "TinyDecoder",
    "TinyDecoderConfig",
    "VaeConfig",
    "Vq",
    "VqConfig",
    "measure",
]
