"""Programs that trap, and one that must run after each: for every device alike."""

import re

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

LOAD = "load.dma layout=free"
STORE = "store.dma layout=free"
MATMUL = "tensor.matmul rows=1 format=bf16"
COPY = "vector.compute rows=1 format=bf16"
BLOCKS = "vector.quantise rows=1 format=e4m3fn x_source=sbuf x_format=bf16"
APPLY = "activation.apply rows=1 function=0 format=fp32 dst_stride=2"

_REDUCTION = "reduction=sum finish=1"
_SIGNALS = "\n    ".join(["store.sync signal(3+=255)"] * 16)

_TABLE = f"""
an opcode that is not in the table: ILLEGAL_OPCODE CONTROL 16 0x77
    load.sync
    .word 0x77
a field beyond its limit: ILLEGAL_FIELD CONTROL 16 0
    load.sync
    tensor.load rows=9 format=bf16 columns=1 addr=0
an unclaimed bit: ILLEGAL_FIELD CONTROL 0 0
    .word {0x01 | 1 << 127:#x}
a format that the tile does not have: ILLEGAL_FIELD CONTROL 0 0
    tensor.load rows=1 format=e3m4 columns=1 addr=0
a stationary column behind the scratchpad: SBUF_RANGE TENSOR 0 {SBUF}
    tensor.load rows=1 format=bf16 columns=4 addr={SBUF - 2}
a moving column before the scratchpad: SBUF_RANGE TENSOR 0 {(1 << 20) - 1}
    {MATMUL} addr=3 stride=-2 columns=3 psum_addr=0
the first fault of a matmul is its lowest column's: PSUM_RANGE TENSOR 0 {PSUM}
    {MATMUL} addr={SBUF - 3} columns=8 psum_addr={PSUM - 2}
within a column the scratchpad is checked first: SBUF_RANGE TENSOR 0 {SBUF}
    {MATMUL} addr={SBUF - 2} columns=8 psum_addr={PSUM - 2}
accumulation onto a word that was not written: PSUM_UNWRITTEN TENSOR 16 12
    {MATMUL} addr=0 columns=4 psum_addr=8
    {MATMUL} addr=0 columns=5 psum_addr=8 accumulate=1
packed operands in formats that are no pair: PACKED_FORMATS TENSOR 16 7
    tensor.load rows=1 format=e5m2 packed=1 columns=1 addr=0
    tensor.matmul rows=1 format=e5m2 packed=1 addr=7 columns=1 psum_addr=0
a pair that is refused is found before an address: PACKED_FORMATS TENSOR 16 {SBUF - 1}
    tensor.load rows=1 format=e5m2 packed=1 columns=1 addr=0
    tensor.matmul rows=1 format=e5m2 packed=1 addr={SBUF - 1} columns=2 psum_addr={PSUM - 1}
a scaled operand and one of bf16: PACKED_FORMATS TENSOR 16 9
    tensor.load rows=1 format=bf16 columns=1 addr=0
    tensor.matmul rows=1 format=e5m2 scaled=1 addr=9 columns=1 psum_addr=0
a row of scales behind the scratchpad: SBUF_RANGE TENSOR 0 {SBUF}
    tensor.scales addr={SBUF - 4} stride=2 columns=3
rows of scales that are none: ILLEGAL_FIELD CONTROL 0 0
    tensor.scales addr=0 columns=129
a copy of a word that was not written: PSUM_UNWRITTEN VECTOR 0 5
    {COPY} x_addr=5 dst=0 columns=1
a copy from behind PSUM: PSUM_RANGE VECTOR 16 {PSUM}
    {MATMUL} addr=0 columns=1 psum_addr={PSUM - 1} signal(0+=1)
    {COPY} x_addr={PSUM - 1} dst=0 columns=2 wait(0>=1)
a copy from before PSUM: PSUM_RANGE VECTOR 16 {(1 << 20) - 3}
    {MATMUL} addr=0 columns=1 psum_addr=0 signal(0+=1)
    {COPY} x_addr=0 x_stride=-3 dst=0 columns=2 wait(0>=1)
an fp32 at an odd address: SBUF_ALIGNMENT VECTOR 0 7
    {COPY} x_source=sbuf x_addr=4 x_stride=3 dst=0 columns=4
an fp32 behind the scratchpad: SBUF_RANGE VECTOR 0 {SBUF}
    {COPY} x_source=sbuf x_addr={SBUF - 4} x_stride=2 dst=0 columns=4
random bits behind the scratchpad: SBUF_RANGE VECTOR 0 {SBUF}
    {COPY} x_source=index rounding=given y_format=raw16 y_addr={SBUF - 4} dst=0 columns=9
a y that is not used is not checked: SBUF_RANGE VECTOR 0 {SBUF}
    {COPY} x_source=index op0=abs s0_kind=y y_addr={SBUF - 3} dst={SBUF - 5} columns=9
a scalar behind the scratchpad: SBUF_RANGE VECTOR 0 0xFFFE
    {COPY} op1=add s1_kind=partition s1=0xFFFE x_addr=0 dst=0 columns=1
the scalars are checked in their order: SBUF_ALIGNMENT VECTOR 0 9
    {COPY} op0=mul s0_kind=partition s0=9 op1=add s1_kind=partition s1=7 dst=0 columns=1
an fp32 result at an odd address: SBUF_ALIGNMENT VECTOR 0 3
    vector.compute rows=1 format=fp32 x_source=index dst=3 dst_stride=2 columns=9
a line that does not begin at a multiple of N: SBUF_ALIGNMENT VECTOR 0 20
    {COPY} x_source=index transpose=1 dst=16 dst_stride=4 columns=20
fp32 cannot be transposed: ILLEGAL_FIELD CONTROL 0 0
    vector.compute rows=1 format=fp32 transpose=1 dst=0 columns=1
the result of a reduction is checked with its last element: SBUF_RANGE VECTOR 0 {SBUF}
    {COPY} x_source=sbuf x_format=raw16 x_addr={SBUF - 2} {_REDUCTION} dst={SBUF - 1} columns=3
a code of the second block behind the scratchpad: SBUF_RANGE VECTOR 0 {SBUF}
    {BLOCKS} scale_dst=0 dst={SBUF - 35} columns=40
the scale of the third block behind the scratchpad: SBUF_RANGE VECTOR 0 {SBUF}
    {BLOCKS} scale_dst={SBUF - 2} dst=0 columns=70
a line of codes that does not begin at a multiple of N: SBUF_ALIGNMENT VECTOR 0 20
    {BLOCKS} scale_dst=0 transpose=1 packed=1 dst=16 dst_stride=4 columns=40
codes of E2M1 cannot be in e5m2: ILLEGAL_FIELD CONTROL 0 0
    vector.quantise rows=1 format=e5m2 e2m1=1 columns=1 dst=0 scale_dst=1
generators at an odd address: SBUF_ALIGNMENT VECTOR 0 5
    vector.generator addr=5
generators behind the scratchpad: SBUF_RANGE VECTOR 0 {SBUF}
    vector.generator save=1 addr={SBUF - 4}
an argument behind the scratchpad: SBUF_RANGE ACTIVATION 0 {SBUF}
    {APPLY} x_addr={SBUF - 2} x_stride=2 dst=0 columns=2
the scale is checked before the bias, and both before the argument: SBUF_ALIGNMENT ACTIVATION 0 3
    {APPLY} scale_partition=1 scale=3 bias_partition=1 bias=5 x_addr=1 dst=1 columns=1
a sum at an odd address: SBUF_ALIGNMENT ACTIVATION 0 7
    {APPLY} sum=1 finish=1 sum_dst=7 x_addr=0 x_stride=2 dst=64 columns=3
a table behind the scratchpad: SBUF_RANGE ACTIVATION 0 {SBUF}
    activation.table kind=entries addr={SBUF - 3} count=2
a run behind the scratchpad: SBUF_RANGE LOAD 0 {SBUF - LINE}
    {LOAD} mem_addr={DATA} run={LINE + 1} sbuf_addr={SBUF - LINE}
a partition that does not exist: SBUF_RANGE LOAD 0 8
    {LOAD} mem_addr={DATA} run=1 count1=9 sbuf_addr=8 partition_stride1=1
a span of partitions that overflows twenty bits: SBUF_RANGE LOAD 0 0
    load.dma layout=partition mem_addr={DATA} run=1025 sbuf_addr=0 sbuf_stride0=8192
a run in layout free that does not begin on a line: SBUF_ALIGNMENT STORE 0 {LINE + 1}
    {STORE} mem_addr={DATA} run=1 sbuf_addr={LINE + 1}
half a number to accumulate: SBUF_ALIGNMENT LOAD 0 {LINE}
    {LOAD} mem_addr={DATA} run=3 sbuf_addr={LINE} accumulate=fp32
a number in memory off a multiple of its size: MEMORY_ALIGNMENT STORE 0 {DATA + 6}
    {STORE} mem_addr={DATA + 6} run=2 sbuf_addr=0 accumulate=fp32
bytes to accumulate: ILLEGAL_FIELD CONTROL 0 0
    {LOAD} mem_addr={DATA} run=2 sbuf_addr=0 accumulate=bf16 bytes1=1
a byte outside the window: MEMORY_WINDOW LOAD 16 {OUTSIDE - 15}
    load.sync
    {LOAD} mem_addr={OUTSIDE - 15} run=8 sbuf_addr=0
the window is checked before the scratchpad: MEMORY_WINDOW STORE 0 {OUTSIDE}
    {STORE} mem_addr={OUTSIDE} run=1 sbuf_addr={SBUF + 1}
a semaphore past its width: SEMAPHORE_OVERFLOW STORE 0 3
    {_SIGNALS}
    store.sync signal(3+=16)
a wait that nobody ends: DEADLOCK STORE 16 1
    load.sync signal(1+=1)
    store.sync wait(1>=2)
an illegal instruction behind a wait that nobody ends: ILLEGAL_OPCODE CONTROL 16 0
    store.sync wait(1>=2)
    .word 0
an end of a loop that is not open: LOOP_NESTING CONTROL 48 0
    control.loop count=2
    load.sync
    control.end
    control.end
a loop in four others: LOOP_NESTING CONTROL 64 4
    control.loop
    control.loop
    control.loop
    control.loop
    control.loop
an address below zero in the third iteration: RELATIVE_RANGE CONTROL 32 1
    control.loop count=9
    control.relative enable1=1 register1=4
    {LOAD} mem_addr={DATA} run=1 sbuf_addr={2 * LINE}
    control.add register=4 source=4 value={-LINE}
    control.end
a trap before an illegal instruction comes first: PSUM_UNWRITTEN VECTOR 0 0
    {COPY} dst=0 columns=1
    .word 0
"""
"""Rows of `name: cause engine pc address`, each over the lines of its program but `halt`."""


def _parse(table):
    """The table by name: (program without `halt`, (cause, engine, pc, address))."""
    traps = {}
    for row in re.split(r"\n(?=\S)", table.strip()):
        head, program = row.split("\n", 1)
        name, record = head.split(": ")
        cause, engine, *numbers = record.split()
        assert name not in traps
        pc, address = (int(number, 0) for number in numbers)
        traps[name] = (program, (Trap[cause], Engine[engine], pc, address))
    return traps


TRAPS = _parse(_TABLE)


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


def assert_traps_by_name(tile, name, **arguments):
    """The program of `TRAPS` traps as it says, memory is as before, and a good program runs."""
    text, expected = TRAPS[name]
    memory = np.zeros(MEMORY_BYTES, np.uint8)
    assert_trap(run(tile, assemble(text + "\nhalt"), memory, **arguments), expected)
    memory[PROGRAM - BASE :] = 0
    assert not memory.any()
    assert_a_good_program_runs(tile)


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
