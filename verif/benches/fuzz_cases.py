"""Random programs that run on both devices, and what differs then."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from tegula.config import TileConfig
from tegula.formats import FP32
from tegula.isa.instructions import Engine
from tegula_golden.tile.simulator import GoldenTile
from tegula_sw.devices.rtl.coupling import AddressCoupling, Coupling, OrderCoupling
from tegula_sw.devices.rtl.device import HangError, ProtocolError, RtlDevice
from tegula_sw.kernels.transfers import image_transfer
from tegula_sw.program.ordering import assemble_ordered
from tegula_sw.program.schedule import Op
from verif.benches.faulty_programs import random_errors
from verif.benches.memory_map import BASE
from verif.benches.random_ops import DATA_BYTES, random_ops, written_psum
from verif.benches.random_programs import serialise_ops

__all__ = ["Case", "FaultyCase"]

_STALLS = (0.0, 0.02, 0.3)
_MAX_CYCLES = 4_000_000
_STATE_WORDS = 8
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
        """What differs when new devices run the program, and store their state; or nothing."""
        dump, size = _dump(self.config, written_psum(self.config, self.ops), BASE + DATA_BYTES)
        code = assemble_ordered(self.config, [*self.ops, *dump])
        start = DATA_BYTES + size
        expected = _memory(self.seed, start, code)
        memory = expected.copy()
        where = {"program": BASE + start, "program_bytes": len(code), "base": BASE}
        golden = GoldenTile(self.config).run(expected, **where)
        with self._device() as device:
            try:
                result = device.run(memory, **where)
            except (HangError, ProtocolError) as error:
                return f"{type(error).__name__}: {error}"
        if result.trap != golden.trap:
            return f"trap {result.trap}, golden {golden.trap}"
        return _differing_bytes(self.config, memory, expected)


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
        """What differs when new devices run the program, then store their state; or nothing."""
        code = self.code
        expected = _memory(self.seed, DATA_BYTES, code)
        memory = expected.copy()
        where = {"program": BASE + DATA_BYTES, "program_bytes": len(code), "base": BASE}
        golden = GoldenTile(self.config, errors=self.errors)
        dump, size = _dump(self.config, np.zeros(self.config.psum_depth, bool), _FAR)
        copy_in = image_transfer(self.config, Engine.LOAD, self.config.sbuf_depth, _FAR)
        state, expected_state = (np.zeros(size, np.uint8) for _ in range(2))
        with self._device(errors=self.errors) as device:
            try:
                for tile, left in ((golden, expected_state), (device, state)):
                    left[:] = _memory(self.seed, size, b"")[:size]
                    self._run_far(tile, [copy_in], left)
                run = golden.run(expected, **where)
                result = device.run(memory, **where)
                for tile, left in ((golden, expected_state), (device, state)):
                    self._run_far(tile, dump, left)
            except (HangError, ProtocolError) as error:
                return f"{type(error).__name__}: {error}"
        if result.trap != run.trap:
            return f"trap {result.trap}, golden {run.trap}"
        for burst in run.unsettled:  # memory may have taken any bytes of them
            taken = slice(burst.address - BASE, burst.address - BASE + len(burst.data))
            memory[taken] = expected[taken]
        found = np.append(memory[:DATA_BYTES], state)
        wanted = np.append(expected[:DATA_BYTES], expected_state)
        return _differing_bytes(self.config, found, wanted)

    def _run_far(self, tile, ops: list[Op], memory: np.ndarray) -> None:
        """Run a program that ends well on `memory`."""
        code = assemble_ordered(self.config, ops)
        image = np.append(memory, np.frombuffer(code, np.uint8))
        result = tile.run(image, program=_FAR + len(memory), program_bytes=len(code), base=_FAR)
        if result.trap is not None:
            raise ProtocolError(f"a good program trapped: {result.trap}")
        memory[:] = image[: len(memory)]


def _memory(seed: int, start: int, code: bytes) -> np.ndarray:
    """Noise, the program at `start`, noise."""
    memory = np.random.default_rng(seed).integers(0, 256, start + len(code) + 256).astype(np.uint8)
    memory[start:][: len(code)] = np.frombuffer(code, np.uint8)
    return memory


def _dump(config: TileConfig, written: np.ndarray, place: int) -> tuple[list[Op], int]:
    """Instructions that store scratchpad, generators and `written` words of PSUM; bytes stored."""
    depth, ops, size = config.sbuf_depth, [], 0

    def store(words: int) -> None:
        nonlocal size
        ops.append(image_transfer(config, Engine.STORE, words, place + size))
        size += 2 * words * config.n

    store(depth)
    ops.append(Op("vector.generator", {"save": 1, "addr": 0}))
    store(_STATE_WORDS)
    common = {"rows": config.n, "format": FP32.code, "dst_stride": 2}
    words = np.flatnonzero(written)
    if words.size:
        for run in np.split(words, np.flatnonzero(np.diff(words) != 1) + 1):
            fields = {"x_addr": int(run[0]), "columns": run.size, "dst": 2 * int(run[0])}
            ops.append(Op("vector.compute", common | fields))
        store(2 * config.psum_depth)
    return ops, size


def _differing_bytes(config: TileConfig, memory: np.ndarray, expected: np.ndarray) -> str:
    """How many bytes differ, and where the first is; or nothing."""
    wrong = np.flatnonzero(memory != expected)
    if not wrong.size:
        return ""
    return f"{wrong.size} bytes differ, the first {_place(config, int(wrong[0]))}"


def _place(config: TileConfig, offset: int) -> str:
    """What a byte of the memory is."""
    areas = {
        "of the data": (DATA_BYTES, None),
        "of the scratchpad": (config.n * config.sbuf_depth * 2, config.sbuf_depth),
        "of the generators": (config.n * _STATE_WORDS * 2, _STATE_WORDS),
        "of PSUM as fp32": (config.n * config.psum_depth * 4, 2 * config.psum_depth),
    }
    for name, (size, words) in areas.items():
        if offset < size:
            if words is None:
                return f"{name} at {offset:#x}"
            return f"{name}, partition {offset // (2 * words)} word {offset // 2 % words}"
        offset -= size
    return "of the program"
