"""A lane's arithmetic unit: every elementwise operation through one adder or multiplier."""

from typing import NamedTuple

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.fp32 import EXPONENT_BITS, FRACTION_BITS, SIGN, Fp32Fields
from tegula.arith.fp_add import FpAdd
from tegula.arith.fp_core import Operand, result_members
from tegula.arith.fp_mul import FpMul
from tegula.arith.fp_operation import operation_layout
from tegula.lib.delay import delayed, gated, registered

__all__ = ["FpUnit"]

_CORES = {"add": FpAdd, "mul": FpMul}


class Order(NamedTuple):
    """Order of two patterns: |a| < |b|.

    And a cycle later whether the numbers are equal, a is zero, and one of them is a NaN.
    """

    smaller: Value
    equal: Value
    zero: Value
    nan: Value


class FpUnit(wiring.Component):
    """Unit for ``result = a op b``, the operations of the numerics contract, section 5.2.

    Operands are registered before anything else: what selects them outside has a cycle. Then the
    core, an `FpAdd` or an `FpMul`, begins; beside it operations that are not its arithmetic become
    a pattern, which it keeps: `a` or `b`, ``|a|``, 1.0, +0 or, for MAX and MIN of a NaN,
    0x7FC00000. An adder compares by what it would make of ``a - b``; a multiplier has a subtraction
    of magnitudes for that.

    Latency: `LATENCY` cycles. Throughput: one operation a cycle, in any order.

    Parameters
    ----------
    kind
        "add" or "mul": the arithmetic that it has.
    copies
        Those of its `FpCore`.

    Members
    -------
    operation : In(operation_layout)
        What `decode_operation` makes of it; MUL on an "add" unit and ADD, SUB and RSUB on a "mul"
        unit are undefined.
    a, b : In(32)
        fp32 patterns.
    takes : In(1 + copies), result : Out(32), copies : Out(copies_layout)
        The fp32 pattern of the result, that of SELECT for MERGE, where it is taken: as in `FpCore`.
    kept : Out(1)
        With `result`: `op` was MERGE and `a` zero, so the destination keeps what it holds.

    Raises
    ------
    ValueError
        If `kind` is another.
    """

    LATENCY = 7
    """The operands' register, and the core's six."""

    def __init__(self, kind: str, *, copies: int = 0):
        if kind not in _CORES:
            raise ValueError(f"kind must be 'add' or 'mul', not {kind!r}")
        self._core = _CORES[kind]
        self._copies = copies
        super().__init__(
            {"operation": In(operation_layout()), "a": In(32), "b": In(32), "kept": Out(1)}
            | result_members(copies)
        )

    def elaborate(self, platform):
        """Registers; then the core, and beside it comparison and choice."""
        m = Module()
        m.submodules.core = core = self._core(self._copies)
        op = _delayed_operation(m, self.operation, 1)
        a, b = registered(m, self.a, name="a_1"), registered(m, self.b, name="b_1")
        a_normal = registered(m, Fp32Fields.of(self.a).normal, name="a_normal")
        b_normal = registered(m, Fp32Fields.of(self.b).normal, name="b_normal")
        m.d.comb += [
            core.a.eq(a),
            core.b.eq(b),
            core.a_normal.eq(a_normal),
            core.b_normal.eq(b_normal),
            core.keep.eq(op.keep),
            core.takes.eq(self.takes),
            self.result.eq(core.result),
            self.copies.eq(core.copies),
        ]
        compare = self._compare_by_difference if self._core is FpAdd else self._compare_magnitudes
        order, cycle = compare(m, core, op, a, b)
        op = _delayed_operation(m, op, cycle)
        a, b = delayed(m, a, cycle, name="a"), delayed(m, b, cycle, name="b")
        pattern, kept = self._choose(m, op, a, b, order, core.KEPT_CYCLES - cycle - 2)
        m.d.comb += [
            core.kept.eq(pattern),
            self.kept.eq(delayed(m, kept, self.LATENCY - cycle - 2, name="kept")),
        ]
        return m

    def _compare_by_difference(
        self, m: Module, core: FpAdd, op: data.View, a: Value, b: Value
    ) -> tuple[Order, int]:
        """Order that the adder's flags tell: it computes ``a - b`` of what is not a sum."""
        m.d.comb += [
            core.a[SIGN].eq(a[SIGN] ^ op.negate_a),
            core.b[SIGN].eq(b[SIGN] ^ op.negate_b),
            core.alone.eq(op.selects),
        ]
        order = Order(
            smaller=core.smaller, equal=core.zero | core.opposite, zero=core.zero, nan=core.nan
        )
        return order, core.SMALLER_CYCLES

    def _compare_magnitudes(
        self, m: Module, core: FpMul, op: data.View, a: Value, b: Value
    ) -> tuple[Order, int]:
        """Order by a subtraction, which takes a cycle."""
        fields_a, fields_b = Operand(a, core.a_normal), Fp32Fields.of(b)
        difference = Signal(32)
        m.d.comb += difference.eq(a[:SIGN] - b[:SIGN])
        same = registered(m, ~difference[:SIGN].any(), name="same")
        zero = registered(m, ~(fields_a.normal | fields_a.fraction.any()), name="zero")
        nan = registered(m, fields_a.nan | fields_b.nan, name="nan")
        same_sign = registered(m, a[SIGN] == b[SIGN], name="same_sign")
        order = Order(
            smaller=registered(m, difference[SIGN], name="smaller"),
            equal=registered(m, same & (same_sign | zero), name="equal"),
            zero=registered(m, zero, name="zero_later"),
            nan=registered(m, nan, name="nan_later"),
        )
        return order, 1

    def _choose(
        self, m: Module, op: data.View, a: Value, b: Value, order: Order, cycles: int
    ) -> tuple[Value, Value]:
        """Pattern that is kept, or 0 where none is, 2 + `cycles` later; a cycle later, `kept`.

        -0 is less than +0, and of equal patterns either may be less: a comparison of numbers looks
        whether they are equal first.
        """
        # The sign of the larger magnitude decides.
        less = Mux(order.smaller, ~b[SIGN], a[SIGN])
        from_b = op.selects | (op.extremum & (less ^ op.minimum))
        pattern = registered(m, Mux(from_b, b, a), name="chosen")
        less = registered(m, less, name="less")
        op = _delayed_operation(m, op, 1)

        ordered = Mux(order.equal, op.if_equal, Mux(less, op.if_less, op.if_greater))
        holds = Mux(order.nan, op.if_unordered, ordered)
        invalid = order.nan & op.extremum
        moved = op.moves & ~invalid & ~(op.selects & order.zero)
        magnitude = gated(m, pattern[:SIGN], moved, name="moved")
        sign = gated(m, pattern[SIGN], moved & ~op.absolute, name="sign")
        later = delayed(m, Cat(magnitude, sign), cycles, name="pattern")
        ones = delayed(m, holds | invalid, 1 + cycles, name="ones")
        invalid = delayed(m, invalid, 1 + cycles, name="invalid")
        # After the registers: where the core takes a pattern, a constant costs no LUT.
        pattern = later | Cat(
            Const(0, FRACTION_BITS - 1), invalid, ones.replicate(EXPONENT_BITS - 1), invalid
        )
        return pattern, op.merges & order.zero


def _delayed_operation(m: Module, op: data.View, cycles: int) -> data.View:
    """`op` some cycles later."""
    return data.View(op.shape(), delayed(m, op.as_value(), cycles, name="operation"))
