"""Prediction of the cycles of a program: its instructions on a model of the tile's engines."""

from dataclasses import dataclass

from tegula.config import TileConfig, check_config
from tegula.isa.instructions import ENGINES, GRANULE_BYTES, Engine
from tegula_golden.arguments import check_integer
from tegula_sw.program.timing.activation import ActivationEngine
from tegula_sw.program.timing.front_end import (
    Fetch,
    FrontEnd,
    InstructionRegister,
    Queue,
    until_halt,
)
from tegula_sw.program.timing.load import LoadEngine
from tegula_sw.program.timing.ports import SignalPort
from tegula_sw.program.timing.shared import Shared
from tegula_sw.program.timing.store import StoreEngine
from tegula_sw.program.timing.tensor import TensorEngine
from tegula_sw.program.timing.vector import VectorEngine

__all__ = ["Prediction", "predict"]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Predicted cycles and beats of a program.

    Attributes
    ----------
    cycles
        Doorbell to interrupt.
    columns
        Moving columns of the array; in each it makes ``n * n`` multiply-accumulates.
    read_beats, write_beats
        AXI beats, program fetch included.
    """

    cycles: int
    columns: int
    read_beats: int
    write_beats: int


def predict(
    config: TileConfig, program: bytes, *, address: int = 0, mem_latency: int = 20
) -> Prediction:
    """The cycles of a program that traps nowhere, from the constants of the hardware alone.

    Parameters
    ----------
    config
        The tile.
    program
        Its bytes.
    address
        Where it begins in memory; bursts of the fetch depend on it.
    mem_latency
        As that of `RtlDevice`: cycles from a read address to its first beat, and from the last
        write beat to its response; at least 1.

    Raises
    ------
    ValueError
        If an instruction cannot be decoded, there is no `halt`, or the program waits for what never
        comes.
    """
    shared = Shared(check_config(config), check_integer("mem_latency", mem_latency, 1))
    decoded = until_halt(program)
    fetch = Fetch(shared, check_integer("address", address, 0), len(program) // GRANULE_BYTES)
    queues = {engine: Queue(shared, port) for port, engine in enumerate(ENGINES)}
    ports = [SignalPort(shared, number) for number in range(len(ENGINES) + 1)]
    registers = {
        engine: InstructionRegister(shared, queues[engine])
        for engine in (Engine.TENSOR, Engine.VECTOR, Engine.ACTIVATION)
    }
    tensor = TensorEngine(shared, registers[Engine.TENSOR], (ports[0], ports[1]))
    engines: tuple[TensorEngine | VectorEngine | ActivationEngine | LoadEngine | StoreEngine, ...]
    engines = (
        tensor,
        VectorEngine(shared, registers[Engine.VECTOR], ports[2]),
        ActivationEngine(shared, registers[Engine.ACTIVATION], ports[3]),
        LoadEngine(shared, queues[Engine.LOAD], ports[4]),
        StoreEngine(shared, queues[Engine.STORE], ports[5]),
    )
    front_end = FrontEnd(shared, fetch, queues, decoded)
    shared.clock.run()
    if front_end.halted is None or not all(queue.empty for queue in queues.values()):
        raise ValueError("the program waits for signals that never come")
    rest = max(
        front_end.halted,
        shared.semaphores.idle,
        *(engine.idle for engine in engines),
        *(port.idle for port in ports),
    )
    return Prediction(
        cycles=rest + shared.latencies.rest + shared.latencies.end,
        columns=tensor.columns,
        read_beats=shared.reads.beats,
        write_beats=shared.answers.beats,
    )
