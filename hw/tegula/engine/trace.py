"""Words that a traced tile (`TileConfig.trace`) outputs in a cycle: one an engine, one of control.

Free of HDL: the hardware shapes its ports by these fields, and readers of the words take them apart
by the same fields, the first in the least significant bits.
"""

from enum import IntEnum

from tegula.isa.instructions import ENGINES, PC_BITS

__all__ = ["ACTIVITY_DOCS", "CONTROL_FIELDS", "ENGINE_FIELDS", "PORTS", "Activity"]


class Activity(IntEnum):
    """Activity of an engine that is busy or stalled, in words in `ACTIVITY_DOCS`."""

    WORK = 0
    LOADING = 1
    DRAINING = 2
    STARTING = 3
    OPERAND = 4
    RESULT = 5
    REQUEST = 6
    MEMORY = 7
    PSUM = 8
    CLEARING = 9


ACTIVITY_DOCS = {
    Activity.WORK: "columns, elements or beats move",
    Activity.LOADING: "only the stationary operand moves",
    Activity.DRAINING: "nothing is left to begin, results are under way",
    Activity.STARTING: "an instruction is handed over, or its first address computed",
    Activity.OPERAND: "the scratchpad does not grant a read",
    Activity.RESULT: "the scratchpad does not grant a write",
    Activity.REQUEST: "the bus does not take an address or a beat of data",
    Activity.MEMORY: "memory has not answered yet",
    Activity.PSUM: "the PSUM word to accumulate onto is still in the array",
    Activity.CLEARING: "the map of written PSUM words is cleared (start of a program)",
}

ENGINE_FIELDS = {
    "begin": 1,
    "complete": 2,
    "busy": 1,
    "stall": 1,
    "idle": 1,
    "activity": 4,
    "empty": 1,
    "waiting": 1,
    "full": 1,
    "pc": PC_BITS,
}
"""Fields of an engine's word, and their bits.

begin
    The engine begins the instruction at `pc` in this cycle.
complete
    Its oldest instruction has had its last effect. Bit 0: in program order; bit 1: a tensor.load
    has been read, also in program order, beside the tensor engine's other instructions.
busy, stall, idle
    As in `EngineSignature`; `busy` and `stall` are those of the cycle before.
activity
    `Activity`, if busy or stalled, in the cycle before.
empty
    The engine's queue holds nothing.
waiting
    The head of the queue waits for its semaphore.
full
    An instruction, and all after it, is held back, since the engine's queue has no room for it.
pc
    Position in granules of the head, where the engine is idle and the head waits, else of the
    instruction that the engine took last.
"""

CONTROL_FIELDS = {"running": 1, "halted": 1, "stopping": 1, "moving": 1}
"""Fields of control's word, and their bits.

running
    A program runs, and the counters count.
halted
    All instructions of the program are dispatched.
stopping
    It has trapped, and the engines drop their work.
moving
    A granule of the program goes from fetch to decode.
"""

PORTS = ("control", *(engine.name.lower() for engine in ENGINES))
"""The words in order; the tile's output is called `trace_` and this."""
