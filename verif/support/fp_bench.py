"""fp32 vectors through a pipelined unit, one a cycle, beside what should come out."""

from collections.abc import Callable

import numpy as np
from amaranth.hdl import Value

from verif.support.unit_bench import stream_through

__all__ = ["SEED", "check", "check_core"]

SEED = 7


def check(dut, output: str | Value, expected: np.ndarray, **inputs: np.ndarray) -> None:
    """Every result is the expected one `LATENCY` cycles later, and there are some."""
    assert expected.size > 0
    vectors = zip(*(values.tolist() for values in inputs.values()), strict=True)
    items = (dict(zip(inputs, vector, strict=True)) for vector in vectors)
    actual = np.array(stream_through(dut, items, output, dut.LATENCY), dtype=np.uint64)
    wrong = np.flatnonzero(actual != expected)
    assert wrong.size == 0, [
        " ".join(f"{name}={int(values[i]):#x}" for name, values in inputs.items())
        + f": {int(actual[i]):#x}, expected {int(expected[i]):#x}"
        for i in wrong[:5]
    ]


def check_core(
    dut, output: str, golden: Callable, a: np.ndarray, b: np.ndarray, keep: np.ndarray
) -> None:
    """FpAdd or FpMul on patterns a and b; where `keep`, that of a is kept."""
    late = np.zeros(dut.KEPT_CYCLES, dtype=np.uint32)
    kept = np.concatenate([late, np.where(keep, a, 0)])
    a, b, keep = (np.concatenate([values, late.astype(values.dtype)]) for values in (a, b, keep))
    expected = np.where(keep, a, golden(a, b))
    check(dut, output, expected, a=a, b=b, keep=keep, kept=kept)
