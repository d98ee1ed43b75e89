"""Programs that trap, and one that must run after each: for every device alike."""

import numpy as np

from tegula.config import preset
from tegula.isa.assembly import assemble
from tegula.isa.instructions import Engine
from tegula.isa.traps import Trap

SMALL = preset("small")
SBUF = SMALL.sbuf_depth
PSUM = SMALL.psum_depth
LINE = SMALL.bus_words
BASE = 0x1_0000
MEMORY_BYTES = 0x4000
PROGRAM = BASE + 0x2000
DATA = BASE + 0x1000
OUTSIDE = BASE + MEMORY_BYTES

LOAD = "load.dma layout=free "
STORE = "store.dma layout=free "
MATMUL = "tensor.matmul rows=1 format=bf16 "
COPY = "vector.compute rows=1 format=bf16 "
APPLY = "activation.apply rows=1 function=0 format=fp32 dst_stride=2 "

# name: (program without `halt`, cause, engine, pc, address)
TRAPS = {
    "an opcode that is not in the table": (
        "load.sync\n.word 0x77",
        (Trap.ILLEGAL_OPCODE, Engine.CONTROL, 16, 0x77),
    ),
    "a field beyond its limit": (
        "load.sync\ntensor.load rows=9 format=bf16 columns=1 addr=0",
        (Trap.ILLEGAL_FIELD, Engine.CONTROL, 16, 0),
    ),
    "an unclaimed bit": (
        f".word {0x01 | 1 << 127:#x}",
        (Trap.ILLEGAL_FIELD, Engine.CONTROL, 0, 0),
    ),
    "a format that the tile does not have": (
        "tensor.load rows=1 format=e3m4 columns=1 addr=0",
        (Trap.ILLEGAL_FIELD, Engine.CONTROL, 0, 0),
    ),
    "a stationary column behind the scratchpad": (
        f"tensor.load rows=1 format=bf16 columns=4 addr={SBUF - 2}",
        (Trap.SBUF_RANGE, Engine.TENSOR, 0, SBUF),
    ),
    "a moving column before the scratchpad": (
        MATMUL + "addr=3 stride=-2 columns=3 psum_addr=0",
        (Trap.SBUF_RANGE, Engine.TENSOR, 0, (1 << 20) - 1),
    ),
    "the first fault of a matmul is its lowest column's": (
        MATMUL + f"addr={SBUF - 3} columns=8 psum_addr={PSUM - 2}",
        (Trap.PSUM_RANGE, Engine.TENSOR, 0, PSUM),
    ),
    "within a column the scratchpad is checked first": (
        MATMUL + f"addr={SBUF - 2} columns=8 psum_addr={PSUM - 2}",
        (Trap.SBUF_RANGE, Engine.TENSOR, 0, SBUF),
    ),
    "accumulation onto a word that was not written": (
        MATMUL
        + "addr=0 columns=4 psum_addr=8\n"
        + MATMUL
        + "addr=0 columns=5 psum_addr=8 accumulate=1",
        (Trap.PSUM_UNWRITTEN, Engine.TENSOR, 16, 12),
    ),
    "a copy of a word that was not written": (
        COPY + "x_addr=5 dst=0 columns=1",
        (Trap.PSUM_UNWRITTEN, Engine.VECTOR, 0, 5),
    ),
    "a copy from behind PSUM": (
        MATMUL
        + f"addr=0 columns=1 psum_addr={PSUM - 1} signal(0+=1)\n"
        + COPY
        + f"x_addr={PSUM - 1} dst=0 columns=2 wait(0>=1)",
        (Trap.PSUM_RANGE, Engine.VECTOR, 16, PSUM),
    ),
    "a copy from before PSUM": (
        MATMUL
        + "addr=0 columns=1 psum_addr=0 signal(0+=1)\n"
        + COPY
        + "x_addr=0 x_stride=-3 dst=0 columns=2 wait(0>=1)",
        (Trap.PSUM_RANGE, Engine.VECTOR, 16, (1 << 20) - 3),
    ),
    "an fp32 at an odd address": (
        COPY + "x_source=sbuf x_addr=4 x_stride=3 dst=0 columns=4",
        (Trap.SBUF_ALIGNMENT, Engine.VECTOR, 0, 7),
    ),
    "an fp32 behind the scratchpad": (
        COPY + f"x_source=sbuf x_addr={SBUF - 4} x_stride=2 dst=0 columns=4",
        (Trap.SBUF_RANGE, Engine.VECTOR, 0, SBUF),
    ),
    "random bits behind the scratchpad": (
        COPY + f"x_source=index rounding=given y_format=raw16 y_addr={SBUF - 4} dst=0 columns=9",
        (Trap.SBUF_RANGE, Engine.VECTOR, 0, SBUF),
    ),
    "a y that is not used is not checked": (
        COPY + f"x_source=index op0=abs s0_kind=y y_addr={SBUF - 3} dst={SBUF - 5} columns=9",
        (Trap.SBUF_RANGE, Engine.VECTOR, 0, SBUF),
    ),
    "a scalar behind the scratchpad": (
        COPY + "op1=add s1_kind=partition s1=0xFFFE x_addr=0 dst=0 columns=1",
        (Trap.SBUF_RANGE, Engine.VECTOR, 0, 0xFFFE),
    ),
    "the scalars are checked in their order": (
        COPY + "op0=mul s0_kind=partition s0=9 op1=add s1_kind=partition s1=7 dst=0 columns=1",
        (Trap.SBUF_ALIGNMENT, Engine.VECTOR, 0, 9),
    ),
    "an fp32 result at an odd address": (
        "vector.compute rows=1 format=fp32 x_source=index dst=3 dst_stride=2 columns=9",
        (Trap.SBUF_ALIGNMENT, Engine.VECTOR, 0, 3),
    ),
    "a line that does not begin at a multiple of N": (
        COPY + "x_source=index transpose=1 dst=16 dst_stride=4 columns=20",
        (Trap.SBUF_ALIGNMENT, Engine.VECTOR, 0, 20),
    ),
    "fp32 cannot be transposed": (
        "vector.compute rows=1 format=fp32 transpose=1 dst=0 columns=1",
        (Trap.ILLEGAL_FIELD, Engine.CONTROL, 0, 0),
    ),
    "the result of a reduction is checked with its last element": (
        COPY
        + f"x_source=sbuf x_format=raw16 x_addr={SBUF - 2} reduction=sum finish=1 dst={SBUF - 1}"
        " columns=3",
        (Trap.SBUF_RANGE, Engine.VECTOR, 0, SBUF),
    ),
    "generators at an odd address": (
        "vector.generator addr=5",
        (Trap.SBUF_ALIGNMENT, Engine.VECTOR, 0, 5),
    ),
    "generators behind the scratchpad": (
        f"vector.generator save=1 addr={SBUF - 4}",
        (Trap.SBUF_RANGE, Engine.VECTOR, 0, SBUF),
    ),
    "an argument behind the scratchpad": (
        APPLY + f"x_addr={SBUF - 2} x_stride=2 dst=0 columns=2",
        (Trap.SBUF_RANGE, Engine.ACTIVATION, 0, SBUF),
    ),
    "the scale is checked before the bias, and both before the argument": (
        APPLY + "scale_partition=1 scale=3 bias_partition=1 bias=5 x_addr=1 dst=1 columns=1",
        (Trap.SBUF_ALIGNMENT, Engine.ACTIVATION, 0, 3),
    ),
    "a sum at an odd address": (
        APPLY + "sum=1 finish=1 sum_dst=7 x_addr=0 x_stride=2 dst=64 columns=3",
        (Trap.SBUF_ALIGNMENT, Engine.ACTIVATION, 0, 7),
    ),
    "a table behind the scratchpad": (
        f"activation.table kind=entries addr={SBUF - 3} count=2",
        (Trap.SBUF_RANGE, Engine.ACTIVATION, 0, SBUF),
    ),
    "a run behind the scratchpad": (
        LOAD + f"mem_addr={DATA} run={LINE + 1} sbuf_addr={SBUF - LINE}",
        (Trap.SBUF_RANGE, Engine.LOAD, 0, SBUF - LINE),
    ),
    "a partition that does not exist": (
        LOAD + f"mem_addr={DATA} run=1 count1=9 sbuf_addr=8 partition_stride1=1",
        (Trap.SBUF_RANGE, Engine.LOAD, 0, 8),
    ),
    "a span of partitions that overflows twenty bits": (
        f"load.dma layout=partition mem_addr={DATA} run=1025 sbuf_addr=0 sbuf_stride0=8192",
        (Trap.SBUF_RANGE, Engine.LOAD, 0, 0),
    ),
    "a run in layout free that does not begin on a line": (
        STORE + f"mem_addr={DATA} run=1 sbuf_addr={LINE + 1}",
        (Trap.SBUF_ALIGNMENT, Engine.STORE, 0, LINE + 1),
    ),
    "half a number to accumulate": (
        LOAD + f"mem_addr={DATA} run=3 sbuf_addr={LINE} accumulate=fp32",
        (Trap.SBUF_ALIGNMENT, Engine.LOAD, 0, LINE),
    ),
    "a number in memory off a multiple of its size": (
        STORE + f"mem_addr={DATA + 6} run=2 sbuf_addr=0 accumulate=fp32",
        (Trap.MEMORY_ALIGNMENT, Engine.STORE, 0, DATA + 6),
    ),
    "bytes to accumulate": (
        LOAD + f"mem_addr={DATA} run=2 sbuf_addr=0 accumulate=bf16 bytes1=1",
        (Trap.ILLEGAL_FIELD, Engine.CONTROL, 0, 0),
    ),
    "a byte outside the window": (
        "load.sync\n" + LOAD + f"mem_addr={OUTSIDE - 15} run=8 sbuf_addr=0",
        (Trap.MEMORY_WINDOW, Engine.LOAD, 16, OUTSIDE - 15),
    ),
    "the window is checked before the scratchpad": (
        STORE + f"mem_addr={OUTSIDE} run=1 sbuf_addr={SBUF + 1}",
        (Trap.MEMORY_WINDOW, Engine.STORE, 0, OUTSIDE),
    ),
    "a semaphore past its width": (
        "store.sync signal(3+=255)\n" * 16 + "store.sync signal(3+=16)",
        (Trap.SEMAPHORE_OVERFLOW, Engine.STORE, 0, 3),
    ),
    "a wait that nobody ends": (
        "load.sync signal(1+=1)\nstore.sync wait(1>=2)",
        (Trap.DEADLOCK, Engine.STORE, 16, 1),
    ),
    "an illegal instruction behind a wait that nobody ends": (
        "store.sync wait(1>=2)\n.word 0",
        (Trap.ILLEGAL_OPCODE, Engine.CONTROL, 16, 0),
    ),
    "a trap before an illegal instruction comes first": (
        COPY + "dst=0 columns=1\n.word 0",
        (Trap.PSUM_UNWRITTEN, Engine.VECTOR, 0, 0),
    ),
}


