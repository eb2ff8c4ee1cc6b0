"""First stages: pixels to latents and back."""

from carrara.autoencoder.base import AnyFirstStage, FirstStage, Identity, IdentityConfig

__all__ = ["AnyFirstStage", "FirstStage", "Identity", "IdentityConfig"]
