"""Captions are read once, and drawn anew each time."""

import numpy as np
import torch

from carrara.data import Arrays, Captioned, CaptionTable, DataInfo, Loader, batch_of

CAPTIONS = [("one",), ("two", "zwei"), (), ("three", "drei", "trois")]


class Reader:
    """Each letter is a token of two features: its code and its place."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts):
        self.asked += texts
        return [np.array([[ord(c), k] for k, c in enumerate(t)], np.float16).reshape(len(t), 2) for t in texts]


def data() -> Arrays:
    info = DataInfo(name="captioned", channels=1, native=(4, 4), captions=True)
    return Arrays(info, np.arange(4, dtype=np.float32)[:, None] * np.ones(2, np.float32), captions=CAPTIONS)


def loader(batch: int = 8, **ranks: int) -> Loader:
    return Loader(Captioned(data(), CaptionTable(Reader())), None, batch=batch, seed=0, **ranks)


def texts(batch) -> list[str]:
    column, mask = batch.columns["text"], batch.columns["text_mask"]
    assert (column[~mask] == 0).all()
    return ["".join(chr(int(c)) for c in row[m][:, 0]) for row, m in zip(column, mask, strict=True)]


def test_each_text_is_read_once_in_bulk():
    reader = Reader()
    table = CaptionTable(reader)
    assert list(table.complete(data())) == [(6, 6)]
    assert sorted(reader.asked) == sorted({text for texts in CAPTIONS for text in texts})
    made = Loader(Captioned(data(), table), None, batch=8, seed=0)
    for step in range(3):
        made.at(step)
    assert sorted(reader.asked) == sorted({text for texts in CAPTIONS for text in texts} | {""})
    assert list(table.complete(data())) == []


def test_every_caption_is_drawn_sometimes_and_always_the_same_by_position():
    batches = [loader().at(step) for step in range(40)]
    drawn = [(int(x[0]), text) for batch in batches for x, text in zip(batch.x, texts(batch), strict=True)]
    assert set(drawn) == {(k, text) for k, captions in enumerate(CAPTIONS) for text in captions or ("",)}
    counts = [drawn.count((3, text)) for text in CAPTIONS[3]]
    assert sum(counts) == 80 and min(counts) > 13
    assert texts(loader().at(7)) == texts(batches[7])


def test_two_ranks_draw_what_one_draws():
    halves = [loader(4, rank=rank, world=2).at(3) for rank in (0, 1)]
    assert texts(loader().at(3)) == texts(halves[0]) + texts(halves[1])


def test_evaluation_takes_the_first_caption():
    batch = batch_of(Captioned(data(), CaptionTable(Reader())), None, [3, 1, 2])
    assert texts(batch) == ["three", "two", ""]
    assert batch.columns["text"].dtype == torch.float16


def test_nobody_says_anything():
    batch = batch_of(Captioned(data(), CaptionTable(Reader())), None, [2, 2])
    assert batch.columns["text"].shape == (2, 0, 2) and batch.columns["text_mask"].shape == (2, 0)


def test_what_was_read_is_kept(tmp_path):
    for fresh in (True, False):
        reader = Reader()
        table = CaptionTable(reader, tmp_path / "key")
        list(table.complete(data()))
        assert bool(reader.asked) == fresh
        assert texts(batch_of(Captioned(data(), table), None, [3, 1, 2, 0])) == ["three", "two", "", "one"]


def test_ranks_share_the_reading(tmp_path, monkeypatch):
    monkeypatch.setattr("carrara.data.captions.TEXTS_A_FILE", 2)
    readers = [Reader(), Reader()]
    tables = [CaptionTable(reader, tmp_path) for reader in readers]
    for rank, table in enumerate(tables):
        assert list(table.complete(data(), rank, 2))[-1][1] == 6
    assert sorted(readers[0].asked + readers[1].asked) == sorted({t for ts in CAPTIONS for t in ts})
    assert len(readers[0].asked) == 4
    for table in tables:
        list(table.complete(data()))
        assert texts(batch_of(Captioned(data(), table), None, [3, 1])) == ["three", "two"]
    assert len(readers[0].asked + readers[1].asked) == 6


def test_a_broken_file_is_read_again(tmp_path):
    list(CaptionTable(Reader(), tmp_path).complete(data()))
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:40])
    reader = Reader()
    list(CaptionTable(reader, tmp_path).complete(data()))
    assert len(reader.asked) == 6
