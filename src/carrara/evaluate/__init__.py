"""How good a model is: numbers that name what they looked at."""

from carrara.evaluate.bootstrap import Resampled, bootstrap
from carrara.evaluate.clock import GapCurve, MemorisationTime, Onset, memorisation_gap, memorisation_time, onset
from carrara.evaluate.features import Features, extract
from carrara.evaluate.frechet import (
    Moments,
    frechet_bias,
    frechet_distance,
    frechet_distance_of_sets,
    moments,
)
from carrara.evaluate.inception import InceptionFeatures, inception_score
from carrara.evaluate.kernel import Estimate, cmmd, kernel_distance
from carrara.evaluate.markov import MarkovChain
from carrara.evaluate.memorisation import Memorisation, closest_pairs, memorisation
from carrara.evaluate.music import Copying, Musicality, TrainingMusic, copying, musicality
from carrara.evaluate.networks import extractor
from carrara.evaluate.precision import PrecisionRecall, precision_recall
from carrara.evaluate.reconstruction import ReconstructionReport, active_channels, psnr, reconstruction, ssim
from carrara.evaluate.reference import Reference
from carrara.evaluate.retrieval import Retrieval, retrieval
from carrara.evaluate.scores import SAMPLE_METRICS, SampleMetrics, Score, check_metrics, sample_metrics
from carrara.evaluate.vision import ClipFeatures, DinoFeatures, clip_score

__all__ = [
    "SAMPLE_METRICS",
    "ClipFeatures",
    "Copying",
    "DinoFeatures",
    "Estimate",
    "Features",
    "GapCurve",
    "InceptionFeatures",
    "MarkovChain",
    "Memorisation",
    "MemorisationTime",
    "Moments",
    "Musicality",
    "Onset",
    "PrecisionRecall",
    "ReconstructionReport",
    "Reference",
    "Resampled",
    "Retrieval",
    "SampleMetrics",
    "Score",
    "TrainingMusic",
    "active_channels",
    "bootstrap",
    "check_metrics",
    "clip_score",
    "closest_pairs",
    "cmmd",
    "copying",
    "extract",
    "extractor",
    "frechet_bias",
    "frechet_distance",
    "frechet_distance_of_sets",
    "inception_score",
    "kernel_distance",
    "memorisation",
    "memorisation_gap",
    "memorisation_time",
    "moments",
    "onset",
    "musicality",
    "precision_recall",
    "psnr",
    "reconstruction",
    "retrieval",
    "sample_metrics",
    "ssim",
]
