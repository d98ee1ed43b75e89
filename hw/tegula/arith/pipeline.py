"""Pipeline registers of a datapath: no reset, for their valid bit travels elsewhere."""

from amaranth.hdl import Module, Signal, Value

__all__ = ["delayed", "registered"]


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
