"""Left shifts by the number of leading zeros, but by no more than an exponent allows."""

from amaranth.hdl import Cat, Const, Value

__all__ = ["four_shifts", "one_minus", "spend"]


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


def four_shifts(high: Value, low: Value) -> tuple[Value, Value, Value, Value]:
    """Conditions for shifts by 0, 1, 2 and 3 steps from the two bits of that number."""
    return ~high & ~low, ~high & low, high & ~low, high & low


def one_minus(shift: Value, width: int) -> Value:
    """``1 - shift`` in two's complement of `width` bits: ``~(shift - 2)``."""
    bits, larger = [~shift[0]], Const(0, 1)
    for bit in shift[1:]:
        bits.append(bit ^ larger)
        larger = larger | bit
    return Cat(*bits, larger.replicate(width - len(bits)))
