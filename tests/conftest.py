"""Every test runs with the package's shape annotations executed."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import install_import_hook
from PIL import Image

install_import_hook("carrara", "beartype.beartype").__enter__()

os.environ.setdefault("CARRARA_TUNE", "0")  # what is measured here is a machine with other work
torch.set_num_threads(int(os.environ.get("CARRARA_TEST_THREADS", "1")))
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with two classes of small pictures."""
    rng = np.random.default_rng(0)
    for kind, hue in (("red", 0), ("blue", 2)):
        for k in range(8):
            picture = rng.integers(0, 60, (20, 20, 3), np.uint8)
            picture[4:16, 4:16, hue] = 200 + k
            path = tmp_path / "photos" / kind / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path)
    return tmp_path / "photos"


@pytest.fixture
def carrara(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs the command in this process; returns its exit code and all that it printed."""
    from carrara.cli import main

    def run(*arguments: object) -> tuple[int, str]:
        with pytest.raises(SystemExit) as raised:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return int(raised.value.code or 0), printed.out + printed.err

    return run


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="make test-browser installs Playwright")
    if CHROMIUM is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()
