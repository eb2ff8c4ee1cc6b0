"""What the studio is installed with elsewhere: a container and a service, as far as one can tell without either."""

import configparser
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from carrara.errors import UserError
from carrara.serve import command, running

ROOT = Path(__file__).parents[2]
DOCKERFILE, UNIT = ROOT / "deploy" / "Dockerfile", ROOT / "deploy" / "carrara.service"


def instructions() -> list[tuple[str, str]]:
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    whole = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in whole.splitlines() if line)]


def served(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> running.ServeSettings:
    """The settings that a command line of the studio's comes to."""
    from carrara.cli.app import app

    seen = list[running.ServeSettings]()
    monkeypatch.setattr(running, "run", seen.append)
    app(arguments, exit_on_error=False, print_error=False)
    return seen[0]


def test_the_container_serves_with_a_token_alone_and_as_nobody_special(monkeypatch):
    told = dict(instructions())
    line = [*json.loads(told["ENTRYPOINT"]), *json.loads(told["CMD"])]
    assert line[0] == "carrara" and told["USER"] != "root"
    with pytest.raises(UserError, match="token"):
        served(line[1:], monkeypatch)
    monkeypatch.setenv(command.TOKEN, "secret-words")
    settings = served(line[1:], monkeypatch)
    assert (settings.host, str(settings.port)) == ("0.0.0.0", told["EXPOSE"])


def test_what_is_copied_into_the_container_is_there_and_not_left_out():
    passed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {name for kind, rest in instructions() if kind == "COPY" for name in rest.split()[:-1]}
    assert copied == passed
    assert all((ROOT / name).exists() for name in copied)


def test_the_extras_of_the_container_exist():
    import tomllib

    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (named,) = re.findall(r"'\.\[(.*?)\]'", DOCKERFILE.read_text())
    assert "serve" in named.split(",") and set(named.split(",")) <= set(known)


def test_the_service_serves_this_machine_and_leaves_trainings_alone(monkeypatch):
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment]
    unit.read_string(UNIT.read_text())
    line = unit["Service"]["ExecStart"].split()
    assert line[0].endswith("/bin/carrara") and served(line[1:], monkeypatch).local
    assert unit["Service"]["KillMode"] == "process"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_understands_the_service_and_finds_it_little_exposed(tmp_path):
    unit = tmp_path / UNIT.name
    there = Path(sys.executable).with_name("carrara")
    told = UNIT.read_text().replace("/opt/carrara/bin/carrara", str(there))
    unit.write_text(told.replace("User=carrara", "User=root"))
    verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60)
    assert verified.returncode == 0 and unit.name not in verified.stderr, verified.stderr
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=30", unit],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert judged.returncode == 0, judged.stdout[-2000:]


@pytest.mark.slow
def test_what_is_copied_into_the_container_builds_with_its_page(tmp_path):
    for name in {name for kind, rest in instructions() if kind == "COPY" for name in rest.split()[:-1]}:
        of = ROOT / name
        (shutil.copytree if of.is_dir() else shutil.copy)(of, tmp_path / name)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path / "wheel", tmp_path],
        check=True,
        timeout=600,
    )
    (wheel,) = (tmp_path / "wheel").iterdir()
    names = set(zipfile.ZipFile(wheel).namelist())
    page = ROOT / "src" / "carrara" / "serve" / "page"
    assert {f"carrara/serve/page/{file.relative_to(page)}" for file in page.rglob("*") if file.is_file()} <= names
