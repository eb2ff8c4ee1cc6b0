"""Operations are counted as by hand, and works take turns."""

import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from carrara.measure import timing
from carrara.measure.timing import (
    Roofs,
    Timing,
    Work,
    flops_of,
    machine,
    peak_memory,
    processor,
    roofline,
    seconds_until_clear,
    time_in_turns,
)

CPU = torch.device("cpu")
SMALL = Roofs(pictures=2, convolutions=((4, 8), (16, 8)), products=(16, 64))


def test_a_convolution_counts_a_multiplication_and_an_addition_for_each_weight_at_each_place() -> None:
    conv, x = nn.Conv2d(3, 5, 3, padding=1), torch.randn(2, 3, 8, 6)
    forward = 2 * (3 * 9) * 5 * (2 * 8 * 6)
    assert flops_of(lambda: conv(x)) == forward
    assert flops_of(lambda: conv(x).sum().backward()) == 2 * forward, "nobody asks for the gradient of x"
    assert flops_of(lambda: conv(x.requires_grad_()).sum().backward()) == 3 * forward


def test_a_linear_layer_in_float32_and_in_bfloat16() -> None:
    linear, x = nn.Linear(7, 11), torch.randn(5, 7)
    assert flops_of(lambda: linear(x)) == 2 * 5 * 7 * 11
    with torch.autocast("cpu", torch.bfloat16):
        assert flops_of(lambda: linear(x)) == 2 * 5 * 7 * 11


def test_attention_on_a_cpu_counts() -> None:
    """Two products forward; backward the first one again, and two for each of the two."""
    q, k = torch.randn(2, 3, 10, 8, requires_grad=True), torch.randn(2, 3, 14, 8, requires_grad=True)
    one = 2 * (2 * 3) * 10 * 14 * 8
    assert flops_of(lambda: F.scaled_dot_product_attention(q, k, k)) == 2 * one
    assert flops_of(lambda: F.scaled_dot_product_attention(q, k, k).sum().backward()) == (2 + 5) * one


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rooflines_know_their_operations(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(timing.ROOFS, "cpu", SMALL)
    for work in roofline(CPU, dtype):
        assert work.flops == flops_of(work.do) > 0


def test_the_faster_of_two_is_the_roofline(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operation of a large product takes less time than one of a product of a single number."""
    monkeypatch.setitem(timing.ROOFS, "cpu", Roofs(pictures=1, convolutions=((4, 8),), products=(1, 128)))
    assert roofline(CPU, torch.float32)[1].about == "128x128"


def test_works_take_turns_and_the_first_rounds_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock that a work puts forward by 1, 2, 3, ... seconds."""
    done, now = list[str](), 0.0
    monkeypatch.setattr(timing, "perf_counter", lambda: now)

    def slower() -> None:
        nonlocal now
        done.append("a")
        now += done.count("a")

    other = Work(name="b", do=lambda: done.append("b"), images=4)
    first, second = time_in_turns([Work(name="a", do=slower, images=30), other], 5, CPU)
    assert "".join(done) == "ab" * (timing.WARM + 5)
    assert (first.low, first.median, first.high) == (4, 5, 6)
    assert first.speed == 6
    assert first.spread == 0.4
    assert second.median == 0


@pytest.mark.parametrize(
    ("took", "done", "medians"),
    [
        ({"a": [9, 2, 2, 2], "b": [1, 1, 1, 1]}, "abab", {"a": 2, "b": 1}),
        ({"a": [9, 1.2, 2, 4], "b": [1, 1, 1, 1]}, "abababab", {"a": 2, "b": 1}),
        ({"a": [9, 2, 1, 2], "b": [9, 1, 2, 1]}, "abababab", {"a": 2, "b": 1}),
        ({"a": [2, 2, 0, 0], "b": [1, 1, 1, 1], "c": [1, 1.1, 1.1, 1.3]}, "abcabcbcbc", {"a": 2, "b": 1, "c": 1.1}),
    ],
    ids=["clear", "close at first", "in turns", "a third one is out"],
)
def test_a_work_drops_out_when_it_is_clearly_slower(
    took: dict[str, list[float]], done: str, medians: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, now = list[str](), 0.0
    monkeypatch.setattr(timing, "perf_counter", lambda: now)

    def do(name: str) -> None:
        nonlocal now
        now += took[name][seen.count(name)]
        seen.append(name)

    works = [Work(name=name, do=lambda name=name: do(name)) for name in took]
    assert seconds_until_clear(works, 3, 1.3, CPU) == pytest.approx(medians)
    assert "".join(seen) == done


def test_rates() -> None:
    made = Timing.of(Work(name="w", do=lambda: None, flops=60), [1.0, 2.0, 3.0])
    assert made.rate == 30
    assert (made.low, made.high) == (1.5, 2.5)


def test_peak_memory_is_at_least_what_was_touched() -> None:
    before = peak_memory(CPU)
    touched = torch.ones(1 << 24)
    assert peak_memory(CPU) >= before
    assert peak_memory(CPU) > touched.numel() * 4


def test_where_nobody_counts_memory_it_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    assert peak_memory(CPU) == 0


def test_a_table_says_what_its_processor_can_do() -> None:
    said = "processor\t: 0\nmodel name\t: Fast (R): 9\nflags\t\t: fpu avx avx2 avx512f avx512_bf16 amx_bf16\n\n"
    assert processor(said) == "Fast (R): 9 (AVX2, AVX512, AVX512-BF16, AMX)"
    assert processor(said.replace(" avx512f avx512_bf16 amx_bf16", "")) == "Fast (R): 9 (AVX2)"
    assert processor("model name: Slow\nflags: fpu\n") == "Slow"
    assert processor("") != ""
    assert f", torch {torch.__version__}," in machine(CPU)


def test_a_processor_that_is_held_back_is_said(monkeypatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert "held to ONEDNN_MAX_CPU_ISA=AVX2" in machine(torch.device("cpu"))
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    assert "held to ONEDNN" not in machine(torch.device("cpu"))
