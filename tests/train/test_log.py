import json
import math
from pathlib import Path

import pytest

from carrara.errors import UserError
from carrara.train import Log, read_log


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_line_can_be_read_at_once(tmp_path):
    log = Log(tmp_path / "run/log.jsonl", 0)
    for step in (1, 2):
        log.write({"step": step, "loss": 0.1 * step})
        assert lines(tmp_path / "run/log.jsonl")[-1] == {"step": step, "loss": 0.1 * step}
    log.sync(), log.close()


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
    with pytest.raises(UserError, match=r"/dev/full could not be written .*No space left.*same command"):
        log.write({"step": 1, "loss": 0.5})
    log.close()
