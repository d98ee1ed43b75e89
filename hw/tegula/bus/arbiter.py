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
from tegula.lib.stream import StreamBuffer

__all__ = ["AxiMaster", "ReadArbiter"]

_BURST_INCR = 0b01
_CACHE_NORMAL_NON_CACHEABLE_BUFFERABLE = 0b0011
"""AMBA AXI (IHI 0022H), A4.4: memory that the interconnect may buffer and must not cache."""


_READERS = {"fetch": READ_ID_FETCH, "store": READ_ID_STORE, "load": READ_ID_LOAD}
"""Readers in falling priority: `store`, which has one burst at a time, before `load`."""


def _request_ports(config: TileConfig) -> dict[str, wiring.Member]:
    """A request port for each reader."""
    return {f"{name}_ar": In(stream.Signature(axi_request_layout(config))) for name in _READERS}


def _beat_ports(config: TileConfig) -> dict[str, wiring.Member]:
    """A data port for each reader."""
    return {f"{name}_r": Out(stream.Signature(axi_read_data_layout(config))) for name in _READERS}


class ReadArbiter(wiring.Component):
    """Arbiter of the read requests of `fetch`, `store` and `load`.

    Each reader has a register, in front of the arbitration: `ready` is a register too. A request
    that is offered is never withdrawn or changed, so the others wait for one that is already on the
    bus. Latency: 1 cycle. Throughput: a request a cycle of `load`, which has a `StreamBuffer`; the
    others have at most one in two cycles.

    Parameters
    ----------
    config : TileConfig

    Members
    -------
    fetch_ar, store_ar, load_ar : In(stream of `axi_request_layout`)
        An offer may be withdrawn.
    ar : Out(stream of `axi_request_layout`), ar_id : Out(2)
        `ar_id` is as stable as `ar.payload`.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                **_request_ports(config),
                "ar": Out(stream.Signature(axi_request_layout(config))),
                "ar_id": Out(2),
            }
        )

    def elaborate(self, platform):
        """A register for each reader, then arbitration."""
        m = Module()
        m.submodules.load = buffer = StreamBuffer(axi_request_layout(self._config))
        wiring.connect(m, wiring.flipped(self.load_ar), buffer.i)
        held = {name: self._hold(m, name) for name in ("fetch", "store")}
        held["load"] = (buffer.o.valid, buffer.o.payload, buffer.o.ready)
        readers = [(*held[name], number) for name, number in _READERS.items()]

        choice, chosen, waits = Signal(2), Signal(2), Signal()
        m.d.sync += [waits.eq(self.ar.valid & ~self.ar.ready), chosen.eq(choice)]
        first = Const(len(readers) - 1)
        _, last, _, identifier = readers[-1]
        payload, identifier = last.as_value(), Const(identifier, 2)
        for index, (valid, request, _, number) in reversed(list(enumerate(readers[:-1]))):
            first = Mux(valid, index, first)
            identifier = Mux(choice == index, number, identifier)
            payload = Mux(choice == index, request.as_value(), payload)
        m.d.comb += [
            choice.eq(Mux(waits, chosen, first)),
            self.ar.valid.eq(Cat(valid for valid, *_ in readers).any()),
            self.ar.payload.as_value().eq(payload),
            self.ar_id.eq(identifier),
            *(
                taken.eq(self.ar.ready & (choice == index))
                for index, (_, _, taken, _) in enumerate(readers)
            ),
        ]
        return m

    def _hold(self, m: Module, name: str) -> tuple:
        """One request of a reader; returns (valid, payload, flag that it is taken)."""
        port = getattr(self, f"{name}_ar")
        valid, taken = Signal(name=f"{name}_valid"), Signal(name=f"{name}_taken")
        request = Signal(port.payload.shape(), reset_less=True, name=f"{name}_request")
        m.d.comb += port.ready.eq(~valid)
        with m.If(~valid):
            m.d.sync += [valid.eq(port.valid), request.eq(port.payload)]
        with m.Elif(taken):
            m.d.sync += valid.eq(0)
        return valid, request, taken


class AxiMaster(wiring.Component):
    """AXI4 manager port, driven by the streams of the fetch, the load and the store engine.

    Bursts are INCR, of full-width beats, bufferable and non-cacheable, with an ID of
    `READ_ID_LOAD`, `READ_ID_FETCH` or `READ_ID_STORE` on reads and 0 on writes.

    Every channel has registers here: no output of `m_axi` or of a client depends on an input
    combinationally. Latency: 1 cycle on each channel. Throughput: a transfer a cycle, but for the
    read requests of fetch and store (`ReadArbiter`).

    `rready` is a register: the load engine's `room` a cycle before. Fetch and store request a burst
    only with room for all of it. A beat with an ID that no client has is dropped.

    Parameters
    ----------
    config : TileConfig

    Members
    -------
    m_axi : Out(Axi4Signature)
    beats : Out(BeatsSignature)
        Registered: of the cycle before.
    load_ar, store_ar, fetch_ar : In(stream of `axi_request_layout`)
        An offer may be withdrawn.
    load_r, store_r, fetch_r : Out(stream of `axi_read_data_layout`)
        For one cycle each, in which the client takes the beat: `ready` is high.
    load_room : In(1)
        The load engine has room for three beats: the one that is registered here, the one on the
        bus, and one more before `rready` falls.
    aw : In(stream of `axi_request_layout`), w : In(stream of `axi_write_data_layout`)
        An offer may be withdrawn or changed. A burst's data are not offered to memory before its
        address is.
    aw_waits : Out(1)
        A request from `aw` waits for memory.
    b : Out(stream of 2)
        Responses.
    """

    LATENCY = 1
    """Cycles on each channel."""

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                **_request_ports(config),
                **_beat_ports(config),
                "load_room": In(1),
                "aw": In(stream.Signature(axi_request_layout(config))),
                "aw_waits": Out(1),
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
        for name in _request_ports(self._config):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(arbiter, name))
        self._drive_request(m, "ar", arbiter.ar, arbiter.ar_id)
        self._receive_beats(m)

        m.submodules.address = address = StreamBuffer(axi_request_layout(self._config))
        wiring.connect(m, wiring.flipped(self.aw), address.i)
        self._drive_request(m, "aw", address.o, Const(0, 1))
        m.d.comb += self.aw_waits.eq(~address.empty)
        self._send_beats(m, address)

        m.submodules.response = response = StreamBuffer(2)
        wiring.connect(m, response.o, wiring.flipped(self.b))
        m.d.comb += [
            response.i.valid.eq(axi.bvalid),
            response.i.payload.eq(axi.bresp),
            axi.bready.eq(response.i.ready),
        ]
        m.d.sync += self.beats.write.eq(axi.wvalid & axi.wready)
        return m

    def _receive_beats(self, m):
        """A register for a beat, and its client by its ID."""
        axi = self.m_axi
        valid, identifier = Signal(), Signal.like(axi.rid, reset_less=True)
        beat = Signal(axi_read_data_layout(self._config), reset_less=True)
        m.d.sync += [
            axi.rready.eq(self.load_room),
            valid.eq(axi.rvalid & axi.rready),
            identifier.eq(axi.rid),
            beat.data.eq(axi.rdata),
            beat.resp.eq(axi.rresp),
            beat.last.eq(axi.rlast),
        ]
        m.d.comb += self.beats.read.eq(valid)
        for name, number in _READERS.items():
            port = getattr(self, f"{name}_r")
            m.d.comb += [
                port.valid.eq(valid & (identifier == number)),
                port.payload.eq(beat),
            ]

    def _send_beats(self, m, address):
        """A buffer for a beat, which waits until the address of its burst is offered."""
        axi = self.m_axi
        m.submodules.data = buffer = StreamBuffer(axi_write_data_layout(self._config))
        wiring.connect(m, wiring.flipped(self.w), buffer.i)
        beat, addressed = buffer.o.payload, Signal(range(self._config.max_writes + 1))
        """Bursts whose address is or was offered, and whose last beat is not yet taken."""
        is_next = (address.i.valid | ~address.i.ready) & (address.empty | address.o.ready)
        ends = axi.wvalid & axi.wready & axi.wlast
        m.d.sync += addressed.eq(addressed + is_next - ends)
        m.d.comb += [
            axi.wdata.eq(beat.data),
            axi.wstrb.eq(beat.strb),
            axi.wlast.eq(beat.last),
            axi.wvalid.eq(buffer.o.valid & (addressed != 0)),
            buffer.o.ready.eq(axi.wready & (addressed != 0)),
        ]

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
