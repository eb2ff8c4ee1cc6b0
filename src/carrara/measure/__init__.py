"""What can be said of a run that is trained: how good it is, whether it is sound, how fast it is; and of schedules."""

from carrara.measure.comparison import compare_runs
from carrara.measure.evaluation import measure_run
from carrara.measure.health import Finding, examine
from carrara.measure.likelihood import CodeLength, decoder_scale, diffusion_bound, flow_bound
from carrara.measure.measurement import MeasureSettings, MetricResult
from carrara.measure.metrics import METRICS, Metric
from carrara.measure.model_speed import ModelSpeed, measure_model_speed
from carrara.measure.recipe_speed import RecipeSpeed, measure_recipe_speed
from carrara.measure.report import write_report
from carrara.measure.subject import Subject
from carrara.measure.timing import Timing, Work, flops_of, machine, peak_memory, roofline, seconds_of, time_in_turns

__all__ = [
    "METRICS",
    "CodeLength",
    "Finding",
    "MeasureSettings",
    "MetricResult",
    "Metric",
    "ModelSpeed",
    "RecipeSpeed",
    "Subject",
    "Timing",
    "Work",
    "compare_runs",
    "decoder_scale",
    "diffusion_bound",
    "examine",
    "flops_of",
    "flow_bound",
    "machine",
    "measure_model_speed",
    "measure_recipe_speed",
    "measure_run",
    "peak_memory",
    "roofline",
    "seconds_of",
    "time_in_turns",
    "write_report",
]
