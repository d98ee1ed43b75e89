"""The vector engine on the bench: its PSUM and scratchpad, its programs, its golden model."""

import random
from dataclasses import replace
from functools import partial
from typing import ClassVar

import numpy as np

from tegula.config import TileConfig, preset
from tegula.isa.operations import Half, Operand, Reduction, ScaleRule, Source
from tegula.vector.engine import VectorEngine
from tegula_golden.tile.quantise import vector_quantise
from tegula_golden.tile.state import TileState
from tegula_golden.tile.vector import vector_compute, vector_generator
from verif.support.engine_bench import EnginePlayer, Item, check, pack, run
from verif.support.kept import kept_bits

__all__ = [
    "CONFIG",
    "FOLDED",
    "NARROW",
    "SEED",
    "UNPACKED",
    "VectorPlayer",
    "check_vector",
    "compute",
    "quantise",
    "random_program",
    "random_state",
    "run_vector",
]

CONFIG = preset("tiny", sbuf_depth=256, psum_banks=4, psum_bank_words=8)
NARROW = preset("small", axi_data_width=64, sbuf_depth=256, psum_banks=4, psum_bank_words=8)
"""A tile whose lines hold half of the partitions."""

UNPACKED = {
    "a line a write": replace(CONFIG, packed_fp8=False, mx=False),
    "two lines a write": replace(NARROW, packed_fp8=False, mx=False),
}
"""Tiles whose words hold one code."""

FOLDED = {
    f"{folding} partitions a lane, lines of {bus // 16}": preset(
        "small",
        axi_data_width=bus,
        vector_folding=folding,
        packed_fp8=folding == 2,
        sbuf_depth=256,
        psum_banks=4,
        psum_bank_words=8,
    )
    for folding, bus in ((2, 128), (2, 64), (4, 64), (8, 128))
}
"""Tiles whose partitions share lanes; words of some may hold two codes."""

SEED = 11


def compute(signal=None, **fields):
    """A vector.compute of all rows of the tiny tile; one column of bf16 unless said otherwise."""
    usual = {"rows": CONFIG.n, "columns": 1, "format": "bf16", "dst": 0}
    return Item("vector.compute", usual | fields, signal)


def quantise(signal=None, **fields):
    """A vector.quantise of all rows of the tiny tile, to e4m3fn unless said otherwise."""
    usual = {"rows": CONFIG.n, "format": "e4m3fn", "dst": 128, "scale_dst": 120}
    return Item("vector.quantise", usual | fields, signal)


class VectorPlayer(EnginePlayer):
    """PSUM, which is always ready, and a scratchpad of which some banks are taken."""

    component = VectorEngine
    stop_cycles = 2
    golden: ClassVar[dict] = {
        "vector.compute": vector_compute,
        "vector.generator": vector_generator,
        "vector.quantise": vector_quantise,
    }

    @staticmethod
    def cycles_of(item, config):
        folding = config.vector_folding
        return 96 + 14 * folding + 4 * folding * item.full.get("columns", 4)

    def prepare(self, state):
        words = state.psum(slice(None)).words()
        self.psum = [pack(column, self.config.psum_width) for column in words.T]
        self.psum_word, self.written, self.queried = 0, state.written, 0
        self.answers = {"x": self.later(), "y": self.later()}
        self.requests = {"x": None, "y": None}
        self.taken = 0

    def drive(self):
        ctx, dut = self.ctx, self.dut
        banks = self.config.bus_words
        self.taken = 0 if self.grants() else self.rng.randrange(1 << banks)
        for name, queue in self.answers.items():
            port = getattr(dut, name)
            answer = queue.pop(0)
            if answer is None:
                answer = self.rng.getrandbits(32 * self.config.n)
            ctx.set(port.data.as_value(), answer)
            ctx.set(port.taken, self.taken)
        ctx.set(dut.psum.data.as_value(), self.psum_word)
        ctx.set(dut.psum.written, int(self.written[self.queried]))

    def observe(self):
        ctx, dut = self.ctx, self.dut
        taken = self.taken
        for name, queue in self.answers.items():
            port, request, answer = getattr(dut, name), self.requests[name], None
            if request is not None:  # of the cycle before: its bank is read in this one
                low, high = self.sbuf.row(request.addr), self.sbuf.row(request.addr ^ 1)
                answer = pack(low | high << 16 if request.double else low, 32)
            queue.append(answer)
            self.requests[name] = None
            if ctx.get(port.en):
                request = ctx.get(port.request)
                banks = self._banks(request)
                if not banks & taken:
                    self.requests[name] = request
                taken |= banks
        self.queried = ctx.get(dut.psum.query_addr)
        if ctx.get(dut.psum.en):
            self.psum_word = self.psum[ctx.get(dut.psum.addr)]
        return list(self._places(ctx.get(dut.write.payload)))

    def _banks(self, request):
        """Mask of the banks of a row or a pair."""
        first = request.addr % self.config.bus_words
        return 3 << first - first % 2 if request.double else 1 << first

    def _places(self, write):
        """(partition, address, word, bits that stay) of the results in the write port."""
        addr, enable = int(write.addr), int(write.enable)
        kept = kept_bits(self.config, write)
        for p in range(self.config.n):
            if not enable >> p & 1:
                continue
            word = int(write.words[p])
            if write.line:
                assert addr % self.config.row_words == 0
                if p < self.config.row_words:
                    yield int(write.partition), addr + p, word & 0xFFFF, kept
                continue
            yield p, addr, word & 0xFFFF, kept
            if write.double:
                assert addr % 2 == 0
                yield p, addr + 1, word >> 16, 0


