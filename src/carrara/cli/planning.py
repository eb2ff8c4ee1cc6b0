"""``--plan``: what a training would take on machines that are not here."""

from collections.abc import Sequence
from pathlib import Path

from carrara import run as runs
from carrara.cli.terminal import bold, console, styled
from carrara.errors import UserError, option
from carrara.run.cluster import Cluster


def print_plan(
    machines: str, source: str | None, overrides: Sequence[str], preset: str | None, folder: Path | None, alone: bool
) -> None:
    """Says it of each stage; nothing is trained or written.

    Args:
        alone: whether nothing else is asked for.

    Raises:
        UserError: the machines are not described well, or the recipe cannot be trained on them.
    """
    if not alone:
        raise UserError(f"{option('plan')} trains nothing: leave {option('launch')} and {option('dry_run')} out")
    from carrara.run.foreseeing import foresee  # torch's fake tensors and sharding take seconds to import

    cluster, plan = Cluster.read(machines), runs.plan(source, preset, folder, overrides)
    for reason in plan.reasons:
        console.print(styled("chosen for you", "dim"), f"  {reason}")
    for stage in plan.stages:
        if len(plan.stages) > 1:
            console.print(bold(stage.folder))
        console.print(foresee(stage.recipe, cluster).text())
