"""Alignment of significands to an anchor: a distance, then a shift down in two cycles."""

from amaranth.hdl import Cat, Const, Module, Signal, Value

__all__ = ["COARSE_BITS", "FINE_BITS", "SHIFT_BITS", "coarse_amount", "saturated", "shifted_down"]

SHIFT_BITS = 6
FINE_BITS = 3
COARSE_BITS = SHIFT_BITS - FINE_BITS


def saturated(distance: Value) -> Value:
    """A distance of 9 bits as a shift of at most 63, which leaves only the sign."""
    return distance[:SHIFT_BITS] | distance[SHIFT_BITS:].any().replicate(SHIFT_BITS)


def coarse_amount(coarse_shift: Value) -> Value:
    """The shift that the upper `COARSE_BITS` of one stand for."""
    return Cat(Const(0, FINE_BITS), coarse_shift)


def shifted_down(m: Module, value: Value, shift: Value, *, name: str = "") -> Signal:
    """``value >> shift`` two cycles later, rounded down: the fine shift, then the coarse one."""
    coarse_shift = Signal(COARSE_BITS, name=f"{name}coarse_shift", reset_less=True)
    fine, coarse = (
        Signal(value.shape(), name=f"{name}{part}", reset_less=True) for part in ("fine", "coarse")
    )
    m.d.sync += [
        fine.eq(value >> shift[:FINE_BITS]),
        coarse_shift.eq(shift[FINE_BITS:]),
        coarse.eq(fine >> coarse_amount(coarse_shift)),
    ]
    return coarse
