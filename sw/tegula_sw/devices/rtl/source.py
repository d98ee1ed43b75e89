"""Verilog of a tile as the simulator compiles it: faster to simulate, equal in every cycle."""

import re

__all__ = ["RUNNING_PARTS", "STOPPED_ENGINES", "simulation_verilog"]

STOPPED_ENGINES = ("vector", "activation", "load", "store")
"""Instances whose clock stops while they are idle. The tensor engine has PSUM, which the vector
engine reads at any time."""

RUNNING_PARTS = (("vector", "sequencer"), ("activation", "issue"))
"""Instances in those engines whose clock never stops, for they count cycles since the reset:
elements that need a unit twice, and beats of a sum, begin in every second or third of them."""

_SETTLING_CYCLES = 63
"""Cycles for which the clock of an engine goes on when it is idle, so that its registers settle:
activity, trace, and what flows on behind its last result. More than any pipeline of it is long."""

_RESET = """\
  reg rst_registered = 1'b1;
  always @(posedge clk) rst_registered <= rst;
"""

_CLOCK = """\
  wire {name}_wakes = rst | rst_registered | ~{idle} | {valid} | {stop};
  reg [5:0] {name}_settling = 6'd{cycles};
  always @(posedge clk) {name}_settling <= {name}_wakes ? 6'd{cycles}
    : {name}_settling - {{5'd0, {name}_settling != 6'd0}};
  reg {name}_runs = 1'b1;
  always @(negedge clk) {name}_runs <= {name}_wakes | ({name}_settling != 6'd0);
  wire {name}_clk = clk & {name}_runs;
  reg {name}_rst = 1'b1;
  always @(posedge {name}_clk) {name}_rst <= rst;
"""
"""Clock and reset of one engine. What wakes it is stable when `clk` falls, for it is a function of
registers; so the clock has no glitch, and runs in the very cycle in which an instruction comes."""


def simulation_verilog(verilog: str, top: str) -> str:
    """Verilog that Verilator makes a faster model of; results and cycles are the same.

    The reset of the instances in module `top` comes out of a register. Next states depend on the
    reset; where it is a port, Verilator evaluates what depends on it again in each call of `eval`,
    twice a cycle; behind a register, once, when the clock rises. Reset then begins and ends a cycle
    later.

    The clocks of `STOPPED_ENGINES` stop while the engine is idle, is offered no instruction and is
    not stopped. Verilator evaluates logic only when a clock rises on which one of its inputs
    depends, so an idle engine costs no time. (An enable of its registers would not do: the logic
    between them would be evaluated all the same.)

    Parameters
    ----------
    verilog
        From `tegula.backend.verilog`.
    top
        Its top module, with ports `clk` and `rst`; where no instance in it has a reset, nothing
        changes.
    """
    body = _module(verilog, top)
    if ".rst(rst)" not in body:
        return verilog
    changed, added = body, _RESET
    for name in STOPPED_ENGINES:
        engine = _instance(body, name)
        if engine:
            added += _CLOCK.format(
                name=name,
                cycles=_SETTLING_CYCLES,
                idle=_connection(engine, "engine__idle"),
                valid=_connection(engine, "engine__instr__valid"),
                stop=_connection(engine, "engine__stop"),
            )
            changed = changed.replace(engine, _clocked(engine, f"{name}_clk", f"{name}_rst"))
    for name, part in RUNNING_PARTS:
        engine = _instance(body, name)
        if engine and name in STOPPED_ENGINES:
            inside = _module(verilog, engine.split()[0])
            instance = _instance(inside, part)
            running = _clocked(instance, f"{top}.clk", f"{top}.rst_registered")
            verilog = verilog.replace(inside, inside.replace(instance, running))
    changed = changed.replace(".rst(rst)", ".rst(rst_registered)")
    return verilog.replace(body, changed + added)


def _module(verilog: str, name: str) -> str:
    """A module up to its `endmodule`; empty if there is none of that name."""
    found = re.search(rf"^module {name}\(.*?(?=^endmodule)", verilog, re.M | re.S)
    return found[0] if found else ""


def _instance(module: str, name: str) -> str:
    """An instance in a module; empty if there is none of that name."""
    found = re.search(rf"^  \w+ {name} \(\n.*?^  \);\n", module, re.M | re.S)
    return found[0] if found else ""


def _clocked(instance: str, clk: str, rst: str) -> str:
    """An instance with another clock and reset."""
    return instance.replace(".clk(clk)", f".clk({clk})").replace(".rst(rst)", f".rst({rst})")


def _connection(instance: str, port: str) -> str:
    """The signal that an instance's port is connected to; the port must be there."""
    found = re.search(rf"\.{port}\((.*?)\),?\n", instance)
    assert found is not None, f"an engine without a port {port}"
    return found[1]
