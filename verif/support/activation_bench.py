"""The activation engine on the bench: its scratchpad, its programs, its golden model."""

import random
from dataclasses import replace
from functools import partial
from typing import ClassVar

import numpy as np

from tegula.activation.engine import ActivationEngine
from tegula.activation.layouts import beats
from tegula.config import preset
from tegula.isa.operations import Half
from tegula.memory.ports import BANK_READ_CYCLES
from tegula_golden.tile.activation import activation_apply, activation_table
from tegula_golden.tile.state import TileState
from verif.stimuli.functions import arguments, random_words
from verif.support.engine_bench import EnginePlayer, Item, check, pack, run
from verif.support.kept import kept_bits

__all__ = [
    "CONFIG",
    "SEED",
    "TABLE",
    "UNPACKED",
    "ActivationPlayer",
    "apply",
    "check_activation",
    "random_program",
    "random_state",
    "run_activation",
]

CONFIG = preset("tiny", sbuf_depth=1024, activation_entries=256)
UNPACKED = replace(CONFIG, packed_fp8=False, mx=False)
"""A tile whose words hold one code."""

SEED = 12
_ENTRIES, _DESCRIPTORS = 32, 64

TABLE = (
    Item(
        "activation.table",
        {"kind": "entries", "first": 250, "addr": 512, "count": _ENTRIES},
        (1, 1),
    ),
    Item(
        "activation.table", {"kind": "descriptors", "first": 3, "addr": 600, "count": _DESCRIPTORS}
    ),
)
"""Load what `random_state` holds."""


def apply(signal=None, **fields):
    """An activation.apply of all rows of the tiny tile; one column, fp32 to bf16, unless said.

    The function's first descriptor is 0.
    """
    usual = {"rows": CONFIG.n, "columns": 1, "format": "bf16", "dst": 0, "function": 0}
    usual |= {"x_addr": 0, "x_stride": 2}
    return Item("activation.apply", usual | fields, signal)


class ActivationPlayer(EnginePlayer):
    """Scratchpad with buffers of two rows at its entries, which reads and writes rows, or not.

    A row is read a cycle after its acceptance at the earliest, and there `BANK_READ_CYCLES` later;
    it is written, and reported, a cycle after its acceptance at the earliest.
    """

    component = ActivationEngine
    golden: ClassVar[dict] = {
        "activation.apply": activation_apply,
        "activation.table": activation_table,
    }

    @staticmethod
    def cycles_of(item, config):
        full = item.full
        if "count" in full:
            return 100 + 8 * full["count"]
        return 350 + (6 + 2 * beats(config)) * full.get("columns", 1)

    stop_cycles = 1
    buffered: ClassVar[dict] = {"row": 2, "write": 2}
    """Rows that each entry of the scratchpad holds."""

    def prepare(self, state):
        self.requests, self.rows = [], [None] * BANK_READ_CYCLES
        self.accepted, self.writes, self.written = 0, [], None

    def begun(self):
        """Rows accepted, since they are written whatever happens, signals and traps."""
        return self.accepted, *super().begun()[1:]

    def drive(self):
        ctx, dut = self.ctx, self.dut
        granted = self.requests and self.grants()
        row = pack(self.sbuf.row(self.requests.pop(0)), 16) if granted else None
        self.rows.append(row)
        row = self.rows.pop(0)
        ctx.set(dut.row.data.as_value(), 0 if row is None else row)
        ctx.set(dut.row.valid, row is not None)
        ctx.set(dut.row.request.ready, len(self.requests) < self.buffered["row"])
        ctx.set(dut.write.request.ready, len(self.writes) < self.buffered["write"])
        ctx.set(dut.write.written, self.written is not None)
        ctx.set(dut.write.written_last, self.written is not None and self.written.last)

    def observe(self):
        ctx, dut = self.ctx, self.dut
        row, write = dut.row.request, dut.write.request
        if ctx.get(row.valid) and ctx.get(row.ready):
            self.requests.append(ctx.get(row.payload))
        if ctx.get(write.valid) and ctx.get(write.ready):
            self.accepted += 1
            self.writes.append(ctx.get(write.payload))
        self.written = self.writes.pop(0) if self.writes and self.grants() else None
        if self.written is None:
            return []
        kept = kept_bits(self.config, self.written)
        return [
            (p, int(self.written.addr), int(self.written.words[p]), kept)
            for p in range(self.config.n)
            if int(self.written.enable) >> p & 1
        ]


