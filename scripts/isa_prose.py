"""The sentences of docs/isa.md that no table holds, and its worked example."""

__all__ = ["ASSEMBLY", "ENCODING", "EXAMPLE", "EXAMPLE_INTRO", "HOST", "INTRO", "MODEL", "STORAGE"]

INTRO = """\
# Instruction set

What a tile executes and what its host sees. The arithmetic is in [numerics.md](numerics.md),
errors are in [traps.md](traps.md). This file is generated from `hw/tegula/isa` (`make docs`),
which also makes the hardware's decoder, the assembler and the functional simulator.

N is the number of partitions of the tile; limits that depend on the configuration are written
with the names of `TileConfig`. All of this is ours; there is no compatibility to keep with
another machine.
"""

STORAGE = """\
## Storage

- **Scratchpad**: N partitions of `sbuf_depth` words of 16 bits. A word holds a bf16 number, or an
  8-bit code in its low byte (operands: the high byte is ignored; results: it is zero). An fp32
  number is two consecutive words of a partition, the low half first. On a tile with `packed_fp8`
  a word may hold two 8-bit codes: see [packed operands](#packed-operands). The scratchpad survives
  from program to program.
- **PSUM**: N partitions of `psum_depth` = `psum_banks` x `psum_bank_words` partial sums in the
  wide form of the numerics contract. Each program begins with all of PSUM *unwritten*: reading
  such a word, or accumulating onto it, is a trap. A word counts as written in all partitions at
  once.
- **Stationary operand**: N x N operands in the array, replaced by `tensor.load`. A program that
  multiplies before it loads uses what an earlier program left there: it must not rely on it.
- **Partial results** of the vector engine's reductions and of the activation engine's sums, eight
  fp32 a partition each; **random generators** of the vector engine, a state of 128 bits a
  partition; the activation engine's **function table**: `activation_entries` entries and as many
  descriptors. All of them survive from program to program.
- **Semaphores**: `semaphores` counters of `semaphore_width` bits, zero at the start of a program.
- **Registers**: 16 of 48 bits, which control adds to fields of instructions; zero at the start of a
  program.
"""

