"""fp32 -> codes on a device: elements spread over the partitions, cast by vector.compute.

Blocks go round a ring of scratchpad slots; tokens circle: load -> vector -> store.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tegula.config import TileConfig
from tegula.formats import FP32, RAW16, FloatFormat
from tegula.isa.instructions import Engine
from tegula.isa.operations import Rounding, Source
from tegula_golden.array_types import Codes, Patterns, Words
from tegula_golden.numerics.codes import code_dtype
from tegula_sw.devices.base import Device, run_well
from tegula_sw.elementwise.partitioned import spread
from tegula_sw.program.costs import drain_cost, vector_element_cycles
from tegula_sw.program.program import MemoryImage, Program
from tegula_sw.program.schedule import Op, emit_merged

__all__ = ["CastAddresses", "build_cast", "cast_on_device"]

_SLOTS = 3
_MAX_ELEMENTS = 1 << 24
"""Elements of one program; the host cuts longer arrays."""


@dataclass(frozen=True, kw_only=True)
class CastAddresses:
    """Addresses in bytes of the fp32 words, the 16-bit random words (None: RNE) and the codes."""

    source: int
    random: int | None
    result: int


class _Kernel:
    """Writes the streams of one cast program."""

    def __init__(
        self,
        config: TileConfig,
        count: int,
        fmt: FloatFormat,
        addresses: CastAddresses,
        saturate: bool,
        program: Program,
    ):
        self.config = config
        self.fmt = fmt
        self.addresses = addresses
        self.saturate = int(saturate)
        self.loaded = program.semaphore("block loaded")
        self.cast = program.semaphore("block cast")
        self.free = program.semaphore("slot free")
        slot_lines = config.sbuf_depth // _SLOTS // config.bus_words
        self.longest = slot_lines // 5 * config.bus_words
        if not self.longest:
            raise ValueError(
                f"a scratchpad of {config.sbuf_depth} words a partition is too small for a cast"
            )
        self.blocks = spread(config, count, self.longest)

    def streams(self) -> dict[Engine, Iterator[Op]]:
        """The streams of the three engines."""
        return {
            Engine.LOAD: self._load(),
            Engine.VECTOR: self._vector(),
            Engine.STORE: self._store(),
        }

    def _areas(self, index: int) -> tuple[int, int, int]:
        """Scratchpad addresses of a block's fp32 words, random words and results."""
        base = index % _SLOTS * 5 * self.longest
        return base, base + 2 * self.longest, base + 3 * self.longest

    def _load(self) -> Iterator[Op]:
        for index, block in enumerate(self.blocks):
            source, random, _ = self._areas(index)
            sources = [(self.addresses.source, FP32.width, source)]
            if self.addresses.random is not None:
                sources.append((self.addresses.random, 16, random))
            ops = [
                op for area in sources for op in block.transfers(self.config, Engine.LOAD, *area)
            ]
            for number, op in enumerate(ops):
                waits = number == 0 and index >= _SLOTS
                yield op.synchronised(
                    self.free.at_least(1, consume=True) if waits else None,
                    self.loaded.add() if number == len(ops) - 1 else None,
                )

    def _vector(self) -> Iterator[Op]:
        cost = drain_cost(self.config)
        for index, block in enumerate(self.blocks):
            source, random, result = self._areas(index)
            yield Op(
                "vector.compute",
                {
                    "rows": block.partitions,
                    "format": self.fmt.code,
                    "x_source": Source.SBUF,
                    "x_addr": source,
                    "x_stride": 2,
                    "rounding": Rounding.NEAREST
                    if self.addresses.random is None
                    else Rounding.GIVEN,
                    "y_format": RAW16,
                    "y_addr": random,
                    "saturate": self.saturate,
                    "dst": result,
                    "dst_stride": 2 if self.fmt == FP32 else 1,
                    "columns": block.columns,
                },
                block.columns * vector_element_cycles(self.config) + cost.overhead,
                cost.latency,
                self.loaded.at_least(1, consume=True),
                self.cast.add(),
            )

    def _store(self) -> Iterator[Op]:
        for index, block in enumerate(self.blocks):
            ops = block.transfers(
                self.config,
                Engine.STORE,
                self.addresses.result,
                self.fmt.width,
                self._areas(index)[2],
            )
            for number, op in enumerate(ops):
                frees = number == len(ops) - 1 and index + _SLOTS < len(self.blocks)
                yield op.synchronised(
                    self.cast.at_least(1, consume=True) if number == 0 else None,
                    self.free.add() if frees else None,
                )


def build_cast(
    config: TileConfig,
    count: int,
    fmt: FloatFormat,
    addresses: CastAddresses,
    *,
    saturate: bool = False,
) -> bytes:
    """The program that casts `count` contiguous fp32 words to contiguous codes of `fmt`.

    Raises
    ------
    ValueError
        If `count` is below 1, or the tile lacks the format or the space.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, not {count}")
    program = Program(config)
    emit_merged(program, _Kernel(config, count, fmt, addresses, saturate, program).streams())
    program.halt()
    return program.assemble()


def cast_on_device(
    device: Device,
    bits: Patterns,
    fmt: FloatFormat,
    *,
    saturate: bool = False,
    random: Words | None = None,
) -> Codes:
    """Codes of `fmt` of fp32 bit patterns, cast by the tile.

    Parameters
    ----------
    bits
        uint32, any shape.
    saturate
        Whether fp8 overflow and infinities become the largest finite number.
    random
        uint16, the shape of `bits`: round stochastically with them. None: to nearest even.

    Returns
    -------
    ndarray
        uint8, uint16 or uint32 by the format's width, the shape of `bits`.

    Raises
    ------
    ValueError
        If a dtype or shape is wrong, or the tile lacks the format.
    TileTrapError
        If the tile traps.
    """
    if bits.dtype != np.uint32:
        raise ValueError(f"bits must be uint32, not {bits.dtype}")
    if random is not None and (random.dtype != np.uint16 or random.shape != bits.shape):
        raise ValueError(f"random must be uint16 {bits.shape}, not {random.dtype} {random.shape}")
    codes = np.empty(bits.size, code_dtype(fmt))
    for start in range(0, bits.size, _MAX_ELEMENTS):
        part = slice(start, start + _MAX_ELEMENTS)
        count = len(codes[part])
        image = MemoryImage()
        addresses = CastAddresses(
            source=image.add(bits.reshape(-1)[part]),
            random=None if random is None else image.add(random.reshape(-1)[part]),
            result=image.reserve(count * fmt.width // 8),
        )
        program = build_cast(device.config, count, fmt, addresses, saturate=saturate)
        address = image.add(program)
        memory = image.build()
        run_well(device, memory, address, len(program))
        codes[part] = image.read(memory, addresses.result, code_dtype(fmt), (count,))
    return codes.reshape(bits.shape)
