"""Substitute for the tile that copies one burst, and breaks one rule of the bus on request.

It has the tile's ports and registers. `PROGRAM` is the address of the source, `WINDOW_BASE` that of
the destination, and `PROGRAM_BYTES` / 16 the `Rule` to break.
"""

from enum import IntEnum

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from tegula.bus.axi import Axi4LiteSignature, Axi4Signature
from tegula.config import TileConfig
from tegula.control.registers import ADDRESS_BITS, RegisterFile
from tegula.isa.registers import CONTROL_START

__all__ = ["BEATS", "RogueTile", "Rule"]

BEATS = 4
"""Beats of the burst."""


class Rule(IntEnum):
    """The rule that is broken."""

    NONE = 0
    AR_VALID_FALLS = 1
    AR_CHANGES = 2
    AR_CROSSES_4K = 3
    AR_UNALIGNED = 4
    AR_FIXED = 5
    AR_NARROW = 6
    AW_VALID_FALLS = 7
    AW_CHANGES = 8
    AW_CROSSES_4K = 9
    W_VALID_FALLS = 10
    W_CHANGES = 11
    W_LAST_EARLY = 12
    W_LAST_MISSING = 13
    IRQ_BEFORE_RESPONSE = 14
    BEATS_MISCOUNTED = 15
    NO_IRQ = 16
    NOT_DONE = 17
    IRQ_STUCK = 18


class RogueTile(wiring.Component):
    """Copy `BEATS` beats; break the rule that PROGRAM_BYTES names.

    Parameters
    ----------
    config
        Gives the bus.

    Members
    -------
    m_axi, s_axil, irq
        As of `tegula.tile.Tile`.
    """

    def __init__(self, config: TileConfig):
        self.config = config
        super().__init__(
            {
                "m_axi": Out(Axi4Signature(config)),
                "s_axil": In(Axi4LiteSignature(addr_width=ADDRESS_BITS)),
                "irq": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.registers = registers = RegisterFile(self.config)
        connect(m, flipped(self.s_axil), registers.s_axil)
        bus = self.m_axi
        size = self.config.bus_bytes.bit_length() - 1
        source = Cat(registers.program_low, registers.program_high)
        target = Cat(registers.window_base_low, registers.window_base_high)
        broken = [registers.program_bytes == rule << 4 for rule in Rule]
        beats = Array(Signal(self.config.axi_data_width, name=f"beat_{i}") for i in range(BEATS))
        index, waited, done = Signal(range(BEATS)), Signal(), Signal()
        last = index == BEATS - 1

        m.d.comb += [
            bus.araddr.eq(
                source
                + Mux(broken[Rule.AR_CHANGES] & waited, 64, 0)
                + Mux(broken[Rule.AR_CROSSES_4K], 4096 - self.config.bus_bytes, 0)
                + broken[Rule.AR_UNALIGNED]
            ),
            bus.arlen.eq(BEATS - 1),
            bus.arburst.eq(Mux(broken[Rule.AR_FIXED], 0, 1)),
            bus.arsize.eq(size - broken[Rule.AR_NARROW]),
            bus.awaddr.eq(
                target
                + Mux(broken[Rule.AW_CHANGES] & waited, 64, 0)
                + Mux(broken[Rule.AW_CROSSES_4K], 4096 - self.config.bus_bytes, 0)
            ),
            bus.awlen.eq(BEATS - 1),
            bus.awburst.eq(1),
            bus.awsize.eq(size),
            bus.wdata.eq(beats[index] ^ (broken[Rule.W_CHANGES] & waited)),
            bus.wstrb.eq(-1),
            bus.wlast.eq(
                (last & ~broken[Rule.W_LAST_MISSING])
                | (broken[Rule.W_LAST_EARLY] & (index == BEATS - 2))
            ),
            self.irq.eq(
                (registers.irq[0] & registers.irq_enable[0]) | (broken[Rule.IRQ_STUCK] & done)
            ),
            registers.status.eq(Mux(broken[Rule.NOT_DONE], 0, done << 1)),
        ]

        def offered(valid, ready, rule):
            """Hold `valid` until `ready`, where the rule is kept; the transfer."""
            m.d.comb += valid.eq(~(broken[rule] & waited))
            m.d.sync += waited.eq(~ready)
            return valid & ready

        with m.FSM() as fsm:
            with m.State("IDLE"):
                with m.If(registers.control & CONTROL_START):
                    m.d.sync += [registers.read_beats.eq(broken[Rule.BEATS_MISCOUNTED])]
                    m.d.sync += [registers.write_beats.eq(0), registers.cycles_low.eq(0)]
                    m.d.sync += done.eq(0)
                    m.next = "READ_ADDRESS"
            with m.State("READ_ADDRESS"):
                with m.If(offered(bus.arvalid, bus.arready, Rule.AR_VALID_FALLS)):
                    m.next = "READ"
            with m.State("READ"):
                m.d.comb += bus.rready.eq(1)
                with m.If(bus.rvalid):
                    m.d.sync += [beats[index].eq(bus.rdata), index.eq(Mux(last, 0, index + 1))]
                    m.d.sync += registers.read_beats.eq(registers.read_beats + 1)
                    with m.If(bus.rlast):
                        m.next = "WRITE_ADDRESS"
            with m.State("WRITE_ADDRESS"):
                with m.If(offered(bus.awvalid, bus.awready, Rule.AW_VALID_FALLS)):
                    m.next = "WRITE"
            with m.State("WRITE"):
                with m.If(offered(bus.wvalid, bus.wready, Rule.W_VALID_FALLS)):
                    m.d.sync += index.eq(Mux(last, 0, index + 1))
                    m.d.sync += registers.write_beats.eq(registers.write_beats + 1)
                    with m.If(last):
                        m.next = "RESPONSE"
            with m.State("RESPONSE"):
                m.d.comb += bus.bready.eq(1)
                with m.If(bus.bvalid | broken[Rule.IRQ_BEFORE_RESPONSE]):
                    m.next = "END"
            with m.State("END"):
                m.d.sync += done.eq(1)
                m.d.comb += registers.irq_set.eq(~broken[Rule.NO_IRQ])
                m.next = "IDLE"
        with m.If(~fsm.ongoing("IDLE")):
            m.d.sync += registers.cycles_low.eq(registers.cycles_low + 1)
        return m
