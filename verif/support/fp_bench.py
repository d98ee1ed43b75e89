"""fp32 vectors through a pipelined unit, one a cycle, beside what should come out."""

import numpy as np
from amaranth.hdl import Value

from verif.support.unit_bench import stream_through

__all__ = ["SEED", "check"]

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
