"""The register map that the host sees through AXI4-Lite: 32-bit registers at byte offsets."""

from dataclasses import dataclass
from enum import IntEnum

from tegula.isa.instructions import ENGINES

__all__ = ["CONTROL_ABORT", "CONTROL_START", "REGISTERS", "Register", "Status", "register_offset"]

IDENTITY = 0x5445_4741
"""ASCII "TEGA", big-endian."""

CONTROL_START = 1 << 0
CONTROL_ABORT = 1 << 1


@dataclass(frozen=True, kw_only=True)
class Register:
    """A 32-bit register: `access` is "ro", "rw", "wo" or "w1c" (write one to clear)."""

    name: str
    offset: int
    access: str
    doc: str


class Status(IntEnum):
    """Bits of the STATUS register."""

    BUSY = 0
    DONE = 1
    TRAPPED = 2


def _registers() -> tuple[Register, ...]:
    rows: list[tuple[str, str, str]] = [
        ("IDENTITY", "ro", "0x54454741"),
        ("SHAPE", "ro", "n [7:0], acc_width [15:8], bus bytes [23:16], semaphores [31:24]"),
        ("CONTROL", "wo", "start [0], ignored while busy; abort [1], ignored while idle"),
        (
            "STATUS",
            "ro",
            "busy [0], done [1], trapped [2]; done and trapped hold until the next start",
        ),
        (
            "IRQ",
            "w1c",
            "pending [0]: set when a program is done or trapped; cleared by writing 1, or a start",
        ),
        ("IRQ_ENABLE", "rw", "1: the irq pin follows IRQ; reset value 1"),
        ("PROGRAM_LOW", "rw", "program address [31:0]; a multiple of 64"),
        ("PROGRAM_HIGH", "rw", "program address [63:32]; one above 47 bits is outside the window"),
        ("PROGRAM_BYTES", "rw", "program size, a multiple of 16; at most 16 MiB"),
        ("WINDOW_BASE_LOW", "rw", "first byte that the tile may access [31:0]"),
        ("WINDOW_BASE_HIGH", "rw", "[63:32]; above 47 bits the window has no byte"),
        ("WINDOW_LAST_LOW", "rw", "last byte that the tile may access [31:0]"),
        ("WINDOW_LAST_HIGH", "rw", "[63:32]"),
        ("WATCHDOG", "rw", "cycles without progress that make a deadlock"),
        ("TRAP_CAUSE", "ro", "cause of the first trap of this program"),
        ("TRAP_ENGINE", "ro", "engine that trapped"),
        ("TRAP_PC", "ro", "byte offset of the instruction in the program"),
        ("TRAP_ADDR_LOW", "ro", "address, as the cause defines it [31:0]"),
        ("TRAP_ADDR_HIGH", "ro", "[47:32]"),
        ("CYCLES_LOW", "ro", "cycles from start to interrupt [31:0]"),
        ("CYCLES_HIGH", "ro", "[63:32]"),
        ("READ_BEATS", "ro", "AXI read beats of this program"),
        ("WRITE_BEATS", "ro", "AXI write beats of this program"),
    ]
    for engine in ENGINES:
        low = engine.name.lower()
        rows += [
            (f"{engine.name}_BUSY", "ro", f"cycles in which the {low} engine worked"),
            (
                f"{engine.name}_WAIT",
                "ro",
                f"cycles in which the {low} engine waited on a semaphore",
            ),
            (
                f"{engine.name}_STALL",
                "ro",
                f"cycles in which the {low} engine waited on anything else",
            ),
        ]
    signal = "semaphore [7:0], value [15:8]: adds it while a program runs; SLVERR: not added"
    rows.append(("SIGNAL", "wo", signal))
    ordinal = "instructions of the engine that were executed before the one that trapped"
    rows.append(("TRAP_ORDINAL", "ro", ordinal))
    return tuple(
        Register(name=name, offset=4 * index, access=access, doc=doc)
        for index, (name, access, doc) in enumerate(rows)
    )


REGISTERS = _registers()
_OFFSETS = {register.name: register.offset for register in REGISTERS}


def register_offset(name: str) -> int:
    """Byte offset of the register called `name`.

    Raises
    ------
    ValueError
        If there is none.
    """
    if name not in _OFFSETS:
        raise ValueError(f"register {name!r} is unknown")
    return _OFFSETS[name]