MODEL = """\
## Execution

1. **Control** fetches the program in order, checks each instruction and puts it into the queue of
   its engine. It executes [loops](#loops-and-registers) itself; there are no other branches. A
   queue holds `queue_depth` instructions; an instruction counts until its engine takes it, so also
   while it waits at the head. An instruction whose queue is full holds back all that follow it in
   the program.
2. **Each engine** (tensor, vector, activation, load, store) takes the instructions of its queue
   in order. The head of a queue waits, if `wait` is 1, until semaphore `wait_sem` is at least
   `wait_value`; if `consume` is 1, it then subtracts `wait_value`. Comparison and subtraction are
   one step. Then it executes.
3. **At completion**, if `signal` is 1, `signal_value` is added to semaphore `signal_sem`. All
   effects of the instruction are visible to whoever sees the new count. For `store.dma` this
   means that memory has acknowledged every write. The host, or another master of its port, signals
   too, by register `SIGNAL` ([below](#signals-of-the-host)).
4. `halt` waits until all queues are empty and all engines idle; then the program is done.

Engines run beside each other: **only queues and semaphores order them**. Between two engines
nothing else does, not even the order in the program. Within an engine:

- `vector`, `activation`, `load` and `store` instructions see all effects of earlier ones of the
  same engine on the scratchpad and PSUM, and their signals come in order. A vector or activation
  instruction with `overlap` need not: it must not read what those before it in its engine may
  still be writing.
- A `tensor.matmul` sees all PSUM writes of earlier ones. `tensor.load` reads its operand while
  earlier matmuls still run, so its signal may come before theirs. The signals of loads come in
  order, and so do those of all other tensor instructions, when the loads before them are complete
  too. A `tensor.sync` signals when all earlier tensor instructions are complete.
- Runs of one DMA instruction are transferred in order: axis 1 counts fastest, then axis 2, then
  axis 3. Where runs of one `load.dma` or one `store.dma` overlap at their destination, the last
  one stands, or with `accumulate` all are added, in that order. The same holds for runs of several
  instructions of one engine, in the order of the program.
- A `vector.compute`, `vector.quantise` or `activation.apply` must not write a word that a later
  element of the same instruction reads: whether that element sees the old or the new value is
  undefined. Results that lie at or before their own operands, as in-place work has them, are fine.
  The scale of a block counts as written by its first element.

A rule that is enough to never deadlock: let a wait be satisfied by signals of instructions that
come earlier in the program, or of the host. `tegula_sw.program.race_check` verifies it, and that
results do not depend on timing.

### Loops and registers

Instructions of control are executed in their order by the front end, which dispatches nothing
meanwhile; they need no queue.

- `control.loop` opens a loop, and the first `control.end` behind it that belongs to no inner loop
  ends its body: execution goes on behind the `control.loop` until the body has been executed
  `count` times. Four loops can be open at a time. Which instructions are a body is decided while
  the program runs, not by the text: a `halt` ends the program in any loop.
- A register holds 48 bits. `control.add` sets it, or adds to it modulo 2^48; `control.read` reads
  it from memory: 4 bytes, zero-extended, or the low 48 bits of 8. A `control.read` may wait for a
  semaphore, so that it follows a store; dispatch waits with it. It sees what is in memory then: a
  store must have signalled before.
- `control.relative` concerns the next instruction alone. Its slot i, if enabled, adds a register
  to the i-th *relative field* of that instruction, in the order of their bits. For an address the
  register is a two's complement number, and the sum must fit the field; for an fp32 pattern (`s0`,
  `s1`, `scale`, `bias`) the sum is taken modulo 2^32. All checks of the instruction see the sums.
  A slot that is enabled for an instruction without such a field is illegal, so for all of control
  but `control.read`.

{slots}

The tile holds the last `loop_granules` granules that it has fetched. A body of at most
`TileConfig.body_granules` granules, `control.end` included, is fetched once, whatever the number
of its iterations; a longer one is fetched again in each, from the burst that holds its first
granule on.

### Lanes that take no part

`rows` masks partitions (K), `columns` of `tensor.load` masks array columns (M). Masked operands
are ordinary zeros: they add nothing to finite numbers, and 0 x Inf is NaN as always. So the
stationary and the moving operand of a partial tile should have the same `rows`. A matmul writes
all N partitions of PSUM, those of masked columns too.

### Packed operands

On a tile with `packed_fp8` the words of an operand of 8 bits may hold two codes (`packed` of
`tensor.load` and `tensor.matmul`): a matmul of two packed operands covers 2N of K in the same
cycles. The two codes of partition p are terms 2p and 2p + 1 of K (numerics, section 3.10); which
rows of a matrix these are is the program's choice, the same for both operands. Two layouts come
without work:

- a matrix whose K is contiguous in memory is loaded in layout `partition` by elements of two bytes:
  rows 2p and 2p + 1 of K share a word;
- everything else is written by halves (`half`: `low`, `high`): a `load.dma` of bytes, results of
  the vector and the activation engine in an 8-bit format, transposed ones too, replace one byte of
  a word and leave the other. So two instructions pack two rows, or two blocks of N rows.

`half=whole` is a word of one code, as on every tile. The vector and the activation engine read the
high codes of x with `x_high`, a `store.dma` with `half=high`. For race freedom a write of a half
counts as one of the word.

### Blocks that share a scale

On a tile with `mx` the vector engine quantises (`vector.quantise`): 32 consecutive elements of a
partition share a scale, an E8M0 code, and become 8-bit codes (numerics, section 4.5). Of each block
first the scale is written, then the codes, in the order of the elements.

As operands of the array, whose K lies on partitions, codes are written with `transpose`: then a
block lies along K. With `packed` elements 2j and 2j + 1 are the two codes of a word, terms 2p and
2p + 1 of partition p, as `tensor.load` and `tensor.matmul` take them; N partitions hold 2N elements
of K at an address. Without, a word has one code, as operands whose formats are no pair need it.
Elements of E2M1 (MXFP4) are e4m3fn codes of the same numbers.

### Memory

A DMA instruction moves `count1` x `count2` x `count3` *runs* of `run` contiguous elements. Run
(i1, i2, i3) begins at byte `mem_addr` plus the sum of i_a x `mem_stride_a`, and at scratchpad
address `sbuf_addr` plus the sum of i_a x `sbuf_stride_a`; in layout `free` it lies in partition
`partition` plus the sum of i_a x `partition_stride_a`. A run may begin at any byte. In layout
`free` its scratchpad address must be a multiple of the scratchpad line (bus width / 16 words).

| layout | element i of a run |
|---|---|
| `free` (0) | partition p, address a + i |
| `partition` (1) | partition i mod N, address a + (i div N) x `sbuf_stride0` |

On the bus, a run is a sequence of INCR bursts of full-width beats from the aligned beat that
holds its first byte to the one that holds its last, split at multiples of `max_burst_beats`
beats; no burst crosses 4 KiB. Writes use strobes: nothing outside of the run is changed. What the
bus must do, and need not, is in [bus.md](bus.md); what a run leaves behind that the bus answers
with an error, in [traps.md](traps.md). Reads and writes of different engines are ordered only by
semaphores; a program must not change itself.

With `accumulate`, an element is not copied but added: the destination becomes destination +
source, both numbers of bf16 or fp32 (numerics.md, section 5.7). `run` counts words: an fp32
number is two, and their number must be even. A load may add from any byte; a store adds to
numbers that lie on multiples of their size. A `load.dma` sees what earlier instructions of the
load engine wrote into the scratchpad, a `store.dma` what earlier ones of the store engine wrote
to memory, whether those accumulate or not; both see the runs before in their own instruction. A
store reads memory, adds and writes back; **it is not atomic**: what another engine or another
master writes to the same bytes in between may be lost.
"""

