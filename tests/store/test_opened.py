"""Models that are opened once, and shared: by pictures, by requests, by threads."""

import gc
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from carrara.draw import VERBS, Ask, collect, request, result_of
from carrara.medium import Picture
from carrara.store import OpenModel, Store, opened
from small_models import saved

CPU = torch.device("cpu")
THREADS = 8


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Which folders are read, time by time."""
    paths, read = list[Path](), opened.open_model

    def noted(path: Path) -> Any:
        paths.append(path)
        return read(path)

    monkeypatch.setattr(opened, "open_model", noted)
    return paths


def in_threads(do: Callable[[int], Any]) -> list[Any]:
    """What ``do`` gives in each of several threads that begin together."""
    start = Barrier(THREADS)

    def begin(k: int) -> Any:
        start.wait()
        return do(k)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(begin, range(THREADS)))


def test_a_model_is_opened_once(tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    run, store = saved("pixels", tmp_path / "run"), Store(CPU)
    monkeypatch.chdir(tmp_path)
    ways = (run, Path("run"), Path("run/../run"))
    assert len({id(store.open(way).model) for way in ways}) == 1
    assert reads == [run]
    assert [store.open(way).folder for way in ways] == list(ways), "a record says what the user said"
    assert Store(CPU).open(run).model is not store.open(run).model, "each store has its own"


def test_a_model_is_opened_once_by_many_threads(tmp_path: Path, reads: list[Path]) -> None:
    run, store = saved("pixels", tmp_path / "run"), Store(CPU)
    models = in_threads(lambda _: store.open(run).model)
    assert len(set(map(id, models))) == 1 and reads == [run]


def test_threads_draw_what_each_draws_alone(tmp_path: Path) -> None:
    model = Store(CPU).open(saved("latents", tmp_path / "run"))
    picture = Picture.of(np.random.default_rng(0).integers(0, 256, (10, 12, 3), np.uint8))
    verb = VERBS["img2img"](images=(picture,))  # type: ignore[call-arg]

    def drawn(k: int) -> list[np.ndarray]:
        ask = Ask(prompts=("cat" if k % 2 else "dog",), count=2, seed=k, guidance=1.0 + k, size=8 + 2 * (k % 3))
        samples = collect(model, request(model, ask)).values
        edited = result_of(verb.run(model, verb.request(model, ask)))
        return [samples.numpy(), *map(np.asarray, edited.images)]

    alone = [drawn(k) for k in range(THREADS)]
    for one, other in zip(alone, in_threads(drawn), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert not np.array_equal(alone[0][0], alone[3][0])


def test_what_has_learned_since_is_opened_anew_and_the_older_forgotten(tmp_path: Path, reads: list[Path]) -> None:
    run, store = saved("pixels", tmp_path / "run"), Store(CPU)
    before = store.open(run)
    wanted = request(before, Ask(prompts=("cat",), count=1))
    first = collect(before, wanted).values
    saved("pixels", run, seed=1)
    after = store.open(run)
    assert len(reads) == 2 and after.model is not before.model
    assert after.model.digest() != before.model.digest()
    assert torch.equal(collect(before, wanted).values, first), "who draws with the older one goes on with it"
    assert not torch.equal(collect(after, wanted).values, first)
    older = weakref.ref(before.model)
    del before
    gc.collect()
    assert older() is None


def test_rivals_are_opened_once_for_all_pictures_and_requests(tmp_path: Path, reads: list[Path]) -> None:
    run, weak, store = saved("pixels", tmp_path / "run"), saved("pixels", tmp_path / "weak", 1), Store(CPU)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (10, 12, 3), np.uint8)).save(tmp_path / "a.png")
    model, picture = store.open(run), Picture.read(tmp_path / "a.png")
    verb = VERBS["img2img"](images=(picture,) * 3)  # type: ignore[call-arg]
    for seed in (0, 1):
        ask = Ask(prompts=("cat",), count=1, seed=seed, guidance=2.0, weak=weak)
        assert len(result_of(verb.run(model, verb.request(model, ask))).images) == 3
    assert reads == [run, weak]
    rivals = [model.rivals(request(model, ask).weak, None).weak for _ in range(2)]
    assert rivals[0] is rivals[1] is store.open(weak).model
    other = OpenModel(model=model.model, folder=run, store=store)
    assert other.rivals(request(other, ask).weak, None).weak is rivals[0]
    assert reads == [run, weak]
