"""The work of a vector instruction, as far as it decides how long that takes."""

from dataclasses import dataclass

from tegula.formats import FP32, RAW32
from tegula.isa.codec import Decoded
from tegula.isa.operations import Operand, Operation, Reduction, Rounding, Source
from tegula_golden.tile.quantise import QUANTISE_UNUSED

__all__ = ["VectorWork", "vector_work"]

_UNARY = (Operation.PASS, Operation.ABS)
_SUMS = (Operation.ADD, Operation.SUB, Operation.RSUB)
_STATE_PAIRS = 4
"""Elements of `vector.generator`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorWork:
    """What decides how long an instruction takes (`tegula.vector.work`)."""

    route: tuple[int, bool, bool]
    interval: int
    scalars: tuple[int | None, ...]
    columns: int
    rows: int
    x: tuple[int, int, bool] | None
    y: tuple[int, int, bool] | None
    reads: bool
    proceeds: bool
    state: bool
    overlap: bool
    reduces: bool
    finishes: bool
    destination: tuple[int, int, bool] | None
    transposed: bool
    scales: tuple[int, int] | None = None

    @property
    def steps(self) -> int:
        """Units that an element passes."""
        return self.route[0]


def _route(op0: int, op1: int, reduces: bool) -> tuple[tuple[int, bool, bool], int]:
    """Steps, which of them are the multiplier's, and the cycles between two elements."""
    has0, has1 = op0 != Operation.PASS, op1 != Operation.PASS
    neutral0 = op0 not in (*_SUMS, Operation.MUL)
    neutral1 = op1 not in (*_SUMS, Operation.MUL)
    mul0, mul1 = op0 == Operation.MUL, op1 == Operation.MUL
    multiplier0 = has0 and (mul0 or (neutral0 and (reduces or not (has1 and mul1))))
    multiplier1 = has1 and (mul1 or (neutral1 and (reduces or not multiplier0)))
    last_adds = not multiplier1 if has1 else has0 and not multiplier0
    if reduces and has1 and not multiplier0:
        interval = 3
    elif (has1 and multiplier0 == multiplier1) or (reduces and last_adds):
        interval = 2
    else:
        interval = 1
    return (has0 + has1 + reduces, multiplier0, multiplier1), interval


def _wide(code: int) -> bool:
    return code in (FP32.code, RAW32)


def vector_work(decoded: Decoded, rows: int) -> VectorWork | None:
    """The work of an instruction of a tile with so many `rows`; None if it has none."""
    f = decoded.fields
    if decoded.mnemonic == "vector.generator":
        state = (f["addr"], 2, True)
        return VectorWork(
            route=(0, False, False),
            interval=1,
            scalars=(),
            columns=_STATE_PAIRS,
            rows=rows,
            x=None if f["save"] else state,
            y=None,
            reads=not f["save"],
            proceeds=False,
            state=True,
            overlap=False,
            reduces=False,
            finishes=False,
            destination=state if f["save"] else None,
            transposed=False,
        )
    blocks = decoded.mnemonic == "vector.quantise"
    if blocks:
        f = f | QUANTISE_UNUSED
    elif decoded.mnemonic != "vector.compute":
        return None
    steps = [(f["op0"], f["s0_kind"], f["s0"]), (f["op1"], f["s1_kind"], f["s1"])]
    if steps[0][0] == Operation.PASS:
        steps = [steps[1], (Operation.PASS, 0, 0)]
    reduces = f["reduction"] != Reduction.NONE
    route, interval = _route(steps[0][0], steps[1][0], reduces)
    binary = [(kind, value) for op, kind, value in steps if op not in _UNARY]
    y_used = f["rounding"] == Rounding.GIVEN or any(kind == Operand.Y for kind, _ in binary)
    scalars = tuple(
        value & 0xFFFF if kind == Operand.PARTITION else None
        for kind, value in binary
        if kind in (Operand.IMMEDIATE, Operand.PARTITION)
    )
    from_sbuf = f["x_source"] == Source.SBUF
    return VectorWork(
        route=route,
        interval=interval,
        scalars=scalars,
        columns=f["columns"],
        rows=f["rows"],
        x=(f["x_addr"], f["x_stride"], _wide(f["x_format"])) if from_sbuf else None,
        y=(f["y_addr"], f["y_stride"], _wide(f["y_format"])) if y_used else None,
        reads=from_sbuf or y_used or any(value is not None for value in scalars),
        proceeds=bool(f["proceed"]),
        state=False,
        overlap=bool(f["overlap"]),
        reduces=reduces,
        finishes=reduces and bool(f["finish"]),
        destination=None if reduces else (f["dst"], f["dst_stride"], _wide(f["format"])),
        transposed=bool(f["transpose"]),
        scales=(f["scale_dst"], f["scale_stride"]) if blocks else None,
    )
