"""The life of a run: planned, trained in a folder, previewed, and gone on with."""

from carrara.run.compilation import Note
from carrara.run.plan import Plan, plan, plan_distillation, plan_few_step, plan_finetuning
from carrara.run.rehearsal import Rehearsal, rehearse
from carrara.run.session import Diagnosis, HeldOut, ModelSaved, Preview, Session

__all__ = [
    "Diagnosis",
    "HeldOut",
    "Note",
    "Plan",
    "Preview",
    "Rehearsal",
    "ModelSaved",
    "Session",
    "plan",
    "plan_distillation",
    "plan_few_step",
    "plan_finetuning",
    "rehearse",
]
