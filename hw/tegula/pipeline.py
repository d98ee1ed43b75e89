"""A delay line of registers, the one piece of glue that every pipelined block needs."""

from amaranth.hdl import Module, Signal

__all__ = ["delay"]


def delay(m: Module, value, cycles: int, name: str):
    """Return `value` as it was `cycles` cycles ago (0 after reset); `name` prefixes registers."""
    for cycle in range(cycles):
        held = Signal.like(value, name=f"{name}_{cycle + 1}")
        m.d.sync += held.eq(value)
        value = held
    return value
