"""The networks: forward(x, noise_level, cond)."""

from carrara.backbone.base import Backbone, BackboneConfig
from carrara.backbone.mlp import Mlp, MlpConfig
from carrara.backbone.unet import UNet, UNetConfig

AnyBackbone = UNetConfig | MlpConfig
"""The tagged union that recipes and saved models hold."""

__all__ = ["AnyBackbone", "Backbone", "BackboneConfig", "Mlp", "MlpConfig", "UNet", "UNetConfig"]
