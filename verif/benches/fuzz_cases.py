"""Random programs that run on both devices, and what differs then."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from tegula.config import TileConfig
from tegula.isa.instructions import Engine
from tegula_golden.tile.simulator import GoldenTile
from tegula_sw.devices.rtl.coupling import AddressCoupling, Coupling, OrderCoupling
from tegula_sw.devices.rtl.device import HangError, ProtocolError, RtlDevice
from tegula_sw.kernels.transfers import image_transfer
from tegula_sw.program.ordering import assemble_ordered
from tegula_sw.program.schedule import Op
from verif.benches.faulty_programs import random_errors
from verif.benches.looped_programs import looped_code, looped_ops, table_bytes
from verif.benches.memory_map import BASE
from verif.benches.random_ops import DATA_BYTES, random_ops, written_psum
from verif.benches.random_programs import serialise_ops, waiting_for_host
from verif.benches.state_dump import StateDump

__all__ = ["Case", "FaultyCase", "LoopedCase"]

_STALLS = (0.0, 0.02, 0.3)
_MAX_CYCLES = 4_000_000
_FAR = 0x100_0000
"""Where programs without errors have their memory, away from the beats that fail."""


def _random_coupling(seed: int) -> Coupling:
    """None for even seeds; else any, but rarely one that takes long."""
    rng = np.random.default_rng([seed, 1])
    if seed % 2 == 0:
        return Coupling()
    return Coupling(
        order=OrderCoupling(int(rng.integers(len(OrderCoupling)))),
        address=AddressCoupling(int(rng.integers(len(AddressCoupling)))),
        interleave=bool(rng.integers(2)),
        spells=rng.random() < 0.05,
        late=3000 if rng.random() < 0.05 else 0,
    )


@dataclass(frozen=True)
class Case:
    """Instructions in the order of their meaning, and the seed of data, stalls and coupling."""

    config: TileConfig
    ops: tuple[Op, ...]
    seed: int

    @classmethod
    def random(cls, config: TileConfig, seed: int, number: int, length: int) -> "Case":
        """Program `number` of `seed`."""
        rng = np.random.default_rng([seed, number])
        return cls(config, tuple(random_ops(rng, config, length)), int(rng.integers(1 << 30)))

    @property
    def code(self) -> bytes:
        """The program, in which engines work side by side."""
        return assemble_ordered(self.config, self.ops)

    @contextmanager
    def _device(self, **options) -> Iterator[RtlDevice]:
        device = RtlDevice(
            self.config,
            stall=_STALLS[self.seed % len(_STALLS)],
            seed=self.seed,
            coupling=_random_coupling(self.seed),
            max_cycles=_MAX_CYCLES,
            **options,
        )
        try:
            yield device
        finally:
            device.close()

    def difference(self) -> str:
        """Difference after new devices run the program and store their state; or nothing."""
        dump = StateDump(self.config, BASE + DATA_BYTES, written_psum(self.config, self.ops))
        code, signals = assemble_ordered(self.config, [*self.ops, *dump.ops]), []
        if self.seed % 3 == 0:
            rng = np.random.default_rng([self.seed, 2])
            code, signals = waiting_for_host(rng, self.config, code)
        start = DATA_BYTES + dump.size_bytes
        expected = _memory(self.seed, start, code)
        memory = expected.copy()
        where = {
            "program": BASE + start,
            "program_bytes": len(code),
            "base": BASE,
            "signals": signals,
        }
        golden = GoldenTile(self.config).run(expected, **where)
        with self._device() as device:
            try:
                result = device.run(memory, **where)
            except (HangError, ProtocolError) as error:
                return f"{type(error).__name__}: {error}"
        if result.trap != golden.trap:
            return f"trap {result.trap}, golden {golden.trap}"
        return _differing_bytes(dump, memory, expected)


@dataclass(frozen=True)
class FaultyCase(Case):
    """A program, one engine at work at a time, on a memory some of whose beats fail.

    `errors` are as `GoldenTile` takes them.
    """

    errors: tuple[tuple[int, int, str], ...]

    @classmethod
    def random(cls, config: TileConfig, seed: int, number: int, length: int) -> "FaultyCase":
        """Program `number` of `seed`, and beats somewhere in it, or in what it loads and stores."""
        rng = np.random.default_rng([seed, number])
        ops = tuple(random_ops(rng, config, length))
        errors = random_errors(rng, serialise_ops(config, ops), BASE + DATA_BYTES)
        return cls(config, ops, int(rng.integers(1 << 30)), tuple(errors))

    @property
    def code(self) -> bytes:
        """The program, in which an engine begins when the one before it is done."""
        return serialise_ops(self.config, self.ops)

    def difference(self) -> str:
        """Difference after new devices run the program, then store their state; or nothing."""
        code = self.code
        expected = _memory(self.seed, DATA_BYTES, code)
        memory = expected.copy()
        where = {"program": BASE + DATA_BYTES, "program_bytes": len(code), "base": BASE}
        golden = GoldenTile(self.config, errors=self.errors)
        dump = StateDump(self.config, _FAR)
        copy_in = image_transfer(self.config, Engine.LOAD, self.config.sbuf_depth, _FAR)
        state, expected_state = (np.zeros(dump.size_bytes, np.uint8) for _ in range(2))
        with self._device(errors=self.errors) as device:
            try:
                for tile, left in ((golden, expected_state), (device, state)):
                    left[:] = _memory(self.seed, dump.size_bytes, b"")[: dump.size_bytes]
                    self._run_far(tile, [copy_in], left)
                run = golden.run(expected, **where)
                result = device.run(memory, **where)
                for tile, left in ((golden, expected_state), (device, state)):
                    self._run_far(tile, dump.ops, left)
            except (HangError, ProtocolError) as error:
                return f"{type(error).__name__}: {error}"
        if result.trap != run.trap:
            return f"trap {result.trap}, golden {run.trap}"
        for burst in run.unsettled:  # memory may have taken any bytes of them
            taken = slice(burst.address - BASE, burst.address - BASE + len(burst.data))
            memory[taken] = expected[taken]
        found = np.append(memory[:DATA_BYTES], state)
        wanted = np.append(expected[:DATA_BYTES], expected_state)
        return _differing_bytes(dump, found, wanted)

    def _run_far(self, tile, ops: list[Op], memory: np.ndarray) -> None:
        """Run a program that ends well on `memory`."""
        code = assemble_ordered(self.config, ops)
        image = np.append(memory, np.frombuffer(code, np.uint8))
        result = tile.run(image, program=_FAR + len(memory), program_bytes=len(code), base=_FAR)
        if result.trap is not None:
            raise ProtocolError(f"a good program trapped: {result.trap}")
        memory[:] = image[: len(memory)]


@dataclass(frozen=True)
class LoopedCase(FaultyCase):
    """A program with loops, one engine at work at a time; the numbers that it reads lie behind it.

    `ops` has instructions of control among those of engines.
    """

    @classmethod
    def random(cls, config: TileConfig, seed: int, number: int, length: int) -> "LoopedCase":
        """Program `number` of `seed`."""
        rng = np.random.default_rng([seed, number, 3])
        ops = tuple(looped_ops(rng, config, length))
        return cls(config, ops, int(rng.integers(1 << 30)), ())

    @property
    def code(self) -> bytes:
        """The program, in which an engine begins when the one before it is done, and its table."""
        return looped_code(self.config, self.ops, BASE + DATA_BYTES) + table_bytes()


def _memory(seed: int, start: int, code: bytes) -> np.ndarray:
    """Noise, the program at `start`, noise."""
    memory = np.random.default_rng(seed).integers(0, 256, start + len(code) + 256).astype(np.uint8)
    memory[start:][: len(code)] = np.frombuffer(code, np.uint8)
    return memory


def _differing_bytes(dump: StateDump, memory: np.ndarray, expected: np.ndarray) -> str:
    """Number of bytes that differ in data and `dump`, and the name of the first; or nothing."""
    wrong = np.flatnonzero(memory != expected)
    if not wrong.size:
        return ""
    first, end = int(wrong[0]), DATA_BYTES + dump.size_bytes
    name = "the program" if first >= end else dump.place(first - DATA_BYTES)
    if first < DATA_BYTES:
        name = f"the data at {first:#x}"
    return f"{wrong.size} bytes differ, the first of {name}"
