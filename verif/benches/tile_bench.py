"""The whole tile in a bench: memory, host, and the golden device that says what must happen."""

from collections.abc import Sequence

import numpy as np
from cocotbext.axi import AxiResp

from tegula.config import TileConfig
from tegula.isa.instructions import Engine
from tegula_golden.tile.simulator import GoldenTile
from tegula_sw.kernels.transfers import image_transfer
from tegula_sw.program.ordering import assemble_ordered
from tegula_sw.program.schedule import Op
from verif.benches.axi_memory import AxiMemory
from verif.benches.coupled_memory import CoupledMemory
from verif.benches.host import Host, ProgramOutcome
from verif.benches.memory_content import Fault
from verif.benches.memory_map import BASE
from verif.benches.random_ops import settling_ops
from verif.benches.state_dump import StateDump
from verif.benches.testbench import config, random_source, start

__all__ = ["TileBench"]

_RESPONSES = {"slverr": AxiResp.SLVERR, "decerr": AxiResp.DECERR}


class TileBench:
    """Programs on the tile and on the golden model, and a comparison of all that both show.

    The tile is reset once, in `make`; its scratchpad and the golden one then live through the same
    programs.

    Parameters
    ----------
    errors
        As `GoldenTile` takes them.
    memory
        The tile's memory, empty; default: one whose channels are independent.

    Attributes
    ----------
    programs, traps, unsettled
        Programs that ended well, that trapped, and that trapped at a write, so far.
    """

    def __init__(
        self,
        dut,
        config: TileConfig,
        rng: np.random.Generator,
        errors: Sequence[tuple[int, int, str]] = (),
        memory: AxiMemory | CoupledMemory | None = None,
    ):
        self.config, self._rng = config, rng
        self.memory = AxiMemory(dut, config, 0, BASE) if memory is None else memory
        self.host = Host(dut)
        self.golden = GoldenTile(config)
        self.set_errors(errors)
        self._rate = 0.0
        self.programs = self.traps = self.unsettled = 0

    @classmethod
    async def make(cls, dut, config, rng, errors=(), memory=None) -> "TileBench":
        """A bench around a tile that comes out of reset."""
        bench = cls(dut, config, rng, errors, memory)
        await start(dut)
        return bench

    @classmethod
    async def make_settled(cls, dut, name: str) -> tuple["TileBench", np.random.Generator]:
        """A bench in a known state, and the random numbers of the test `name`."""
        rng = random_source(name)
        bench = await cls.make(dut, config(), rng)
        await bench.settle()
        return bench, rng

    def shape_traffic(self, rate: float, latency: int) -> None:
        """Set share of pauses and latency of memory; draw the order of its effects."""
        self._rate = rate
        self.memory.pause(self._rng, rate)
        self.host.pause(self._rng, rate)
        self.memory.latency = latency
        self.memory.reads_eager, self.memory.writes_eager = self._rng.integers(0, 2, 2).tolist()

    def set_errors(self, errors: Sequence[tuple[int, int, str]]) -> None:
        """Let other beats of memory fail than before; as `GoldenTile` takes them."""
        self.golden.set_errors(errors)
        self.memory.faults = [
            Fault(first=first, last=last, response=_RESPONSES[kind]) for first, last, kind in errors
        ]

    def noise(self, size_bytes: int) -> np.ndarray:
        """Random memory content."""
        return self._rng.integers(0, 256, size_bytes).astype(np.uint8)

    async def settle(self) -> None:
        """Noise into all of the scratchpad, and known states into the engines: no reset does so."""
        config = self.config
        size_bytes = 2 * config.n * config.sbuf_depth
        load = image_transfer(config, Engine.LOAD, config.sbuf_depth, BASE)
        await self._run_on_noise([load, *settling_ops(config)], size_bytes)

    async def check_state(self) -> None:
        """Store what programs leave to the next, which `run` compares; the bench is settled."""
        dump = StateDump(self.config, BASE)
        await self._run_on_noise(dump.ops, dump.size_bytes)

    async def _run_on_noise(self, ops: Sequence[Op], size_bytes: int) -> None:
        """Run instructions that end well on `size_bytes` bytes of noise from `BASE` on."""
        code = np.frombuffer(assemble_ordered(self.config, ops), np.uint8)
        image = np.concatenate([self.noise(size_bytes), code])
        _, outcome = await self.run(image, BASE + size_bytes, len(code))
        assert outcome.trap is None

    async def run(
        self,
        image: np.ndarray,
        program: int,
        program_bytes: int,
        *,
        window: tuple[int, int] | None = None,
        watchdog: int = 2000,
    ) -> tuple[np.ndarray, ProgramOutcome]:
        """Run a program on both; memory afterwards, and the outcome.

        Of bursts that a failed write leaves unsettled, each beat is compared.

        Parameters
        ----------
        image
            Memory from `BASE` on; not changed.
        """
        expected = image.copy()
        golden = self.golden.run(
            expected, program=program, program_bytes=program_bytes, base=BASE, window=window
        )
        memory = self.memory
        memory.content = image.copy()
        memory.clear_log()
        await self.host.start(
            program, program_bytes, window or (BASE, BASE + len(image) - 1), watchdog
        )
        beats = golden.read_beats + golden.write_beats + program_bytes // 16
        await self.host.wait(self._budget(beats, watchdog))
        content = memory.content.copy()
        outcome = await self.host.outcome()

        assert outcome.trap == golden.trap, f"{outcome.trap}, golden: {golden.trap}"
        if golden.unsettled:
            memory.settle(expected, golden.unsettled)
            self.unsettled += 1
        wrong = np.flatnonzero(content != expected)
        assert not wrong.size, f"{wrong.size} wrong bytes, first {wrong[0]:#x}"
        assert (outcome.read_beats, outcome.write_beats) == (
            memory.read_beats,
            memory.write_beats,
        )
        if outcome.trap is None:
            assert outcome.read_beats == golden.read_beats
            assert outcome.write_beats == golden.write_beats
            self.programs += 1
        else:
            self.traps += 1
        return content, outcome

    def _budget(self, beats: int, watchdog: int) -> int:
        """Cycles after which the tile hangs for certain: 30 a beat, with latency and pauses."""
        per_beat = 30 + self.memory.latency
        cycles = (2000 + watchdog + beats * per_beat) / (1 - self._rate) ** 2
        return int(cycles * self.memory.slowness)
