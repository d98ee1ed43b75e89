"""One interface for the two devices that run tile programs."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tegula.isa.traps import TrapRecord
from tegula_golden.array_types import Bytes
from tegula_golden.tile.job import Outcome, Runner

__all__ = [
    "Device",
    "RunResult",
    "TileTrapError",
    "TrapRecord",
    "check_device",
    "device_name",
    "run_well",
    "total_cycles",
]


class TileTrapError(RuntimeError):
    """A trap of a program that has to reach its `halt`."""

    def __init__(self, record: TrapRecord):
        super().__init__(f"the tile trapped: {record}")
        self.record = record


@dataclass(frozen=True, kw_only=True)
class RunResult(Outcome):
    """Outcome of one program on a `Device`.

    Attributes
    ----------
    cycles
        Clock cycles from doorbell to interrupt; None on a device without a clock (golden).
    counters
        Busy, wait and stall cycles of the engines, by register name; empty on golden.
    """

    cycles: int | None
    counters: dict[str, int] = field(default_factory=dict)


class Device(Runner[RunResult]):
    """A tile with a memory: one interface of the golden model and of the RTL.

    The memory of a run is a one-dimensional uint8 array; its byte i is at address `base + i`.
    Programs and operands are put into it by the caller; results appear in it.
    """


def check_device(device: object) -> Device:
    """The argument `device`, if it is one.

    Raises
    ------
    ValueError
        If it is something else.
    """
    if not isinstance(device, Device):
        raise ValueError(f"device must be a Device, as open_device() gives it, not {device!r}")
    return device


def device_name(device: Device) -> str:
    """Name of a device in reports: "golden" or "rtl"."""
    return type(device).__name__.removesuffix("Device").lower()


def total_cycles(cycles: Sequence[int | None]) -> int | None:
    """Sum of the cycles of programs; None on a device without a clock."""
    known = [number for number in cycles if number is not None]
    return sum(known) if len(known) == len(cycles) else None


def run_well(
    device: Device, memory: Bytes, program: int, program_bytes: int, *, base: int = 0
) -> RunResult:
    """Run a program that has to reach its `halt`; parameters are those of `Device.run`.

    Raises
    ------
    TileTrapError
        If it traps.
    """
    result = device.run(memory, program=program, program_bytes=program_bytes, base=base)
    if result.trap is not None:
        raise TileTrapError(result.trap)
    return result
