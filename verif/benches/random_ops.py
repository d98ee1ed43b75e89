"""Random instructions that trap nowhere: every kind and field, at addresses that meet."""

from collections.abc import Iterable

import numpy as np

from tegula.config import TileConfig
from tegula.formats import (
    BF16,
    FP32,
    MX_BLOCK,
    MXFP4_E2M1,
    RAW16,
    RAW32,
    FloatFormat,
    format_by_code,
)
from tegula.isa.codec import decode, encode
from tegula.isa.instructions import ENGINES, Engine
from tegula.isa.operations import (
    Half,
    Operand,
    Reduction,
    Rounding,
    ScaleRule,
    Source,
    TableKind,
)
from tegula.isa.tensor import SCALE_ROW_BITS
from tegula_sw.program.footprint import overwrites_operand
from tegula_sw.program.schedule import Op
from verif.benches.memory_map import BASE
from verif.benches.random_transfers import random_descriptor

__all__ = [
    "DATA_BYTES",
    "OpGenerator",
    "random_engine_ops",
    "random_ops",
    "settling_ops",
    "written_psum",
]

DATA_BYTES = 0x3000
"""Memory that loads and stores use."""

_SHARES = (0.3, 0.3, 0.16, 0.14, 0.1)
"""Of the engines, among instructions."""

_MAX_COLUMNS = 40
_STATE_WORDS = 8
_WIDE = (FP32.code, RAW32)
_CONSTANTS = (0x3F80_0000, 0xBF00_0000, 0x4000_0000, 0, 0x8000_0000, 0x7F80_0000, 0x0012_3456)


