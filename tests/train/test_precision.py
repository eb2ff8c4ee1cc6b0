import pytest
import torch

from carrara.train.precision import autocast, matmul_dtype

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
