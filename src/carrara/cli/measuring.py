"""``carrara evaluate``."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from carrara.cli import looking
from carrara.cli.launching import launch
from carrara.cli.progress import counted
from carrara.cli.terminal import bold, console, together
from carrara.measure import MeasureSettings, measure_run
from carrara.ranks import in_all, rank


def evaluate(
    folder: Path, metrics: str | None, out: Path | None, report: bool, count: int | None, **how: Any
) -> int | None:
    """Measures a run, and writes a page about it if asked to, in ``count`` processes.

    Args:
        how: as ``MeasureSettings`` has it.
    """
    if count is not None:
        options = {"metrics": metrics, "out": out, "report": report, **how}
        return launch(count, ["evaluate", *_typed(options), "--", str(folder)])
    with together() as device:
        if metrics is not None or not report:
            _print_measures(folder, metrics, device, out, how)
        if report:
            in_all(lambda: looking.report_on(folder, out) if rank() == 0 else None)
    return None


def _typed(options: Mapping[str, Any]) -> list[str]:
    """What one types for options."""
    said = {f"--{name}": value for name, value in options.items() if value is not None and value is not False}
    return [name if value is True else f"{name}={value}" for name, value in said.items()]


def _print_measures(
    folder: Path, metrics: str | None, device: torch.device, out: Path | None, how: Mapping[str, Any]
) -> None:
    def watch(done: Iterable[int], total: int, what: str) -> Iterable[int]:
        return counted(done, total, what)

    for result, paths in measure_run(folder, metrics, device, MeasureSettings(**how, watch=watch), out):
        for line in result.lines:
            console.print(line)
        if paths:
            console.print("Written to ", bold(" and ".join(map(str, paths))))
