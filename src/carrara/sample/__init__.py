"""Noise to data: samplers, time grids, guidance. Nothing here knows what a network is; a denoiser is any function."""

from carrara.sample.base import Level, Sampler, SampleStep, Step, last, walk
from carrara.sample.catalogue import GRIDS, SAMPLERS, AnySampler, grid, sampler
from carrara.sample.generate import draws_for, generate, initial, noise_for
from carrara.sample.grids import AnyGrid, Karras, Leading, Quadratic, TimeGrid, Trailing, Uniform
from carrara.sample.guidance import clip, dynamic_threshold, guide
from carrara.sample.multistep import DpmPp, DpmPpSde, Lms, UniPC
from carrara.sample.samplers import Ddim, Ddpm, Euler, EulerAncestral, Heun
from carrara.sample.settings import SampleSettings

__all__ = [
    "GRIDS",
    "SAMPLERS",
    "AnyGrid",
    "AnySampler",
    "Ddim",
    "Ddpm",
    "DpmPp",
    "DpmPpSde",
    "Euler",
    "EulerAncestral",
    "Heun",
    "Karras",
    "Leading",
    "Level",
    "Lms",
    "Quadratic",
    "SampleSettings",
    "SampleStep",
    "Sampler",
    "Step",
    "TimeGrid",
    "Trailing",
    "UniPC",
    "Uniform",
    "clip",
    "draws_for",
    "dynamic_threshold",
    "generate",
    "grid",
    "guide",
    "initial",
    "last",
    "noise_for",
    "sampler",
    "walk",
]
