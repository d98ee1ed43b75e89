"""What an `FpUnit` is told about an operation: decoded once, where units do the same in step."""

from amaranth.hdl import Cat, Value
from amaranth.lib import data

from tegula.isa.operations import Operation

__all__ = ["decode_operation", "operation_layout"]

_HOLDS = {
    "if_equal": (Operation.EQ, Operation.LE, Operation.GE),
    "if_less": (Operation.NE, Operation.LT, Operation.LE),
    "if_greater": (Operation.NE, Operation.GT, Operation.GE),
    "if_unordered": (Operation.NE,),
}
"""Comparisons that hold for each order of a and b."""

_ARITHMETIC = (Operation.ADD, Operation.SUB, Operation.RSUB, Operation.MUL)


def operation_layout() -> data.StructLayout:
    """Properties of an operation.

    `keep`: it is not a sum or product. `negate_a`, `negate_b`: of the operands that an adder adds,
    or compares. `moves`: the result is an operand, or 0: if `selects` b, or 0 where a is zero
    (`merges`: or what is there); if `extremum` the larger or, if also `minimum`, the smaller one;
    else a, if `absolute` without its sign. `if_equal`, `if_less`, `if_greater`, `if_unordered`: the
    result is 1.0 if a is to b.
    """
    names = ("keep", "negate_a", "negate_b", "moves", "selects", "merges", "extremum", "minimum")
    return data.StructLayout(dict.fromkeys((*names, "absolute", *_HOLDS), 1))


def decode_operation(op: Value) -> Value:
    """The properties of the operation, in the order of `operation_layout`."""
    extremum, select = (Operation.MAX, Operation.MIN), (Operation.SELECT, Operation.MERGE)
    return Cat(
        ~op.matches(*_ARITHMETIC),
        op == Operation.RSUB,
        ~op.matches(Operation.ADD, Operation.RSUB),
        op.matches(Operation.PASS, Operation.ABS, *extremum, *select),
        op.matches(*select),
        op == Operation.MERGE,
        op.matches(*extremum),
        op == Operation.MIN,
        op == Operation.ABS,
        *(op.matches(*operations) for operations in _HOLDS.values()),
    )
