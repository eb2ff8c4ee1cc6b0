"""``--no-verify``: who is impatient opens a damaged model."""

from pathlib import Path

from small_models import saved
from tiny import Command


def test_a_damaged_model_is_refused_unless_nobody_looks(carrara: Command, tmp_path: Path) -> None:
    run = saved("pixels", tmp_path / "run")
    file = next(run.rglob("denoiser.safetensors"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    code, said = carrara("sample", run, "-n", "1", "--steps", "2", "--out", tmp_path / "out")
    assert code == 2 and "denoiser.safetensors is not what was written" in said
    assert not (tmp_path / "out").exists()
    code, said = carrara("sample", run, "-n", "1", "--steps", "2", "--out", tmp_path / "out", "--no-verify")
    assert code == 0, said
    assert (tmp_path / "out" / "grid.png").exists()
