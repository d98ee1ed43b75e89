"""Programs with loops, for every device alike: some end well, others trap."""

import numpy as np

from tegula.isa.instructions import LOOP_DEPTH, Engine
from tegula.isa.traps import Trap

__all__ = ["DATA", "LOOPED", "PROGRAM", "TRAPPING", "image", "read"]

DATA = 0x400
PROGRAM = 0x2000
_TABLE = 0x100
"""Numbers that programs read: 3, 16, and 2**40 + 1 in eight bytes."""

_LOAD = "load.dma layout=free"
_STORE = "store.dma layout=free"
_CONTROL = Engine.CONTROL

LOOPED = {
    "rows by two loops": f"""
        control.loop count=3
        control.loop count=2
        control.relative enable0=1 register0=1 enable1=1 register1=2
        {_LOAD} mem_addr=0x200 run=4 sbuf_addr=0
        control.add register=1 source=1 value=24
        control.add register=2 source=2 value=4
        control.end
        control.end
        load.sync signal(0+=1)
        {_STORE} mem_addr={DATA} run=24 sbuf_addr=0 wait(0>=1)
        halt""",
    "backwards, and registers of registers": f"""
        control.add register=15 zero=1 value=-8
        control.add register=4 source=15 value=-8
        control.add register=4 source=4 value=40
        control.loop count=4
        control.relative enable0=1 register0=4
        {_LOAD} mem_addr=0x210 run=4 sbuf_addr=16 signal(0+=1)
        control.relative enable0=1 register0=4
        {_STORE} mem_addr={DATA} run=4 sbuf_addr=16 consume(0>=1) signal(1+=1)
        load.sync consume(1>=1)
        control.add register=4 source=4 value=-8
        control.end
        halt""",
    "counts and offsets from memory": f"""
        control.read mem_addr={_TABLE} register=1
        control.loop from_register=1 register=1
        control.relative enable0=1 register0=6
        control.read mem_addr={_TABLE + 4} register=2
        control.relative enable1=1 register1=2
        {_LOAD} mem_addr=0x200 run=4 sbuf_addr=8
        control.add register=6 zero=1 value=0
        control.end
        load.sync signal(0+=1)
        control.read mem_addr={_TABLE + 8} bytes8=1 register=5 wait(2>=0)
        control.add register=5 source=5 value={1 - (1 << 40) + 6}
        control.relative enable0=1 register0=5
        {_STORE} mem_addr={DATA} run=8 sbuf_addr=24 wait(0>=1)
        halt""",
    "patterns wrap": f"""
        control.add register=1 zero=1 value={0x4000_0000 + (1 << 33)}
        control.add register=2 zero=1 value=-1
        control.loop count=2
        control.relative enable2=1 register2=1 enable3=1 register3=2 enable4=1 register4=3
        vector.compute rows=4 format=fp32 columns=4 dst=32 dst_stride=2 x_source=index op0=mul
            op1=add s0=0xFFFFFFFF s1=0
        control.add register=3 source=3 value=8
        control.end
        vector.sync signal(0+=1)
        {_STORE} mem_addr={DATA} run=16 sbuf_addr=32 wait(0>=1)
        halt""".replace("\n            op1", " op1"),
    "halt inside loops": f"""
        control.loop count=9
        control.loop count=9
        {_STORE} mem_addr={DATA} run=16 sbuf_addr=0
        halt""",
    "one iteration": f"""
        control.loop
        control.loop count=1
        {_STORE} mem_addr={DATA} run=16 sbuf_addr=0
        control.end
        control.end
        halt""",
    "a body longer than the fetch keeps": f"""
        control.loop count=3
        control.relative enable0=1 register0=1
        {_STORE} mem_addr={DATA} run=16 sbuf_addr=0
        control.add register=1 source=1 value=32
        {"load.sync" + chr(10) + "        "}
        control.loop count=2
        {"load.sync signal(0+=1)" + chr(10)}
        {("load.sync" + chr(10)) * 500}
        control.end
        control.end
        {("load.sync" + chr(10)) * 30}
        halt""",
}
"""Programs that end well, and store something at `DATA`."""


def _relative(slot: int, value: int) -> str:
    return (
        f"control.add register=3 zero=1 value={value}\n"
        f"control.relative enable{slot}=1 register{slot}=3\n"
    )