check_activation = partial(check, ActivationPlayer)
"""Run a program and a state on hardware and golden; see `engine_bench.check`."""

run_activation = partial(run, ActivationPlayer)
"""Run a state and a program on hardware only."""


def random_state(seed=SEED, config=CONFIG):
    """A scratchpad with arguments (words 0 .. 127), scalars (128 .. 255) and records (512 ..)."""
    rng = np.random.default_rng(seed)
    state = TileState(config)
    state.sbuf[:] = rng.integers(0, 1 << 16, state.sbuf.shape)
    entries, descriptors = random_words(rng, _ENTRIES, _DESCRIPTORS)
    rows = entries.view(np.uint16).reshape(2 * _ENTRIES, 4)
    state.sbuf[:4, 512 : 512 + len(rows)] = rows.T
    state.sbuf[:2, 600 : 600 + _DESCRIPTORS] = descriptors.view(np.uint16).reshape(-1, 2).T
    hard = arguments(rng, 4 * config.n * 64)
    state.sbuf[:, 0:128] = rng.permutation(hard)[: config.n * 64].view(np.uint16).reshape(-1, 128)
    scalars = (4 * rng.standard_normal((config.n, 64))).astype(np.float32)
    state.sbuf[:, 128:256] = scalars.view(np.uint16)
    return state


def random_program(rng: random.Random, count: int, config=CONFIG) -> list[Item]:
    """Load the table of `random_state`; then instructions that choose everything at random.

    Where words may hold two codes, also the halves that operands and results take.
    """
    program = list(TABLE)
    for index in range(count):
        signal = (index % 16, index + 1) if rng.random() < 0.7 else None
        if rng.random() < 0.1:
            program.append(Item("activation.sync", {}, signal))
        else:
            fields = _random_fields(rng)
            if config.packed_fp8:
                fields |= {"half": rng.choice(list(Half)), "x_high": rng.getrandbits(1)}
            program.append(Item("activation.apply", fields, signal))
    return program


def _random_fields(rng):
    formats = {
        name: rng.choice(("fp32", "bf16", "e5m2", "e4m3fn")) for name in ("format", "x_format")
    }
    names = ("saturate", "exp", "odd", "sum", "proceed", "finish", "overlap")
    flags = {name: rng.getrandbits(1) for name in names}  # no result is read, so all may overlap
    fields = (
        formats
        | flags
        | {
            "rows": rng.randint(1, CONFIG.n),
            "columns": rng.randint(1, 24),
            "parity": int(rng.random() < 0.3),
            "log": int(rng.random() < 0.3),
            "x_addr": 2 * rng.randrange(40),
            "x_stride": 1 + (formats["x_format"] == "fp32"),
            "sum_dst": 400 + 2 * rng.randrange(10),
            "function": rng.randrange(60),
            "low": rng.choice((-3, -20, -2, 0, 5, -500)),
            "dst": 300 + 2 * rng.randrange(10),
            "dst_stride": 1 + (formats["format"] == "fp32"),
        }
    )
    constants = {"scale": (0x3F80_0000, 0x4000_0000, 0xBF00_0000, 0x3E00_0000)}
    constants["bias"] = (0, 0x8000_0000, 0x3F80_0000, 0xC000_0000)
    for name, values in constants.items():
        kind = rng.randrange(3)
        if kind == 0:
            fields |= {f"{name}_partition": 1, name: 128 + 2 * rng.randrange(50)}
        elif kind == 1:
            fields[name] = rng.choice(values)
    return fields