def random_state(*, config=CONFIG, written=slice(0, None), seed=SEED):
    """PSUM words and fp32 in the scratchpad, around the values of the 8-bit formats."""
    rng = np.random.default_rng(seed)
    state = TileState(config)
    shape, width = (config.n, config.psum_depth), config.acc_width
    bits = rng.integers(1, width - 1, shape)
    magnitude = rng.integers(0, 1 << 62, shape) >> (62 - bits) | 1 << (bits - 1)
    power = rng.integers(-18, 19, shape)
    state.exponent[:] = power + 240 + width - bits
    state.significand[:] = np.where(rng.random(shape) < 0.5, magnitude, -magnitude)
    empty = rng.random(shape) < 0.15
    state.exponent[empty] = rng.choice([0, 300, 509, 510, 511], empty.sum())
    state.significand[empty] = 0
    state.written[written] = True
    count = config.sbuf_depth // 2
    scale = 2.0 ** rng.integers(-18, 19, count)
    values = (rng.standard_normal((config.n, count)) * scale).astype(np.float32)
    specials = np.array([0, -0.0, np.inf, -np.inf, np.nan], np.float32)
    values[:, ::9] = rng.choice(specials, values[:, ::9].shape)
    state.sbuf[:] = values.view(np.uint16)
    return state


check_vector = partial(check, VectorPlayer)
"""Run a program and a state on hardware and golden; see `engine_bench.check`."""

run_vector = partial(run, VectorPlayer)
"""Run a state and a program on hardware only."""


_FORMATS = ("bf16", "e4m3fn", "e5m2", "fp32", "raw16", "raw32")
_WIDE = ("fp32", "raw32")
_CONSTANTS = (0x3F80_0000, 0x4000_0000, 0xBF00_0000, 0, 0x8000_0000, 0x7F80_0000)


def random_program(rng: random.Random, config: TileConfig, count: int) -> list[Item]:
    """Instructions that choose everything at random but addresses, which exist and are aligned."""
    program = []
    for index in range(count):
        signal = (index % 16, index + 1) if rng.random() < 0.7 else None
        kind = rng.random()
        if kind < 0.08:
            fields = {"save": rng.getrandbits(1), "addr": 2 * rng.randrange(20)}
            program.append(Item("vector.generator", fields, signal))
        elif kind < 0.16:
            program.append(Item("vector.sync", {}, signal))
        elif config.mx and kind < 0.4:
            program.append(Item("vector.quantise", _random_blocks(rng, config), signal))
        else:
            program.append(Item("vector.compute", _random_fields(rng, config), signal))
    return program


