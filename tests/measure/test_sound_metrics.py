"""``carrara evaluate`` of a run that makes sounds: spectra and kernel distance; and what a sound is written as."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from carrara.draw import Ask, collect, record, request
from carrara.errors import UserError
from carrara.measure import MeasureSettings, measure_run
from carrara.medium import medium_of
from carrara.modality import Sound
from carrara.run.plan import plan
from carrara.run.session import Session
from carrara.sounds import read_record
from carrara.store import Store

CPU = torch.device("cpu")
NETWORK = "model.backbone={kind: unet, channels: 8, multipliers: [1, 2], attention_levels: [], head_width: 8, patch: 4}"
SMALL = ("train.minutes=null", "train.steps=3", "train.batch=4", "train.precision=float32", "preview.every=3")
TONES = ("data.source.count=90", "data.size=256", "data.held_out=0.4", "sample.steps=2", "preview.count=3")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tones"
    for stage in plan(None, "sound", folder, [*SMALL, *TONES, NETWORK]).stages:
        list(Session(stage, CPU))
    return folder


def measured(run: Path, metric: str, **how: Any) -> dict[str, Any]:
    ((found, paths),) = measure_run(run, metric, CPU, MeasureSettings(**how))
    assert found.lines
    data = json.loads(paths[0].read_text())
    assert json.loads(json.dumps(found.data)).items() <= data.items()
    return data


def test_a_model_knows_what_its_numbers_are(run: Path) -> None:
    model = Store().open(run).model
    assert model.config.modality == Sound(rate=8000)
    assert model.medium.name == "sounds"
    assert medium_of((1, 256)).name == "curves"
    assert list((run / "samples").glob("*.png")), "a preview"


def test_samples_are_written_as_sounds(run: Path, tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    opened = Store().open(run)
    wanted = request(opened, Ask(count=2, seed=7))
    samples = collect(opened, wanted, strip=True)
    paths = samples.save(tmp_path, record(opened, wanted))
    assert [path.name for path in paths] == ["grid.png", "strip.png", "0000.wav", "0001.wav"]
    values, rate = soundfile.read(paths[3], dtype="float32")
    assert rate == 8000
    assert torch.allclose(torch.from_numpy(values), samples.values[1, 0].clamp(-1, 1), atol=1e-4)
    said = read_record(paths[3])
    assert said["request"]["seeds"] == [8]
    assert said["weights"] == opened.model.digest()
    again = samples.medium.write(samples.values[1], tmp_path / "0001", said)
    assert again[0].name == "0001-2.wav"
    assert again[0].read_bytes() == paths[3].read_bytes()


def test_spectra_by_bands(run: Path) -> None:
    found = measured(run, "spectrum", samples=24)
    assert len(found["bands"]) == 8
    assert (found["fake"], found["split"]) == (24, "held-out sounds")
    assert found["lsd"] > 0
    assert (run / "evaluation" / "spectrum.png").is_file()


def test_the_kernel_distance_of_noise_is_large(run: Path) -> None:
    found = measured(run, "kad", samples=24)
    assert found["kad"]["value"] > 3 * found["kad"]["error"]
    assert "log-mel" in found["features"]
    with pytest.raises(UserError, match="too few to compare"):
        measured(run, "kad", samples=5)


def test_a_likelihood_is_measured_as_of_other_numbers(run: Path) -> None:
    assert measured(run, "nll")["unit"] == "bits/dim"


@pytest.mark.parametrize("metric", ["kid", "prdc", "memorisation"])
def test_metrics_of_pictures_refuse_sounds(run: Path, metric: str) -> None:
    with pytest.raises(UserError, match="look at pictures, and this run makes sounds"):
        measured(run, metric, samples=24)