ENCODING = """\
## Encoding

A program is a sequence of 16-byte granules, little-endian, from a 64-byte aligned address on, and
at most 2^20 granules long. The low byte of an instruction's first granule is its opcode, whose
high nibble names the engine; it decides how many granules the instruction has. Bit 0 is the least
significant bit of the first byte. **Bits that no field claims must be zero. All fields are
checked, also those that the instruction does not use** (`wait_sem` where `wait` is 0).

A *format* field holds one of these codes:
{formats}.
A tile accepts bf16 and its `fp8_formats`, and where the table says so fp32 and the patterns
`raw32` (6) and `raw16` (7).
"""

HOST = """\
## Host registers

32-bit registers behind an AXI4-Lite slave. To run a program: put it and its operands into memory,
write `PROGRAM_*` and the window, write 1 to `CONTROL`, wait for the interrupt (or poll `STATUS`),
read `STATUS`, write 1 to `IRQ`.

**Start.** A write to `CONTROL` with bit 0 starts the program if the tile is not busy; else the bit
is ignored: a doorbell is not queued. Registers that a program uses are taken as they are then.

**Abort.** Bit 1 stops the program that runs, which traps with `ABORTED`; while the tile is idle the
bit is ignored, and does nothing to the next program. A write of 3 while idle starts a program that
traps with `ABORTED` before its first instruction, or with the fault of its address or size; while
busy it is an abort.

**Interrupt.** `irq` is high while `IRQ` and `IRQ_ENABLE` have bit 0 set. `IRQ` is set once a
program, at its end; a start clears it. So `irq` rises once for every program, also for a host that
listens to edges and has not acknowledged the program before. A host that acknowledges does so
before it starts the next program: a later write of 1 to `IRQ` may clear the end of that one.
`STATUS` is valid when `irq` rises, and tells a host that polls all that `irq` does.

**Protection.** While a program runs, writes to registers other than `CONTROL`, `IRQ`, `IRQ_ENABLE`
and `SIGNAL` are ignored and answer OKAY, as those to read-only registers always do. An unknown
offset answers SLVERR, and reads as 0. WSTRB selects bytes, also of `CONTROL` and `IRQ`; the low two
bits of an address are ignored. Writes and reads may come at any time, in any number.

**Addresses** of 64 bits are compared as they were written. What `axi_addr_width` bits cannot
express is never inside the window: a program there traps with `MEMORY_WINDOW` (`TRAP_ADDR` has the
low 48 bits), a `WINDOW_LAST` there stands for the last address of the bus, and in a window that
begins there lies no byte.

### Signals of the host

A write to `SIGNAL` adds to a semaphore of the program that runs, as an engine's signal does: so a
host, or a neighbour that masters this port, hands over work while the tile runs. Write the data
first: what memory has acknowledged before the write is visible to whoever waits for it. OKAY means
that the signal will be added, or that the program ends before; a signal is never queued for the
next program. SLVERR means that nothing was added: no program runs, it has trapped, the tile has no
such semaphore, the value is 0, or other bits are not. A second write is answered when the first
signal has been taken, a few cycles later (right after a start, some 40). A host must not run ahead:
what has been signalled and not consumed has to fit the semaphore. A signal past a semaphore's width
traps (`SEMAPHORE_OVERFLOW`, engine `control`). `WATCHDOG` is the time that a program waits for the
host at least, from its last signal on. The devices of `tegula_sw` take signals with a program
(`run(..., signals=)`), and `RtlDevice.signal` sends one to a program that was started.

### Register map

access: ro read-only, rw read and write, wo write-only (reads as 0), w1c write 1 to clear.
"""

