r"""Noise schedules as diffusers' schedulers state them.

Their networks see states that preserve variance, at the T steps k / T of training. Ours see c_in x_t with c_in = 1 /
sqrt(alpha^2 + sigma^2), and so, on any schedule, the same states, with

.. math:: \bar\alpha_k = \alpha^2 / (\alpha^2 + \sigma^2), \quad
          \beta_k = 1 - \bar\alpha_k / \bar\alpha_{k-1}, \quad t = k / T.                                        (1)

eps, x0 and v mean the same in both; the flow eps - x0 does not, because alpha + sigma is not 1 there.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from carrara.conditioning import ClipTextConfig
from carrara.errors import UserError, unknown
from carrara.files import Malformed, as_kind
from carrara.model import ModelConfig
from carrara.noise import (
    X0,
    AnyParameterization,
    AnySchedule,
    Cosine,
    DiscreteSchedule,
    Eps,
    Linear,
    ScaledLinear,
    Schedule,
    V,
)
from carrara.sample import (
    AnyGrid,
    AnySampler,
    Ddim,
    Ddpm,
    DpmPp,
    DpmPpSde,
    Euler,
    EulerAncestral,
    Heun,
    Karras,
    Leading,
    Lms,
    SampleSettings,
    Trailing,
    Uniform,
    UniPC,
)

CONTINUOUS = 1000
"""T of a schedule that has no steps of its own."""
PREDICTIONS: Mapping[str, AnyParameterization] = {"epsilon": Eps(), "sample": X0(), "v_prediction": V()}
OTHERS: Mapping[str, AnySampler] = {
    "PNDMScheduler": Ddim(),
    "EulerDiscreteScheduler": Euler(),
    "EulerAncestralDiscreteScheduler": EulerAncestral(),
    "HeunDiscreteScheduler": Heun(),
    "DPMSolverMultistepScheduler": DpmPp(),
    "UniPCMultistepScheduler": UniPC(),
    "LMSDiscreteScheduler": Lms(),
}
"""Schedulers with the same noise, and how their networks are sampled here."""
SCHEDULERS = ("DDPMScheduler", "DDIMScheduler", *OTHERS)
APART = ("use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas", "use_flow_sigmas")
"""Spacings that have no equal here."""
NAMED = {"linear": "linear", "scaled_linear": "scaled_linear", "cosine": "squaredcos_cap_v2"}
VARIANCES = {"fixed_small": "beta_tilde", "fixed_large": "beta"}


def steps_of(schedule: Schedule) -> int:
    """T."""
    return schedule.discrete_steps or CONTINUOUS


def levels_of(schedule: Schedule, parameterization: AnyParameterization) -> Tensor:
    """What a network is told at the steps 1 ... T, (T,) float32: half log-SNRs."""
    return parameterization(*schedule(_times(schedule))).noise_level.float()


def betas_of(schedule: Schedule) -> list[float]:
    """Equation (1)'s."""
    alpha, sigma = schedule(_times(schedule))
    abar = alpha.square() / (alpha.square() + sigma.square())
    return (1 - abar / torch.cat([torch.ones(1, dtype=torch.float64), abar[:-1]])).tolist()


def scheduler(config: ModelConfig) -> dict[str, Any]:
    """``scheduler_config.json`` of a model.

    Raises:
        UserError: there is no such prediction.
    """
    predictions = {one: name for name, one in PREDICTIONS.items()}
    predicted = config.parameterization
    predicted = X0() if predicted.kind == "x0" else predicted  # the levels that it is told are in the network
    if predicted not in predictions:
        raise UserError(
            f"stock diffusers cannot read the parameterization {config.parameterization.kind} of this network, whose "
            "input is scaled to unit variance: it has epsilon, sample and v_prediction, so train with "
            "model.parameterization=v (or x0, or eps)"
        )
    sampler, settings = config.sample.sampler, config.sample
    stochastic = isinstance(sampler, Ddpm) and config.first_stage.kind == "identity"
    return {
        "_class_name": "DDPMScheduler" if stochastic else "DDIMScheduler",
        "num_train_timesteps": steps_of(config.schedule),
        **_betas(config.schedule),
        "prediction_type": predictions[predicted],
        "clip_sample": settings.clip and settings.threshold is None,
        "thresholding": settings.threshold is not None,
        **({} if settings.threshold is None else {"dynamic_thresholding_ratio": settings.threshold}),
        "sample_max_value": 1.0 if settings.threshold is None else 1e4,
        "timestep_spacing": "leading" if isinstance(settings.grid, Leading) else "trailing",
        "steps_offset": _offset(config),
        **({"variance_type": _variance(sampler)} if stochastic else {"set_alpha_to_one": True}),
    }