def _random_blocks(rng, config):
    """Fields of a vector.quantise that traps nowhere."""
    compute = _random_fields(rng, config)
    kept = ("rows", "x_format", "op0", "op1", "s0", "s1", "s0_kind", "s1_kind", "x_high", "half")
    fields = {name: compute[name] for name in kept if name in compute}
    for number in "01":
        if fields[f"s{number}_kind"] == Operand.Y:
            fields[f"s{number}_kind"] = Operand.SELF
    columns = rng.choice((rng.randint(1, 70), 32, 33, 64, 1))
    transpose = rng.getrandbits(1)
    packed = transpose and int(config.packed_fp8) and rng.getrandbits(1)
    fmt = rng.choice(("e4m3fn", "e4m3fn", "e5m2"))
    fields |= {
        "columns": columns,
        "format": fmt,
        "e2m1": int(fmt == "e4m3fn" and rng.random() < 0.5),
        "rule": rng.choice(list(ScaleRule)),
        "transpose": transpose,
        "packed": packed,
        "partition": rng.randrange(config.n),
        "scale_dst": 252 - rng.randrange(3),
        "scale_stride": rng.choice((1, 0, -1, -2)),
        "x_source": rng.choice((Source.PSUM, Source.SBUF)),
        "dst": config.n * rng.randrange(3) if transpose else rng.randrange(8),
        "dst_stride": config.n if transpose else 1,
    }
    if fields["x_source"] == Source.PSUM:
        fields["columns"] = columns = min(columns, config.psum_depth)
        return fields | {"x_addr": rng.randrange(config.psum_depth - columns + 1), "x_stride": 1}
    # Elements lie behind all results.
    step = 1 + (fields["x_format"] in _WIDE)
    return fields | {"x_addr": 90 + 2 * rng.randrange(8), "x_stride": step * rng.choice((0, 1))}


def _random_fields(rng, config):
    formats = {name: rng.choice(_FORMATS) for name in ("format", "x_format", "y_format")}
    wide = formats["format"] in _WIDE
    step = {name: 1 + (fmt in _WIDE) for name, fmt in formats.items()}
    transpose = int(not wide and rng.random() < 0.25)
    fields = formats | {
        "rows": rng.randint(1, config.n),
        "columns": rng.randint(1, 20),
        "saturate": rng.getrandbits(1),
        "rounding": rng.choice((0, 0, 1, 2)),
        "x_source": rng.choice(
            (Source.PSUM, Source.SBUF, Source.SBUF, Source.INDEX, Source.RANDOM)
        ),
        "x_addr": 60 + 2 * rng.randrange(10),
        "x_stride": rng.choice((1, 1, 0)) * step["x_format"],
        "y_addr": 100 + 2 * rng.randrange(10),
        "y_stride": rng.choice((1, 1, 0, 2)) * step["y_format"],
        "transpose": transpose,
        "partition": rng.randrange(config.n),
        "reduction": rng.choice((0, 0, 0, *Reduction)),
        "proceed": rng.getrandbits(1),
        "finish": rng.getrandbits(1),
        "dst": config.n * rng.randrange(3) if transpose else 2 * rng.randrange(8),
        "dst_stride": config.n if transpose else step["format"],
    }
    if fields["x_source"] == Source.PSUM:
        fields |= {"x_addr": rng.randrange(config.psum_depth - fields["columns"]), "x_stride": 1}
    elif fields["x_source"] in (Source.INDEX, Source.RANDOM):
        fields |= {"x_addr": rng.randrange(1 << 16), "x_stride": rng.randrange(-2048, 2048)}
    for number in "01":
        kind = rng.choice(list(Operand))
        constant = rng.choice((*_CONSTANTS, rng.getrandbits(32)))
        value = 100 + 2 * rng.randrange(40) if kind == Operand.PARTITION else constant
        fields |= {f"op{number}": rng.randrange(16), f"s{number}_kind": kind, f"s{number}": value}
    if config.packed_fp8:
        fields |= {"half": rng.choice(list(Half)), "x_high": rng.getrandbits(1)}
    return fields
