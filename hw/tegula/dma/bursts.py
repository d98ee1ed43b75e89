"""AXI bursts of runs."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tegula.bus.axi import axi_read_data_layout, axi_request_layout
from tegula.config import TileConfig
from tegula.dma.layouts import ACCUMULATE_BITS, ItemKind, burst_layout, run_layout

__all__ = ["BurstSplitter", "lanes_of_run", "read_channels", "request_burst"]


def lanes_of_run(config: TileConfig, run):
    """Byte lanes of a run, as (offset, end, spill).

    `offset` is the lane of its first byte, `end` the sum of that and the bytes minus one: its low
    bits are the lane of the last byte, its high bits the beats minus one. `spill`: as in
    `burst_layout`.
    """
    lane_bits = exact_log2(config.bus_bytes)
    offset = run.addr[:lane_bits]
    bytes_m1 = Mux(run.bytes1, run.elements_m1, Cat(Const(1, 1), run.elements_m1))
    end = offset + bytes_m1
    return offset, end, end[:lane_bits] < offset


def read_channels(config: TileConfig) -> dict[str, wiring.Member]:
    """Ports of the AXI read channels: `ar`, requests, and `r`, beats."""
    return {
        "ar": Out(stream.Signature(axi_request_layout(config))),
        "r": In(stream.Signature(axi_read_data_layout(config))),
    }


def request_burst(config: TileConfig, request: data.View, burst: data.View) -> list:
    """Assignments of the AXI request for `burst`: from the bus word that holds its first byte."""
    lane_bits = exact_log2(config.bus_bytes)
    return [
        request.addr.eq(Cat(Const(0, lane_bits), burst.addr[lane_bits:])),
        request.len.eq(burst.len),
    ]


class BurstSplitter(wiring.Component):
    """Bursts of a run, split at the multiples of `max_burst_beats * bus_bytes`.

    4 KiB is a multiple of that (AMBA AXI, IHI 0022H, A3.4.1: a burst must not cross a 4 KiB
    boundary). The beats of a run are the aligned bus words that it touches. Latency 1 cycle, one
    burst a cycle. Items that are not runs pass in order as one item. A reset drops the run.

    Parameters
    ----------
    config : TileConfig

    Members
    -------
    runs : In(stream of `run_layout`), bursts : Out(stream of `burst_layout`)
    """

    LATENCY = 1
    """Cycles from a run to its first burst."""

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "runs": In(stream.Signature(run_layout(config))),
                "bursts": Out(stream.Signature(burst_layout(config))),
            }
        )

    def elaborate(self, platform):
        """Load of a run, then a burst at a time."""
        m = Module()
        config = self._config
        lane_bits = exact_log2(config.bus_bytes)
        burst_bits = exact_log2(config.max_burst_beats)
        offset, end, spill = lanes_of_run(config, self.runs.payload)

        valid = Signal()
        kind, last = Signal(ItemKind, reset_less=True), Signal(reset_less=True)
        beat = Signal(config.axi_addr_width - lane_bits, reset_less=True)
        lane, run_lane = Signal(lane_bits, reset_less=True), Signal(lane_bits, reset_less=True)
        left_m1 = Signal(len(end) - lane_bits, reset_less=True)
        spills, first = Signal(reset_less=True), Signal(reset_less=True)
        accumulate = Signal(ACCUMULATE_BITS, reset_less=True)

        room_m1 = Signal(burst_bits)
        final = Signal(reset_less=True)
        """Registered, because the run generator's stages wait on it."""
        left_after = Signal.like(left_m1)
        burst = self.bursts.payload
        m.d.comb += [
            room_m1.eq(~beat[:burst_bits]),
            left_after.eq(left_m1 - room_m1 - 1),
            burst.kind.eq(kind),
            burst.addr.eq(Cat(lane, beat)),
            burst.len.eq(Mux(final, left_m1, room_m1)),
            burst.offset.eq(run_lane),
            burst.run_last.eq(final),
            burst.last.eq(last & final),
            burst.spill.eq(spills),
            burst.run_first.eq(first),
            burst.accumulate.eq(accumulate),
            self.bursts.valid.eq(valid),
            self.runs.ready.eq(~valid | (self.bursts.ready & final)),
        ]
        with m.If(self.bursts.ready):
            m.d.sync += [
                lane.eq(0),
                first.eq(0),
                beat.eq(Cat(Const(0, burst_bits), beat[burst_bits:] + 1)),
                left_m1.eq(left_after),
                final.eq(left_after <= config.max_burst_beats - 1),
            ]
        with m.If(self.runs.ready):
            run = self.runs.payload
            run_room_m1 = ~run.addr[lane_bits : lane_bits + burst_bits]
            m.d.sync += [
                valid.eq(self.runs.valid),
                kind.eq(run.kind),
                last.eq(run.last),
                Cat(lane, beat).eq(run.addr),
                run_lane.eq(offset),
                left_m1.eq(end >> lane_bits),
                final.eq(((end >> lane_bits) <= run_room_m1) | (run.kind != ItemKind.RUN)),
                spills.eq(spill),
                first.eq(1),
                accumulate.eq(run.accumulate),
            ]
        return m
