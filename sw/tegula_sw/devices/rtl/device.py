"""The tile's RTL as a device."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tegula.backend.verilog import tile_verilog
from tegula.config import TileConfig, check_config
from tegula.engine.trace import PORTS
from tegula.isa.instructions import ENGINES, Engine
from tegula.isa.registers import CONTROL_START, Status, register_offset
from tegula.isa.traps import Trap, TrapRecord
from tegula_golden.tile.job import Job, check_errors, check_signals
from tegula_sw.devices.base import Device, RunResult
from tegula_sw.devices.rtl.build import build_library
from tegula_sw.devices.rtl.coupling import Coupling
from tegula_sw.devices.rtl.library import ProtocolError, TileLibrary
from tegula_sw.profile.recording import Recorder, Recording

__all__ = ["HangError", "ProtocolError", "RtlDevice"]

_CHUNK_CYCLES = 200_000
"""Cycles between two checks of the limits (and of Ctrl-C)."""

_IDLE_CYCLES = 2_000_000
"""Without a transfer on the AXI4 port for so long, beyond the watchdog's time, the tile hangs."""

_COUNTERS = tuple(
    f"{engine.name}_{state}" for engine in ENGINES for state in ("BUSY", "WAIT", "STALL")
)


class HangError(RuntimeError):
    """No interrupt within the cycle limit: a bug of the tile, or a limit too tight."""


