"""Memory at an AXI4 port: cocotbext-axi's subordinate with latency, pauses, faults and a judge."""

from collections.abc import Iterator
from dataclasses import dataclass

import cocotb
import numpy as np
from cocotb.queue import Queue
from cocotb.triggers import RisingEdge, Timer
from cocotb.utils import get_sim_steps, get_sim_time
from cocotbext.axi import AxiBus, AxiResp, AxiSlaveRead, AxiSlaveWrite
from testbench import CLOCK_NS

from tegula.config import TileConfig

__all__ = ["AxiMemory", "Fault", "pauses"]

_BURST_INCR = 1
_UNREAD = 0xA5
"""Content of read beats that fail."""

_SPELLS = (1, 1, 1, 2, 4, 15)
"""Lengths of pauses in cycles, equally likely."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Beats that touch bytes `first` to `last` answer `response`."""

    first: int
    last: int
    response: AxiResp


def pauses(rng: np.random.Generator, rate: float) -> Iterator[bool]:
    """True in a share `rate` of all cycles, in spells of 1 to 15 cycles."""
    mean = sum(_SPELLS) / len(_SPELLS)
    chance = rate / (mean * (1 - rate) + rate)
    while True:
        for begins, cycles in zip(rng.random(256) < chance, rng.choice(_SPELLS, 256), strict=True):
            yield from [True] * int(cycles) if begins else (False,)


class AxiMemory:
    """Memory behind the tile's AXI4 port.

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
    content
        The memory, uint8; may be changed from outside.
    faults
        Ranges that answer with an error.
    reads_eager, writes_eager
        The extreme of each direction.
    read_beats, write_beats
        Beats that were transferred (of reads: that were put on their way).
    most_reads, most_writes
        Largest number of bursts that were accepted and not complete.
    """

    def __init__(self, dut, config: TileConfig, size_bytes: int, base: int = 0, latency: int = 0):
        bus = AxiBus.from_prefix(dut, "m_axi", bus_separator="__")
        self.config = config
        self.base = base
        self.latency = latency
        self.content = np.zeros(size_bytes, np.uint8)
        self.faults: list[Fault] = []
        self.reads_eager = self.writes_eager = False
        self.read_beats = self.write_beats = self.most_reads = self.most_writes = 0
        self._reads, self._writes = _Reads(bus.read, dut.clk), _Writes(bus.write, dut.clk)
        self._reads.serve(self)
        self._writes.serve(self)
        cocotb.start_soon(_watch_stability(dut))

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

    def check_burst(self, address: int, beats: int, size: int, burst: int) -> None:
        """What a burst of this tile must look like."""
        width = self.config.bus_bytes
        span = width * self.config.max_burst_beats
        last = address + beats * width - 1
        assert 1 << size == width, f"burst at {address:#x} has beats of {1 << size} bytes"
        assert burst == _BURST_INCR, f"burst at {address:#x} is not INCR"
        assert address % width == 0, f"burst at {address:#x} does not begin on a beat"
        assert address // 4096 == last // 4096, f"burst at {address:#x} crosses 4 KiB"
        assert address // span == last // span, f"burst at {address:#x} is longer than it may be"

    def response(self, address: int) -> AxiResp:
        """How the beat at `address` is answered."""
        last = address + self.config.bus_bytes - 1
        for fault in self.faults:
            if address <= fault.last and last >= fault.first:
                return fault.response
        inside = self.base <= address and last < self.base + len(self.content)
        return AxiResp.OKAY if inside else AxiResp.DECERR

    def read(self, address: int) -> tuple[int, AxiResp]:
        """Data and response of a read beat."""
        width, response = self.config.bus_bytes, self.response(address)
        if response != AxiResp.OKAY:
            return int.from_bytes(bytes([_UNREAD]) * width, "little"), response
        start = address - self.base
        return int.from_bytes(self.content[start : start + width].tobytes(), "little"), response

    def write(self, address: int, data: int, strobe: int) -> AxiResp:
        """Write the bytes of a beat whose strobes are set; the response."""
        width, response = self.config.bus_bytes, self.response(address)
        if response != AxiResp.OKAY:
            return response if strobe else AxiResp.OKAY
        start = address - self.base
        if strobe == (1 << width) - 1:
            content = np.frombuffer(data.to_bytes(width, "little"), np.uint8)
            self.content[start : start + width] = content
        else:
            for lane in range(width):
                if strobe >> lane & 1:
                    self.content[start + lane] = data >> 8 * lane & 0xFF
        return response


