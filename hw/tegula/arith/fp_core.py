"""Common part of the fp32 adder and multiplier: ports, kept patterns, and the last addition."""

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Member, Out

from tegula.arith.fp32 import FRACTION_BITS, SIGN, Fp32Fields
from tegula.arith.normalise import one_minus
from tegula.lib.delay import gated, registered

__all__ = ["FpCore", "Operand", "Rounded", "copies_layout", "result_members"]


class Operand(Fp32Fields):
    """Fields of an operand whose hidden bit is known."""

    def __new__(cls, pattern: Value, normal: Value) -> "Operand":
        """The fields of a pattern of 32 bits."""
        operand = super().__new__(cls, *Fp32Fields.of(pattern))
        operand._normal = normal
        return operand

    @property
    def normal(self) -> Value:
        """The hidden bit."""
        return self._normal


class Rounded(NamedTuple):
    """Outcome of the last addition: exponent field and fraction in one, overflow not yet replaced.

    `fraction` is what the addition began with; `keep`: the pattern is a kept one.
    """

    pattern: Signal
    fraction: Signal
    sign: Signal
    keep: Signal


def copies_layout(copies: int) -> data.ArrayLayout:
    """Copies of a unit's result."""
    return data.ArrayLayout(32, copies)


def result_members(copies: int) -> dict[str, Member]:
    """Members that are a unit's result, with so many copies of it."""
    return {
        "takes": In(1 + copies, init=(2 << copies) - 1),
        "result": Out(32),
        "copies": Out(copies_layout(copies)),
    }


class FpCore(wiring.Component):
    """Base of the units that compute fp32 by fp32, rounded to nearest even.

    With `keep` the number is masked and replaced by the pattern `kept` before the last addition,
    which changes nothing then.

    Latency: `LATENCY` cycles. Throughput: one result a cycle.

    Parameters
    ----------
    copies
        Registers that hold the result besides `result`, each where it is taken: what selects
        between results is then an OR.
    members
        Members that the unit has besides these.

    Members
    -------
    a, b : In(32)
        fp32 patterns.
    a_normal, b_normal : In(1)
        Their hidden bits: what follows from them has no time left for finding them.
    keep : In(1)
        The result is not that of `a` and `b`, but `kept`.
    kept : In(32)
        `KEPT_CYCLES` after `keep`: the pattern; 0 where nothing is kept.
    takes : In(1 + copies)
        In the next cycle `result` (bit 0) and the copies hold the result where their bit is 1, as
        it is where nothing drives it; else they are 0.
    result : Out(32), copies : Out(copies_layout)
        The fp32 pattern of the result.
    """

    LATENCY: ClassVar[int]

    KEPT_CYCLES = 4
    """Cycles that `kept` comes after its operands."""

    def __init__(self, copies: int = 0, members: Mapping[str, Member] | None = None):
        super().__init__(
            {"a": In(32), "b": In(32), "a_normal": In(1), "b_normal": In(1)}
            | {"keep": In(1), "kept": In(32)}
            | result_members(copies)
            | dict(members or {})
        )

    def assign_operands(self, a: Value, b: Value) -> list:
        """Assignments of the operands whose hidden bits are found in the same cycle."""
        return [
            self.a.eq(a),
            self.b.eq(b),
            self.a_normal.eq(Fp32Fields.of(a).normal),
            self.b_normal.eq(Fp32Fields.of(b).normal),
        ]

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
        fraction = registered(m, fraction, name="fraction")
        # Of the number's fraction and the kept one, the addition's other operand, one is 0.
        low = registered(m, self.kept[:FRACTION_BITS] | up, name="low")
        base = registered(m, field | self.kept[FRACTION_BITS:SIGN], name="base")
        change = gated(m, one_minus(shift, len(exponent)), hidden, name="change")
        pattern = Signal(FRACTION_BITS + len(exponent), name="rounded")
        m.d.comb += pattern.eq(Cat(fraction, base) + Cat(low, change))
        return Rounded(pattern, fraction, sign, registered(m, keep, name="keep_5"))

    def _output(self, m: Module, magnitude: Value, sign: Value, replace: Value, nan: Value) -> None:
        """Registers of the result: `sign` and `magnitude`, or where `replace` holds Inf or `nan`.

        The exponent field is all ones then already.
        """
        outputs = [self.result, *self.copies]
        quiet = Mux(replace, nan, magnitude[FRACTION_BITS - 1])
        high = Cat(quiet, magnitude[FRACTION_BITS:], sign)
        for index, (output, take) in enumerate(zip(outputs, self.takes, strict=True)):
            low = gated(m, magnitude[: FRACTION_BITS - 1], take & ~replace, name=f"low_{index}")
            m.d.comb += output.eq(Cat(low, gated(m, high, take, name=f"high_{index}")))
