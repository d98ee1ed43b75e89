"""A part on its own in the simulator: values in each cycle, values out of each."""

from collections.abc import Callable, Iterable

from amaranth.hdl import Value
from amaranth.sim import Simulator

__all__ = ["settle", "simulate", "stream_through"]


def simulate(dut, testbench: Callable, *background: Callable, clocked: bool = True) -> None:
    """Run ``testbench(ctx)`` on `dut` to its end, which it must reach, beside other testbenches."""
    simulator = Simulator(dut)
    if clocked:
        simulator.add_clock(1e-8)
    ended = []

    async def wrapped(ctx):
        await testbench(ctx)
        ended.append(True)

    simulator.add_testbench(wrapped)
    for process in background:
        simulator.add_testbench(process, background=True)
    simulator.run()
    assert ended, "the testbench did not end"


def stream_through(dut, inputs: Iterable[dict], output: str | Value, latency: int) -> list:
    """`output`, a port's name or a value, `latency` cycles after each of `inputs`, one a cycle."""
    inputs, outputs = list(inputs), []
    sampled = getattr(dut, output) if isinstance(output, str) else output

    async def testbench(ctx):
        for cycle in range(len(inputs) + latency):
            if cycle < len(inputs):
                for name, value in inputs[cycle].items():
                    ctx.set(getattr(dut, name), value)
            *_, value = await ctx.tick().sample(sampled)
            if cycle >= latency:
                outputs.append(value)

    simulate(dut, testbench)
    assert len(outputs) == len(inputs)
    return outputs


def settle(dut, inputs: Iterable[dict], output: str) -> list:
    """The port `output` of a combinational part for each of `inputs` (port -> value)."""
    inputs, outputs = list(inputs), []

    async def testbench(ctx):
        for values in inputs:
            for name, value in values.items():
                ctx.set(getattr(dut, name), value)
            await ctx.delay(1e-9)
            outputs.append(ctx.get(getattr(dut, output)))

    simulate(dut, testbench, clocked=False)
    assert len(outputs) == len(inputs)
    return outputs