def _due(memory: AxiMemory) -> int:
    """Simulator time after the latency of `memory`."""
    return get_sim_time("step") + memory.latency * get_sim_steps(CLOCK_NS, "ns")


async def _wait_until(due: int) -> None:
    left = due - get_sim_time("step")
    if left > 0:
        await Timer(left, "step")


class _Reads(AxiSlaveRead):
    """Accept addresses at once, answer them in order, each when it is due."""

    def serve(self, memory: AxiMemory) -> None:
        self._memory = memory
        self._accepted: Queue = Queue()
        self._pending = 0
        self.ar_channel.queue_occupancy_limit = 16
        cocotb.start_soon(self._answer())

    async def _process_read(self) -> None:
        while True:
            ar = await self.ar_channel.recv()
            memory, address, beats = self._memory, int(ar.araddr), int(ar.arlen) + 1
            memory.check_burst(address, beats, int(ar.arsize), int(ar.arburst))
            self._pending += 1
            memory.most_reads = max(memory.most_reads, self._pending)
            addresses = range(address, address + beats * self.byte_lanes, self.byte_lanes)
            now = None if memory.reads_eager else [memory.read(a) for a in addresses]
            self._accepted.put_nowait((_due(memory), int(ar.arid), addresses, now))

    async def _answer(self) -> None:
        while True:
            due, identifier, addresses, early = await self._accepted.get()
            await _wait_until(due)
            for beat, address in enumerate(addresses):
                data, response = self._memory.read(address) if early is None else early[beat]
                r = self.r_channel._transaction_obj()
                r.rid, r.rdata, r.rresp = identifier, data, response
                r.rlast = beat == len(addresses) - 1
                await self.r_channel.send(r)
                self._memory.read_beats += 1
            self._pending -= 1


class _Writes(AxiSlaveWrite):
    """Match addresses and beats, answer in order, each when it is due."""

    def serve(self, memory: AxiMemory) -> None:
        self._memory = memory
        self._complete: Queue = Queue()
        self._pending = 0
        self.aw_channel.queue_occupancy_limit = 16
        cocotb.start_soon(self._answer())

    async def _process_write(self) -> None:
        while True:
            aw = await self.aw_channel.recv()
            memory, address, beats = self._memory, int(aw.awaddr), int(aw.awlen) + 1
            memory.check_burst(address, beats, int(aw.awsize), int(aw.awburst))
            self._pending += 1
            memory.most_writes = max(memory.most_writes, self._pending)
            data = []
            for beat in range(beats):
                w = await self.w_channel.recv()
                memory.write_beats += 1
                assert bool(w.wlast) == (beat == beats - 1), f"WLAST of burst {address:#x}"
                data.append((address + beat * self.byte_lanes, int(w.wdata), int(w.wstrb)))
                if memory.writes_eager:
                    data[-1] = memory.write(*data[-1])
            self._complete.put_nowait((_due(memory), int(aw.awid), data))

    async def _answer(self) -> None:
        while True:
            due, identifier, data = await self._complete.get()
            await _wait_until(due)
            responses = [
                beat if isinstance(beat, AxiResp) else self._memory.write(*beat) for beat in data
            ]
            b = self.b_channel._transaction_obj()
            b.bid, b.bresp = identifier, max(responses)
            await self.b_channel.send(b)
            self._pending -= 1


async def _watch_stability(dut) -> None:
    """What the tile offers stays as it is until it is taken (IHI 0022H, A3.2.1)."""
    payloads = {
        "ar": ("araddr", "arlen", "arid"),
        "aw": ("awaddr", "awlen", "awid"),
        "w": ("wdata", "wstrb", "wlast"),
    }
    channels = [
        (
            name,
            getattr(dut, f"m_axi__{name}valid"),
            getattr(dut, f"m_axi__{name}ready"),
            [getattr(dut, f"m_axi__{port}") for port in ports],
        )
        for name, ports in payloads.items()
    ]
    waiting: dict[str, list[int]] = {}
    edge = RisingEdge(dut.clk)
    while True:
        await edge
        for name, valid, ready, ports in channels:
            if not valid.value:
                assert name not in waiting, f"{name}valid fell before {name}ready"
                continue
            if ready.value and name not in waiting:
                continue
            now = [int(port.value) for port in ports]
            assert waiting.get(name, now) == now, f"{name} changed while it waited"
            if ready.value:
                waiting.pop(name, None)
            else:
                waiting[name] = now
