"""Music is harmonised, continued and gone over by a small model of tokens, and made again from the files that come."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from carrara.autoencoder.levels import LevelsConfig
from carrara.backbone import UNetConfig
from carrara.conditioning import LabelsConfig
from carrara.files import read_midi
from carrara.modality import Notes
from carrara.model import DiffusionModel, ModelConfig
from carrara.noise import X0, RectifiedFlow
from carrara.notes import Grid, count, from_midi, painted, record_of, to_midi
from carrara.sample import Absorbing, SampleSettings
from carrara.seeds import torch_generator
from tiny import Command

pytest.importorskip("symusic")
VOICES = ("Soprano", "Alto", "Tenor", "Bass")
RANGES = (69, 62, 57, 48)
LOWEST, HIGHEST = 45, 80
CONFIG = ModelConfig(
    shape=(4, 64),
    first_stage=LevelsConfig(levels=count(LOWEST, HIGHEST)),
    backbone=UNetConfig(channels=8, multipliers=(1, 2), blocks=1, attention_levels=(1,), head_width=8),
    schedule=RectifiedFlow(),
    parameterization=X0(),
    conditioner=LabelsConfig(classes=("key C", "major", "4/4")),
    sample=SampleSettings(sampler=Absorbing(), steps=4),
    modality=Notes(form="tokens", voices=VOICES, lowest=LOWEST, highest=HIGHEST),
)


def chorale(seed: int = 0, steps: int = 64, voices: tuple[str, ...] = VOICES) -> Grid:
    rng = np.random.default_rng(seed)
    rows = [(v, 4 * k, 4, RANGES[v] + int(rng.integers(0, 10))) for v in range(len(voices)) for k in range(steps // 4)]
    pitches, onsets = painted(rows, len(voices), steps)
    return Grid(pitches=pitches, onsets=onsets, metre=(4, 4), voices=voices)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with torch_generator(0):
        made = DiffusionModel(CONFIG)
        with torch.no_grad():
            for weights in made.parameters():
                weights += 0.1 * torch.randn(weights.shape)
    folder = tmp_path_factory.mktemp("models") / "chorales"
    made.save(folder)
    return folder


@pytest.fixture
def piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("piece.mid").write_bytes(to_midi(chorale()))
    Path("other.mid").write_bytes(to_midi(chorale(1)))
    return Path("piece.mid")


def heard(path: Path) -> Grid:
    return from_midi(read_midi(path), per_quarter=4).grid


def cells(grid: Grid, voice: int | slice, steps: slice = slice(None)) -> list[object]:
    return [grid.pitches[voice, steps].tolist(), grid.onsets[voice, steps].tolist()]


def made(carrara: Command, *words: object) -> list[Path]:
    """The MIDI files that come, the last of which is made again bit for bit from what it says."""
    out = Path(f"out-{len(list(Path().glob('out-*')))}")
    code, said = carrara(*words, "--out", out)
    assert code == 0, said
    paths = sorted(out.glob("*.mid"))
    assert all(path.with_suffix(ending).is_file() for path in paths for ending in (".musicxml", ".png", ".wav"))
    again = out / "again" / paths[-1].name
    code, said = carrara("replay", paths[-1], "--run", words[1], "--out", again)
    assert code == 0, said
    assert again.read_bytes() == paths[-1].read_bytes()
    return paths


def padded(grid: Grid, steps: int) -> Grid:
    """With the rests at its end that a file does not hold."""
    pitches, onsets = painted(grid.notes(), len(grid.pitches), steps)
    return Grid(pitches=pitches, onsets=onsets)


def test_a_soprano_is_harmonised_and_kept(carrara: Command, model: Path, piece: Path) -> None:
    paths = made(carrara, "edit", model, "inpaint", piece, "--channels", "alto,tenor,bass", "-n", 2)
    assert len(paths) == 2
    found = [heard(path) for path in paths]
    for grid in found:
        assert cells(grid, 0) == cells(chorale(), 0) != cells(grid, 1)
    assert not np.array_equal(found[0].pitches, found[1].pitches)
    assert not any(np.array_equal(grid.pitches[v], chorale().pitches[v]) for grid in found for v in (1, 2, 3))


def test_a_file_with_a_soprano_alone_will_do(carrara: Command, model: Path, piece: Path) -> None:
    alone = chorale(voices=("Soprano",))
    Path("melody.mid").write_bytes(to_midi(alone))
    (path,) = made(carrara, "edit", model, "inpaint", "melody.mid", "--channels", "Alto,Tenor,Bass", "-n", 1)
    grid = heard(path)
    assert cells(grid, 0) == cells(alone, 0)
    assert (grid.pitches[1:] >= 0).any(1).all()
    (whole,) = made(carrara, "edit", model, "inpaint", piece, "--channels", "2,3,4", "-n", 1, "--prompt", "key C+4/4")
    assert cells(heard(whole), 0) == cells(alone, 0)


def test_a_span_of_bars_is_made_new(carrara: Command, model: Path, piece: Path) -> None:
    (path,) = made(carrara, "edit", model, "inpaint", piece, "--span", "1,2.5", "-n", 1)
    grid = padded(heard(path), 64)
    every = slice(None)
    assert cells(grid, every, slice(16)) == cells(chorale(), every, slice(16))
    assert grid.pitches[:, 40:].tolist() == chorale().pitches[:, 40:].tolist()
    assert grid.pitches[:, 16:40].tolist() != chorale().pitches[:, 16:40].tolist()
    (part,) = made(carrara, "edit", model, "inpaint", piece, "--span", "1,2", "--channels", "bass", "-n", 1)
    grid = padded(heard(part), 64)
    assert cells(grid, slice(3)) == cells(chorale(), slice(3))
    assert grid.pitches[3, :16].tolist() == chorale().pitches[3, :16].tolist()


def test_a_phrase_goes_on_by_windows(carrara: Command, model: Path, piece: Path) -> None:
    words = ("edit", model, "outpaint", piece, "--margins", "0,4", "--tile", 64, "-n", 1)
    (path,) = made(carrara, *words)
    grid = padded(heard(path), 128)
    assert cells(grid, slice(None), slice(64)) == cells(chorale(), slice(None))
    assert (grid.pitches[:, 64:] >= 0).any()


def test_longer_music_than_was_trained_on(carrara: Command, model: Path, piece: Path) -> None:
    paths = made(carrara, "sample", model, "-n", 3, "--size", 128, "--tile", 64)
    assert len(paths) == 3
    assert max(heard(path).steps for path in paths) > 64
    assert record_of(read_midi(paths[0]))["request"]["size"] == [128]


def test_there_is_a_way_from_piece_to_piece(carrara: Command, model: Path, piece: Path) -> None:
    paths = made(carrara, "edit", model, "interpolate", piece, "other.mid", "--frames", 4)
    grids = [padded(heard(path), 64) for path in paths]
    assert len(grids) == 4
    assert cells(grids[0], slice(None)) == cells(chorale(), slice(None))
    assert cells(grids[-1], slice(None)) == cells(chorale(1), slice(None))


def test_files_say_where_they_are_from_but_not_on_which_machine(
    carrara: Command, model: Path, piece: Path, tmp_path: Path
) -> None:
    (path,) = made(carrara, "edit", model, "inpaint", piece, "--channels", "bass", "-n", 1)
    record = record_of(read_midi(path))
    assert record["edit"]["channels"] == "bass" and record["edit"]["verb"] == "inpaint"
    assert str(tmp_path) not in json.dumps(record | {"run": ""})


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("inpaint", "piece.mid"), "what shall be made new"),
        (("inpaint", "piece.mid", "--channels", "oboe"), "they are Soprano, Alto, Tenor, Bass"),
        (("inpaint", "piece.mid", "--span", "3,9"), "there are bars 0 to 4"),
        (("inpaint", "five.mid", "--channels", "bass"), "has 5 voices, and this model writes 4"),
        (("inpaint", "high.mid", "--channels", "bass"), "are not all in 45 to 80"),
    ],
)
def test_what_cannot_be_edited_is_refused(
    carrara: Command, model: Path, piece: Path, words: tuple[str, ...], says: str
) -> None:
    five = [(v, 0, 8, 50 + v) for v in range(5)]
    Path("five.mid").write_bytes(to_midi(Grid(**dict(zip(("pitches", "onsets"), painted(five, 5, 8), strict=True)))))
    Path("high.mid").write_bytes(to_midi(chorale().transposed(20)))
    code, said = carrara("edit", model, *words)
    assert code != 0 and says in " ".join(said.split())
