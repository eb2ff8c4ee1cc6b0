import errno
import json
import math
import os
from pathlib import Path

import pytest

from carrara.errors import UserError
from carrara.train import Log, log, read_log


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_line_can_be_read_at_once(tmp_path):
    log = Log(tmp_path / "log.jsonl", 0)
    for step in (1, 2):
        log.write({"step": step, "loss": 0.1 * step})
        assert lines(tmp_path / "log.jsonl")[-1] == {"step": step, "loss": 0.1 * step}
    log.sync(), log.close()


def test_a_long_log_is_read_in_part_up_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(log, "MOST_LINES", 10)
    path = tmp_path / "log.jsonl"
    path.write_text("".join(f'{{"step": {step}}}\n' for step in range(1, 96)))
    assert [line["step"] for line in read_log(path)] == list(range(5, 96, 10))
    monkeypatch.undo()
    assert [line["step"] for line in read_log(path)] == list(range(1, 96))


@pytest.mark.parametrize("tail", ["", '{"step": 4, "lo', '{"step": 4}', "garbage\n", "\0\0\0", '{"no": 1}\n', "4\n"])
def test_lines_after_the_step_and_half_written_ones_are_dropped(tmp_path, tail):
    path = tmp_path / "log.jsonl"
    text = "".join(json.dumps({"step": k, "loss": 1 / k}) + "\n" for k in (1, 2, 3))
    path.write_text(text + tail)
    log = Log(path, 2)
    log.write({"step": 3, "loss": 7.0})
    log.close()
    assert lines(path) == [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 0.5}, {"step": 3, "loss": 7.0}]
    assert [file.name for file in tmp_path.iterdir()] == ["log.jsonl"]


def test_reading_leaves_out_the_half_written_line(tmp_path):
    path = tmp_path / "log.jsonl"
    assert read_log(path) == []
    path.write_text('{"step": 1}\n{"step": 2, "l')
    assert read_log(path) == [{"step": 1}]


def test_a_number_that_is_not_finite_is_null_so_that_every_reader_can_read_it(tmp_path):
    log = Log(tmp_path / "log.jsonl", 0)
    log.write({"step": 1, "loss": math.nan, "grad_norm": math.inf})
    log.close()
    assert lines(tmp_path / "log.jsonl") == [{"step": 1, "loss": None, "grad_norm": None}]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
def test_a_full_disk_is_one_sentence():
    log = Log(Path("/dev/full"), 0)
    with pytest.raises(
        UserError,
        match=r"'/dev/full' could not be written: the disk is full \(25 bytes are needed, .* free\): .*same command",
    ):
        log.write({"step": 1, "loss": 0.5})
    log.close()


def test_a_log_is_made_in_a_folder_that_is_there_alone(tmp_path):
    with pytest.raises(UserError, match="its folder is not there any more"):
        Log(tmp_path / "run/log.jsonl", 0)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(os.name != "posix", reason="files that are open cannot be deleted")
def test_a_log_that_was_deleted_does_not_go_on(tmp_path):
    log = Log(tmp_path / "log.jsonl", 0)
    (tmp_path / "log.jsonl").unlink()
    with pytest.raises(UserError, match="its folder is not there any more"):
        log.write({"step": 1, "loss": 0.5})
    log.close()
    assert not list(tmp_path.iterdir())


def test_a_line_that_could_not_be_written_whole_is_taken_back(tmp_path, monkeypatch):
    log = Log(tmp_path / "log.jsonl", 0)
    log.write({"step": 1, "loss": 0.5})
    file, calls = log._file._file, []

    class Full:
        def write(self, content):
            calls.append(1)
            if len(calls) == 1:
                return file.write(content[:10])
            raise OSError(errno.ENOSPC, "No space left on device")

        def __getattr__(self, name):
            return getattr(file, name)

    log._file._file = Full()
    with pytest.raises(UserError, match="the disk is full"):
        log.write({"step": 2, "loss": 0.25})
    assert lines(tmp_path / "log.jsonl") == [{"step": 1, "loss": 0.5}]
    log.close()
