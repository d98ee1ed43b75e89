"""The one configuration of a tile: sizes, widths, and everything derived from them."""

from dataclasses import dataclass, field, fields, replace
from itertools import product

from tegula.formats import BF16, E4M3FN, E5M2, MX_ELEMENTS, FloatFormat, MxElement

__all__ = ["PRESETS", "TileConfig", "check_config", "preset"]

_PRODUCT_BITS = 16
"""An 8-bit by 8-bit significand product, unsigned."""

_HEADROOM_BITS = 12
"""4096 = 2**12 equal products fit above the product field without a carry into the sign."""

_VALUE_OFFSET = 239
"""A partial sum is ``significand * 2**(exponent - 239 - W)``."""

_GRANULE_BYTES = 16
"""Bytes of a granule of a program."""

_AHEAD_GRANULES = 32
"""Granules that the fetch is ahead where two bursts are fewer."""

_KINDS: dict[object, str] = {int: "an int", bool: "a bool", str: "a str"}
"""Types that values must have exactly, as messages name them."""


def _largest_exponent(fmt: FloatFormat) -> int:
    """Exponent of the largest finite number as an operand: that of bf16, with its bias."""
    return (fmt.max_finite >> fmt.mantissa_bits) - fmt.bias + BF16.bias


def _elements_among(formats: tuple[FloatFormat, ...]) -> tuple[MxElement, ...]:
    """Elements of MX blocks whose codes are of one of these formats."""
    return tuple(element for element in MX_ELEMENTS if element.fmt in formats)


