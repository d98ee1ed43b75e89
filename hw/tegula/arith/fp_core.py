"""Common part of the fp32 adder and multiplier: ports, kept patterns, and the last addition."""

from typing import ClassVar, NamedTuple

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.fp32 import FRACTION_BITS, SIGN
from tegula.arith.normalise import one_minus
from tegula.lib.delay import gated, registered

__all__ = ["FpCore", "Rounded"]


class Rounded(NamedTuple):
    """Outcome of the last addition: exponent field and fraction in one, overflow not yet replaced.

    `fraction` is what the addition began with; `keep`: the pattern is a kept one.
    """

    pattern: Signal
    fraction: Signal
    sign: Signal
    keep: Signal


class FpCore(wiring.Component):
    """Base of the units that compute fp32 by fp32, rounded to nearest even.

    With `keep` the number is masked and replaced by the pattern `kept` before the last addition,
    which changes nothing then.

    Latency: `LATENCY` cycles. Throughput: one result a cycle.

    Members
    -------
    a, b : In(32)
        fp32 patterns.
    keep : In(1)
        The result is not that of `a` and `b`, but `kept`.
    kept : In(32)
        `KEPT_CYCLES` after `keep`: the pattern; 0 where nothing is kept.
    result : Out(32)
        The fp32 pattern of the result.
    """

    LATENCY: ClassVar[int]

    KEPT_CYCLES = 4
    """Cycles that `kept` comes after its operands."""

    def __init__(self):
        super().__init__(
            {"a": In(32), "b": In(32), "keep": In(1), "kept": In(32), "result": Out(32)}
        )

    def _round(
        self,
        m: Module,
        *,
        fraction: Value,
        up: Value,
        exponent: Value,
        hidden: Value,
        shift: Value,
        sign: Value,
        keep: Value,
    ) -> Rounded:
        """A cycle, and the addition: ``exponent + 1 - shift`` above, the increment below.

        A carry between them is right by itself.

        Parameters
        ----------
        fraction, up
            The normalised fraction, and 1 if it is rounded up.
        exponent, hidden, shift
            Exponent before the normalisation, by how much that shifted, and the hidden bit. Without
            a hidden bit the result is subnormal or zero, and its exponent field 0.
        sign, keep
            The number's sign; 1 if the pattern `kept` replaces the number.
        """
        sign = registered(m, (sign & ~keep) | self.kept[SIGN], name="sign_out")
        field = exponent & hidden.replicate(len(exponent))
        fraction = registered(m, fraction | self.kept[:FRACTION_BITS], name="fraction")
        up = registered(m, up, name="up")
        base = registered(m, field | self.kept[FRACTION_BITS:SIGN], name="base")
        change = gated(m, one_minus(shift, len(exponent)), hidden, name="change")
        pattern = Signal(FRACTION_BITS + len(exponent), name="rounded")
        m.d.comb += pattern.eq(Cat(fraction, base) + Cat(up, Const(0, FRACTION_BITS - 1), change))
        return Rounded(pattern, fraction, sign, registered(m, keep, name="keep_5"))