class RtlDevice(Device):
    """Programs on the RTL, compiled by Verilator.

    The tile is reset once, when the device is made, and never between programs. Its memory has a
    read latency, may stall, and watches the AXI4 protocol.

    Parameters
    ----------
    config
        The tile. The first device of a configuration compiles it, once (see `rtl.build`).
    mem_latency
        Cycles from an accepted read address to its first beat, and from the last write beat to its
        response; at least 1.
    stall
        Probability that a memory channel does nothing in a cycle, 0 to below 1.
    seed
        Of the stalls and of what is random in `coupling`.
    errors
        (first byte, last byte, "slverr" or "decerr"): reads and writes there fail. Bytes outside of
        a run's memory answer DECERR anyway.
    max_cycles
        A program that takes longer is taken for hung.
    coupling
        Dependences between the channels of the memory; default: none.
    waves
        VCD file to write; slower. It is there when the device is closed.
    verilog
        Another tile than `tegula.tile.Tile(config)`: module `tegula_<name>` of this file.
    recorder
        Gets a recording of each program that runs to its end or traps; slower.

    Raises
    ------
    ValueError
        If a parameter is out of range; the message quotes it.
    BuildError
        If the tile cannot be compiled.
    OSError
        If no waves can be written there.
    ProtocolError, HangError
        From `run`: see `wait`.
    """

    def __init__(
        self,
        config: TileConfig,
        *,
        mem_latency: int = 20,
        stall: float = 0.0,
        seed: int = 0,
        errors: Sequence[tuple[int, int, str]] = (),
        max_cycles: int = 1_000_000_000,
        coupling: Coupling | None = None,
        waves: Path | str | None = None,
        verilog: Path | None = None,
        recorder: Recorder | None = None,
    ):
        check_errors(errors)
        if verilog is not None and recorder is not None:
            raise ValueError("a recorder needs the traced tile of config, not that of verilog")
        self.config = check_config(config)
        self._recorder = recorder
        self._recorded: tuple[Recorder, bytes] | None = None
        self._max_cycles = max_cycles
        self._watchdog = config.watchdog_cycles
        traced = recorder is not None
        source = tile_verilog(replace(config, trace=traced)) if verilog is None else verilog
        self._tile = TileLibrary(
            build_library(source, f"tegula_{config.name}", waves=waves is not None, trace=traced),
            mem_latency=mem_latency,
            stall=stall,
            seed=seed,
            coupling=Coupling() if coupling is None else coupling,
            waves=None if waves is None else Path(waves),
        )
        self._tile.set_faults(errors)
        self._start_cycle = 0

    def close(self) -> None:
        """Free the tile and complete the wave file; the device cannot be used after.

        Raises
        ------
        OSError
            If the waves could not be written; `filename` is their file, which is as it was.
        """
        self._tile.close()

    def _execute(self, job: Job) -> RunResult:
        self._start(job)
        return self.wait()

    def start(self, job: Job) -> None:
        """Start a program and return at once; `step` and `wait` let time pass.

        The device keeps a reference to the job's memory and changes it while time passes.

        Raises
        ------
        ValueError
            If the job is malformed.
        """
        self._start(job.checked(self.config))

    def _start(self, job: Job) -> None:
        first, last = job.bounds
        self._watchdog = self.config.watchdog_cycles if job.watchdog is None else job.watchdog
        self._tile.attach(job.memory, job.base)
        self._write_wide("PROGRAM", job.program)
        self.write_register("PROGRAM_BYTES", job.program_bytes)
        self._write_wide("WINDOW_BASE", first)
        self._write_wide("WINDOW_LAST", last)
        self.write_register("WATCHDOG", self._watchdog)
        self._tile.clear_counts()
        if self._recorder is not None and self._recorder.active:
            code = job.memory[max(0, job.program - job.base) :][: job.program_bytes].tobytes()
            self._recorded = self._recorder, code
            self._tile.start_trace()
        self._start_cycle = self._tile.cycle
        self.write_register("CONTROL", CONTROL_START)
        for semaphore, value in job.signals:
            if not self._signal(semaphore, value):
                break
            if self._tile.cycle - self._start_cycle > self._max_cycles:
                raise HangError(f"no interrupt within {self._max_cycles} cycles")
            if self._recorded is not None:
                self._recorded[0].check_size(self._tile.trace_size)

    def wait(self) -> RunResult:
        """Wait for the interrupt of a started program and clear it.

        Raises
        ------
        ProtocolError
            If the tile breaks the AXI protocol or miscounts its beats.
        HangError
            If the interrupt does not come.
        """
        idle_limit = _IDLE_CYCLES + self._watchdog
        last_moved = self._tile.cycle
        while True:
            left = self._max_cycles - (self._tile.cycle - self._start_cycle)
            if self._tile.run(max(0, min(_CHUNK_CYCLES, left))):
                return self._result()
            if self._recorded is not None:
                self._recorded[0].check_size(self._tile.trace_size)
            if self._tile.take_moved():
                last_moved = self._tile.cycle
            if left <= _CHUNK_CYCLES:
                raise HangError(f"no interrupt within {self._max_cycles} cycles")
            if self._tile.cycle - last_moved > idle_limit:
                raise HangError(f"no interrupt, and no AXI4 transfer for {idle_limit} cycles")

    def read_register(self, name: str) -> int:
        """Read a register of `tegula.isa.registers.REGISTERS`."""
        return self._tile.read(register_offset(name))

    def write_register(self, name: str, value: int) -> None:
        """Write a register of `tegula.isa.registers.REGISTERS`.

        Raises
        ------
        ProtocolError
            If it is answered with SLVERR.
        """
        if not self._tile.write(register_offset(name), value):
            raise ProtocolError(f"AXI4-Lite: SLVERR to {value:#x} in {name}")

    def signal(self, semaphore: int, value: int) -> bool:
        """Add `value` to a semaphore, as the host of a running program.

        Returns
        -------
        bool
            False if no program is running: it has ended, has trapped, or was not started.

        Raises
        ------
        ValueError
            If the tile has no such semaphore, or the value is not 1 to 255.
        """
        ((semaphore, value),) = check_signals([(semaphore, value)], self.config)
        return self._signal(semaphore, value)

    def _signal(self, semaphore: int, value: int) -> bool:
        return self._tile.write(register_offset("SIGNAL"), value << 8 | semaphore)

    def step(self, cycles: int) -> None:
        """Let `cycles` clock cycles pass."""
        self._tile.step(cycles)

    @property
    def coupled(self) -> int:
        """Cycles in which something waited for the coupling, and beats that overtook others."""
        return self._tile.coupled

    @property
    def irq(self) -> bool:
        """The interrupt pin."""
        return self._tile.irq

    def _write_wide(self, name: str, value: int) -> None:
        self.write_register(f"{name}_LOW", value & 0xFFFF_FFFF)
        self.write_register(f"{name}_HIGH", value >> 32)

    def _read_wide(self, name: str) -> int:
        return self.read_register(f"{name}_LOW") | self.read_register(f"{name}_HIGH") << 32

    def _result(self) -> RunResult:
        status = self.read_register("STATUS")
        done, trapped = status >> Status.DONE & 1, status >> Status.TRAPPED & 1
        if status >> Status.BUSY & 1 or done == trapped:
            raise ProtocolError(f"interrupt with STATUS {status:#x}: neither done nor trapped")
        trap = None
        if trapped:
            trap = TrapRecord(
                cause=Trap(self.read_register("TRAP_CAUSE")),
                engine=Engine(self.read_register("TRAP_ENGINE")),
                pc=self.read_register("TRAP_PC"),
                address=self._read_wide("TRAP_ADDR"),
                ordinal=self.read_register("TRAP_ORDINAL"),
            )
        beats = self.read_register("READ_BEATS"), self.read_register("WRITE_BEATS")
        if beats != self._tile.beats:
            raise ProtocolError(f"the tile counts {beats} beats, its memory {self._tile.beats}")
        cycles = self._read_wide("CYCLES")
        result = RunResult(
            trap=trap,
            cycles=cycles,
            read_beats=beats[0],
            write_beats=beats[1],
            counters={name: self.read_register(name) for name in _COUNTERS},
        )
        self._record(cycles, trap)
        self.write_register("IRQ", 1)
        self.step(1)
        if self.irq:
            raise ProtocolError("the interrupt pin is high after IRQ was cleared")
        return result

    def _record(self, cycles: int, trap: TrapRecord | None) -> None:
        """Add the recording of the program to the recorder."""
        if self._recorded is None:
            return
        self._tile.stop_trace()
        changes = {name: self._tile.trace_changes(port) for port, name in enumerate(PORTS)}
        recorder, program = self._recorded
        recorder.add(
            Recording(
                config=self.config,
                program=program,
                cycles=cycles,
                changes=changes,
                label=recorder.label,
                trap=trap,
            )
        )
        self._recorded = None
