"""A unit of a vector lane: one arithmetic core, and the operations that need none."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.fp_add import FpAdd
from tegula.arith.fp_mul import FpMul
from tegula.arith.pipeline import delayed, registered
from tegula.isa.operations import Operation

__all__ = ["FpUnit"]

_ONE = 0x3F80_0000
_MINUS_ZERO = 0x8000_0000
_NAN = 0x7FC0_0000

_CORES = {"add": (FpAdd, "sum", _MINUS_ZERO), "mul": (FpMul, "product", _ONE)}
"""Component, its result, and the second operand that leaves the first as it is."""


class FpUnit(wiring.Component):
    """``a op b`` for every operation of its core, and for those that compare or select.

    The latter are decided in the first cycle: a pattern is chosen, which passes the core unchanged
    beside its neutral operand. So all operations take the same time and one result register.

    Latency: `LATENCY` cycles. Throughput: one operation a cycle.

    Parameters
    ----------
    kind
        "add": ADD, SUB and RSUB; "mul": MUL. The other operations belong to both.

    Members
    -------
    op : In(Operation)
        The operation; of additions and multiplications only those of the kind, others give
        undefined results.
    a, b : In(32)
        Its operands.
    result : Out(32)
        Numerics contract, section 5.2.
    kept : Out(1)
        With the result: it is that of a MERGE whose `a` is zero.
    """

    LATENCY = 7

    def __init__(self, kind: str):
        if kind not in _CORES:
            raise ValueError(f"kind must be one of {', '.join(_CORES)}, not {kind!r}")
        self._kind = kind
        super().__init__(
            {
                "op": In(Operation),
                "a": In(32),
                "b": In(32),
                "result": Out(32),
                "kept": Out(1),
            }
        )

    def elaborate(self, platform):
        """Compare, choose, compute."""
        m = Module()
        component, output, neutral = _CORES[self._kind]
        m.submodules.core = core = component()
        op = self.op
        if self._kind == "add":
            keep = (op > Operation.RSUB) | (op == Operation.PASS)
            first = Cat(self.a[:31], self.a[31] ^ (op == Operation.RSUB))
            second = Cat(self.b[:31], self.b[31] ^ (op == Operation.SUB))
        else:
            keep = op != Operation.MUL
            first, second = self.a, self.b
        chosen = Signal(32)
        self._choose(m, op, chosen)
        kept = (op == Operation.MERGE) & ~self.a[:31].any()
        m.d.comb += [
            core.a.eq(registered(m, Mux(keep, chosen, first), name="first")),
            core.b.eq(registered(m, Mux(keep, neutral, second), name="second")),
            core.keep.eq(registered(m, keep, name="keep")),
            self.result.eq(getattr(core, output)),
            self.kept.eq(delayed(m, kept, self.LATENCY, name="kept")),
        ]
        return m

    def _choose(self, m: Module, op: Value, chosen: Signal) -> None:
        """The pattern that an operation without arithmetic gives."""
        a, b = self.a, self.b
        nan = Signal()
        less, equal, zeros = Signal(), Signal(), Signal()
        # Order of the patterns as numbers, -0 below +0: magnitudes, turned round by the sign.
        larger = a[:31] > b[:31]
        m.d.comb += [
            nan.eq((a[:31] > 0x7F80_0000) | (b[:31] > 0x7F80_0000)),
            equal.eq(a == b),
            zeros.eq(~(a[:31] | b[:31]).any()),
            less.eq(Mux(a[31] ^ b[31], a[31], Mux(a[31], larger, ~larger & ~equal))),
        ]
        holds = Signal()
        below, same = less & ~zeros, equal | zeros
        with m.Switch(op):
            for value, condition in (
                (Operation.EQ, same),
                (Operation.NE, ~same),
                (Operation.LT, below),
                (Operation.LE, below | same),
                (Operation.GT, ~(below | same)),
                (Operation.GE, ~below),
            ):
                with m.Case(value):
                    m.d.comb += holds.eq(condition & ~nan)
        with m.If((op == Operation.NE) & nan):
            m.d.comb += holds.eq(1)
        with m.Switch(op):
            with m.Case(Operation.MAX, Operation.MIN):
                m.d.comb += chosen.eq(Mux(less ^ (op == Operation.MIN), b, a))
                with m.If(nan):
                    m.d.comb += chosen.eq(_NAN)
            with m.Case(Operation.SELECT, Operation.MERGE):
                m.d.comb += chosen.eq(b & a[:31].any().replicate(32))
            with m.Case(Operation.ABS):
                m.d.comb += chosen.eq(Cat(a[:31], Const(0, 1)))
            with m.Case(Operation.PASS):
                m.d.comb += chosen.eq(a)
            with m.Default():
                m.d.comb += chosen.eq(Mux(holds, _ONE, 0))
