"""WAV files: other readers read them, and the record comes back."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from carrara.errors import UserError
from carrara.files import BadFile
from carrara.files.sound import BLOCK, read_comment, read_sound, sound_header
from carrara.sounds import read_record, save_wav, wav_bytes

soundfile = pytest.importorskip("soundfile")
RECORD = {"seeds": [1, 2], "prompt": 'Glöckchen "hell" 🎵', "guidance": 1.5, "none": None}


def noise(channels: int = 1, frames: int = 1000) -> torch.Tensor:
    return torch.rand(channels, frames, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("frames", [1, 1000, 1001])
def test_samples_come_back(tmp_path: Path, channels: int, frames: int) -> None:
    x = noise(channels, frames)
    save_wav(x, 8000, tmp_path / "a.wav", RECORD, bits=32)
    exact, rate = soundfile.read(tmp_path / "a.wav", dtype="float32", always_2d=True)
    assert rate == 8000
    assert np.array_equal(exact.T, x.numpy())
    save_wav(x, 44100, tmp_path / "b.wav", RECORD)
    found, rate = soundfile.read(tmp_path / "b.wav", dtype="int16", always_2d=True)
    assert rate == 44100
    assert np.array_equal(found.T, np.rint(x.numpy().astype(np.float64) * 32768).clip(-32768, 32767))


def test_what_is_louder_is_clipped() -> None:
    data = wav_bytes(torch.tensor([[2.0, 1.0, -1.0, -2.0, 0.5]]), 8000)[-10:]
    assert struct.unpack("<5h", data) == (32767, 32767, -32768, -32768, 16384)


def test_the_bytes_are_those_of_the_format() -> None:
    content = wav_bytes(torch.tensor([[0.5, -0.5, 0.25]]), 8000)
    head = b"RIFF" + struct.pack("<I", 42) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    assert content == head + b"data" + struct.pack("<I3h", 6, 16384, -16384, 8192)


@pytest.mark.parametrize("record", [RECORD, {}, {"odd": "x"}, {"even": "xy"}])
def test_the_record_comes_back(tmp_path: Path, record: dict[str, object]) -> None:
    path = save_wav(noise(2), 8000, tmp_path / "a.wav", record)
    assert read_record(path) == record
    assert wav_bytes(noise(2), 8000, record) == path.read_bytes()
    assert soundfile.SoundFile(path).comment == read_comment(path)


def test_what_has_no_record_is_told(tmp_path: Path) -> None:
    save_wav(noise(), 8000, tmp_path / "bare.wav")
    soundfile.write(tmp_path / "a.flac", noise()[0].numpy(), 8000)
    (tmp_path / "broken.wav").write_bytes(wav_bytes(noise(), 8000, RECORD).replace(b'"seeds"', b'"seeds,'))
    with pytest.raises(UserError, match="carries no record"):
        read_record(tmp_path / "bare.wav")
    with pytest.raises(BadFile, match="is no WAV file"):
        read_record(tmp_path / "a.flac")
    with pytest.raises(UserError, match="is damaged"):
        read_record(tmp_path / "broken.wav")


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "aiff", "mp3"])
def test_headers_and_parts_are_read(tmp_path: Path, ending: str) -> None:
    x = noise(2, BLOCK + 5000).numpy().T * 0.5
    path = tmp_path / f"a.{ending}"
    soundfile.write(path, x, 22050)
    header = sound_header(path)
    assert (header.channels, header.rate) == (2, 22050)
    assert header.frames == pytest.approx(len(x), abs=0 if ending != "mp3" else 3000)
    whole = np.concatenate(list(read_sound(path)))
    assert len(whole) == header.frames
    part = np.concatenate(list(read_sound(path, first=3000, frames=BLOCK + 100)))
    if ending not in ("ogg", "mp3"):
        assert np.abs(whole - x).max() < 2 / 32768
        assert np.array_equal(part, whole[3000 : BLOCK + 3100])
    assert len(part) == BLOCK + 100


def test_a_part_of_a_long_file_is_all_that_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "a.flac", noise(1, 20 * BLOCK)[0].numpy() * 0.1, 8000)
    asked = list[int]()
    read = soundfile.SoundFile.read
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda self, n, *more: asked.append(n) or read(self, n, *more))
    list(read_sound(tmp_path / "a.flac", first=15 * BLOCK, frames=10))
    assert asked == [10]


def test_what_is_no_sound_is_told(tmp_path: Path) -> None:
    whole = wav_bytes(noise(1, 5000), 8000)
    faulty = {
        "empty.wav": (b"", "is empty"),
        "text.wav": (b"no sound at all, but a text", "is no sound that can be read"),
        "head.wav": (whole[:30], "is no sound that can be read"),
        "none.wav": (wav_bytes(noise(1, 1)[:, :0], 8000), "holds no samples"),
    }
    for name, (content, why) in faulty.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadFile, match=why) as caught:
            sound_header(tmp_path / name)
        assert str(caught.value).count("\n") == 0
    soundfile.write(tmp_path / "cut.flac", noise(1, 100_000)[0].numpy(), 8000)
    content = (tmp_path / "cut.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(content[: len(content) // 2])
    with pytest.raises(BadFile, match=r"is cut short|can be read"):
        list(read_sound(tmp_path / "cut.flac"))


@pytest.mark.parametrize(("value", "why"), [(np.nan, "no numbers"), (np.inf, "no numbers"), (300.0, "up to 300")])
def test_samples_that_are_none_are_told(tmp_path: Path, value: float, why: str) -> None:
    samples = noise().numpy()
    samples[0, 500] = value
    soundfile.write(tmp_path / "a.wav", samples.T, 8000, subtype="FLOAT")
    with pytest.raises(BadFile, match=why):
        list(read_sound(tmp_path / "a.wav"))


def test_a_flac_that_declares_a_year_takes_no_memory(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", noise()[0].numpy(), 8000)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[21] |= 0x0F  # the upper bits of the number of samples in STREAMINFO
    content[22:26] = b"\xff" * 4
    (tmp_path / "a.flac").write_bytes(bytes(content))
    with pytest.raises(BadFile, match="which are too many"):
        sound_header(tmp_path / "a.flac")
