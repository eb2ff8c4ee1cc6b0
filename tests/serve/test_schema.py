"""The API against its own schema: schemathesis makes up requests, right and wrong ones, and looks at the answers."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from studios import live, settings_of

from small_models import saved
from thorough import EACH

FOUND = shutil.which("schemathesis", path=str(Path(sys.executable).parent)) or shutil.which("schemathesis")
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
CASES = 2000 // EACH


PHASES = {"examples,coverage": (), "fuzzing": ("--exclude-path-regex", "^/v1/images/(edits|variations)$")}
"""Of each phase, what is left out: schemathesis 4.32 cannot fuzz forms with lists of files."""


@pytest.mark.slow
@pytest.mark.skipif(FOUND is None, reason="schemathesis is not installed: pip install schemathesis==4.32.5")
def test_answers_are_as_the_schema_says(tmp_path: Path) -> None:
    """No 5xx, and no status, type or body that is not documented, in thousands of cases."""
    assert FOUND is not None
    run, generated = saved("pixels", tmp_path / "run"), 0
    with live(settings_of(run, steps=6, count=4, seconds=5.0, queue=8)) as (client, _):
        schema = f"{str(client.base_url).rstrip('/')}/openapi.json"
        for phases, others in PHASES.items():
            command = [FOUND, "run", schema, "--no-color", "--phases", phases, "-n", str(40 // EACH)]
            command += ["-c", CHECKS, *others]
            command += ["--continue-on-failure", "--no-shrink", "--seed", "1", "--request-timeout", "30"]
            command += ["--generation-database", "none", "--warnings", "off"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=tmp_path, check=False)
            assert done.returncode == 0, done.stdout[-4000:]
            found = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
            assert found is not None and found[1] == found[2], done.stdout[-2000:]
            generated += int(found[1])
    assert generated >= CASES
