"""One flipped bit, or a file that was cut off, anywhere in what a run has written: the file is named."""

import hashlib
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from killed_runs import OFTEN, SHORT, UNET, prepare

from carrara.errors import UserError
from carrara.files import sealed
from carrara.run.plan import plan
from carrara.run.session import Diagnosis, Session
from carrara.store import open_model
from carrara.store.runs import is_sound
from carrara.train import checkpoint

OFFSETS = 500
NEWEST = "checkpoints/step-7"
MODELS = ("model", "best", "early", NEWEST)
EARLY = ("checkpoint.keep=2", "checkpoint.early=0.5", "model.conditioner=none")


def session(run: Path, *changes: str) -> Session:
    (stage,) = plan(str(run.parent / "photos"), "pixel", run, [*SHORT, *OFTEN, UNET, *EARLY, *changes]).stages
    return Session(stage, torch.device("cpu"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("flips")
    prepare(root, "pixel")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARRARA_CACHE", str(root / "cache"))
        list(session(root / "run", "train.steps=7"))
        yield root / "run"


def offsets(run: Path, count: int) -> list[tuple[Path, int]]:
    """So many places in the files of the run's models: some in each file, the others by size."""
    files = [path for name in MODELS for path in sorted((run / name).iterdir())]
    sizes, dice = [path.stat().st_size for path in files], random.Random(0)
    chosen = [(path, dice.randrange(size)) for path, size in zip(files, sizes, strict=True) for _ in range(12)]
    more = dice.choices(list(zip(files, sizes, strict=True)), sizes, k=max(0, count - len(chosen)))
    return [*chosen, *((path, dice.randrange(size)) for path, size in more)]


@contextmanager
def harmed(path: Path, content: bytes) -> Iterator[None]:
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def names(path: Path, sentence: str) -> bool:
    """Whether a sentence names a damaged file; a manifest may also differ from the files that it names."""
    return path.name in sentence or path.name == sealed.MANIFEST


def refused(run: Path, path: Path) -> None:
    """Opening names the file, and another model that is whole."""
    with pytest.raises(UserError) as raised:
        open_model(path.parent)
    sentence = raised.value.message
    assert f"the model in '{path.parent}' is damaged" in sentence and names(path, sentence), sentence
    assert "is whole: name that one" in sentence
    named = Path(sentence.rpartition("; '")[2].partition("'")[0])
    assert named != path.parent and is_sound(named)


def test_five_hundred_offsets(run: Path) -> None:
    places = offsets(run, OFFSETS)
    assert len(places) == OFFSETS and {path.parent.name for path, _ in places} == {Path(name).name for name in MODELS}
    for number, (path, offset) in enumerate(places):
        content = path.read_bytes()
        bad = content[:offset] if number % 4 == 0 else flipped(content, 8 * offset + number % 8)
        with harmed(path, bad):
            refused(run, path)
            if path.parent == run / NEWEST:
                newest, (sentence,) = checkpoint.latest(run / "checkpoints")
                assert newest == run / "checkpoints" / "step-6" and names(path, sentence) and "step-7" in sentence
    assert all(is_sound(run / name) for name in MODELS)


def test_training_goes_on_from_the_checkpoint_before(run: Path) -> None:
    path = run / NEWEST / "ema.safetensors"
    with harmed(path, flipped(path.read_bytes(), 8 * 1000)):
        again = session(run, "train.steps=7")
        assert again.training.clock.step == 6
        (sentence,) = again.warnings
        assert "step-7" in sentence and path.name in sentence


def test_every_bit_of_a_manifest(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "config.json").write_bytes(b"{}")

    folder = tmp_path / "model"
    sealed.write_folder(folder, fill)
    path = folder / sealed.MANIFEST
    content = path.read_bytes()
    assert sealed.damage(folder, ("config.json",)) is None
    for bit in range(8 * len(content)):
        with harmed(path, flipped(content, bit)):
            assert sealed.damage(folder, ("config.json",)), f"bit {bit % 8} of {content[: bit // 8 + 1][-20:]!r}"
    for length in range(len(content)):
        with harmed(path, content[:length]):
            assert sealed.damage(folder, ("config.json",))


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are hashed."""
    found: list[str] = []
    real = sealed.sha256

    def counted(path: Path) -> str:
        found.append(path.name)
        return real(path)

    monkeypatch.setattr(sealed, "sha256", counted)
    return found


def test_a_second_opening_hashes_nothing_and_a_flip_is_still_seen(
    run: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    later = sealed.time.time_ns() + 60_000_000_000
    monkeypatch.setattr(sealed.time, "time_ns", lambda: later)  # a minute has passed, and the files are at rest
    open_model(run / "model")
    assert set(hashed) == {path.name for path in (run / "model").iterdir()} - {sealed.MANIFEST}
    hashed.clear()
    open_model(run / "model")
    assert hashed == []

    path = run / "model" / "denoiser.safetensors"
    before = path.stat()
    sealed.time.sleep(0.05)  # clocks of file systems are coarse
    with harmed(path, flipped(path.read_bytes(), 8 * before.st_size - 3)):
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        refused(run, path)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sealed.read_manifest(run / "model").files[path.name].sha256


def test_what_has_just_changed_is_not_remembered(run: Path, hashed: list[str]) -> None:
    path = run / "early" / "denoiser.safetensors"
    path.write_bytes(path.read_bytes())
    for _ in range(2):
        open_model(run / "early")
        assert path.name in hashed
        hashed.clear()


def test_a_best_model_that_is_gone_is_told_of(run: Path) -> None:
    path = run / "best" / "denoiser.safetensors"
    again = session(run, "train.steps=8")
    best = again._leader
    assert best == 7, "it is not made again"
    with harmed(path, flipped(path.read_bytes(), 999)):
        events = list(again)
    said = [event.text for event in events if isinstance(event, Diagnosis)]
    told = f"the best model on held-out data was that of step {best}"
    assert any(told in text and "is not there, or damaged" in text for text in said), said
