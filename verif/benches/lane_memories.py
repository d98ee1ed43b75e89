"""The memories beside the engines of lanes, in cocotb: what is read when, and what is written."""

from collections import deque

import numpy as np
from cocotb.triggers import RisingEdge

from tegula.config import TileConfig
from tegula.memory.ports import (
    BANK_READ_CYCLES,
    pair_request_layout,
    row_write_layout,
    vector_write_layout,
)
from tegula_golden.tile.state import TileState
from verif.benches.testbench import join, split
from verif.support.kept import KEPT_BITS

__all__ = ["ActivationMemories", "VectorMemories"]

_POISON = 0xDEAD
"""What a read gets of a word that is being written."""

_BITS_16 = 0xFFFF


def _fields(value: int, layout) -> dict[str, int]:
    """Members of a packed structure."""
    return {
        name: value >> field.offset & ((1 << field.width) - 1)
        for name in layout.members
        for field in [layout[name]]
    }


class _Memories:
    """Scratchpad words, and grants that are withheld at random; subclasses drive the ports."""

    def __init__(self, dut, config: TileConfig, rng: np.random.Generator, state: TileState):
        self._dut, self._config, self._rng = dut, config, rng
        self.words = state.sbuf.copy()
        self._written_at = np.full(self.words.shape, -9)
        self._cycle = 0
        self._rate = 0.0
        self.writes = self.denied = 0

    def shape_traffic(self, rate: float) -> None:
        """Share of cycles in which a port is not served."""
        self._rate = rate

    def _grants(self) -> int:
        return int(self._rate == 0 or self._rng.random() >= self._rate)

    def _read(self, rows: slice) -> np.ndarray:
        """Rows as a read that was accepted in this cycle gets them: uint16, partitions x rows."""
        fresh = self._written_at[:, rows] >= self._cycle - 1
        return np.where(fresh, np.uint16(_POISON), self.words[:, rows])

    def _write(self, partition: int, addr: int, word: int, kept: int = 0) -> None:
        """Write a word, but for the bits that are `kept`."""
        self.words[partition, addr] = int(self.words[partition, addr]) & kept | word & ~kept
        self._written_at[partition, addr] = self._cycle

    def _count(self, valid, ready) -> bool:
        """Acceptance of a request; one that was not accepted is counted."""
        accepted = bool(valid.value) and bool(ready.value)
        self.denied += bool(valid.value) and not accepted
        return accepted


def _kept(write: dict[str, int]) -> int:
    """Bits of each word that a write leaves as they are."""
    return KEPT_BITS[write.get("keep", 0)]