def _is_power_of_two(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0


@dataclass(frozen=True, kw_only=True)
class TileConfig:
    """Sizes and widths of a tile. Frozen; every derived quantity is a property.

    Attributes
    ----------
    name
        Name of the preset, for reports.
    n
        Array rows = array columns = partitions of the scratchpad and of PSUM. 4, 8, 16 or 32.
    acc_width
        W, bits of the two's complement significand of a partial sum, 32 to 64.
    sbuf_depth
        Scratchpad words (16 bit) a partition; a power of two, at most 65536.
    psum_banks, psum_bank_words
        Banks of PSUM, and words a bank and partition; powers of two.
    axi_data_width, axi_addr_width
        Bits of the AXI4 master's data (64 to 512) and address (32 to 48) buses.
    max_burst_beats
        Longest burst that the DMA issues, 1 to 256 beats.
    max_reads, max_writes
        Bursts that loads keep outstanding (a store that accumulates reads one more), and stores.
    queue_depth
        Instructions that each engine's queue holds.
    semaphores, semaphore_width
        Number of counting semaphores (at most 32), and bits of each (at most 12).
    vector_folding
        Partitions that share a lane of the vector engine in turn; a power of two. If it is more
        than 1, there must be no more lanes than `row_words`.
    activation_lanes
        Elements that the activation engine takes a cycle; a power of two, at most `n`.
    activation_entries
        Entries, and descriptors, of its function table; 256, 512 or 1024.
    fp8_formats
        8-bit formats that the array's edge decodes and the cast unit encodes; 2 to 4 mantissa bits.
    packed_fp8
        Whether operands may have two 8-bit codes in a word, at twice the products a cycle. Without,
        nothing of it is in the netlist.
    mx
        Whether operands may be scaled by blocks (OCP MX), and the vector engine quantises to them.
        Without, nothing of it is in the netlist. It needs `packed_fp8`, and E4M3FN or E5M2 among
        the `fp8_formats`.
    loop_granules
        Granules of the program that the fetch holds, fetched ahead and for loops; a power of two.
    watchdog_cycles
        Reset value of the CSR that says how long every engine may wait before it is a deadlock.
    trace
        Whether the tile has outputs that show what its engines do (`tegula.engine.trace`). Without
        them, nothing of it is in the netlist.

    Raises
    ------
    ValueError
        If a value is out of its range; the message quotes the value and the limit.
    """

    name: str = "custom"
    n: int = 8
    acc_width: int = 63
    sbuf_depth: int = 16384
    psum_banks: int = 8
    psum_bank_words: int = 64
    axi_data_width: int = 128
    axi_addr_width: int = 40
    max_burst_beats: int = 16
    max_reads: int = 16
    max_writes: int = 16
    queue_depth: int = 8
    semaphores: int = 16
    semaphore_width: int = 12
    vector_folding: int = 1
    activation_lanes: int = 2
    activation_entries: int = 1024
    fp8_formats: tuple[FloatFormat, ...] = (E4M3FN, E5M2)
    packed_fp8: bool = False
    mx: bool = False
    loop_granules: int = 512
    watchdog_cycles: int = 10_000
    trace: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            if setting.type in _KINDS and type(value) is not setting.type:
                raise ValueError(f"{setting.name} must be {_KINDS[setting.type]}, not {value!r}")
        self._check_choice("n", (4, 8, 16, 32))
        self._check_range("acc_width", 32, 64)
        self._check_power_of_two("sbuf_depth", self.bus_words * 2, 1 << 16)
        self._check_power_of_two("psum_banks", 1, 32)
        self._check_power_of_two("psum_bank_words", 8, 1024)
        if self.psum_depth > 2048:
            raise ValueError(
                f"psum_banks * psum_bank_words must be at most 2048, not {self.psum_depth}"
            )
        self._check_choice("axi_data_width", (64, 128, 256, 512))
        self._check_range("axi_addr_width", 32, 48)
        self._check_power_of_two("max_burst_beats", 1, 256)
        if self.max_burst_beats * self.bus_bytes > 4096:
            raise ValueError(
                f"max_burst_beats {self.max_burst_beats} of {self.bus_bytes} bytes must be at most"
                " 4096 bytes (AXI4: no burst crosses 4 KiB)"
            )
        self._check_power_of_two("max_reads", 2, 64)
        self._check_power_of_two("max_writes", 2, 64)
        self._check_power_of_two("queue_depth", 2, 64)
        self._check_power_of_two("loop_granules", 64, 4096)
        if self.loop_granules < self.ahead_granules:
            raise ValueError(
                f"loop_granules must be at least {self.ahead_granules}, what the fetch is ahead"
                f" with max_burst_beats {self.max_burst_beats}, not {self.loop_granules}"
            )
        self._check_choice("semaphores", (4, 8, 16, 32))
        self._check_range("semaphore_width", 4, 12)
        self._check_power_of_two("vector_folding", 1, self.n)
        if self.vector_folding > 1 and self.vector_lanes > self.row_words:
            raise ValueError(
                f"vector_folding must be 1 or at least {self.n // self.row_words} (n / row_words),"
                f" not {self.vector_folding}"
            )
        self._check_power_of_two("activation_lanes", 1, self.n)
        self._check_choice("activation_entries", (256, 512, 1024))
        self._check_range("watchdog_cycles", 64, (1 << 32) - 1)
        formats: object = self.fp8_formats
        if not isinstance(formats, tuple) or not all(isinstance(f, FloatFormat) for f in formats):
            raise ValueError(f"fp8_formats must be a tuple of FloatFormat, not {formats!r}")
        for fmt in self.fp8_formats:
            if fmt.width != 8:
                raise ValueError(f"fp8_formats must be 8 bits wide, not {fmt.name} ({fmt.width})")
            if not 2 <= fmt.mantissa_bits <= 4:
                raise ValueError(
                    f"fp8_formats must have 2 to 4 mantissa bits, not {fmt.name} "
                    f"({fmt.mantissa_bits})"
                )
        if len(set(self.fp8_formats)) != len(self.fp8_formats):
            raise ValueError("fp8_formats must not repeat a format")
        if self.packed_fp8 and not self.packed_pairs:
            names = ", ".join(fmt.name for fmt in self.fp8_formats) or "none"
            raise ValueError(
                f"packed_fp8 must be False where no pair of formats ({names}) fits acc_width"
                f" {self.acc_width} (docs/numerics.md, section 3.10)"
            )
        if self.mx and not self.packed_fp8:
            raise ValueError("mx must be False where packed_fp8 is")
        if self.mx and not _elements_among(self.fp8_formats):
            names = ", ".join(fmt.name for fmt in self.fp8_formats) or "none"
            raise ValueError(
                f"mx must be False where no format of MX is among fp8_formats ({names})"
            )

    def _check_choice(self, name: str, choices: tuple[int, ...]) -> None:
        if getattr(self, name) not in choices:
            raise ValueError(f"{name} must be one of {choices}, not {getattr(self, name)}")

    def _check_range(self, name: str, low: int, high: int) -> None:
        if not low <= getattr(self, name) <= high:
            raise ValueError(f"{name} must be {low} to {high}, not {getattr(self, name)}")

    def _check_power_of_two(self, name: str, low: int, high: int) -> None:
        self._check_range(name, low, high)
        if not _is_power_of_two(getattr(self, name)):
            raise ValueError(f"{name} must be a power of two, not {getattr(self, name)}")

    @property
    def packed_pairs(self) -> dict[tuple[FloatFormat, FloatFormat], int]:
        """Anchors of matmuls of two packed operands, by their formats, where these are allowed.

        The anchor's lowest bit is the unit of the products, and no product is above it.
        """
        pairs = {}
        for a, b in product(self.fp8_formats, repeat=2):
            anchor = a.unit_exponent + b.unit_exponent + _VALUE_OFFSET + self.acc_width
            if _largest_exponent(a) + _largest_exponent(b) <= anchor:
                pairs[a, b] = anchor
        return pairs

    @property
    def mx_elements(self) -> tuple[MxElement, ...]:
        """Elements of MX blocks that the tile has: those of its formats, with `mx`."""
        return _elements_among(self.fp8_formats) if self.mx else ()

    @property
    def groups(self) -> int:
        """PE rows: each PE holds four rows of one column."""
        return self.n // 4

    @property
    def peak_macs_per_cycle(self) -> int:
        """Multiply-accumulates of the whole array in a cycle, of operands that are not packed."""
        return self.n * self.n

    @property
    def guard_bits(self) -> int:
        """G: bits of a partial sum below the least significant bit of a product at the anchor."""
        return self.acc_width - 1 - _HEADROOM_BITS - _PRODUCT_BITS

    @property
    def psum_width(self) -> int:
        """Bits of a PSUM word: 9-bit exponent field and W-bit significand."""
        return 9 + self.acc_width

    @property
    def psum_depth(self) -> int:
        """PSUM words a partition."""
        return self.psum_banks * self.psum_bank_words

    @property
    def sbuf_bytes(self) -> int:
        """Scratchpad capacity in bytes."""
        return self.n * self.sbuf_depth * 2

    @property
    def psum_bytes(self) -> int:
        """PSUM capacity in bytes, counted as fp32 results."""
        return self.n * self.psum_depth * 4

    @property
    def bus_bytes(self) -> int:
        """Bytes of an AXI beat."""
        return self.axi_data_width // 8

    @property
    def ahead_granules(self) -> int:
        """Granules that are fetched ahead at most: two bursts, or 32 where that is more.

        More would come between a program's first loads and their data.
        """
        return max(_AHEAD_GRANULES, 2 * self.max_burst_beats * self.bus_bytes // _GRANULE_BYTES)

    @property
    def body_granules(self) -> int:
        """Longest body of a loop, `control.end` included, that is not fetched again.

        What is fetched ahead lies behind it, and beats are shared with what surrounds it.
        """
        shared = 2 * max(1, self.bus_bytes // _GRANULE_BYTES)
        return max(0, self.loop_granules - self.ahead_granules - shared)

    @property
    def bus_words(self) -> int:
        """16-bit words of an AXI beat = banks of the scratchpad = words of a scratchpad line."""
        return self.axi_data_width // 16

    @property
    def row_words(self) -> int:
        """Words that the DMA moves in a cycle in the partition-major layout."""
        return min(self.bus_words, self.n)

    @property
    def vector_lanes(self) -> int:
        """Elements that the vector engine takes in a cycle."""
        return self.n // self.vector_folding

    @property
    def line_beats(self) -> int:
        """Cycles in which the vector engine writes what is one line of its lanes' results."""
        return max(1, self.vector_lanes // self.row_words)

    @property
    def operand_formats(self) -> tuple[FloatFormat, ...]:
        """Formats that the array's edge decodes."""
        return (BF16, *self.fp8_formats)


def check_config(config: object) -> TileConfig:
    """The argument `config`, if it is one.

    Raises
    ------
    ValueError
        If it is something else, as the name of a preset.
    """
    if not isinstance(config, TileConfig):
        raise ValueError(f"config must be a TileConfig, as preset('small'), not {config!r}")
    return config


PRESETS = {
    config.name: config
    for config in (
        TileConfig(
            name="tiny",
            n=4,
            sbuf_depth=8192,
            psum_bank_words=32,
            axi_data_width=64,
            axi_addr_width=32,
            queue_depth=4,
            packed_fp8=True,
            mx=True,
        ),
        TileConfig(name="small", packed_fp8=True, mx=True),
        TileConfig(
            name="medium",
            n=16,
            axi_data_width=256,
            activation_lanes=4,
            packed_fp8=True,
            mx=True,
        ),
        TileConfig(
            name="ecp5",
            vector_folding=4,
            activation_lanes=1,
            axi_data_width=64,
            axi_addr_width=32,
            max_reads=8,
            max_writes=4,
            queue_depth=4,
        ),
    )
}
"""Named presets. The scratchpad holds 16 times the bytes of PSUM in each.

`ecp5` is `small` with the bus of a board, two vector lanes and one activation lane, so that an
ECP5-85K has place for it (docs/architecture.md, "Placed and routed"). Array, memories, formats and
guarantees are the same. Beats of 64 bits (DDR3 of 16 or 32 bits delivers no more at the tile's
clock) need half the banks of the scratchpad, 4 in place of 8, and narrower aligners; 32 bits
address all of the memory; fewer bursts and instructions wait.
"""


def preset(name: str, **changes: object) -> TileConfig:
    """The preset called `name`, with some fields changed.

    Its operands can be packed (`packed_fp8`), and scaled (`mx`), where the changed formats and
    width allow that, unless it is said among the changes.

    Raises
    ------
    ValueError
        If there is no such preset or field, or the changed configuration is out of range.
    """
    if not isinstance(name, str) or name not in PRESETS:
        raise ValueError(f"preset {name!r} is unknown: it must be one of {', '.join(PRESETS)}")
    unknown = changes.keys() - {field.name for field in fields(TileConfig)}
    if unknown:
        raise ValueError(f"TileConfig has no field {', '.join(sorted(unknown))}")
    base = PRESETS[name]
    plain = replace(base, **{**changes, "packed_fp8": False, "mx": False})
    packs = changes.get("packed_fp8", base.packed_fp8 and bool(plain.packed_pairs))
    scales = changes.get("mx", base.mx and packs and bool(_elements_among(plain.fp8_formats)))
    return replace(plain, packed_fp8=packs, mx=scales)