def remarks(config: ModelConfig) -> list[str]:
    """What a model's sampling settings say that its scheduler does not."""
    settings, said = config.sample, list[str]()
    if _single(config) and isinstance(settings.grid, Leading) and settings.grid.offset != 1:
        said.append("a StableDiffusionPipeline begins its steps 1 later (steps_offset) than this model does")
    pixels = config.first_stage.kind == "identity"
    if settings.sampler.kind not in (("ddim", "ddpm") if pixels else ("ddim",)):
        said.append(f"the scheduler is DDIM, and this model's own sampler is {settings.sampler.kind}")
    if settings.grid.kind not in ("leading", "trailing", "uniform"):
        said.append(f"the steps are spaced evenly, and this model's own grid is {settings.grid.kind}")
    if not isinstance(config.schedule, DiscreteSchedule):
        said.append(f"the schedule {config.schedule.kind} is written as the betas of its {CONTINUOUS} steps")
    if settings.clip and settings.sampler.kind != "ddpm":
        said.append("estimates are clipped: call the pipeline with use_clipped_model_output=True, as it is done here")
    if settings.threshold is not None:
        said.append("dynamic thresholds are interpolated there, and by nearest rank here: pictures differ a little")
    if settings.guidance != 1:
        said.append(f"this model's own guidance is {settings.guidance:g}: call the pipeline with guidance_scale")
    said.append(f"this model's own number of steps is {settings.steps}")
    return said


def read_scheduler(found: Mapping[str, Any]) -> tuple[AnySchedule, AnyParameterization, SampleSettings]:
    """What a ``scheduler_config.json`` says.

    Raises:
        UserError: it is of another scheduler, or says what has no place here.
    """
    name = str(found.get("_class_name"))
    if name not in SCHEDULERS:
        raise unknown("scheduler", name, SCHEDULERS)
    prediction = str(found.get("prediction_type", "epsilon"))
    if prediction not in PREDICTIONS:
        raise unknown("prediction_type", prediction, PREDICTIONS)
    schedule = _schedule(found)
    return schedule, PREDICTIONS[prediction], _settings(found, name, schedule)


def unread(found: Mapping[str, Any]) -> list[str]:
    """What a ``scheduler_config.json`` says of sampling that has no equal here."""
    said = list[str]()
    name = str(found.get("_class_name"))
    if name == "PNDMScheduler":
        said.append("PNDM's steps have no equal here: it is sampled by ddim")
    usual = name != "PNDMScheduler"
    if name in ("DDIMScheduler", "PNDMScheduler") and found.get("set_alpha_to_one", usual) is False:
        said.append("the pipeline's last step leads to its cleanest noise level, and this model's to the data")
    if _spacing(found, name) == "linspace" and not found.get("use_karras_sigmas"):
        said.append(
            "the pipeline's steps are spaced from the first to the last one (linspace), and this model's evenly"
        )
    if str(found.get("algorithm_type", "dpmsolver++")) not in ("dpmsolver++", "sde-dpmsolver++"):
        said.append(f"the solver {found.get('algorithm_type')} has no equal here: it is sampled by dpmpp")
    return said


def _schedule(found: Mapping[str, Any]) -> Linear | ScaledLinear | Cosine:
    if found.get("trained_betas") is not None:
        raise UserError("a scheduler with trained_betas is one of no kind that there is here: it cannot be imported")
    kinds = {theirs: ours for ours, theirs in NAMED.items()}
    name = str(found.get("beta_schedule", "linear"))
    if name not in kinds:
        raise unknown("beta_schedule", name, kinds)
    keys = {
        "steps": found.get("num_train_timesteps", 1000),
        "zero_terminal_snr": found.get("rescale_betas_zero_snr", False),
    }
    if name != "squaredcos_cap_v2":
        keys |= {"beta_start": found.get("beta_start", 1e-4), "beta_end": found.get("beta_end", 0.02)}
    kind: Any = {"linear": Linear, "scaled_linear": ScaledLinear, "cosine": Cosine}[kinds[name]]
    try:
        return as_kind(keys, kind)
    except (Malformed, ValueError) as error:
        raise UserError(f"the scheduler's betas are none ({' '.join(str(error).split())})") from None


