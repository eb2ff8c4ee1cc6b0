"""The networks: forward(x, noise_level, cond). A new one is a file, and its configuration in ``AnyBackbone``."""

from carrara.backbone.base import Backbone, BackboneConfig, Layered
from carrara.backbone.classifier import NoiseAwareClassifier
from carrara.backbone.control import Controlled, ControlledConfig
from carrara.backbone.conventions import Conventions
from carrara.backbone.dit import DIT_SIZES, DiT, DiTConfig
from carrara.backbone.mlp import Mlp, MlpConfig
from carrara.backbone.reuse import Memory, Reusing, agree
from carrara.backbone.unet import UNETS, UNet, UNetConfig

AnyBackbone = UNetConfig | DiTConfig | MlpConfig | ControlledConfig
"""The tagged union that recipes and saved models hold."""

__all__ = [
    "DIT_SIZES",
    "UNETS",
    "AnyBackbone",
    "Backbone",
    "BackboneConfig",
    "Controlled",
    "ControlledConfig",
    "Conventions",
    "DiT",
    "DiTConfig",
    "Layered",
    "Memory",
    "Mlp",
    "MlpConfig",
    "NoiseAwareClassifier",
    "Reusing",
    "UNet",
    "UNetConfig",
    "agree",
]
