"""The tile's AXI4 manager port, shared by three readers and one writer."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tegula.bus.axi import (
    READ_ID_FETCH,
    READ_ID_LOAD,
    READ_ID_STORE,
    Axi4Signature,
    BeatsSignature,
    axi_read_data_layout,
    axi_request_layout,
    axi_write_data_layout,
)
from tegula.config import TileConfig

__all__ = ["AxiMaster", "ReadArbiter"]

_BURST_INCR = 0b01
_CACHE_NORMAL_NON_CACHEABLE_BUFFERABLE = 0b0011
"""AMBA AXI (IHI 0022H), A4.4: memory that the interconnect may buffer and must not cache."""


_READERS = {"fetch": READ_ID_FETCH, "store": READ_ID_STORE, "load": READ_ID_LOAD}
"""Readers in falling priority: `store`, which has one burst at a time, before `load`."""


def _reader_ports(config: TileConfig) -> dict[str, wiring.Member]:
    """A request port and a data port for each reader."""
    request = In(stream.Signature(axi_request_layout(config)))
    beats = Out(stream.Signature(axi_read_data_layout(config)))
    return {f"{name}_ar": request for name in _READERS} | {f"{name}_r": beats for name in _READERS}


class ReadArbiter(wiring.Component):
    """Arbiter of a read channel pair for `fetch`, `store` and `load`; beats are routed by their ID.

    A request that is offered is never withdrawn or changed, so the others wait for one that is
    already on the bus. No latency; one request and one beat a cycle. A client that does not
    take its beats holds up the other's: only the load engine does, and only for the scratchpad.

    Parameters
    ----------
    config : TileConfig

    Members
    -------
    load_ar, store_ar, fetch_ar : In(stream of `axi_request_layout`)
    load_r, store_r, fetch_r : Out(stream of `axi_read_data_layout`)
    ar : Out(stream of `axi_request_layout`), ar_id : Out(2)
        `ar_id` is as stable as `ar.payload`.
    r : In(stream of `axi_read_data_layout`), r_id : In(2)
    """

    def __init__(self, config: TileConfig):
        super().__init__(
            {
                **_reader_ports(config),
                "ar": Out(stream.Signature(axi_request_layout(config))),
                "ar_id": Out(2),
                "r": In(stream.Signature(axi_read_data_layout(config))),
                "r_id": In(2),
            }
        )

    def elaborate(self, platform):
        """Arbitration of requests, routing of beats."""
        m = Module()
        readers = [
            (index, identifier, getattr(self, f"{name}_ar"), getattr(self, f"{name}_r"))
            for index, (name, identifier) in enumerate(_READERS.items())
        ]
        choice, chosen, waits = Signal(2), Signal(2), Signal()
        m.d.sync += [waits.eq(self.ar.valid & ~self.ar.ready), chosen.eq(choice)]
        *before, (first, number, last, _) = readers
        payload = last.payload.as_value()
        for index, identifier, request, _ in reversed(before):
            first = Mux(request.valid, index, first)
            number = Mux(choice == index, identifier, number)
            payload = Mux(choice == index, request.payload.as_value(), payload)
        m.d.comb += [
            choice.eq(Mux(waits, chosen, first)),
            self.ar.valid.eq(Cat(request.valid for _, _, request, _ in readers).any()),
            self.ar.payload.as_value().eq(payload),
            self.ar_id.eq(number),
        ]
        for index, identifier, request, beats in readers:
            m.d.comb += [
                request.ready.eq(self.ar.ready & (choice == index)),
                beats.payload.eq(self.r.payload),
                beats.valid.eq(self.r.valid & (self.r_id == identifier)),
            ]
            with m.If(self.r_id == identifier):
                m.d.comb += self.r.ready.eq(beats.ready)
        return m


class AxiMaster(wiring.Component):
    """AXI4 manager port, driven by the streams of the fetch, the load and the store engine.

    Bursts are INCR, of full-width beats, bufferable and non-cacheable, with an ID of
    `READ_ID_LOAD`, `READ_ID_FETCH` or `READ_ID_STORE` on reads and 0 on writes. No latency.

    Parameters
    ----------
    config : TileConfig

    Members
    -------
    m_axi : Out(Axi4Signature)
    beats : Out(BeatsSignature)
    load_ar, store_ar, fetch_ar : In(stream of `axi_request_layout`)
    load_r, store_r, fetch_r : Out(stream of `axi_read_data_layout`)
    aw : In(stream of `axi_request_layout`), w : In(stream of `axi_write_data_layout`)
    b : Out(stream of 2)
        Responses.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                **_reader_ports(config),
                "aw": In(stream.Signature(axi_request_layout(config))),
                "w": In(stream.Signature(axi_write_data_layout(config))),
                "b": Out(stream.Signature(2)),
                "beats": Out(BeatsSignature()),
                "m_axi": Out(Axi4Signature(config)),
            }
        )

    def elaborate(self, platform):
        """Channel by channel."""
        m = Module()
        axi = self.m_axi
        m.submodules.arbiter = arbiter = ReadArbiter(self._config)
        for name in _reader_ports(self._config):
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
            self.beats.read.eq(axi.rvalid & axi.rready),
            self.beats.write.eq(axi.wvalid & axi.wready),
        ]
        return m

    def _drive_request(self, m, channel, request, burst_id):
        """Signals of an address channel, constant where the tile never varies them."""
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
