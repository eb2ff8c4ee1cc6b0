"""What the runtime writes."""

from pathlib import Path

import pytest

from carrara.errors import UserError
from carrara.runtime.door import write_new


def test_nothing_is_overwritten_and_nothing_stays_half_written(tmp_path: Path) -> None:
    names = [write_new(tmp_path / "x.png", bytes([k])).name for k in range(3)]
    assert names == ["x.png", "x-2.png", "x-3.png"]
    assert [(tmp_path / name).read_bytes() for name in names] == [b"\0", b"\1", b"\2"]
    with pytest.raises(UserError, match="cannot be written"):
        write_new(tmp_path / "none" / "x.png", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
