"""AXI4 and AXI4-Lite port signatures (AMBA AXI and ACE Protocol Specification, IHI 0022H).

Their members are flat and carry the specification's names in lower case, so that ports of the
Verilog are called `m_axi__awvalid` and bus functional models bind to them by prefix.
"""

from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.isa.fields import MEMORY_ADDRESS_BITS

__all__ = [
    "READ_ID_FETCH",
    "READ_ID_LOAD",
    "READ_ID_STORE",
    "Axi4LiteSignature",
    "Axi4Signature",
    "BeatsSignature",
    "WindowSignature",
    "axi_read_data_layout",
    "axi_request_layout",
    "axi_write_data_layout",
]

READ_ID_LOAD = 0
READ_ID_FETCH = 1
READ_ID_STORE = 2

_READ_ID_BITS = 2


class Axi4Signature(wiring.Signature):
    """AXI4 manager port: INCR bursts of full-width beats, no user signals.

    Reads have two ID bits, writes one, which is constant.
    """

    def __init__(self, config: TileConfig):
        address = {
            "id": Out(1),
            "addr": Out(config.axi_addr_width),
            "len": Out(8),
            "size": Out(3),
            "burst": Out(2),
            "lock": Out(1),
            "cache": Out(4),
            "prot": Out(3),
            "qos": Out(4),
            "region": Out(4),
            "valid": Out(1),
            "ready": In(1),
        }
        super().__init__(
            {
                **{f"aw{name}": member for name, member in address.items()},
                "wdata": Out(config.axi_data_width),
                "wstrb": Out(config.bus_bytes),
                "wlast": Out(1),
                "wvalid": Out(1),
                "wready": In(1),
                "bid": In(1),
                "bresp": In(2),
                "bvalid": In(1),
                "bready": Out(1),
                **{f"ar{name}": member for name, member in address.items()},
                "arid": Out(_READ_ID_BITS),
                "rid": In(_READ_ID_BITS),
                "rdata": In(config.axi_data_width),
                "rresp": In(2),
                "rlast": In(1),
                "rvalid": In(1),
                "rready": Out(1),
            }
        )


class Axi4LiteSignature(wiring.Signature):
    """AXI4-Lite manager port with 32-bit data; a register block uses it flipped."""

    def __init__(self, addr_width: int):
        super().__init__(
            {
                "awaddr": Out(addr_width),
                "awprot": Out(3),
                "awvalid": Out(1),
                "awready": In(1),
                "wdata": Out(32),
                "wstrb": Out(4),
                "wvalid": Out(1),
                "wready": In(1),
                "bresp": In(2),
                "bvalid": In(1),
                "bready": Out(1),
                "araddr": Out(addr_width),
                "arprot": Out(3),
                "arvalid": Out(1),
                "arready": In(1),
                "rdata": In(32),
                "rresp": In(2),
                "rvalid": In(1),
                "rready": Out(1),
            }
        )


class BeatsSignature(wiring.Signature):
    """Events of the bus for the counters, seen from the bus.

    Members
    -------
    read, write : Out(1)
        A beat of read or write data is transferred in this cycle.
    """

    def __init__(self):
        super().__init__({"read": Out(1), "write": Out(1)})


class WindowSignature(wiring.Signature):
    """Bytes of memory that the DMA engines may access, seen from the front end.

    Members
    -------
    base, last : Out(MEMORY_ADDRESS_BITS)
        Addresses of the first and the last byte; constant while a program runs. A window whose last
        byte lies before its first has none.
    """

    def __init__(self):
        super().__init__({"base": Out(MEMORY_ADDRESS_BITS), "last": Out(MEMORY_ADDRESS_BITS)})


def axi_request_layout(config: TileConfig) -> data.StructLayout:
    """AXI burst: `addr` in bytes, `len` in beats minus one. INCR, full-width beats."""
    return data.StructLayout({"addr": config.axi_addr_width, "len": 8})


def axi_read_data_layout(config: TileConfig) -> data.StructLayout:
    """AXI read beat."""
    return data.StructLayout({"data": config.axi_data_width, "resp": 2, "last": 1})


def axi_write_data_layout(config: TileConfig) -> data.StructLayout:
    """AXI write beat."""
    return data.StructLayout({"data": config.axi_data_width, "strb": config.bus_bytes, "last": 1})
