"""Noise to data: samplers, time grids, guidance. Nothing here knows what a network is; a denoiser is any function."""

from carrara.sample.absorbing import Absorbing, Unmasking
from carrara.sample.base import Level, Sampler, SampleStep, Step, initial, last, walk
from carrara.sample.catalogue import GRIDS, METHODS, SAMPLERS, AnySampler, grid, method, sampler
from carrara.sample.exact import Mixture, score
from carrara.sample.generate import draws_for, generate, noise_for
from carrara.sample.grids import AnyGrid, Karras, Leading, Quadratic, TimeGrid, Trailing, Uniform
from carrara.sample.guidance import AnyMethod, Apg, Both, Cfg, CfgZero, Method, clip, dynamic_threshold, guide
from carrara.sample.inpainting import Inpainting, Repaint, inpainting
from carrara.sample.interpolation import blend, compose, slerp
from carrara.sample.inverse import AnyLikelihood, Dps, MeasurementLikelihood, PiGdm, measured
from carrara.sample.inversion import invert
from carrara.sample.likelihood import Flowed, dequantized, first_level, log_density, rademacher
from carrara.sample.multistep import DpmPp, DpmPpSde, Lms, UniPC
from carrara.sample.operators import Masking, Measurement, blurred, downscaled, greyed
from carrara.sample.samplers import Ddim, Ddpm, Euler, EulerAncestral, Heun
from carrara.sample.settings import SampleSettings
from carrara.sample.tiles import tiled
from carrara.sample.tilt import LogProb, classifier_guided, tweedie

__all__ = [
    "GRIDS",
    "METHODS",
    "SAMPLERS",
    "Absorbing",
    "AnyGrid",
    "AnyLikelihood",
    "AnyMethod",
    "AnySampler",
    "Apg",
    "Both",
    "Cfg",
    "CfgZero",
    "Ddim",
    "Ddpm",
    "DpmPp",
    "DpmPpSde",
    "Dps",
    "Euler",
    "EulerAncestral",
    "Flowed",
    "Heun",
    "Inpainting",
    "Karras",
    "Leading",
    "Level",
    "MeasurementLikelihood",
    "Lms",
    "LogProb",
    "Masking",
    "Measurement",
    "Method",
    "Mixture",
    "PiGdm",
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
    "Unmasking",
    "blend",
    "blurred",
    "classifier_guided",
    "clip",
    "compose",
    "dequantized",
    "downscaled",
    "draws_for",
    "dynamic_threshold",
    "first_level",
    "generate",
    "greyed",
    "grid",
    "guide",
    "initial",
    "inpainting",
    "invert",
    "last",
    "log_density",
    "measured",
    "method",
    "noise_for",
    "rademacher",
    "sampler",
    "score",
    "slerp",
    "tiled",
    "tweedie",
    "walk",
]
