"""The tile's AXI4 manager port: two readers and one writer share it."""

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tegula.bus.axi import READ_ID_FETCH, READ_ID_LOAD, Axi4Signature
from tegula.config import TileConfig
from tegula.signatures import (
    axi_read_data_layout,
    axi_request_layout,
    axi_write_data_layout,
)

__all__ = ["AxiMaster", "ReadArbiter"]

_BURST_INCR = 0b01
_CACHE_NORMAL_NON_CACHEABLE_BUFFERABLE = 0b0011
"""AMBA AXI (IHI 0022H), A4.4: memory that the interconnect may buffer and must not cache."""


class ReadArbiter(wiring.Component):
    """Share a read channel pair: `fetch` before `load`, answers told apart by their ID.

    A request that is offered is never withdrawn or changed, so `fetch` waits for a `load` request
    that is already on the bus. No latency; one request and one beat a cycle. A client that does not
    take its beats holds up the other's.

    Parameters
    ----------
    config : TileConfig

    Members
    -------
    load_ar, fetch_ar : In(stream of `axi_request_layout`)
    load_r, fetch_r : Out(stream of `axi_read_data_layout`)
    ar : Out(stream of `axi_request_layout`), ar_id : Out(1)
        `ar_id` is as stable as `ar.payload`.
    r : In(stream of `axi_read_data_layout`), r_id : In(1)
    """

    def __init__(self, config: TileConfig):
        request = stream.Signature(axi_request_layout(config))
        answer = stream.Signature(axi_read_data_layout(config))
        super().__init__(
            {
                "load_ar": In(request),
                "load_r": Out(answer),
                "fetch_ar": In(request),
                "fetch_r": Out(answer),
                "ar": Out(request),
                "ar_id": Out(1),
                "r": In(answer),
                "r_id": In(1),
            }
        )

    def elaborate(self, platform):
        """Arbitrate requests, route answers."""
        m = Module()
        load_offered, fetch = Signal(), Signal()
        m.d.sync += load_offered.eq(self.ar.valid & ~self.ar.ready & ~fetch)
        m.d.comb += [
            fetch.eq(self.fetch_ar.valid & ~load_offered),
            self.ar_id.eq(Mux(fetch, READ_ID_FETCH, READ_ID_LOAD)),
            self.ar.valid.eq(self.fetch_ar.valid | self.load_ar.valid),
            self.ar.payload.eq(Mux(fetch, self.fetch_ar.payload, self.load_ar.payload)),
            self.fetch_ar.ready.eq(self.ar.ready & fetch),
            self.load_ar.ready.eq(self.ar.ready & ~fetch),
        ]
        to_fetch = self.r_id == READ_ID_FETCH
        m.d.comb += [
            self.fetch_r.payload.eq(self.r.payload),
            self.load_r.payload.eq(self.r.payload),
            self.fetch_r.valid.eq(self.r.valid & to_fetch),
            self.load_r.valid.eq(self.r.valid & ~to_fetch),
            self.r.ready.eq(Mux(to_fetch, self.fetch_r.ready, self.load_r.ready)),
        ]
        return m


class AxiMaster(wiring.Component):
    """Put the streams of the load, fetch and store clients onto a flat AXI4 port.

    Bursts are INCR, of full-width beats, bufferable and non-cacheable, with ID `READ_ID_LOAD` or
    `READ_ID_FETCH` on reads and 0 on writes. No latency.

    Parameters
    ----------
    config : TileConfig

    Members
    -------
    load_ar, fetch_ar : In(stream of `axi_request_layout`)
    load_r, fetch_r : Out(stream of `axi_read_data_layout`)
    aw : In(stream of `axi_request_layout`), w : In(stream of `axi_write_data_layout`)
    b : Out(stream of 2-bit responses)
    m_axi : Out(Axi4Signature)
    """

    def __init__(self, config: TileConfig):
        self._config = config
        request = stream.Signature(axi_request_layout(config))
        answer = stream.Signature(axi_read_data_layout(config))
        super().__init__(
            {
                "load_ar": In(request),
                "load_r": Out(answer),
                "fetch_ar": In(request),
                "fetch_r": Out(answer),
                "aw": In(request),
                "w": In(stream.Signature(axi_write_data_layout(config))),
                "b": Out(stream.Signature(2)),
                "m_axi": Out(Axi4Signature(config)),
            }
        )

    def elaborate(self, platform):
        """Connect the channels one by one."""
        m = Module()
        axi = self.m_axi
        m.submodules.arbiter = arbiter = ReadArbiter(self._config)
        for name in ("load_ar", "load_r", "fetch_ar", "fetch_r"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(arbiter, name))

        self._drive_request(m, "ar", arbiter.ar, arbiter.ar_id)
        m.d.comb += [
            arbiter.r.valid.eq(axi.rvalid),
            arbiter.r.payload.data.eq(axi.rdata),
            arbiter.r.payload.resp.eq(axi.rresp),
            arbiter.r.payload.last.eq(axi.rlast),
            arbiter.r_id.eq(axi.rid),
            axi.rready.eq(arbiter.r.ready),
        ]
        self._drive_request(m, "aw", self.aw, Const(0, 1))
        m.d.comb += [
            axi.wdata.eq(self.w.payload.data),
            axi.wstrb.eq(self.w.payload.strb),
            axi.wlast.eq(self.w.payload.last),
            axi.wvalid.eq(self.w.valid),
            self.w.ready.eq(axi.wready),
            self.b.valid.eq(axi.bvalid),
            self.b.payload.eq(axi.bresp),
            axi.bready.eq(self.b.ready),
        ]
        return m

    def _drive_request(self, m, channel, request, burst_id):
        """Drive an address channel; what the tile never varies is constant."""
        constants = {
            "size": exact_log2(self._config.bus_bytes),
            "burst": _BURST_INCR,
            "lock": 0,
            "cache": _CACHE_NORMAL_NON_CACHEABLE_BUFFERABLE,
            "prot": 0,
            "qos": 0,
            "region": 0,
        }
        varying = {
            "id": burst_id,
            "addr": request.payload.addr,
            "len": request.payload.len,
            "valid": request.valid,
        }
        m.d.comb += [
            getattr(self.m_axi, f"{channel}{name}").eq(value)
            for name, value in (constants | varying).items()
        ]
        m.d.comb += request.ready.eq(getattr(self.m_axi, f"{channel}ready"))
