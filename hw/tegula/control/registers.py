"""Host registers: an AXI4-Lite subordinate made from the register table."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.bus.axi import Axi4LiteSignature
from tegula.config import TileConfig
from tegula.engine.interface import signal_layout
from tegula.isa.registers import IDENTITY, REGISTERS, register_offset

__all__ = ["ADDRESS_BITS", "READ_CYCLES", "WRITE_CYCLES", "RegisterFile"]

ADDRESS_BITS = 8
"""Address bits of the AXI4-Lite port."""

WRITE_CYCLES = 1
"""Cycles from the later of the AW and W handshakes to the effect of the write; B is valid one
later, and so is what a "wo" register outputs. A second write cannot take effect in the cycle
after."""

READ_CYCLES = 2
"""Cycles from the AR handshake to R valid."""

_OKAY = 0
_SLVERR = 2

_SIGNAL = "SIGNAL"
_WRITABLE_WHILE_BUSY = ("CONTROL", "IRQ", "IRQ_ENABLE")


class RegisterFile(wiring.Component):
    """Registers of `tegula.isa.registers.REGISTERS`, read and written as that table defines.

    AW and W are accepted independently, one of each at a time; WSTRB is honoured; the low two
    address bits are ignored, since every AXI4-Lite access is a whole word. An unknown offset
    answers SLVERR (and reads as zero); a write to an "ro" register answers OKAY and does nothing; a
    "wo" register reads as zero. While `busy`, writes to other registers than CONTROL, IRQ,
    IRQ_ENABLE and SIGNAL answer OKAY and do nothing, so that the host cannot change a program, its
    window or its watchdog while a program runs. A write to SIGNAL waits until the signal before has
    been taken; one that cannot be a signal, or comes while no program runs, answers SLVERR and does
    nothing.

    Latency: `WRITE_CYCLES`, `READ_CYCLES`. Throughput: a write in two cycles, a read in three, a
    signal in three.

    Parameters
    ----------
    config
        Gives SHAPE and the reset value of WATCHDOG.

    Members
    -------
    s_axil : In(Axi4LiteSignature)
        The host's port.
    busy : In(1)
        Protects the registers of the running program.
    running : In(1)
        Signals are taken; when it falls, one that waits is dropped.
    signal : Out(stream of `signal_layout`)
        Signals of the host. `valid` may fall without a handshake, with `running`.
    <ro> : In(32)
        Value of each "ro" register but the constants IDENTITY and SHAPE, name in lower case.
    <other> : Out(32)
        Value of each other register. Of CONTROL ("wo"): the bits written as 1, for one cycle.
    <w1c>_set, <w1c>_clear : In(32)
        Bits to set and to clear in each "w1c" register. Setting wins over clearing, by this or by a
        write.
    """

    def __init__(self, config: TileConfig):
        self._constants = {
            "IDENTITY": IDENTITY,
            "SHAPE": config.n
            | config.acc_width << 8
            | config.bus_bytes << 16
            | config.semaphores << 24,
        }
        self._reset = {"IRQ_ENABLE": 1, "WATCHDOG": config.watchdog_cycles}
        members = {
            "s_axil": In(Axi4LiteSignature(addr_width=ADDRESS_BITS)),
            "busy": In(1),
            "running": In(1),
            "signal": Out(stream.Signature(signal_layout(config))),
        }
        self._semaphores = config.semaphores
        for register in REGISTERS:
            name = register.name.lower()
            if register.name == _SIGNAL:
                continue
            if register.access == "ro":
                if register.name not in self._constants:
                    members[name] = In(32)
                continue
            members[name] = Out(32, init=self._reset.get(register.name, 0))
            if register.access == "w1c":
                members[f"{name}_set"] = In(32)
                members[f"{name}_clear"] = In(32)
        super().__init__(members)

    def elaborate(self, platform):
        """Writes, and reads: they share nothing but the registers."""
        m = Module()
        self._write(m)
        self._read(m)
        return m

    def _write(self, m: Module) -> None:
        bus = self.s_axil
        index, data, strobe = Signal(ADDRESS_BITS - 2), Signal(32), Signal(4)
        has_address, has_data, write = Signal(), Signal(), Signal()
        to_signal, is_signal = Signal(), Signal()

        m.d.comb += [
            bus.awready.eq(~has_address),
            bus.wready.eq(~has_data),
            to_signal.eq(index == register_offset(_SIGNAL) // 4),
            write.eq(has_address & has_data & ~bus.bvalid & ~(to_signal & self.signal.valid)),
        ]
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [has_address.eq(1), index.eq(bus.awaddr[2:])]
        with m.If(bus.wvalid & bus.wready):
            m.d.sync += [has_data.eq(1), data.eq(bus.wdata), strobe.eq(bus.wstrb)]
        with m.If(bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        with m.If(write):
            m.d.sync += [has_address.eq(0), has_data.eq(0), bus.bvalid.eq(1)]
            answers = Mux(to_signal, is_signal, index < len(REGISTERS))
            m.d.sync += bus.bresp.eq(Mux(answers, _OKAY, _SLVERR))

        mask = Cat(bit.replicate(8) for bit in strobe)
        self._signal(m, data & mask, write & to_signal, is_signal)
        for position, register in enumerate(REGISTERS):
            if register.access == "ro" or register.name == _SIGNAL:
                continue
            value = getattr(self, register.name.lower())
            hit = write & (index == position)
            if register.name not in _WRITABLE_WHILE_BUSY:
                hit &= ~self.busy
            match register.access:
                case "wo":
                    m.d.sync += value.eq(Mux(hit, data & mask, 0))
                case "rw":
                    for byte in range(4):
                        with m.If(hit & strobe[byte]):
                            m.d.sync += value.word_select(byte, 8).eq(data.word_select(byte, 8))
                case "w1c":
                    set_bits, clear_bits = (
                        getattr(self, f"{register.name.lower()}_{action}")
                        for action in ("set", "clear")
                    )
                    cleared = Mux(hit, data & mask, 0) | clear_bits
                    m.d.sync += value.eq((value & ~cleared) | set_bits)

    def _signal(self, m: Module, written: Value, write: Value, is_signal: Signal) -> None:
        """Signal of the host, until it is taken; whether what is written can be one."""
        semaphore, value, rest = written[:8], written[8:16], written[16:]
        m.d.comb += is_signal.eq(
            self.running & (semaphore < self._semaphores) & value.any() & ~rest.any()
        )
        with m.If(write):
            m.d.sync += [
                self.signal.payload.sem.eq(semaphore),
                self.signal.payload.value.eq(value),
            ]
        with m.If(~self.running | self.signal.ready):
            m.d.sync += self.signal.valid.eq(0)
        with m.If(write & is_signal):
            m.d.sync += self.signal.valid.eq(1)

    def _read(self, m: Module) -> None:
        bus = self.s_axil
        index, has_address = Signal(ADDRESS_BITS - 2), Signal()

        m.d.comb += bus.arready.eq(~has_address & ~bus.rvalid)
        with m.If(bus.arvalid & bus.arready):
            m.d.sync += [has_address.eq(1), index.eq(bus.araddr[2:])]
        with m.If(has_address):
            m.d.sync += [has_address.eq(0), bus.rvalid.eq(1)]
            with m.Switch(index):
                for position, register in enumerate(REGISTERS):
                    with m.Case(position):
                        m.d.sync += [bus.rdata.eq(self._value(register)), bus.rresp.eq(_OKAY)]
                with m.Default():
                    m.d.sync += [bus.rdata.eq(0), bus.rresp.eq(_SLVERR)]
        with m.If(bus.rvalid & bus.rready):
            m.d.sync += bus.rvalid.eq(0)

    def _value(self, register):
        if register.name in self._constants:
            return self._constants[register.name]
        return 0 if register.access == "wo" else getattr(self, register.name.lower())
