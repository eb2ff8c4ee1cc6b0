"""Carrara: from a folder of your own files to a diffusion model that you own."""

__version__ = "0.1.0"
