"""How good a model is: numbers that name what they looked at."""

from carrara.evaluate.features import Features, extract, extractor
from carrara.evaluate.frechet import Moments, frechet_bias, frechet_distance, moments
from carrara.evaluate.kernel import Estimate, kernel_distance, kernel_distance_of_subsets
from carrara.evaluate.reconstruction import ReconstructionReport, active_channels, psnr, reconstruction, ssim
from carrara.evaluate.retrieval import Retrieval, retrieval

__all__ = [
    "Estimate",
    "Features",
    "Moments",
    "ReconstructionReport",
    "Retrieval",
    "active_channels",
    "extract",
    "extractor",
    "frechet_bias",
    "frechet_distance",
    "kernel_distance",
    "kernel_distance_of_subsets",
    "moments",
    "psnr",
    "reconstruction",
    "retrieval",
    "ssim",
]
