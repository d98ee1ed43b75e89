"""Memory at an AXI4 port whose channels wait for each other, cycle by cycle."""

from collections import deque
from dataclasses import dataclass, field
from random import Random

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiResp

from tegula.bus.axi import READ_ID_FETCH, READ_ID_LOAD, READ_ID_STORE
from tegula.config import TileConfig
from tegula.control.fetch import fifo_beats
from verif.benches.couplings import Coupling
from verif.benches.memory_content import Beat, MemoryContent, watch_stability

__all__ = ["CoupledMemory"]

_MOST_BURSTS = 40
"""Bursts that are accepted in a direction and not answered: more than the tile ever has."""

_CONSTANTS = {"burst": 1, "lock": 0, "cache": 0b0011, "prot": 0, "qos": 0, "region": 0}
"""What the tile never varies (docs/bus.md)."""


@dataclass
class _Read:
    """A read burst: cycle from which on it may be answered, beats that are left."""

    due: int
    identifier: int
    addresses: deque[int]
    early: deque[tuple[int, AxiResp]] | None


@dataclass
class _Write:
    """A write burst, with the beats that have come."""

    address: int
    count: int
    due: int = 0
    beats: list[Beat] = field(default_factory=list)
    early: list[AxiResp] | None = None


class CoupledMemory(MemoryContent):
    """Memory behind the tile's AXI4 port, with a `Coupling` that may be changed at any time.

    As `AxiMemory` it is patient or eager, has a latency and pauses, and checks all that the tile
    does. In each cycle it looks at what was transferred and decides what may be in the next. It is
    reset when the tile is.

    Attributes
    ----------
    coupling
        Which channels wait for which.
    coupled
        Cycles in which a channel that could have moved was held back by the coupling, and beats
        that went before older ones.
    latency
        Least cycles from an accepted address to its first read beat, and from the last write beat
        to its response.
    reads_eager, writes_eager
        Reads see memory, and writes land, when their beats move.
    """

    def __init__(self, dut, config: TileConfig, base: int, seed: int):
        super().__init__(config, 0, base)
        self.coupling = Coupling()
        self.coupled = self.latency = self.cycle = 0
        self.reads_eager = self.writes_eager = False
        self.waits: set[str] = set()
        self._random, self._rate = Random(seed), 0.0
        self._ports = {
            name: getattr(dut, f"m_axi__{name}")
            for channel, names in {
                "ar": ("id", "addr", "len", "size", "valid", "ready", *_CONSTANTS),
                "aw": ("id", "addr", "len", "size", "valid", "ready", *_CONSTANTS),
                "w": ("data", "strb", "last", "valid", "ready"),
                "r": ("id", "data", "resp", "last", "valid", "ready"),
                "b": ("id", "resp", "valid", "ready"),
            }.items()
            for name in (f"{channel}{member}" for member in names)
        }
        self._clear()
        cocotb.start_soon(self._serve(dut))
        cocotb.start_soon(watch_stability(dut))

    def pause(self, rng: np.random.Generator, rate: float) -> None:
        """Let each channel rest in a share `rate` of the cycles, besides its coupling."""
        self._rate = rate

    @property
    def slowness(self) -> int:
        """Factor on cycle budgets, of the coupling."""
        return self.coupling.slowness

    @property
    def reading(self) -> bool:
        """A read is not answered."""
        return bool(self._reads)

    @property
    def writing(self) -> bool:
        """A write is accepted, in part or in whole, and not answered."""
        return bool(self._open or self._early or self._whole)

    @property
    def addressed(self) -> bool:
        """A write has its address, and not all of its data."""
        return bool(self._open)

    @property
    def started(self) -> bool:
        """A write has data, and no address."""
        return bool(self._early)

    @property
    def complete(self) -> bool:
        """A write has all of its data, and no address."""
        return bool(self._early) and self._early[-1][2]

    @property
    def answering(self) -> bool:
        """A write is complete and not answered."""
        return bool(self._whole)

    @property
    def drained(self) -> bool:
        """All that was accepted is answered."""
        return not (self.reading or self.writing)

    def _clear(self) -> None:
        """Forget all bursts, and offer nothing."""
        self._reads: list[_Read] = []
        self._open: deque[_Write] = deque()  # address accepted, data missing
        self._early: deque[tuple[int, int, bool]] = deque()  # data without an address
        self._whole: deque[_Write] = deque()  # not answered
        self._offered: dict[str, _Read | _Write] = {}  # on "r" and "b"
        self._driven: dict[str, int] = {}
        self.waits.clear()
        for name in ("arready", "awready", "wready", "rvalid", "bvalid"):
            self._set(name, 0)

    def _set(self, name: str, value: int) -> None:
        if self._driven.get(name) != value:
            self._ports[name].value = self._driven[name] = value

    def _get(self, name: str) -> int:
        return int(self._ports[name].value)

    async def _serve(self, dut) -> None:
        edge = RisingEdge(dut.clk)
        while True:
            await edge
            if dut.rst.value:
                self._clear()
            else:
                self._serve_cycle()

    def _serve_cycle(self) -> None:
        self.cycle += 1
        for channel, take in (("ar", self._read), ("aw", self._address), ("w", self._data)):
            self._sample(channel, take)
        self._retire()
        self._drive()

    def _sample(self, channel: str, take) -> None:
        """Transfer on, or request waiting on, a channel that the tile drives."""
        valid = self._ports[f"{channel}valid"].value == 1
        if channel == "w" and valid:
            assert self._open or "aw" in self.waits, "a write beat before its address"
        if valid and self._driven[f"{channel}ready"]:
            self.waits.discard(channel)
            take()
        elif valid:
            self.waits.add(channel)

    def _burst(self, channel: str) -> tuple[int, int]:
        """Address and beats of the burst that was accepted, which is checked."""
        for name, value in _CONSTANTS.items():
            assert self._get(channel + name) == value, f"{channel}{name} is not {value}"
        address, beats = self._get(f"{channel}addr"), self._get(f"{channel}len") + 1
        self.check_burst(address, beats, self._get(f"{channel}size"), 1)
        return address, beats

    def _read(self) -> None:
        address, beats = self._burst("ar")
        addresses = deque(self.config.bus_bytes * beat + address for beat in range(beats))
        early = None if self.reads_eager else deque(self.read(at) for at in addresses)
        self._reads.append(_Read(self.cycle + self.latency, self._get("arid"), addresses, early))
        self.most_reads = max(self.most_reads, len(self._reads))
        self._check_reads()

    def _check_reads(self) -> None:
        """No more is in flight than docs/bus.md says."""
        of_id = {number: [] for number in (READ_ID_LOAD, READ_ID_FETCH, READ_ID_STORE)}
        for burst in self._reads:
            of_id[burst.identifier].append(len(burst.addresses))
        assert len(of_id[READ_ID_LOAD]) <= self.config.max_reads
        assert sum(of_id[READ_ID_FETCH]) <= fifo_beats(self.config)
        assert len(of_id[READ_ID_STORE]) <= 1

    def _address(self) -> None:
        assert self._get("awid") == 0
        early = [] if self.writes_eager else None
        self._open.append(_Write(*self._burst("aw"), early=early))
        self.most_writes = max(self.most_writes, len(self._open) + len(self._whole))
        assert self.most_writes <= self.config.max_writes
        self._match()

    def _data(self) -> None:
        self.write_beats += 1
        self._early.append((self._get("wdata"), self._get("wstrb"), bool(self._get("wlast"))))
        self._match()

    def _match(self) -> None:
        """Give beats to the bursts whose addresses have come."""
        while self._open and self._early:
            burst, (data, strobe, last) = self._open[0], self._early.popleft()
            address = burst.address + len(burst.beats) * self.config.bus_bytes
            burst.beats.append(Beat(address, data, strobe))
            if burst.early is not None:
                burst.early.append(self.write(burst.beats[-1]))
            assert last == (len(burst.beats) == burst.count), f"WLAST of {burst.address:#x}"
            if last:
                burst.due = self.cycle + self.latency
                self._whole.append(self._open.popleft())

    def _retire(self) -> None:
        """Transfers on the channels that memory drives."""
        for channel in list(self._offered):
            if self._ports[f"{channel}ready"].value == 0:
                continue
            self._set(f"{channel}valid", 0)
            burst = self._offered.pop(channel)
            if channel == "b":
                self._whole.popleft()
                continue
            self.read_beats += 1
            burst.addresses.popleft()
            if not burst.addresses:
                self._reads.remove(burst)

    def _drive(self) -> None:
        """Decide what may be transferred in the next cycle."""
        self.coupling.begin_cycle(self, self._random)
        room = {
            "ar": len(self._reads) < _MOST_BURSTS,
            "aw": len(self._open) + len(self._whole) < _MOST_BURSTS,
            "w": True,
        }
        for channel, has_room in room.items():
            may = self.coupling.takes(channel, self)
            self.coupled += channel in self.waits and not may
            self._set(f"{channel}ready", int(may and has_room and not self._rests()))
        due = self._due_reads()
        if "r" not in self._offered and due:
            may = self.coupling.gives("r", self)
            self.coupled += not may
            if may and not self._rests():
                self._offer_read(due)
        if "b" not in self._offered and self._whole and self._whole[0].due <= self.cycle:
            may = self.coupling.gives("b", self)
            self.coupled += not may
            if may and not self._rests():
                self._offer_answer()

    def _rests(self) -> bool:
        return self._rate > 0 and self._random.random() < self._rate

    def _due_reads(self) -> list[_Read]:
        """The oldest burst of each ID that may be answered, in order of age."""
        oldest = {}
        for burst in self._reads:
            oldest.setdefault(burst.identifier, burst)
        return [burst for burst in oldest.values() if burst.due <= self.cycle]

    def _offer_read(self, due: list[_Read]) -> None:
        choice = self.coupling.chooses(len(due), self._random)
        self.coupled += choice > 0
        burst = due[choice]
        early = burst.early
        data, response = self.read(burst.addresses[0]) if early is None else early.popleft()
        self._offered["r"] = burst
        for name, value in (
            *(("rid", burst.identifier), ("rdata", data), ("rresp", int(response))),
            *(("rlast", int(len(burst.addresses) == 1)), ("rvalid", 1)),
        ):
            self._set(name, value)

    def _offer_answer(self) -> None:
        burst = self._offered["b"] = self._whole[0]
        self._set("bid", 0)
        self._set("bresp", int(self.answer(burst.beats, burst.early)))
        self._set("bvalid", 1)