class VectorMemories(_Memories):
    """PSUM, which is always there, and the ports x, y and write of the scratchpad."""

    def __init__(self, dut, config: TileConfig, rng: np.random.Generator, state: TileState):
        super().__init__(dut, config, rng, state)
        words = state.psum(slice(None)).words()
        self._psum = [join(column, config.psum_width) for column in words.T]
        self._pair, self._layout = pair_request_layout(config), vector_write_layout(config)
        self.lines = 0

    async def run(self) -> None:
        """Drive all ports, cycle by cycle."""
        dut, edge = self._dut, RisingEdge(self._dut.clk)
        ports = [
            tuple(getattr(dut, f"{name}__{part}") for part in ("en", "request", "taken", "data"))
            for name in ("x", "y")
        ]
        # A request waits for a cycle, then its banks are read.
        mask = 0
        waiting, flying = [(0, 0)] * 2, [deque([None] * (BANK_READ_CYCLES - 1)) for _ in ports]
        for _, _, taken, answer in ports:
            taken.value = answer.value = 0
        dut.psum__data.value = 0
        while True:
            await edge
            self._take(int(dut.write__payload.value))
            occupied = before = mask
            mask = 0 if self._grants() else int(self._rng.integers(1 << self._config.bus_words))
            for index, (en, request, taken, answer) in enumerate(ports):
                granted, occupied = self._grant(int(en.value), int(request.value), occupied)
                self.denied += bool(en.value) and not granted and before != 0
                pair, waiting[index] = waiting[index], (granted, int(request.value))
                flying[index].append(self._pair_words(pair[1]) if pair[0] else None)
                words = flying[index].popleft()
                if words is not None:
                    answer.value = words
                taken.value = mask
            if dut.psum__en.value:
                dut.psum__data.value = self._psum[int(dut.psum__addr.value)]
            self._cycle += 1

    def _grant(self, requested: int, request: int, occupied: int) -> tuple[int, int]:
        """Whether a request finds its banks free, and the banks that are then occupied."""
        if not requested:
            return 0, occupied
        fields = _fields(request, self._pair)
        first = fields["addr"] % self._config.bus_words
        banks = 3 << first - first % 2 if fields["double"] else 1 << first
        granted = int(not banks & occupied)
        return granted, occupied | banks

    def _pair_words(self, pair: int) -> int:
        request = _fields(pair, self._pair)
        addr = request["addr"]
        if request["double"]:
            addr -= addr % 2  # an odd one traps, and its words mean nothing
            words = self._read(slice(addr, addr + 2))
        else:  # what is above a word is not defined
            words = np.pad(self._read(slice(addr, addr + 1)), ((0, 0), (0, 1)), mode="edge")
        return int.from_bytes(words.astype("<u2").tobytes(), "little")

    def _take(self, value: int) -> None:
        """Results, as `vector_write_layout` says."""
        write, config = _fields(value, self._layout), self._config
        if not write["enable"]:
            return
        self.writes += 1
        self.lines += write["line"]
        addr = write["addr"]
        assert addr % (config.row_words if write["line"] else 1 + write["double"]) == 0
        for p, word in enumerate(split(write["words"], 32, config.n)):
            if not write["enable"] >> p & 1:
                continue
            if write["line"]:
                if p < config.row_words:
                    self._write(write["partition"], addr + p, word & _BITS_16, _kept(write))
                continue
            self._write(p, addr, word & _BITS_16, _kept(write))
            if write["double"]:
                self._write(p, addr + 1, word >> 16)


class ActivationMemories(_Memories):
    """The row port of the scratchpad, and the one that takes results."""

    def __init__(self, dut, config: TileConfig, rng: np.random.Generator, state: TileState):
        super().__init__(dut, config, rng, state)
        self._layout = row_write_layout(config)

    async def run(self) -> None:
        """Drive both ports, cycle by cycle."""
        dut, edge = self._dut, RisingEdge(self._dut.clk)
        flying = deque([None] * (BANK_READ_CYCLES - 1))
        request = dut.row__request__valid, dut.row__request__ready
        write = dut.write__request__valid, dut.write__request__ready
        for port in (request[1], write[1], dut.row__valid, dut.write__written):
            port.value = 0
        dut.write__written_last.value = 0
        while True:
            await edge
            accepted = self._count(*write)
            last = self._take(int(dut.write__request__payload.value)) if accepted else 0
            dut.write__written.value = int(accepted)
            dut.write__written_last.value = last
            row = None
            if self._count(*request):
                addr = int(dut.row__request__payload.value)
                row = self._read(slice(addr, addr + 1)).astype("<u2").tobytes()
            flying.append(row)
            row = flying.popleft()
            dut.row__valid.value = int(row is not None)
            if row is not None:
                dut.row__data.value = int.from_bytes(row, "little")
            dut.row__request__ready.value = self._grants()
            write[1].value = self._grants()
            self._cycle += 1

    def _take(self, value: int) -> int:
        """Write a row; whether it is the last of its instruction."""
        write = _fields(value, self._layout)
        self.writes += 1
        for p, word in enumerate(split(write["words"], 16, self._config.n)):
            if write["enable"] >> p & 1:
                self._write(p, write["addr"], word, _kept(write))
        return write["last"]
