"""Random programs whose meaning does not depend on timing: one instruction follows the other."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from tile_bench import BASE

from tegula.config import TileConfig
from tegula.formats import FP32
from tegula.isa.instructions import Engine, Layout
from tegula_sw.builder import Program

__all__ = ["DATA_BYTES", "RandomProgram", "random_program"]

DATA_BYTES = 0x3000
"""Memory that loads and stores use; the program follows."""

_ENGINES = (Engine.TENSOR, Engine.VECTOR, Engine.LOAD, Engine.STORE)


@dataclass(frozen=True, kw_only=True)
class RandomProgram:
    """A program at address `start`, behind the data."""

    code: bytes
    start: int = BASE + DATA_BYTES

    def image(self, noise: Callable[[int], np.ndarray]) -> np.ndarray:
        """Memory: noise, the program, and noise."""
        memory = noise(DATA_BYTES + len(self.code) + 256)
        memory[DATA_BYTES:][: len(self.code)] = np.frombuffer(self.code, np.uint8)
        return memory


class _Generator:
    """Appends random instructions that cannot trap; remembers what PSUM holds."""

    def __init__(self, rng: np.random.Generator, config: TileConfig):
        self._rng, self._config = rng, config
        self._program = Program(config)
        self._turns = [self._program.semaphore(engine.name) for engine in _ENGINES]
        self._written = np.zeros(config.psum_depth, dtype=bool)
        self._loaded = False

    def generate(self, count: int) -> bytes:
        """About `count` instructions in groups of one engine each, then `halt`."""
        makers = (self._tensor, self._vector, self._load, self._store)
        turns = [_ENGINES.index(Engine.LOAD)]
        while len(self._program) < count:
            self._group(turns, makers[turns[-1]])
            turns.append(int(self._rng.integers(0, 4)))
        self._program.halt()
        return self._program.assemble()

    def _group(self, turns: list[int], make: Callable) -> None:
        """A few instructions of one engine, begun when the group before is complete."""
        wait = None
        if len(turns) > 1 and turns[-1] != turns[-2]:
            value, turn = self._int(1, 9), self._turns[turns[-1]]
            before = _ENGINES[turns[-2]].name.lower()
            self._program.emit(f"{before}.sync", signal=turn.add(value))
            wait = turn.at_least(value, consume=True)
        for _ in range(int(self._rng.integers(1, 5))):
            mnemonic, fields = make()
            self._program.emit(mnemonic, wait=wait, **fields)
            wait = None

    def _int(self, low: int, high: int) -> int:
        """A number from `low` to `high`, ends included, and more often the ends."""
        pick = self._rng.integers(0, 8)
        if pick < 2:
            return (low, high)[pick]
        return int(self._rng.integers(low, high + 1))

    def _format(self, *, fp32: bool = False) -> int:
        formats = [fmt.code for fmt in self._config.operand_formats]
        return int(self._rng.choice([*formats, FP32.code] if fp32 else formats))

    def _walk(self, count: int, limit: int) -> tuple[int, int]:
        """Start and stride of `count` addresses below `limit`."""
        most = min(5, (limit - 1) // max(count - 1, 1))
        stride = self._int(-most, most)
        reach = stride * (count - 1)
        return self._int(max(0, -reach), limit - 1 - max(0, reach)), stride

    def _tensor(self) -> tuple[str, dict]:
        config, rng = self._config, self._rng
        fields = {"rows": self._int(1, config.n), "format": self._format()}
        if rng.random() < 0.4 or not self._loaded:  # a program does not rely on one before it
            self._loaded = True
            columns = self._int(1, config.n)
            addr, stride = self._walk(columns, config.sbuf_depth)
            return "tensor.load", fields | {"columns": columns, "addr": addr, "stride": stride}
        columns = int(rng.integers(1, 40))
        addr, stride = self._walk(columns, config.sbuf_depth)
        psum = self._int(0, config.psum_depth - columns)
        if rng.random() < 0.5:  # stay close, so that words meet again
            psum = int(rng.integers(0, 8))
        words = slice(psum, psum + columns)
        accumulate = bool(self._written[words].all()) and rng.random() < 0.8
        self._written[words] = True
        return "tensor.matmul", fields | {
            "accumulate": int(accumulate),
            "columns": columns,
            "addr": addr,
            "stride": stride,
            "psum_addr": psum,
        }

    def _vector(self) -> tuple[str, dict]:
        config, rng = self._config, self._rng
        fmt = self._format(fp32=True)
        width = 2 if fmt == FP32.code else 1
        columns = int(rng.integers(1, 40))
        if from_psum := bool(self._written.any()) and rng.random() < 0.6:
            first = int(rng.choice(np.flatnonzero(self._written)))
            ends = np.flatnonzero(~self._written[first:])
            columns = min(columns, int(ends[0]) if ends.size else config.psum_depth - first)
            src = first
            operands = []
        else:
            src = self._int(0, config.sbuf_depth - 2 * columns)
            operands = [range(src, src + 2 * columns)]
        random = self._int(0, config.sbuf_depth - columns)
        operands.append(range(random, random + columns))
        return "vector.copy", {
            "rows": self._int(1, config.n),
            "format": fmt,
            "source": int(not from_psum),
            "stochastic": int(rng.integers(0, 2)),
            "saturate": int(rng.integers(0, 2)),
            "src": src,
            "dst": self._apart_from(operands, width * columns),
            "columns": columns,
            "random": random,
        }

    def _apart_from(self, operands: list[range], words: int) -> int:
        """Start of `words` words that no operand touches (that would have no defined effect)."""
        while True:
            start = self._int(0, self._config.sbuf_depth - words)
            if all(start + words <= o.start or o.stop <= start for o in operands):
                return start

    def _load(self) -> tuple[str, dict]:
        return "load.dma", self._descriptor()

    def _store(self) -> tuple[str, dict]:
        return "store.dma", self._descriptor()

    def _descriptor(self) -> dict[str, int]:
        return random_descriptor(self._rng, self._config, BASE, DATA_BYTES)


def random_descriptor(
    rng: np.random.Generator,
    config: TileConfig,
    base: int,
    size_bytes: int,
    *,
    elements: int = 300,
    depth: int | None = None,
) -> dict[str, int]:
    """Fields of a DMA instruction that traps nowhere.

    It stays in `size_bytes` bytes from `base` on, and in the first `depth` words of each partition.
    """
    depth = config.sbuf_depth if depth is None else depth
    while True:
        layout = Layout(int(rng.integers(0, 2)))
        element_bytes = int(rng.integers(1, 3))
        counts = rng.choice([1, 1, 2, 3, 5], 3)
        run = int(rng.integers(1, rng.choice([3, 20, 70, elements]) + 1))
        line = config.bus_words if layout == Layout.FREE else 1
        mem = rng.integers(-300, 301, 3)
        sbuf = rng.integers(-20, 21, 3) * line
        partition = rng.integers(0, 3, 3) if layout == Layout.FREE else rng.integers(0, 2, 3)
        stride0 = int(rng.integers(-5, 6))
        within = run - 1 if layout == Layout.FREE else (run - 1) // config.n * stride0
        mem_low, mem_high = _reach(counts, mem, run * element_bytes - 1)
        sbuf_low, sbuf_high = _reach(counts, sbuf, within)
        top = _reach(counts, partition, 0)[1] if layout == Layout.FREE else 0
        if run * counts.prod() > elements or top >= config.n:
            continue
        if mem_high - mem_low >= size_bytes or sbuf_high - sbuf_low > depth - line:
            continue
        first, last = -(sbuf_low // line), (depth - 1 - sbuf_high) // line
        fields = {
            "mem_addr": base + int(rng.integers(-mem_low, size_bytes - mem_high)),
            "run": run,
            "sbuf_addr": int(rng.choice([first, last, rng.integers(first, last + 1)])) * line,
            "sbuf_stride0": stride0,
            "partition": int(rng.integers(0, config.n - top)),
            "layout": int(layout),
            "bytes1": int(element_bytes == 1),
        }
        for axis in (1, 2, 3):
            fields |= {
                f"count{axis}": int(counts[axis - 1]),
                f"mem_stride{axis}": int(mem[axis - 1]),
                f"sbuf_stride{axis}": int(sbuf[axis - 1]),
                f"partition_stride{axis}": int(partition[axis - 1]),
            }
        return fields


def _reach(counts: np.ndarray, strides: np.ndarray, within: int) -> tuple[int, int]:
    """Least and greatest offset of axes with these strides, and of the elements of a run."""
    steps = np.append((counts - 1) * strides, within)
    return int(np.minimum(steps, 0).sum()), int(np.maximum(steps, 0).sum())


def random_program(rng: np.random.Generator, config: TileConfig, count: int) -> RandomProgram:
    """A program of about `count` instructions that ends well whatever the data."""
    return RandomProgram(code=_Generator(rng, config).generate(count))
