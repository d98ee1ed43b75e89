"""A lane's arithmetic unit: every elementwise operation through one adder or multiplier."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.fp_add import FpAdd
from tegula.arith.fp_mul import FpMul
from tegula.arith.pipeline import delayed, gated, registered
from tegula.isa.operations import Operation

__all__ = ["FpUnit"]

_FRACTION = 23
_ONE = 0x3F80_0000
_MINUS_ZERO = 0x8000_0000

_HOLDS = {
    Operation.EQ: (1, 0, 0),
    Operation.NE: (0, 1, 1),
    Operation.LT: (0, 1, 0),
    Operation.LE: (1, 1, 0),
    Operation.GT: (0, 0, 1),
    Operation.GE: (1, 0, 1),
}
"""Whether a comparison holds if a is equal to, less than and greater than b."""

_CORES = {
    "add": (FpAdd, _MINUS_ZERO, (Operation.ADD, Operation.SUB, Operation.RSUB)),
    "mul": (FpMul, _ONE, (Operation.MUL,)),
}
"""Core, its neutral second operand, and the operations that are its arithmetic, by kind."""


class FpUnit(wiring.Component):
    """Compute ``result = a op b`` for the operations of the numerics contract, section 5.2.

    One cycle chooses the operands of the core, an `FpAdd` or an `FpMul`. Operations that are not
    its arithmetic become a pattern that it keeps, with its neutral element as the other operand:
    `a` or `b`, ``|a|``, 1.0, +0 or, for MAX and MIN of a NaN, 0x7FC00000. Magnitudes are compared
    by one subtraction.

    Latency: `LATENCY` cycles. Throughput: one operation a cycle, in any order.

    Parameters
    ----------
    kind
        "add" or "mul": the arithmetic that it has.

    Members
    -------
    op : In(Operation)
        MUL on an "add" unit and ADD, SUB and RSUB on a "mul" unit are undefined.
    a, b : In(32)
        fp32 patterns.
    result : Out(32)
        The fp32 pattern of the result; that of SELECT for MERGE.
    kept : Out(1)
        With `result`: `op` was MERGE and `a` zero, so the destination keeps what it holds.

    Raises
    ------
    ValueError
        If `kind` is another.
    """

    LATENCY = 7
    """The choice of the operands, and the core's six."""

    def __init__(self, kind: str):
        if kind not in _CORES:
            raise ValueError(f"kind must be 'add' or 'mul', not {kind!r}")
        self._core, self._neutral, self._arithmetic = _CORES[kind]
        super().__init__(
            {"op": In(Operation), "a": In(32), "b": In(32), "result": Out(32), "kept": Out(1)}
        )

    def elaborate(self, platform):
        """Compare, choose, compute."""
        m = Module()
        m.submodules.core = core = self._core()
        arithmetic = self._is(*self._arithmetic)
        extremum = self._is(Operation.MAX, Operation.MIN)
        select = self._is(Operation.SELECT, Operation.MERGE)
        comparison = self._is(*_HOLDS)
        zero, nan, less, holds = self._compare(m)

        nan = nan & extremum
        moved = ~(nan | comparison | (select & zero))
        from_b = select | (extremum & (less ^ self._is(Operation.MIN)))
        pattern = Mux(from_b, self.b, self.a)
        sign = pattern[31] ^ self._flips(Operation.RSUB)
        ones = holds | nan
        first = Cat(
            gated(m, pattern[:22], moved, name="first_low"),
            gated(m, pattern[22] | nan, moved | nan, name="first_quiet"),
            gated(m, pattern[23:30] | ones.replicate(7), moved | ones, name="first_exponent"),
            gated(m, pattern[30] | nan, moved | nan, name="first_top"),
            gated(m, sign, moved & ~self._is(Operation.ABS), name="first_sign"),
        )
        second = Signal(32, reset_less=True)
        m.d.sync += second.eq(Cat(self.b[:31], self.b[31] ^ self._flips(Operation.SUB)))
        with m.If(~arithmetic):
            m.d.sync += second.eq(self._neutral)

        kept = self._is(Operation.MERGE) & zero
        m.d.comb += [
            core.a.eq(first),
            core.b.eq(second),
            core.keep.eq(registered(m, ~arithmetic, name="keep")),
            self.result.eq(core.product if self._core is FpMul else core.sum),
            self.kept.eq(delayed(m, kept, self.LATENCY, name="kept_later")),
        ]
        return m

    def _is(self, *operations: Operation) -> Value:
        return self.op.matches(*operations)

    def _flips(self, operation: Operation) -> Value | int:
        """Whether the operation, where this kind has it, changes the sign of an operand."""
        return self._is(operation) if operation in self._arithmetic else 0

    def _compare(self, m: Module) -> tuple[Value, Value, Value, Value]:
        """Whether a is zero; a or b is a NaN; a is less than b; `op` is a comparison that holds.

        -0 is less than +0, and of equal patterns either may be less: a comparison of numbers looks
        whether they are equal first.
        """
        a, b = self.a[:31], self.b[:31]
        negative_a, negative_b = self.a[31], self.b[31]
        difference = Signal(32)
        m.d.comb += difference.eq(a - b)
        smaller = difference[31]
        zero = a == 0
        equal = ~difference.any() & ((negative_a == negative_b) | zero)
        nan = _is_nan(a) | _is_nan(b)

        outcome = Signal(3)
        with m.Switch(self.op):
            for operation, outcomes in _HOLDS.items():
                with m.Case(operation):
                    m.d.comb += outcome.eq(Cat(*outcomes))
        with m.If(nan):
            m.d.comb += outcome.eq(self._is(Operation.NE).replicate(3))
        if_equal, if_less, if_greater = outcome
        # The sign of the larger magnitude decides.
        less = Mux(smaller, ~negative_b, negative_a)
        holds = Mux(
            equal,
            if_equal,
            Mux(
                smaller,
                Mux(negative_b, if_greater, if_less),
                Mux(negative_a, if_less, if_greater),
            ),
        )
        return zero, nan, less, holds


def _is_nan(magnitude: Value) -> Value:
    return magnitude[_FRACTION:].all() & magnitude[:_FRACTION].any()
