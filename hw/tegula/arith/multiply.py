"""Products of factors wider than the multipliers of an FPGA."""

from amaranth.hdl import Cat, Const, Module, Value

from tegula.lib.delay import registered

__all__ = ["multiplied"]

_UNSIGNED_LIMB = 18
"""What a multiplier of 18 by 18 bits takes; a bit less where the other factor has a sign."""


def multiplied(m: Module, a: Value, b: Value, *, name: str) -> Value:
    """``a * b`` two cycles later: the products of limbs, then their sum.

    Parameters
    ----------
    a
        At most 35 bits, signed or not (36 if not).
    b
        At most 34 bits (36 if neither is signed), unsigned.
    """
    signed = a.shape().signed
    limb = _UNSIGNED_LIMB - signed
    a_low, a_high = _limbs(a, limb)
    b_low, b_high = _limbs(b, limb)

    def product(x: Value, y: Value, part: str) -> Value:
        return registered(m, x * y, name=f"{name}_{part}")

    bottom = product(a_low, b_low, "bottom")
    outer, middle = bottom, []
    if b_high is not None:
        middle.append(product(a_low, b_high, "middle_b"))
    if a_high is not None:
        middle.append(product(a_high, b_low, "middle_a"))
    if len(middle) == 2:
        outer = Cat(bottom, product(a_high, b_high, "top"))
    upper = outer >> limb
    if middle:
        # A place below, so that the sum of the middle products is an addition of its own: two are
        # smaller than what synthesis makes of three operands.
        inner = Cat(Const(0, 1), sum(middle[1:], middle[0]))
        upper = (Cat(Const(0, 1), upper) + (inner.as_signed() if signed else inner)) >> 1
    total = Cat(bottom[:limb], upper)[: len(a) + len(b)]
    return registered(m, total.as_signed() if signed else total, name=name)


def _limbs(value: Value, limb: int) -> tuple[Value, Value | None]:
    """The low limb, without a sign, and the rest with it; a value of one limb has no rest."""
    if len(value) <= _UNSIGNED_LIMB:
        return value, None
    high = value[limb:]
    return value[:limb], high.as_signed() if value.shape().signed else high
