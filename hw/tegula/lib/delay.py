"""Pipeline registers: with a reset for control, without one for a datapath."""

from collections.abc import Iterable

from amaranth.hdl import Const, Module, Signal, Value

__all__ = ["chosen", "delay", "delayed", "gated", "registered"]


def registered(m: Module, value: Value, *, name: str) -> Signal:
    """`value` one cycle later, in a register without reset; same shape as `value`."""
    value = Value.cast(value)
    register = Signal(value.shape(), name=name, reset_less=True)
    m.d.sync += register.eq(value)
    return register


def delayed(m: Module, value: Value, cycles: int, *, name: str) -> Value:
    """`value` some cycles later; `cycles` may be 0."""
    for cycle in range(cycles):
        value = registered(m, value, name=f"{name}_{cycle}")
    return value


def gated(m: Module, value: Value, condition: Value, *, name: str) -> Signal:
    """`value` one cycle later where `condition` holds, else 0.

    Synthesis makes the condition the synchronous reset of the register: the gates cost no LUT.
    """
    register = registered(m, value, name=name)
    with m.If(~condition):
        m.d.sync += register.eq(0)
    return register


def chosen(m: Module, choices: Iterable[tuple[Value, Value]], *, name: str) -> Signal:
    """Value whose condition held, one cycle later; of (condition, value) at most one holds.

    0 if no condition held. The gates are in front of one register: as resets of a register each
    they take fewer LUTs, but a placer finds no room for many resets of few registers each.
    """
    result = Const(0, 1)
    for index, (condition, value) in enumerate(choices):
        # A signal: an expression that is repeated is elaborated for each bit.
        takes = Signal(name=f"{name}_takes_{index}")
        m.d.comb += takes.eq(condition)
        result = result | (value & takes.replicate(len(value)))
    return registered(m, result, name=name)


def delay(m: Module, value, cycles: int, name: str):
    """`value` of `cycles` cycles ago, 0 after reset; `name` prefixes the registers."""
    for cycle in range(cycles):
        held = Signal.like(value, name=f"{name}_{cycle + 1}")
        m.d.sync += held.eq(value)
        value = held
    return value
