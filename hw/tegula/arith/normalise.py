"""Left shifts by the number of leading zeros, but by no more than an exponent allows."""

from collections.abc import Iterable

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value

from tegula.lib.delay import registered

__all__ = ["one_minus", "one_of_four", "spend"]


def spend(zeros: Value, limit: Value, spared: Value) -> tuple[Value, Value]:
    """1 if a stage shifts, and 1 if its limit no longer binds the stages after it.

    Stages go from the largest step, a power of two, to 1, each with its bit of the limit. The first
    stage that could shift but has no bit ends the freedom: the zeros that it has seen are enough
    for all that the lower bits of the limit ask for. The first that has its bit but does not shift
    spares more than all later stages together can spend.

    Parameters
    ----------
    zeros
        As many leading bits are zero as the stage shifts by.
    limit
        The stage's bit of the largest shift.
    spared
        The second result of the stage before; for the first stage, that the limit exceeds all.
    """
    return zeros & (limit | spared), spared | (limit & ~zeros)


def one_of_four(
    m: Module, high: Value, low: Value, values: Iterable[Value], *, name: str
) -> Signal:
    """``values[2 * high + low]`` one cycle later, of four: two LUT4 a bit."""
    zero, one, two, three = values
    return registered(m, Mux(high, Mux(low, three, two), Mux(low, one, zero)), name=name)


def one_minus(shift: Value, width: int) -> Value:
    """``1 - shift`` in two's complement of `width` bits: ``~(shift - 2)``."""
    bits, larger = [~shift[0]], Const(0, 1)
    for bit in shift[1:]:
        bits.append(bit ^ larger)
        larger = larger | bit
    return Cat(*bits, larger.replicate(width - len(bits)))
