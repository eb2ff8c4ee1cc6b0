"""Noise to data: samplers, time grids, guidance. Nothing here knows what a network is; a denoiser is any function."""

from carrara.sample.base import Level, Sampler, SampleStep, Step, last, walk
from carrara.sample.catalogue import GRIDS, METHODS, SAMPLERS, AnySampler, grid, method, sampler
from carrara.sample.generate import draws_for, generate, initial, noise_for
from carrara.sample.grids import AnyGrid, Karras, Leading, Quadratic, TimeGrid, Trailing, Uniform
from carrara.sample.guidance import AnyMethod, Apg, Cfg, CfgZero, Method, clip, dynamic_threshold, guide
from carrara.sample.inpainting import Repaint
from carrara.sample.interpolation import blend, compose, slerp
from carrara.sample.inversion import invert
from carrara.sample.likelihood import Flowed, dequantized, first_level, log_density, rademacher
from carrara.sample.multistep import DpmPp, DpmPpSde, Lms, UniPC
from carrara.sample.samplers import Ddim, Ddpm, Euler, EulerAncestral, Heun
from carrara.sample.settings import SampleSettings
from carrara.sample.tiles import tiled

__all__ = [
    "GRIDS",
    "METHODS",
    "SAMPLERS",
    "AnyGrid",
    "AnyMethod",
    "AnySampler",
    "Apg",
    "Cfg",
    "CfgZero",
    "Ddim",
    "Ddpm",
    "DpmPp",
    "DpmPpSde",
    "Euler",
    "EulerAncestral",
    "Flowed",
    "Heun",
    "Karras",
    "Leading",
    "Level",
    "Lms",
    "Method",
    "Quadratic",
    "Repaint",
    "SampleSettings",
    "SampleStep",
    "Sampler",
    "Step",
    "TimeGrid",
    "Trailing",
    "UniPC",
    "Uniform",
    "blend",
    "clip",
    "compose",
    "dequantized",
    "draws_for",
    "dynamic_threshold",
    "first_level",
    "generate",
    "grid",
    "guide",
    "initial",
    "invert",
    "last",
    "log_density",
    "method",
    "noise_for",
    "rademacher",
    "sampler",
    "slerp",
    "tiled",
    "walk",
]