_RANGE = Trap.RELATIVE_RANGE
TRAPPING = {
    "an end without a loop": (
        "load.sync\ncontrol.end\nhalt",
        (Trap.LOOP_NESTING, _CONTROL, 16, 0),
    ),
    "an end behind a loop": (
        "control.loop count=2\ncontrol.end\ncontrol.end\nhalt",
        (Trap.LOOP_NESTING, _CONTROL, 32, 0),
    ),
    "a loop too deep": (
        "control.loop count=2\n" * (LOOP_DEPTH + 1) + "halt",
        (Trap.LOOP_NESTING, _CONTROL, 16 * LOOP_DEPTH, LOOP_DEPTH),
    ),
    "no iterations": (
        "control.loop from_register=1 register=9\nhalt",
        (_RANGE, _CONTROL, 0, 0),
    ),
    "too many iterations": (
        (
            f"control.add register=9 zero=1 value={1 << 24}\n"
            "control.loop from_register=1 register=9\nhalt"
        ),
        (_RANGE, _CONTROL, 16, 0),
    ),
    "an address below 0": (
        _relative(0, -0x300) + f"{_LOAD} mem_addr=0x2FF run=1 sbuf_addr=0\nhalt",
        (_RANGE, _CONTROL, 32, 0),
    ),
    "a scratchpad address of 17 bits": (
        _relative(1, 1) + f"{_LOAD} mem_addr=0x200 run=1 sbuf_addr=65535\nhalt",
        (_RANGE, _CONTROL, 32, 1),
    ),
    "a PSUM address of 13 bits": (
        _relative(1, 1 << 11)
        + "tensor.matmul rows=1 format=bf16 addr=0 columns=1 psum_addr=2048\nhalt",
        (_RANGE, _CONTROL, 32, 1),
    ),
    "a memory address of 49 bits": (
        _relative(0, (1 << 47) - 1) + f"{_LOAD} mem_addr={(1 << 48) - 1} run=1 sbuf_addr=0\nhalt",
        (_RANGE, _CONTROL, 32, 0),
    ),
    "the first of two sums that do not fit": (
        (
            "control.add register=3 zero=1 value=-1\n"
            "control.relative enable1=1 register1=3 enable4=1 register4=3\n"
            "vector.compute rows=1 format=bf16 x_source=index y_addr=0 dst=0 columns=1\nhalt"
        ),
        (_RANGE, _CONTROL, 32, 1),
    ),
    "a sum that does not fit before an illegal field": (
        _relative(0, -1) + "tensor.load rows=9 format=bf16 columns=1 addr=0\nhalt",
        (_RANGE, _CONTROL, 32, 0),
    ),
    "a slot without a field": (
        _relative(2, -1) + f"{_LOAD} mem_addr=0x200 run=1 sbuf_addr=0\nhalt",
        (Trap.ILLEGAL_FIELD, _CONTROL, 32, 0),
    ),
    "a slot without a field before a sum that does not fit": (
        (
            "control.add register=3 zero=1 value=-1\n"
            "control.relative enable1=1 register1=3 enable2=1 register2=3\n"
            f"{_LOAD} mem_addr=0x200 run=1 sbuf_addr=0\nhalt"
        ),
        (Trap.ILLEGAL_FIELD, _CONTROL, 32, 0),
    ),
    "a register added to an instruction of control": (
        _relative(0, 1) + "control.add register=1\nhalt",
        (Trap.ILLEGAL_FIELD, _CONTROL, 32, 0),
    ),
    "a register added to halt": (
        _relative(0, 1) + "halt",
        (Trap.ILLEGAL_FIELD, _CONTROL, 32, 0),
    ),
    "a register added to an unknown opcode": (
        _relative(0, 1) + ".word 0x77",
        (Trap.ILLEGAL_OPCODE, _CONTROL, 32, 0x77),
    ),
    "a register added to nothing": (
        _relative(0, 1),
        (Trap.PROGRAM_END, _CONTROL, 32, 0),
    ),
    "a register added to half an instruction": (
        _relative(1, 1) + ".word 0x41",
        (Trap.PROGRAM_END, _CONTROL, 48, 0),
    ),
    "half a number": (
        f"control.read mem_addr={_TABLE + 4} bytes8=1 register=1\nhalt",
        (Trap.ILLEGAL_FIELD, _CONTROL, 0, 0),
    ),
    "a sum that is half a number": (
        _relative(0, 2) + f"control.read mem_addr={_TABLE} register=1\nhalt",
        (_RANGE, _CONTROL, 32, 0),
    ),
    "a sum that is half a number of eight bytes": (
        _relative(0, 4) + f"control.read mem_addr={_TABLE} bytes8=1 register=1\nhalt",
        (_RANGE, _CONTROL, 32, 0),
    ),
    "a number outside the window": (
        f"control.read mem_addr={1 << 30} register=1\nhalt",
        (Trap.MEMORY_WINDOW, _CONTROL, 0, 1 << 30),
    ),
    "a read that waits for ever": (
        "load.sync\ncontrol.read mem_addr=0 register=1 wait(1>=1)\nhalt",
        (Trap.DEADLOCK, _CONTROL, 16, 1),
    ),
    "an engine that waits before a read that waits": (
        "vector.sync wait(2>=1)\ncontrol.read mem_addr=0 register=1 wait(1>=1)\nhalt",
        (Trap.DEADLOCK, Engine.VECTOR, 0, 2),
    ),
    "an engine's trap in the third iteration": (
        (
            "control.loop count=9\n"
            "control.relative enable0=1 register0=1\n"
            "tensor.load rows=1 format=bf16 columns=1 addr=8190\n"
            "control.add register=1 source=1 value=1\ncontrol.end\nhalt"
        ),
        (Trap.SBUF_RANGE, Engine.TENSOR, 32, 8192),
    ),
}
"""Programs that trap: text, and (cause, engine, pc, address)."""


def image(code: bytes) -> np.ndarray:
    """Memory with noise, the numbers that programs read, and the program at `PROGRAM`."""
    size = PROGRAM + len(code) + 64
    memory = np.random.default_rng(5).integers(0, 256, size).astype(np.uint8)
    numbers = (3, 16, 1, 1 << 8)
    table = b"".join(number.to_bytes(4, "little") for number in numbers)
    memory[_TABLE:][: len(table)] = np.frombuffer(table, np.uint8)
    memory[PROGRAM:][: len(code)] = np.frombuffer(code, np.uint8)
    return memory


def read(memory: np.ndarray, address: int, size_bytes: int) -> int:
    """The little-endian number at `address`."""
    return int.from_bytes(memory[address : address + size_bytes].tobytes(), "little")
