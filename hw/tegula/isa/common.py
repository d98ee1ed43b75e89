"""Instructions as data, and what they have in common: the header, and fields of several engines."""

from dataclasses import dataclass

from tegula.config import TileConfig
from tegula.isa.fields import (
    CODE_BITS,
    GRANULE_BITS,
    PAYLOAD_OFFSET,
    SIGNAL_VALUE_BITS,
    Engine,
    Field,
)
from tegula.isa.kinds import count, flag, limited, partition_count, sbuf_address, semaphore

__all__ = [
    "HEADER",
    "WAIT_HEADER",
    "Instruction",
    "NoMultiple",
    "element_payload",
    "overlap",
    "sync",
]


def _semaphore_max(config: TileConfig) -> int:
    return (1 << config.semaphore_width) - 1


HEADER = (
    flag("wait", 8, "1: wait before the first effect"),
    flag("consume", 9, "1: subtract `wait_value` from the semaphore when the wait is over"),
    semaphore("wait_sem", 10, "semaphore that is waited on"),
    limited(
        "wait_value",
        15,
        12,
        _semaphore_max,
        "the wait is over when the semaphore is at least this",
    ),
    flag("signal", 27, "1: signal after the last effect"),
    semaphore("signal_sem", 28, "semaphore that is signalled"),
    Field(
        name="signal_value",
        offset=33,
        width=SIGNAL_VALUE_BITS,
        default=0,
        doc="what is added to the signalled semaphore",
    ),
)
"""Synchronisation fields that every engine's instructions share."""

WAIT_HEADER = tuple(field for field in HEADER if not field.name.startswith("signal"))
"""Those of an instruction that waits and does not signal."""

_SATURATE = flag("saturate", 57, "1: fp8 overflow and infinities become the largest finite number")

_ELEMENT_FIELDS = (
    partition_count("rows", PAYLOAD_OFFSET, "partitions 0 .. rows - 1 are written"),
    count("columns", 60, 13, "elements of each partition"),
    sbuf_address("dst", 216, "scratchpad address of the results, words"),
)


def element_payload(*own: Field, saturates: bool = True) -> tuple[Field, ...]:
    """Payload of an elementwise instruction, by offset: its `own` fields, and those of them all.

    The elementwise instructions are those of the vector and of the activation engine. Where
    overflow `saturates` by choice, they have a flag for it.
    """
    shared = (*_ELEMENT_FIELDS, _SATURATE) if saturates else _ELEMENT_FIELDS
    return tuple(sorted((*shared, *own), key=lambda field: field.offset))


def overlap(offset: int, instructions: str) -> Field:
    """Flag of an elementwise instruction that need not see the results of earlier ones."""
    doc = f"1: may read the scratchpad before earlier {instructions} have written to it"
    return flag("overlap", offset, doc)


@dataclass(frozen=True)
class NoMultiple:
    """Values that are no multiple of `unit`, a power of two."""

    unit: int

    def __contains__(self, value: int) -> bool:
        return value % self.unit != 0


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """An instruction: mnemonic, opcode, engine, size and payload fields (the header is common).

    `forbidden` lists combinations that are illegal although each field is within its limits: sets
    of (field, values) of one granule, of which not all may hold. `needs` names a flag of the
    configuration: tiles where it is not set do not have the instruction. `waits`: an instruction of
    control has the header's fields of a wait.
    """

    mnemonic: str
    opcode: int
    granules: int
    doc: str
    payload: tuple[Field, ...] = ()
    forbidden: tuple[tuple[tuple[str, tuple[int, ...] | NoMultiple], ...], ...] = ()
    needs: str = ""
    waits: bool = False

    def exists(self, config: TileConfig) -> bool:
        """True if the tile of `config` has it."""
        return not self.needs or bool(getattr(config, self.needs))

    @property
    def engine(self) -> Engine:
        """The engine that executes it."""
        return Engine(self.opcode >> CODE_BITS)

    @property
    def code(self) -> int:
        """Its number among the engine's instructions: the low `CODE_BITS` of the opcode."""
        return self.opcode % (1 << CODE_BITS)

    @property
    def has_sync(self) -> bool:
        """True if it is an engine's: it may wait on and signal semaphores."""
        return self.engine != Engine.CONTROL

    @property
    def fields(self) -> tuple[Field, ...]:
        """All fields but the opcode, in the order of their offsets."""
        if self.has_sync:
            return (*HEADER, *self.payload)
        return (*WAIT_HEADER, *self.payload) if self.waits else self.payload

    @property
    def relative_fields(self) -> tuple[Field, ...]:
        """Fields to which `control.relative` may add: that of slot i is the i-th."""
        return tuple(field for field in self.payload if field.relative)

    @property
    def bits(self) -> int:
        """Size in bits."""
        return self.granules * GRANULE_BITS

    def broken_rule(
        self, values: dict[str, int]
    ) -> tuple[tuple[str, tuple[int, ...] | NoMultiple], ...] | None:
        """The first combination of `forbidden` that `values` (field -> value) have."""
        for rule in self.forbidden:
            if all(values[name] in among for name, among in rule):
                return rule
        return None


def sync(engine: Engine, instructions: str) -> Instruction:
    """Instruction of `engine` without work; `instructions` is the name of the engine's others."""
    return Instruction(
        mnemonic=f"{engine.name.lower()}.sync",
        opcode=engine << CODE_BITS,
        granules=1,
        doc=f"Only wait and signal; signals when all earlier {instructions} are complete.",
    )
