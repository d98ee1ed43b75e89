"""Left shifts by the number of leading zeros, but by no more than an exponent allows."""

from collections.abc import Iterable

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value

from tegula.lib.delay import registered

__all__ = ["clear", "four_to_one", "one_minus", "one_of_four", "spend", "spend_twice"]


def clear(window: Value, step: int, sign: Value) -> Value:
    """Three flags: the first, second and third `step` bits from the top are the sign."""
    top = len(window)
    return Cat(
        ~(window[top - step * (k + 1) : top - step * k] ^ sign.replicate(step)).any()
        for k in range(3)
    )


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


def spend_twice(
    m: Module, zeros: Value, limit: Value, spared: Value, *, name: str
) -> tuple[Signal, Signal, Value]:
    """`spend` of two stages at once: the second does not wait for the first.

    If the first stage shifts, `spared` stays as it was. If it could but has no bit of the limit, it
    is 0 and stays so. If it does not see enough zeros, its bit of the limit spares. So the second
    stage is decided by the flags and the limit alone, and neither of the shifts, each of which
    drives a whole window, is behind the other.

    Parameters
    ----------
    zeros
        Three flags: as many bits as the second stage shifts by are zero, at the top, below them,
        and below these (`clear`).
    limit
        Bits of the second and of the first stage.
    spared
        As of `spend`.

    Returns
    -------
    tuple
        The first shift, the second, and `spared` after both.
    """
    both, enough = Signal(name=f"{name}_both"), Signal(name=f"{name}_enough")
    high, low = Signal(name=f"{name}_high"), Signal(name=f"{name}_low")
    m.d.comb += [
        both.eq(zeros[0] & zeros[1]),
        enough.eq(limit[1] | spared),
        high.eq(both & enough),
        low.eq(
            Mux(
                both,
                (limit[0] & (zeros[2] | ~enough)) | (zeros[2] & spared),
                zeros[0] & (limit[0] | enough),
            )
        ),
    ]
    spared = spared | (limit[1] & ~both) | (limit[0] & ~Mux(high, zeros[2], zeros[0]))
    return high, low, spared


def four_to_one(
    m: Module, high: Value, low: Value, values: Iterable[Value], *, name: str
) -> Signal:
    """``values[2 * high + low]``, of four: two LUT4 a bit."""
    zero, one, two, three = values
    result = Signal(len(zero), name=f"{name}_next")
    m.d.comb += result.eq(Mux(high, Mux(low, three, two), Mux(low, one, zero)))
    return result


def one_of_four(
    m: Module, high: Value, low: Value, values: Iterable[Value], *, name: str
) -> Signal:
    """`four_to_one` one cycle later."""
    return registered(m, four_to_one(m, high, low, values, name=name), name=name)


def one_minus(shift: Value, width: int) -> Value:
    """``1 - shift`` in two's complement of `width` bits: ``~(shift - 2)``."""
    bits, larger = [~shift[0]], Const(0, 1)
    for bit in shift[1:]:
        bits.append(bit ^ larger)
        larger = larger | bit
    return Cat(*bits, larger.replicate(width - len(bits)))
