"""Programs that trap: one for each way to, and random ones with a bit flipped."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tegula.config import TileConfig
from tegula.isa.assembly import assemble
from tegula.isa.codec import Decoded, decode, instructions
from tegula.isa.instructions import Engine
from tegula.isa.traps import Trap
from tegula_golden.tile.simulator import GoldenTile
from tegula_sw.program.footprint import overwrites_operand
from verif.benches.memory_map import BASE
from verif.benches.random_ops import DATA_BYTES
from verif.benches.random_programs import RandomProgram

__all__ = ["BadProgram", "bad_programs", "corrupted"]

_LOAD = "load.dma layout=free"
_STORE = "store.dma layout=free"
_MATMUL = "tensor.matmul rows=1 format=bf16"
_COPY = "vector.compute rows=1 format=bf16"
_APPLY = "activation.apply rows=1 function=0"
_GUARD = 0x100  # bytes of memory before the window
_ROOM = 64  # bytes of the window behind the program
_MAX_ELEMENTS = 3000
_DATA = BASE + _GUARD


@dataclass(frozen=True, kw_only=True)
class BadProgram:
    """A program that traps with `cause` in `engine`, in a window that ends a little behind it."""

    name: str
    cause: Trap
    engine: Engine
    code: bytes

    @property
    def window(self) -> tuple[int, int]:
        """First and last byte of the window."""
        return _DATA, BASE + DATA_BYTES + len(self.code) + _ROOM - 1


def _rows(cfg: TileConfig) -> Iterator[tuple[str, Trap, Engine, str]]:
    sbuf, psum, line = cfg.sbuf_depth, cfg.psum_depth, cfg.bus_words
    control, tensor, vector, activation, load, store = Engine
    limit = (1 << cfg.semaphore_width) - 1
    behind = BASE + DATA_BYTES + 80 + _ROOM

    yield "unknown opcode", Trap.ILLEGAL_OPCODE, control, ".word 0x70"
    large = f"tensor.load rows={cfg.n + 1} format=bf16 columns=1 addr=0"
    yield "field too large", Trap.ILLEGAL_FIELD, control, large
    yield "unclaimed bit", Trap.ILLEGAL_FIELD, control, f".word {0x10 | 1 << 127:#x}"
    absent = "tensor.load rows=1 format=e3m4 columns=1 addr=0"
    yield "absent format", Trap.ILLEGAL_FIELD, control, absent

    narrow = f"{_LOAD} mem_addr={_DATA} run=2 sbuf_addr=0 accumulate=bf16 bytes1=1"
    yield "sums of bytes", Trap.ILLEGAL_FIELD, control, narrow
    wide = f"store.dma layout=partition mem_addr={_DATA} run=2 sbuf_addr=0 accumulate=fp32"
    yield "fp32 sums across partitions", Trap.ILLEGAL_FIELD, control, wide

    columns = f"tensor.load rows=1 format=bf16 columns=3 addr={sbuf - 2}"
    yield "stationary column", Trap.SBUF_RANGE, tensor, columns
    moving = f"{_MATMUL} addr=2 stride=-1 columns=9 psum_addr=0"
    yield "moving column", Trap.SBUF_RANGE, tensor, moving
    word = f"{_MATMUL} addr=0 columns=5 psum_addr={psum - 4}"
    yield "PSUM word of a matmul", Trap.PSUM_RANGE, tensor, word
    onto = f"{_MATMUL} addr=0 columns=4 psum_addr=3\n{_MATMUL} addr=0 columns=4 psum_addr=4"
    yield "accumulation onto nothing", Trap.PSUM_UNWRITTEN, tensor, onto + " accumulate=1"

    if cfg.packed_fp8:
        wide = "rows=1 format=bf16 packed=1 columns=1 addr=0"
        yield "packed bf16", Trap.ILLEGAL_FIELD, control, f"tensor.load {wide}"
        halves = f"{_LOAD} mem_addr={_DATA} run=2 sbuf_addr=0 half=high"
        yield "halves of two bytes", Trap.ILLEGAL_FIELD, control, halves
        packed = "rows=1 format=e5m2 packed=1 columns=1 addr=0"
        pair = f"tensor.load {packed}\ntensor.matmul {packed} psum_addr=0"
        yield "formats that are no pair", Trap.PACKED_FORMATS, tensor, pair
    if cfg.mx:
        wide = "rows=1 format=bf16 scaled=1 columns=1 addr=0"
        yield "scaled bf16", Trap.ILLEGAL_FIELD, control, f"tensor.matmul {wide} psum_addr=0"
        rows = f"tensor.scales addr={sbuf - 2} columns=3"
        yield "rows of scales", Trap.SBUF_RANGE, tensor, rows
        scaled = "tensor.load rows=1 format=e5m2 scaled=1 columns=1 addr=0"
        pair = f"{scaled}\n{_MATMUL} addr=0 columns=1 psum_addr=0"
        yield "scaled by bf16", Trap.PACKED_FORMATS, tensor, pair

    yield "copy of nothing", Trap.PSUM_UNWRITTEN, vector, f"{_COPY} x_addr=7 dst=0 columns=1"
    last = f"{_MATMUL} addr=0 columns=1 psum_addr={psum - 1} signal(0+=1)\n"
    word = f"{_COPY} wait(0>=1) x_addr={psum - 1} dst=0 columns=2"
    yield "PSUM word of a copy", Trap.PSUM_RANGE, vector, last + word
    source = f"{_COPY} x_source=sbuf x_addr={sbuf - 2} x_stride=2 dst=0 columns=2"
    yield "source of a copy", Trap.SBUF_RANGE, vector, source
    source = f"{_COPY} x_source=sbuf x_addr=3 dst=0 columns=1"
    yield "odd source of a copy", Trap.SBUF_ALIGNMENT, vector, source
    given = f"{_COPY} x_source=index rounding=given y_format=raw16 dst=100 columns=3"
    yield "random bits of a copy", Trap.SBUF_RANGE, vector, f"{given} y_addr={sbuf - 2}"
    scalar = f"{_COPY} x_source=index op0=mul s0_kind=partition s0={sbuf} dst=0 columns=1"
    yield "scalar", Trap.SBUF_RANGE, vector, scalar
    result = f"vector.compute rows=1 format=fp32 x_source=index dst={sbuf - 2} dst_stride=2"
    yield "destination of a copy", Trap.SBUF_RANGE, vector, f"{result} columns=2"
    line_at = f"{_COPY} x_source=index transpose=1 dst={cfg.n + 1} columns=1"
    yield "line of results", Trap.SBUF_ALIGNMENT, vector, line_at
    total = f"{_COPY} x_source=index reduction=sum finish=1 dst={sbuf} columns=9"
    yield "destination of a reduction", Trap.SBUF_RANGE, vector, total
    if cfg.mx:
        blocks = "vector.quantise rows=1 x_source=sbuf x_format=bf16 columns=40"
        narrow = f"{blocks} format=e5m2 e2m1=1 dst=0 scale_dst=64"
        yield "numbers of E2M1 in e5m2", Trap.ILLEGAL_FIELD, control, narrow
        halves = f"{blocks} format=e4m3fn dst=0 scale_dst=64"
        yield "two operands of a block", Trap.ILLEGAL_FIELD, control, f"{halves} s1_kind=y"
        code = f"{blocks} format=e4m3fn scale_dst=64 dst={sbuf - 39}"
        yield "code of the second block", Trap.SBUF_RANGE, vector, code
        scale = f"{blocks} format=e4m3fn scale_dst={sbuf - 1} dst=64"
        yield "scale of the second block", Trap.SBUF_RANGE, vector, scale
        line_at = f"{blocks} format=e4m3fn scale_dst=64 transpose=1 dst=128 dst_stride=1"
        yield "line of codes", Trap.SBUF_ALIGNMENT, vector, line_at
    else:
        block = "vector.quantise rows=1 columns=1 format=e4m3fn dst=0 scale_dst=1"
        yield "absent instruction", Trap.ILLEGAL_OPCODE, control, block
    state = f"vector.generator save=1 addr={sbuf - 4}"
    yield "generators", Trap.SBUF_RANGE, vector, state

    argument = f"{_APPLY} format=bf16 x_addr={sbuf - 2} x_stride=2 dst=0 columns=2"
    yield "argument", Trap.SBUF_RANGE, activation, argument
    odd = f"{_APPLY} format=fp32 x_addr=0 x_stride=2 dst=1 columns=1"
    yield "odd result of a function", Trap.SBUF_ALIGNMENT, activation, odd
    total = f"{_APPLY} format=bf16 x_addr=0 dst=0 columns=1 sum=1 finish=1 sum_dst={sbuf}"
    yield "destination of a sum", Trap.SBUF_RANGE, activation, total
    table = f"activation.table kind=entries addr={sbuf - 3} count=2"
    yield "table", Trap.SBUF_RANGE, activation, table

    run = f"{_LOAD} mem_addr={_DATA} run={line + 1} count1=2 sbuf_addr=0 sbuf_stride1={-line}"
    yield "scratchpad of a load", Trap.SBUF_RANGE, load, run
    run = f"{_LOAD} mem_addr={_DATA} run=3 count1={cfg.n + 1} sbuf_addr=0 partition_stride1=1"
    yield "partition of a load", Trap.SBUF_RANGE, load, run
    run = f"{_STORE} mem_addr={_DATA} run=2 count1={cfg.n + 1} sbuf_addr=0 partition_stride1=1"
    yield "partition of a store", Trap.SBUF_RANGE, store, run
    run = f"{_LOAD} mem_addr={_DATA} run=9 count1=2 sbuf_addr=0 sbuf_stride1=1"
    yield "unaligned load", Trap.SBUF_ALIGNMENT, load, run
    run = f"{_STORE} mem_addr={_DATA} run=1 sbuf_addr=1"
    yield "unaligned store", Trap.SBUF_ALIGNMENT, store, run
    run = f"{_LOAD} mem_addr={_DATA} run=3 sbuf_addr=0 accumulate=fp32"
    yield "half a number to add", Trap.SBUF_ALIGNMENT, load, run
    run = f"{_STORE} mem_addr={_DATA} run=4 count1=3 mem_stride1=6 sbuf_addr=0 accumulate=fp32"
    yield "numbers to add to off their size", Trap.MEMORY_ALIGNMENT, store, run
    run = f"{_LOAD} mem_addr={_DATA + 2} run=4 count1=3 mem_stride1=-2 sbuf_addr=0"
    yield "load before the window", Trap.MEMORY_WINDOW, load, run
    run = f"{_STORE} mem_addr={behind - 24} run=4 count1=9 mem_stride1=8 sbuf_addr=0"
    yield "store behind the window", Trap.MEMORY_WINDOW, store, run

    signals = "store.sync signal(3+=255)\n" * (limit // 255 + 1)
    yield "semaphore overflow", Trap.SEMAPHORE_OVERFLOW, store, signals
    waits = "load.sync signal(1+=2)\nvector.sync wait(1>=3)\nstore.sync consume(1>=2)"
    yield "deadlock", Trap.DEADLOCK, vector, waits
    yield "end without a loop", Trap.LOOP_NESTING, control, "control.loop\n" + "control.end\n" * 2
    yield "loop in four loops", Trap.LOOP_NESTING, control, "control.loop\n" * 5
    step = "control.add register=1 source=1 value=-2\ncontrol.relative enable0=1 register0=1"
    below = f"control.loop count=9\n{step}\n{_COPY} x_source=sbuf x_addr=6 dst=0 columns=1"
    yield "address below zero", Trap.RELATIVE_RANGE, control, f"{below}\ncontrol.end"
    no_count = "control.loop from_register=1 register=2"
    yield "no iteration", Trap.RELATIVE_RANGE, control, no_count
    wide = f"control.read mem_addr={_DATA + 4} bytes8=1 register=1"
    yield "number off its size", Trap.ILLEGAL_FIELD, control, wide
    outside = f"control.read mem_addr={_DATA - 8} register=1"
    yield "number before the window", Trap.MEMORY_WINDOW, control, outside
    waits = "vector.sync signal(1+=2)\ncontrol.read mem_addr=0 register=1 wait(1>=3)"
    yield "read that waits for ever", Trap.DEADLOCK, control, waits
    yield "no halt", Trap.PROGRAM_END, control, "load.sync"


def bad_programs(cfg: TileConfig) -> Iterator[BadProgram]:
    """Each way to trap but aborts and bus errors."""
    for name, cause, engine, text in _rows(cfg):
        end = "" if cause is Trap.PROGRAM_END else "\nhalt"
        yield BadProgram(name=name, cause=cause, engine=engine, code=assemble(f"{text}{end}"))


def corrupted(rng: np.random.Generator, cfg: TileConfig, program: RandomProgram) -> RandomProgram:
    """`program` with a bit flipped in an opcode or a payload.

    Flips after which the outcome is not defined, or that take very long, are not used.
    """
    original_at = dict(instructions(program.code))
    while True:
        offset = int(rng.choice([*original_at]))
        original = original_at[offset]
        bits = 8 * original.size
        bit = int(rng.choice([*range(8), *range(41, bits)]))
        code = bytearray(program.code)
        code[offset + bit // 8] ^= 1 << bit % 8
        candidate = RandomProgram(code=bytes(code))
        if _is_defined(candidate, offset, original, cfg) and not _changes_itself(candidate, cfg):
            return candidate


def _is_defined(program: RandomProgram, offset: int, original: Decoded, cfg: TileConfig) -> bool:
    """The changed instruction is short, in its place in the order, and keeps its own operands.

    The program is serial: each engine's last instruction signals, and the next engine's first waits
    for it. With another engine, or with the next instruction as its payload, two would run at once.
    """
    try:
        decoded = decode(program.code, offset)
    except ValueError:
        return True
    fields = decoded.fields
    if (decoded.instruction.engine, decoded.size) != (original.instruction.engine, original.size):
        return False
    if fields.get("overlap"):
        return False
    if "count1" in fields:
        elements = fields["run"] * fields["count1"] * fields["count2"] * fields["count3"]
        return elements < _MAX_ELEMENTS
    return fields.get("columns", 0) < _MAX_ELEMENTS and overwrites_operand(decoded, cfg) is None


def _changes_itself(program: RandomProgram, cfg: TileConfig) -> bool:
    """Stores into its own code, which may be fetched already."""
    memory = program.image(lambda size_bytes: np.zeros(size_bytes, np.uint8))
    before = memory.copy()
    GoldenTile(cfg).run(memory, program=program.start, program_bytes=len(program.code), base=BASE)
    return bool((memory[DATA_BYTES:] != before[DATA_BYTES:]).any())
