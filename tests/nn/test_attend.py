"""Attention in two matrix products against torch's own, and against the formula in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from carrara.nn import PixelAttention, attention
from carrara.nn.attention import attend


def rows(dtype: torch.dtype, queries: int = 5, keys: int = 7) -> tuple[Tensor, Tensor, Tensor]:
    make = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, n, 8, generator=make) for n in (queries, keys, keys))
    return q.to(dtype), k.to(dtype), v.to(dtype)


def truth(q: Tensor, k: Tensor, v: Tensor, attended: Tensor | None) -> Tensor:
    return F.scaled_dot_product_attention(q.double(), k.double(), v.double(), attn_mask=attended)


MASK = torch.tensor([[True, True, False, True, False, True, True], [False] * 6 + [True]])[:, None, None]


@pytest.mark.parametrize("attended", [None, MASK, torch.linspace(-2, 1, 14).reshape(2, 1, 1, 7)])
def test_bfloat16_is_as_exact_as_torchs(attended: Tensor | None) -> None:
    q, k, v = rows(torch.bfloat16)
    added = attended if attended is None or attended.dtype is torch.bool else attended.bfloat16()
    exact = truth(q, k, v, added if added is None or added.dtype is torch.bool else added.double())
    ours = attend(q, k, v, attended=added)
    assert ours.dtype is torch.bfloat16
    assert (ours.double() - exact).abs().max() < 2**-7 * exact.abs().max()


def test_more_scores_than_memory_is_kept_for_are_never_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "SCORES", 3 * 5 * 7 - 1)
    q, k, v = rows(torch.bfloat16)
    assert torch.equal(attend(q, k, v), F.scaled_dot_product_attention(q, k, v))


def test_float32_is_torchs_own() -> None:
    q, k, v = rows(torch.float32)
    assert torch.equal(attend(q, k, v, attended=MASK), F.scaled_dot_product_attention(q, k, v, attn_mask=MASK))


def test_large_maps_never_have_all_scores_at_once() -> None:
    """At 64x64 places they would be 64 MiB; torch's fused kernel makes a few rows at a time."""
    layer, x = PixelAttention(16), torch.randn(1, 16, 64, 64)
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        layer(x)
    made = max(event.self_cpu_memory_usage for event in watched.key_averages())
    assert made < 16 << 20
