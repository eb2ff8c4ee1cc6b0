from pathlib import Path

import numpy as np
import pytest
from carrara.cli import main
from PIL import Image
from tiny import Command


@pytest.fixture
def carrara(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command in this process; returns its exit code and all that it printed."""

    def run(*arguments: object) -> tuple[int, str]:
        with pytest.raises(SystemExit) as raised:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return int(raised.value.code or 0), printed.out + printed.err

    return run


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