ASSEMBLY = """\
## Assembly

One instruction a line: `mnemonic name=value ...`. Values are decimal or hexadecimal (`0x`), or
the name of the value. Fields with a default may be left out. `#` begins a comment.

| written | means |
|---|---|
| `wait(3>=2)` | `wait=1 wait_sem=3 wait_value=2` |
| `consume(3>=2)` | the same with `consume=1` |
| `signal(4+=1)` | `signal=1 signal_sem=4 signal_value=1` |
| `.word 0x...` | a granule taken literally |

`tegula.isa.assembly.assemble` and `disassemble` are exact inverses: what is not an instruction
comes out as `.word`. In Python, `tegula.isa.codec` has `encode`, `decode` and `check`, and
`tegula_sw.program.program.Program` a method for each instruction. `tegula asm` and `tegula disasm`
do it on files.
"""

EXAMPLE_INTRO = """\
## Example

`C = A @ B` of bf16 matrices of 8 x 8, row-major, A at 0x1000, B at 0x1080, C at 0x1100, on a tile
of 8 partitions. The array computes stationary^T @ moving, so A goes in transposed: layout
`partition` spreads a row of A, that is K, across the partitions, and column m of the stationary
operand is row m of A. B lies with K on partitions as it is: layout `free`, a row a partition.
"""

EXAMPLE = """\
# semaphore 0: operands are loaded; 1: PSUM is complete; 2: C is in the scratchpad
load.dma mem_addr=0x1000 run=64 sbuf_addr=0 sbuf_stride0=1 layout=partition signal(0+=1)
load.dma mem_addr=0x1080 run=8 count1=8 mem_stride1=16 \
sbuf_addr=8 partition_stride1=1 layout=free signal(0+=1)
tensor.load rows=8 format=bf16 columns=8 addr=0 wait(0>=2)
tensor.matmul rows=8 format=bf16 addr=8 columns=8 psum_addr=0 signal(1+=1)
vector.compute rows=8 format=bf16 dst=16 columns=8 wait(1>=1) signal(2+=1)
store.dma mem_addr=0x1100 run=8 count1=8 mem_stride1=16 \
sbuf_addr=16 partition_stride1=1 layout=free wait(2>=1)
halt
"""