def run(tile, program, memory=None, program_bytes=None, **arguments):
    """Run bytes at PROGRAM."""
    memory = np.zeros(MEMORY_BYTES, np.uint8) if memory is None else memory
    memory[PROGRAM - BASE :][: len(program)] = np.frombuffer(program, np.uint8)
    size = len(program) if program_bytes is None else program_bytes
    arguments = {"base": BASE, "program": PROGRAM, **arguments}
    return tile.run(memory, program_bytes=size, **arguments)


def assert_trap(result, expected):
    assert result.trap is not None
    record = result.trap
    assert (record.cause, record.engine, record.pc, record.address) == expected


def assert_a_good_program_runs(tile):
    """Ones times ones, with everything in use: eight in every result."""
    memory = np.zeros(MEMORY_BYTES, np.uint8)
    memory[DATA - BASE :][:256] = np.full(128, 0x3F80, "<u2").view(np.uint8)
    result = run(
        tile,
        assemble(
            f"""load.dma layout=partition mem_addr={DATA} run=128 sbuf_addr=0 sbuf_stride0=1
                    signal(0+=1)
                tensor.load rows=8 format=bf16 columns=8 addr=0 consume(0>=1)
                tensor.matmul rows=8 format=bf16 addr=8 columns=8 psum_addr=0
                tensor.matmul rows=8 format=bf16 addr=8 columns=8 psum_addr=0 accumulate=1
                    signal(1+=1)
                vector.compute rows=8 format=bf16 dst=64 columns=8 consume(1>=1) signal(2+=1)
                store.dma layout=free mem_addr={DATA + 512} run=8 count1=8 mem_stride1=16
                    sbuf_addr=64 partition_stride1=1 wait(2>=1)
                halt""".replace("\n                    ", " ")
        ),
        memory,
    )
    assert result.trap is None, result.trap
    assert (memory[DATA - BASE + 512 :][:128].view("<u2") == 0x4180).all()
    assert not memory[DATA - BASE + 640 : PROGRAM - BASE].any()