class OpGenerator:
    """Draws instructions; remembers what PSUM holds at that point of the program."""

    def __init__(
        self, rng: np.random.Generator, config: TileConfig, written: np.ndarray | None = None
    ):
        self._rng, self._config = rng, config
        nowhere = np.zeros(config.psum_depth, dtype=bool)
        self._written = nowhere if written is None else written.copy()
        self._stationary: tuple[FloatFormat, bool, bool] | None = None
        """Format of the stationary operand, and whether it is packed and scaled."""
        self._near = int(rng.integers(0, config.sbuf_depth - 512)) // 64 * 64
        """Most addresses are within 512 words from here, so that instructions meet."""

    def op(self) -> Op:
        """The next instruction."""
        return self.op_of(ENGINES[self._rng.choice(len(ENGINES), p=_SHARES)])

    def op_of(self, engine: Engine) -> Op:
        """The next instruction, which is one of `engine`."""
        make = getattr(self, f"_{engine.name.lower()}")
        while True:
            written = self._written.copy()
            mnemonic, fields = make()
            decoded = decode(encode(mnemonic, self._config, **fields))
            if overwrites_operand(decoded, self._config) is None:
                return Op(mnemonic, fields)
            self._written = written

    def table(self) -> list[Op]:
        """Loads of some of the activation engine's table, from what the scratchpad holds."""
        return [
            Op("activation.table", self._table(kind)[1])
            for kind in (TableKind.ENTRIES, TableKind.DESCRIPTORS)
        ]

    def _int(self, low: int, high: int) -> int:
        """A number from `low` to `high`, ends included, and more often the ends."""
        pick = self._rng.integers(0, 8)
        if pick < 2:
            return (low, high)[pick]
        return int(self._rng.integers(low, high + 1))

    def _chance(self, share: float) -> int:
        return int(self._rng.random() < share)

    def _span(self, count: int, *, unit: int = 1, most: int = 5) -> tuple[int, int]:
        """Start and stride of `count` addresses, both multiples of `unit`; a third contiguous."""
        depth = self._config.sbuf_depth
        most = min(most, (depth // unit - 1) // max(count - 1, 1))
        stride = 1 if self._rng.random() < 0.4 else self._int(-most, most)
        reach = stride * (count - 1) * unit
        low, high = max(0, -reach), depth - unit - max(0, reach)
        if self._rng.random() < 0.85:
            low, high = max(low, self._near), min(high, self._near + 512)
            if low > high:
                low = high = min(max(0, -reach), depth - unit - max(0, reach))
        start = self._int(-(-low // unit), high // unit) * unit
        return start, stride * unit

    def _address(self, unit: int) -> int:
        return self._span(1, unit=unit)[0]

    def _operand_format(self) -> int:
        return int(self._rng.choice([fmt.code for fmt in self._config.operand_formats]))

    def _format(self, *, raw: bool = True) -> int:
        codes = [FP32.code, FP32.code, BF16.code, self._operand_format()]
        return int(self._rng.choice([*codes, RAW16, RAW32] if raw else codes))

    def _tensor(self) -> tuple[str, dict]:
        config, rng = self._config, self._rng
        if config.mx and rng.random() < 0.12:
            rows = self._int(1, _MAX_COLUMNS)
            addr, stride = self._span(rows)
            fields = {"columns": rows, "addr": addr, "stride": stride}
            return "tensor.scales", fields | {"scales": self._scale_row()}
        fmt = format_by_code(self._operand_format())
        packed = config.packed_fp8 and fmt is not BF16 and rng.random() < 0.7
        scaled = config.mx and fmt is not BF16 and rng.random() < 0.4
        fields = {"rows": self._int(1, config.n), "format": fmt.code, "scales": self._scale_row()}
        if rng.random() < 0.35 or not self._stationary:  # it does not rely on a program before it
            self._stationary = fmt, packed, scaled
            fields |= {"packed": int(packed), "scaled": int(scaled)}
            columns = self._int(1, config.n)
            addr, stride = self._span(columns)
            return "tensor.load", fields | {"columns": columns, "addr": addr, "stride": stride}
        columns = int(rng.integers(1, _MAX_COLUMNS))
        addr, stride = self._span(columns)
        psum = self._int(0, config.psum_depth - columns)
        if rng.random() < 0.6:  # stay close, so that words meet again
            psum = int(rng.integers(0, 16))
        words = slice(psum, psum + columns)
        accumulate = bool(self._written[words].all()) and rng.random() < 0.8
        self._written[words] = True
        partner, both = self._stationary[0], packed and self._stationary[1]
        if fmt is BF16 and self._stationary[2]:
            fields["format"] = config.fp8_formats[0].code
        return "tensor.matmul", fields | {
            "packed": int(packed and (not both or (partner, fmt) in config.packed_pairs)),
            "scaled": int(scaled and partner is not BF16),
            "accumulate": int(accumulate),
            "columns": columns,
            "addr": addr,
            "stride": stride,
            "psum_addr": psum,
        }

    def _scale_row(self) -> int:
        return int(self._rng.integers(0, 1 << SCALE_ROW_BITS)) if self._config.mx else 0

    def _vector(self) -> tuple[str, dict]:
        if self._rng.random() < 0.06:
            addr = min(self._address(2), self._config.sbuf_depth - _STATE_WORDS)
            return "vector.generator", {"save": self._chance(0.5), "addr": addr}
        config, rng = self._config, self._rng
        if config.mx and rng.random() < 0.18:
            return "vector.quantise", self._blocks()
        fields = {name: self._format() for name in ("format", "x_format", "y_format")}
        wide = fields["format"] in _WIDE
        fields |= {
            "rows": self._int(1, config.n),
            "saturate": self._chance(0.5),
            "rounding": int(rng.choice([Rounding.NEAREST, *Rounding])),
            "reduction": int(rng.choice([*[Reduction.NONE] * 5, *Reduction])),
            "proceed": self._chance(0.3),
            "finish": self._chance(0.7),
            "transpose": 0 if wide else self._chance(0.25),
            "partition": int(rng.integers(config.n)),
        }
        fields |= self._x(int(rng.integers(1, _MAX_COLUMNS)))
        columns = fields["columns"]
        for name in ("y", "x") if fields["x_source"] == Source.SBUF else ("y",):
            unit = 2 if fields[f"{name}_format"] in _WIDE else 1
            fields[f"{name}_addr"], fields[f"{name}_stride"] = self._span(columns, unit=unit)
        fields |= self._steps(list(Operand))
        if fields["transpose"]:
            lines = -(-(fields["partition"] + columns) // config.n)
            fields["dst"], fields["dst_stride"] = self._span(lines, unit=config.n)
        else:
            fields["dst"], fields["dst_stride"] = self._span(columns, unit=1 + wide)
        return "vector.compute", fields | self._halves()

    def _blocks(self) -> dict[str, int]:
        """Fields of a `vector.quantise`."""
        config, rng = self._config, self._rng
        element = config.mx_elements[int(rng.integers(len(config.mx_elements)))]
        fields = {"x_format": self._format(), "format": element.fmt.code}
        fields |= self._x(
            int(rng.choice([rng.integers(1, 2 * MX_BLOCK + 8), MX_BLOCK, MX_BLOCK + 1])), 6
        )
        columns = fields["columns"]
        if fields["x_source"] == Source.SBUF:
            unit = 2 if fields["x_format"] in _WIDE else 1
            fields["x_addr"], fields["x_stride"] = self._span(columns, unit=unit, most=2)
        fields |= self._steps([kind for kind in Operand if kind != Operand.Y])
        transpose = self._chance(0.5)
        fields |= {
            "rows": self._int(1, config.n),
            "e2m1": int(element is MXFP4_E2M1),
            "rule": int(rng.choice(list(ScaleRule))),
            "transpose": transpose,
            "packed": transpose * config.packed_fp8 * self._chance(0.6),
            "partition": int(rng.integers(config.n)),
        }
        fields["scale_dst"], fields["scale_stride"] = self._span(-(-columns // MX_BLOCK))
        if transpose:
            rows = -(-columns // 2) if fields["packed"] else columns
            lines = -(-(fields["partition"] + rows) // config.n)
            fields["dst"], fields["dst_stride"] = self._span(lines, unit=config.n)
        else:
            fields["dst"], fields["dst_stride"] = self._span(columns)
        return fields | self._halves()

    def _steps(self, kinds: list[Operand]) -> dict[str, int]:
        """Operations and their second operands, of these kinds."""
        rng, fields = self._rng, {}
        for number in "01":
            kind = kinds[int(rng.integers(len(kinds)))]
            constant = int(rng.choice([*_CONSTANTS, rng.integers(1 << 32)]))
            fields |= {
                f"op{number}": int(rng.integers(16)),
                f"s{number}_kind": int(kind),
                f"s{number}": self._address(2) if kind == Operand.PARTITION else constant,
            }
        return fields

    def _halves(self) -> dict[str, int]:
        """Halves of words that operands and results take, where words may hold two codes."""
        if not self._config.packed_fp8:
            return {}
        return {"half": int(self._rng.choice(list(Half))), "x_high": self._chance(0.4)}

    def _x(self, columns: int, sources: int = 8) -> dict[str, int]:
        """Source and number of elements, and their addresses outside of the scratchpad.

        The first six of the `sources` are PSUM and the scratchpad.
        """
        rng = self._rng
        choices = [*[Source.PSUM] * 3, *[Source.SBUF] * 3, Source.INDEX, Source.RANDOM]
        source = int(rng.choice(choices[:sources]))
        if source == Source.PSUM and not self._written.any():
            source = Source.SBUF
        fields = {"x_source": source, "columns": columns}
        if source == Source.PSUM:
            first = int(rng.choice(np.flatnonzero(self._written)))
            ends = np.flatnonzero(~self._written[first:])
            behind = int(ends[0]) if ends.size else self._config.psum_depth - first
            stride = int(rng.choice([0, 1, 1, 1, 2]))
            if stride:
                fields["columns"] = min(columns, -(-behind // stride))
            fields |= {"x_addr": first, "x_stride": stride}
        elif source != Source.SBUF:
            fields |= {
                "x_addr": int(rng.integers(1 << 16)),
                "x_stride": int(rng.integers(-2048, 2048)),
            }
        return fields

    def _activation(self) -> tuple[str, dict]:
        rng = self._rng
        if rng.random() < 0.1:
            return self._table(TableKind(int(rng.integers(2))))
        columns = int(rng.integers(1, _MAX_COLUMNS))
        fields = {name: self._format(raw=False) for name in ("format", "x_format")}
        flags = ("saturate", "exp", "parity", "odd", "log", "sum", "proceed", "finish")
        fields |= {name: self._chance(0.4) for name in flags}
        fields |= {
            "rows": self._int(1, self._config.n),
            "columns": columns,
            "sum_dst": self._address(2),
            "function": int(rng.integers(self._config.activation_entries)),
            "low": int(rng.choice([-3, -20, 0, 5, rng.integers(-512, 512)])),
        }
        for name, field in (("x_addr", "x_format"), ("dst", "format")):
            stride = {"x_addr": "x_stride", "dst": "dst_stride"}[name]
            unit = 2 if fields[field] in _WIDE else 1
            fields[name], fields[stride] = self._span(columns, unit=unit)
        for name in ("scale", "bias"):
            partition = self._chance(0.4)
            fields[f"{name}_partition"] = partition
            fields[name] = self._address(2) if partition else int(rng.choice(_CONSTANTS))
        return "activation.apply", fields | self._halves()

    def _table(self, kind: TableKind) -> tuple[str, dict]:
        rows_each = 2 if kind == TableKind.ENTRIES else 1
        count = int(self._rng.integers(1, 100))
        addr = min(self._address(1), self._config.sbuf_depth - rows_each * count)
        first = int(self._rng.integers(self._config.activation_entries))
        return "activation.table", {"kind": int(kind), "first": first, "addr": addr, "count": count}

    def _load(self) -> tuple[str, dict]:
        return "load.dma", self._descriptor(Engine.LOAD)

    def _store(self) -> tuple[str, dict]:
        return "store.dma", self._descriptor(Engine.STORE)

    def _descriptor(self, engine: Engine) -> dict[str, int]:
        return random_descriptor(self._rng, self._config, engine, BASE, DATA_BYTES, near=self._near)


def random_ops(rng: np.random.Generator, config: TileConfig, count: int) -> list[Op]:
    """`count` instructions that end well whatever the data, the table's loads first."""
    generator = OpGenerator(rng, config)
    return [*generator.table(), *(generator.op() for _ in range(count - 2))]


def random_engine_ops(
    rng: np.random.Generator, config: TileConfig, engine: Engine, count: int, written: np.ndarray
) -> list[Op]:
    """`count` instructions of one engine that end well, where those words of PSUM are written."""
    generator = OpGenerator(rng, config, written)
    return [generator.op_of(engine) for _ in range(count)]


def settling_ops(config: TileConfig) -> list[Op]:
    """Instructions after which nothing in the engines depends on programs before.

    Generators, the whole function table and the scale buffer come from the scratchpad; reductions
    and sums are begun.
    """
    entries = min(config.activation_entries, config.sbuf_depth // 2)
    usual = {"rows": 1, "columns": 1, "dst": 0, "format": BF16.code}
    rows = {"columns": 1 << SCALE_ROW_BITS, "addr": 0}
    return [
        *([Op("tensor.scales", rows)] if config.mx else []),
        Op("vector.generator", {"save": 0, "addr": 0}),
        Op("activation.table", {"kind": TableKind.ENTRIES, "addr": 0, "count": entries}),
        Op(
            "activation.table",
            {"kind": TableKind.DESCRIPTORS, "addr": 0, "count": config.activation_entries},
        ),
        Op("vector.compute", usual | {"x_source": Source.INDEX, "reduction": Reduction.SUM}),
        Op("activation.apply", usual | {"x_addr": 2, "function": 0, "sum": 1}),
    ]


def written_psum(config: TileConfig, ops: Iterable[Op]) -> np.ndarray:
    """Words of PSUM that `ops` write: bool, shape (psum_depth,)."""
    written = np.zeros(config.psum_depth, dtype=bool)
    for op in ops:
        if op.mnemonic == "tensor.matmul":
            first = op.fields["psum_addr"]
            written[first : first + op.fields["columns"]] = True
    return written
