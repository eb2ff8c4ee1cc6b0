"""A rehearsal in a process of its own: ``python -m carrara.serve.rehearsing ASKED``, which says it in JSON.

What is asked is the arguments of ``plan_of``, in JSON.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carrara.errors import UserError
from carrara.files import as_kind, parse_json
from carrara.run import rehearse
from carrara.run.plan import Plan
from carrara.serve.planned import title_of
from carrara.serve.said import sentence
from carrara.serve.wanted import plan_of

_TITLE = 12


def rehearsed(stage: Plan) -> dict[str, Any]:
    """What a stage would be, as the page has it."""
    found = rehearse(stage)
    lines = [(line[:_TITLE].strip(), line[_TITLE:].strip()) for line in found.text().split("\n")]
    rows = [row for row in lines if row[0] != "disk"]
    seconds = found.steps * found.step_seconds
    return {"title": title_of(stage), "rows": rows, "seconds": seconds, "disk": found.disk}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The arguments of ``plan_of``."""

    source: str | None
    preset: str | None
    folder: str
    overrides: tuple[str, ...]
    start: str | None = None


def main(asked: Asked) -> dict[str, Any]:
    """All stages, or why there are none."""
    try:
        planned = plan_of(asked.source, asked.preset, Path(asked.folder), asked.overrides, asked.start)
        planned.check()
        return {"stages": [rehearsed(stage) for stage in planned.stages]}
    except UserError as error:
        return {"message": sentence(error)}
    except Exception as error:
        return {"message": f"the rehearsal failed ({type(error).__name__}: {error})"}


if __name__ == "__main__":
    print(json.dumps(main(as_kind(parse_json(sys.stdin.buffer.read()), Asked))))
