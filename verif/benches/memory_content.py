"""Memory behind an AXI4 port: bytes, beats that fail, rules of bursts, a log."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiResp

from tegula.config import TileConfig
from tegula_golden.tile.bus import Burst

__all__ = ["Beat", "Fault", "MemoryContent", "WrittenBurst", "watch_stability"]

_BURST_INCR = 1
_UNREAD = 0xA5  # content of read beats that fail


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Beats that touch bytes `first` to `last` answer `response`."""

    first: int
    last: int
    response: AxiResp


@dataclass(frozen=True)
class Beat:
    """A write beat: its address, its bytes as an integer, its strobes."""

    address: int
    data: int
    strobe: int

    def written(self, width: int) -> dict[int, int]:
        """Bytes of the lanes whose strobes are set, by address."""
        lanes = (lane for lane in range(width) if self.strobe >> lane & 1)
        return {self.address + lane: self.data >> 8 * lane & 0xFF for lane in lanes}


@dataclass(frozen=True)
class WrittenBurst:
    """A burst that was answered: its beats, and how each of them was."""

    beats: tuple[Beat, ...]
    responses: tuple[AxiResp, ...]

    @property
    def response(self) -> AxiResp:
        """The answer to the whole burst."""
        return max(self.responses)


class MemoryContent:
    """Bytes at addresses `base` to `base + size_bytes - 1`; others answer DECERR.

    Attributes
    ----------
    content
        The memory, uint8; may be changed from outside.
    faults
        Ranges that answer with an error.
    read_beats, write_beats
        Beats that were transferred (of reads: that were put on their way).
    most_reads, most_writes
        Largest number of bursts that were accepted and not complete.
    written
        Bursts in the order in which they were answered.
    """

    slowness = 1
    """Factor by which programs may take longer than with channels that are independent."""

    def __init__(self, config: TileConfig, size_bytes: int, base: int):
        self.config = config
        self.base = base
        self.content = np.zeros(size_bytes, np.uint8)
        self.faults: list[Fault] = []
        self.read_beats = self.write_beats = self.most_reads = self.most_writes = 0
        self.written: list[WrittenBurst] = []

    def clear_log(self) -> None:
        """Count beats, and log bursts, from here on."""
        self.read_beats = self.write_beats = 0
        self.written.clear()

    def check_burst(self, address: int, beats: int, size: int, burst: int) -> None:
        """Rules of AXI and of this tile for a burst."""
        width = self.config.bus_bytes
        span = width * self.config.max_burst_beats
        last = address + beats * width - 1
        assert 1 << size == width, f"burst at {address:#x} has beats of {1 << size} bytes"
        assert burst == _BURST_INCR, f"burst at {address:#x} is not INCR"
        assert address % width == 0, f"burst at {address:#x} does not begin on a beat"
        assert address // 4096 == last // 4096, f"burst at {address:#x} crosses 4 KiB"
        assert address // span == last // span, f"burst at {address:#x} is longer than it may be"

    def response(self, address: int) -> AxiResp:
        """Response to the beat at `address`."""
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

    def write(self, beat: Beat) -> AxiResp:
        """Write the bytes of a beat whose strobes are set; the response."""
        address, data, strobe = beat.address, beat.data, beat.strobe
        width, response = self.config.bus_bytes, self.response(address)
        if response != AxiResp.OKAY:
            return response if strobe else AxiResp.OKAY
        start = address - self.base
        if strobe == (1 << width) - 1:
            content = np.frombuffer(data.to_bytes(width, "little"), np.uint8)
            self.content[start : start + width] = content
        else:
            for byte, value in beat.written(width).items():
                self.content[byte - self.base] = value
        return response

    def answer(self, beats: Iterable[Beat], early: Iterable[AxiResp] | None = None) -> AxiResp:
        """Write the beats of a burst, unless they were written `early`; its answer, also logged."""
        beats = tuple(beats)
        responses = early if early is not None else (self.write(beat) for beat in beats)
        self.written.append(WrittenBurst(beats, tuple(responses)))
        return self.written[-1].response

    def settle(self, expected: np.ndarray, unsettled: Sequence[Burst]) -> None:
        """Check each beat from the failed burst on, and put into `expected` what was taken of them.

        `unsettled` is what golden says of these bursts, which `expected` has nothing of. The failed
        burst is whole; those behind it are too, until strobes cease for good.
        """
        width, stopped = self.config.bus_bytes, False
        failed = next(i for i, b in enumerate(self.written) if b.response != AxiResp.OKAY)
        behind = self.written[failed:]
        assert len(behind) <= len(unsettled) <= self.config.max_writes
        for number, (burst, due) in enumerate(zip(behind, unsettled, strict=False)):
            end = due.address + len(due.data)
            first, last = (byte // width * width for byte in (due.address, end - 1))
            assert [beat.address for beat in burst.beats] == list(range(first, last + 1, width))
            for beat, response in zip(burst.beats, burst.responses, strict=True):
                found = beat.written(width)
                bytes_due = range(max(beat.address, due.address), min(beat.address + width, end))
                stopped |= number > 0 and not found
                wanted = () if stopped else bytes_due
                assert found == {byte: due.data[byte - due.address] for byte in wanted}
                if response == AxiResp.OKAY:
                    for byte, value in found.items():
                        expected[byte - self.base] = value


async def watch_stability(dut) -> None:
    """Check that offers of the tile are stable until taken (IHI 0022H, A3.2.1), or a reset."""
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
        if dut.rst.value:
            waiting.clear()
            continue
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
