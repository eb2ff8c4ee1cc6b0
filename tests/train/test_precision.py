import pytest
import torch

from carrara.train import precision as ours
from carrara.train.precision import autocast, emulation, matmul_dtype

CPU = torch.device("cpu")


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_products_have_the_type_that_was_asked_for(precision, dtype):
    x = torch.ones(2, 2)
    with autocast(precision, CPU):
        assert (x @ x).dtype == dtype
    assert (x @ x).dtype == torch.float32


@pytest.mark.parametrize("query", ["_is_avx512_bf16_supported", "_is_amx_tile_supported"])
def test_auto_is_bfloat16_exactly_where_the_processor_multiplies_in_it(monkeypatch, query):
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda name=name: name == query, raising=False)
    assert matmul_dtype("auto", CPU) is torch.bfloat16
    monkeypatch.setattr(torch.cpu, query, lambda: False)
    assert matmul_dtype("auto", CPU) is torch.float32


def test_a_torch_that_does_not_know_means_float32(monkeypatch):
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert matmul_dtype("auto", CPU) is torch.float32


def test_a_held_processor_does_not_multiply_in_bfloat16(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    for name, dtype in (("AVX2", torch.float32), ("AVX512_CORE_BF16", torch.bfloat16), ("", torch.bfloat16)):
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", name)
        assert matmul_dtype("auto", CPU) is dtype


def test_who_asks_for_emulated_bfloat16_is_told_what_it_costs(monkeypatch):
    monkeypatch.setattr(ours, "_multiplies_bfloat16", lambda device: False)
    monkeypatch.setattr(ours, "_seconds", {torch.bfloat16: 0.5, torch.float32: 0.01}.get)
    assert "a convolution takes 50 times as long as in float32" in emulation("bfloat16", CPU)
    assert emulation("auto", CPU) == emulation("float32", CPU) == ""
    monkeypatch.setattr(ours, "_multiplies_bfloat16", lambda device: True)
    assert emulation("bfloat16", CPU) == ""
    monkeypatch.undo()
    assert ours._seconds(torch.float32) > 0
