"""Memory at an AXI4 port: cocotbext-axi's subordinate with latency, pauses, faults and checks."""

from collections.abc import Iterator

import cocotb
import numpy as np
from cocotb.queue import Queue
from cocotb.triggers import Timer
from cocotb.utils import get_sim_steps, get_sim_time
from cocotbext.axi import AxiBus, AxiSlaveRead, AxiSlaveWrite

from tegula.config import TileConfig
from verif.benches.memory_content import Beat, MemoryContent, watch_stability
from verif.benches.testbench import CLOCK_NS

__all__ = ["AxiMemory", "pauses"]

_SPELLS = (1, 1, 1, 2, 4, 15)
"""Lengths of pauses in cycles, equally likely."""


def pauses(rng: np.random.Generator, rate: float) -> Iterator[bool]:
    """True in a share `rate` of all cycles, in spells of 1 to 15 cycles."""
    mean = sum(_SPELLS) / len(_SPELLS)
    chance = rate / (mean * (1 - rate) + rate)
    while True:
        for begins, cycles in zip(rng.random(256) < chance, rng.choice(_SPELLS, 256), strict=True):
            yield from [True] * int(cycles) if begins else (False,)


class AxiMemory(MemoryContent):
    """Memory behind the tile's AXI4 port, whose channels move independently.

    It answers at one of two extremes that AXI allows. Patient: a read sees memory as it is when
    its address is accepted, a write lands with its response. Eager: a read sees memory when its
    beat goes out, a write lands with its beat. What depends on more than the protocol promises
    fails in one of them. Each burst, and the stability of what waits, is checked.

    Parameters
    ----------
    size_bytes, base
        Bytes at addresses `base` to `base + size_bytes - 1`; others answer DECERR.
    latency
        Least cycles from an accepted address to its first read beat, and from the last write beat
        to its response. Up to 16 bursts a direction are accepted in that time.

    Attributes
    ----------
    reads_eager, writes_eager
        The extreme of each direction.
    """

    def __init__(self, dut, config: TileConfig, size_bytes: int, base: int = 0, latency: int = 0):
        super().__init__(config, size_bytes, base)
        bus = AxiBus.from_prefix(dut, "m_axi", bus_separator="__")
        self.latency = latency
        self.reads_eager = self.writes_eager = False
        self._reads, self._writes = _Reads(bus.read, dut.clk), _Writes(bus.write, dut.clk)
        self._reads.serve(self, self._reads.ar_channel)
        self._writes.serve(self, self._writes.aw_channel)
        cocotb.start_soon(watch_stability(dut))

    def pause(self, rng: np.random.Generator, rate: float) -> None:
        """Let each of the five channels rest in a share `rate` of the cycles; 0: never."""
        reads, writes = self._reads, self._writes
        for channel in (
            *(reads.ar_channel, reads.r_channel),
            *(writes.aw_channel, writes.w_channel, writes.b_channel),
        ):
            channel.clear_pause_generator()
            channel.pause = False
            if rate > 0:
                channel.set_pause_generator(pauses(rng, rate))


class _Answers:
    """What both directions share: addresses accepted at once, answers in order, each when due."""

    def serve(self, memory: AxiMemory, addresses) -> None:
        """Answer from `memory` what the channel `addresses` brings."""
        self._memory = memory
        self._queue: Queue = Queue()
        self._pending = 0
        addresses.queue_occupancy_limit = 16
        cocotb.start_soon(self._answer())

    async def _accept(self, name: str) -> None:
        """Check and take what the channel of this name brings."""
        channel = getattr(self, f"{name}_channel")
        while True:
            item = await channel.recv()
            identifier, address, length, size, kind = (
                int(getattr(item, f"{name}{member}"))
                for member in ("id", "addr", "len", "size", "burst")
            )
            self._memory.check_burst(address, length + 1, size, kind)
            self._pending += 1
            await self._take(identifier, address, length + 1)

    def _put(self, *answer) -> None:
        """Answer after the latency of the memory."""
        due = get_sim_time("step") + self._memory.latency * get_sim_steps(CLOCK_NS, "ns")
        self._queue.put_nowait((due, answer))

    async def _answer(self) -> None:
        while True:
            due, answer = await self._queue.get()
            left = due - get_sim_time("step")
            if left > 0:
                await Timer(left, "step")
            await self._send(*answer)
            self._pending -= 1


class _Reads(_Answers, AxiSlaveRead):
    """Data of each burst, read when its address is accepted or when a beat goes out."""

    async def _process_read(self) -> None:
        await self._accept("ar")

    async def _take(self, identifier: int, address: int, beats: int) -> None:
        memory = self._memory
        memory.most_reads = max(memory.most_reads, self._pending)
        addresses = range(address, address + beats * self.byte_lanes, self.byte_lanes)
        now = None if memory.reads_eager else [memory.read(a) for a in addresses]
        self._put(identifier, addresses, now)

    async def _send(self, identifier: int, addresses: range, early: list | None) -> None:
        for beat, address in enumerate(addresses):
            data, response = self._memory.read(address) if early is None else early[beat]
            r = self.r_channel._transaction_obj()
            r.rid, r.rdata, r.rresp = identifier, data, response
            r.rlast = beat == len(addresses) - 1
            await self.r_channel.send(r)
            self._memory.read_beats += 1


class _Writes(_Answers, AxiSlaveWrite):
    """Addresses matched with their beats, written when a beat arrives or with the answer."""

    async def _process_write(self) -> None:
        await self._accept("aw")

    async def _take(self, identifier: int, address: int, beats: int) -> None:
        memory = self._memory
        memory.most_writes = max(memory.most_writes, self._pending)
        data, early = [], [] if memory.writes_eager else None
        for beat in range(beats):
            w = await self.w_channel.recv()
            memory.write_beats += 1
            assert bool(w.wlast) == (beat == beats - 1), f"WLAST of burst {address:#x}"
            data.append(Beat(address + beat * self.byte_lanes, int(w.wdata), int(w.wstrb)))
            if early is not None:
                early.append(memory.write(data[-1]))
        self._put(identifier, data, early)

    async def _send(self, identifier: int, data: list[Beat], early: list | None) -> None:
        b = self.b_channel._transaction_obj()
        b.bid, b.bresp = identifier, self._memory.answer(data, early)
        await self.b_channel.send(b)