def _settings(found: Mapping[str, Any], name: str, schedule: DiscreteSchedule) -> SampleSettings:
    steps = schedule.steps
    settings = SampleSettings(sampler=Ddim(), grid=_grid(found, name, schedule), steps=min(50, steps))
    for key in APART:
        if found.get(key):
            raise UserError(f"a scheduler with {key} has no equal here: save the pipeline with another scheduler")
    own = name in ("DDIMScheduler", "DDPMScheduler")
    clip, threshold = found.get("clip_sample", True) and own, found.get("thresholding", False)
    if threshold or (clip and found.get("clip_sample_range", 1.0) != 1):
        raise UserError("a scheduler that thresholds, or clips to more than [-1, 1], has no equal here")
    settings = replace(settings, clip=bool(clip))
    if name == "DDPMScheduler":
        variance = str(found.get("variance_type", "fixed_small"))
        if variance not in VARIANCES:
            raise unknown("variance_type", variance, VARIANCES)
        kind = Ddpm(variance="beta" if VARIANCES[variance] == "beta" else "beta_tilde")
        return replace(settings, sampler=kind, steps=steps)
    stochastic = found.get("algorithm_type") == "sde-dpmsolver++"
    return settings if own else replace(settings, sampler=DpmPpSde() if stochastic else OTHERS[name])


def _spacing(found: Mapping[str, Any], name: str) -> str:
    leading = ("DDIMScheduler", "DDPMScheduler", "PNDMScheduler")
    return str(found.get("timestep_spacing", "leading" if name in leading else "linspace"))


def _grid(found: Mapping[str, Any], name: str, schedule: DiscreteSchedule) -> AnyGrid:
    spacing = _spacing(found, name)
    if spacing not in ("leading", "trailing", "linspace"):
        raise unknown("timestep_spacing", spacing, ("leading", "trailing", "linspace"))
    if found.get("use_karras_sigmas"):
        alpha, sigma = schedule(_times(schedule)[0])
        return Karras(sigma_min=(sigma / alpha).item())
    if spacing == "linspace":
        return Uniform()
    if spacing == "trailing":
        return Trailing(train_steps=schedule.steps)
    try:
        return as_kind({"train_steps": schedule.steps, "offset": found.get("steps_offset", 0) or None}, Leading)
    except (Malformed, ValueError) as error:
        raise UserError(f"the scheduler's steps_offset is none ({' '.join(str(error).split())})") from None


def _single(config: ModelConfig) -> bool:
    """Whether the model becomes a StableDiffusionPipeline, which changes ``steps_offset`` to 1."""
    return isinstance(config.conditioner, ClipTextConfig) and not config.conditioner.sides


def _offset(config: ModelConfig) -> int:
    grid = config.sample.grid
    return 1 if _single(config) else (grid.offset or 0) if isinstance(grid, Leading) else 0


def _betas(schedule: Schedule) -> dict[str, Any]:
    match schedule:
        case Linear() | ScaledLinear():
            ends = {"beta_start": schedule.beta_start, "beta_end": schedule.beta_end}
        case Cosine(s=0.008, max_beta=0.999):
            ends = dict[str, float]()
        case _:
            return {"trained_betas": betas_of(schedule)}
    return {"beta_schedule": NAMED[schedule.kind], "rescale_betas_zero_snr": schedule.zero_terminal_snr, **ends}


def _variance(sampler: object) -> str:
    assert isinstance(sampler, Ddpm)
    return next(theirs for theirs, ours in VARIANCES.items() if ours == sampler.variance)


def _times(schedule: Schedule) -> Tensor:
    count = steps_of(schedule)
    return torch.arange(1, count + 1, dtype=torch.float64) / count
