"""A lane's arithmetic unit: every elementwise operation through one adder or multiplier."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.fp32 import Fp32Fields
from tegula.arith.fp_add import FpAdd
from tegula.arith.fp_mul import FpMul
from tegula.isa.operations import Operation
from tegula.lib.delay import delayed, gated, registered

__all__ = ["FpUnit"]

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
    "add": (FpAdd, (Operation.ADD, Operation.SUB, Operation.RSUB)),
    "mul": (FpMul, (Operation.MUL,)),
}
"""Core, and the operations that are its arithmetic, by kind."""


class FpUnit(wiring.Component):
    """Unit for ``result = a op b``, the operations of the numerics contract, section 5.2.

    Operands are registered before anything else: what selects them outside has a cycle. Then the
    core, an `FpAdd` or an `FpMul`, begins; beside it operations that are not its arithmetic become
    a pattern, which it keeps: `a` or `b`, ``|a|``, 1.0, +0 or, for MAX and MIN of a NaN,
    0x7FC00000. Magnitudes are compared by one subtraction.

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
    """The operands' register, and the core's six."""

    def __init__(self, kind: str):
        if kind not in _CORES:
            raise ValueError(f"kind must be 'add' or 'mul', not {kind!r}")
        self._core, self._arithmetic = _CORES[kind]
        super().__init__(
            {"op": In(Operation), "a": In(32), "b": In(32), "result": Out(32), "kept": Out(1)}
        )

    def elaborate(self, platform):
        """Registers; then the core, and beside it comparison and choice."""
        m = Module()
        m.submodules.core = core = self._core()
        op = registered(m, self.op, name="op_1")
        a = Cat(self.a[:31], self.a[31] ^ self._flips(Operation.RSUB))
        b = Cat(self.b[:31], self.b[31] ^ self._flips(Operation.SUB))
        a, b = registered(m, a, name="a_1"), registered(m, b, name="b_1")
        m.d.comb += [
            core.a.eq(a),
            core.b.eq(b),
            core.keep.eq(~op.matches(*self._arithmetic)),
            self.result.eq(core.result),
        ]
        difference = Signal(32)
        m.d.comb += difference.eq(a[:31] - b[:31])
        smaller = registered(m, difference[31], name="smaller")
        same = registered(m, ~difference[:31].any(), name="same")
        zero = registered(m, a[:31] == 0, name="zero")
        nan = registered(m, Fp32Fields.of(a).nan | Fp32Fields.of(b).nan, name="nan")
        op = registered(m, op, name="op_2")
        a, b = registered(m, a, name="a_2"), registered(m, b, name="b_2")

        equal = same & ((a[31] == b[31]) | zero)
        pattern = self._choose(m, op, a, b, zero, nan, smaller, equal)
        kept = (op == Operation.MERGE) & zero
        m.d.comb += [
            core.kept.eq(delayed(m, pattern, core.KEPT_CYCLES - 2, name="pattern")),
            self.kept.eq(delayed(m, kept, self.LATENCY - 2, name="kept_later")),
        ]
        return m

    def _flips(self, operation: Operation) -> Value | int:
        """1 if the operation, where this kind has it, changes the sign of an operand."""
        return self.op == operation if operation in self._arithmetic else 0

    def _choose(
        self,
        m: Module,
        op: Value,
        a: Value,
        b: Value,
        zero: Value,
        nan: Value,
        smaller: Value,
        equal: Value,
    ) -> Value:
        """Pattern that is kept, a cycle later, or 0 where none is.

        `zero`: a is. `smaller`: its magnitude is. -0 is less than +0, and of equal patterns either
        may be less: a comparison of numbers looks whether they are equal first.
        """
        outcome = Signal(3)
        with m.Switch(op):
            for operation, outcomes in _HOLDS.items():
                with m.Case(operation):
                    m.d.comb += outcome.eq(Cat(*outcomes))
        with m.If(nan):
            m.d.comb += outcome.eq((op == Operation.NE).replicate(3))
        if_equal, if_less, if_greater = outcome
        # The sign of the larger magnitude decides.
        less = Mux(smaller, ~b[31], a[31])
        holds = Mux(equal, if_equal, Mux(less, if_less, if_greater))

        extremum = op.matches(Operation.MAX, Operation.MIN)
        select = op.matches(Operation.SELECT, Operation.MERGE)
        invalid = nan & extremum
        moved = ~(invalid | op.matches(*_HOLDS, *self._arithmetic) | (select & zero))
        from_b = select | (extremum & (less ^ (op == Operation.MIN)))
        pattern = Mux(from_b, b, a)
        ones = holds | invalid
        return Cat(
            gated(m, pattern[:22], moved, name="low"),
            gated(m, pattern[22] | invalid, moved | invalid, name="quiet"),
            gated(m, pattern[23:30] | ones.replicate(7), moved | ones, name="exponent"),
            gated(m, pattern[30] | invalid, moved | invalid, name="top"),
            gated(m, pattern[31], moved & (op != Operation.ABS), name="sign"),
        )
