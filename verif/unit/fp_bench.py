"""fp32 vectors through a pipelined unit, one a cycle, beside what should come out."""

import numpy as np
from amaranth.hdl import Value
from amaranth.sim import Simulator

__all__ = ["SEED", "check", "run"]

SEED = 7


def run(dut, output: Value, **inputs: np.ndarray) -> np.ndarray:
    """What `output` is `LATENCY` cycles after each vector of `inputs`, arrays by port."""
    ports = [getattr(dut, name) for name in inputs]
    vectors = list(zip(*(values.tolist() for values in inputs.values()), strict=True))
    results = []

    async def testbench(ctx):
        for cycle in range(len(vectors) + dut.LATENCY):
            if cycle < len(vectors):
                for port, value in zip(ports, vectors[cycle], strict=True):
                    ctx.set(port, value)
            *_, result = await ctx.tick().sample(output)
            if cycle >= dut.LATENCY:
                results.append(result)

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(testbench)
    sim.run()
    return np.array(results, dtype=np.uint64)


def check(dut, output: Value, expected: np.ndarray, **inputs: np.ndarray) -> None:
    """Every result is the expected one, and there are some."""
    assert expected.size > 0
    actual = run(dut, output, **inputs)
    wrong = np.flatnonzero(actual != expected)
    assert wrong.size == 0, [
        " ".join(f"{name}={int(values[i]):#x}" for name, values in inputs.items())
        + f": {int(actual[i]):#x}, expected {int(expected[i]):#x}"
        for i in wrong[:5]
    ]
