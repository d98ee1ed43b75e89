"""The host: registers through AXI4-Lite, programs started and their outcome read."""

from dataclasses import dataclass

import numpy as np
from cocotb.triggers import RisingEdge, SimTimeoutError, with_timeout
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp

from tegula.isa.instructions import Engine
from tegula.isa.registers import CONTROL_START, Status, register_offset
from tegula.isa.traps import Trap, TrapRecord
from verif.benches.axi_memory import pauses
from verif.benches.testbench import CLOCK_NS

__all__ = ["Host", "ProgramOutcome"]


@dataclass(frozen=True, kw_only=True)
class ProgramOutcome:
    """Registers after the interrupt; `trap` is None where the program reached `halt`."""

    trap: TrapRecord | None
    cycles: int
    read_beats: int
    write_beats: int


class Host:
    """Drives the AXI4-Lite port of a tile or of its control block, and listens to `irq`."""

    def __init__(self, dut):
        self._dut = dut
        bus = AxiLiteBus.from_prefix(dut, "s_axil", bus_separator="__")
        self._master = AxiLiteMaster(bus, dut.clk)

    def pause(self, rng: np.random.Generator, rate: float) -> None:
        """Let each of the five AXI4-Lite channels rest in a share `rate` of the cycles."""
        write, read = self._master.write_if, self._master.read_if
        for channel in (
            *(write.aw_channel, write.w_channel, write.b_channel),
            *(read.ar_channel, read.r_channel),
        ):
            channel.clear_pause_generator()
            channel.pause = False
            if rate > 0:
                channel.set_pause_generator(pauses(rng, rate))

    async def write(self, name: str, value: int) -> None:
        """Write a register."""
        answer = await self._master.write(register_offset(name), value.to_bytes(4, "little"))
        assert answer.resp == AxiResp.OKAY

    async def signal(self, semaphore: int, value: int) -> bool:
        """Signal a program; False: it was refused."""
        word = value << 8 | semaphore
        answer = await self._master.write(register_offset("SIGNAL"), word.to_bytes(4, "little"))
        assert answer.resp in (AxiResp.OKAY, AxiResp.SLVERR)
        return answer.resp == AxiResp.OKAY

    async def read(self, name: str) -> int:
        """Read a register."""
        answer = await self._master.read(register_offset(name), 4)
        assert answer.resp == AxiResp.OKAY
        return int.from_bytes(answer.data, "little")

    async def refuses(self, offset: int) -> bool:
        """Reading and writing at `offset` both answer SLVERR."""
        read = await self._master.read(offset, 4)
        write = await self._master.write(offset, bytes(4))
        return read.resp == write.resp == AxiResp.SLVERR

    async def _write_wide(self, name: str, value: int) -> None:
        await self.write(f"{name}_LOW", value & 0xFFFF_FFFF)
        await self.write(f"{name}_HIGH", value >> 32)

    async def _read_wide(self, name: str) -> int:
        return await self.read(f"{name}_LOW") | await self.read(f"{name}_HIGH") << 32

    async def start(
        self, program: int, program_bytes: int, window: tuple[int, int], watchdog: int
    ) -> None:
        """Set up a program and ring the doorbell."""
        await self._write_wide("PROGRAM", program)
        await self.write("PROGRAM_BYTES", program_bytes)
        await self._write_wide("WINDOW_BASE", window[0])
        await self._write_wide("WINDOW_LAST", window[1])
        await self.write("WATCHDOG", watchdog)
        assert not self._dut.irq.value
        await self.write("CONTROL", CONTROL_START)

    async def wait(self, budget_cycles: int) -> None:
        """Wait for the interrupt, at most `budget_cycles` cycles."""
        if not self._dut.irq.value:
            try:
                await with_timeout(RisingEdge(self._dut.irq), budget_cycles * CLOCK_NS, "ns")
            except SimTimeoutError:
                raise AssertionError(f"no interrupt within {budget_cycles} cycles") from None

    async def outcome(self) -> ProgramOutcome:
        """Read how the program ended, and clear the interrupt."""
        status = await self.read("STATUS")
        assert status in (1 << Status.DONE, 1 << Status.TRAPPED), f"STATUS is {status:#x}"
        trap = None
        if status == 1 << Status.TRAPPED:
            trap = TrapRecord(
                cause=Trap(await self.read("TRAP_CAUSE")),
                engine=Engine(await self.read("TRAP_ENGINE")),
                pc=await self.read("TRAP_PC"),
                address=await self._read_wide("TRAP_ADDR"),
                ordinal=await self.read("TRAP_ORDINAL"),
            )
        else:
            assert await self.read("TRAP_CAUSE") == Trap.NONE
        outcome = ProgramOutcome(
            trap=trap,
            cycles=await self._read_wide("CYCLES"),
            read_beats=await self.read("READ_BEATS"),
            write_beats=await self.read("WRITE_BEATS"),
        )
        assert await self.read("IRQ") == 1 and self._dut.irq.value
        await self.write("IRQ", 1)
        assert await self.read("IRQ") == 0 and not self._dut.irq.value
        return outcome
