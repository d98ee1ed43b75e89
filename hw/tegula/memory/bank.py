"""Banks of the scratchpad, and the addresses of rows in them."""

from amaranth.hdl import Cat, Module, Value
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.memory.ports import BankReadSignature, BankWriteSignature

__all__ = ["NO_RW_CHECK", "BankPorts", "ScratchpadBank"]

NO_RW_CHECK = {"no_rw_check": 1}
"""Attribute of a block RAM: a read of the word that is written in the same cycle is undefined.

Without it Yosys builds a bypass around each memory, so that such a read gives the old word, as the
Verilog says: 180 LUT4 a partition of PSUM, for a case that does not occur.
"""


class ScratchpadBank(wiring.Component):
    """Memory of one word a partition at each address; a row read and a row written a cycle.

    Each partition has a memory of its own, so that a write to one does not disturb a read of its
    neighbours. A word that is read in the cycle in which it is written is undefined.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    read : In(BankReadSignature)
    write : In(BankWriteSignature)
    """

    def __init__(self, config: TileConfig):
        self._n = config.n
        self._packed = config.packed_fp8
        self._depth = config.sbuf_depth // config.bus_words
        super().__init__(
            {"read": In(BankReadSignature(config)), "write": In(BankWriteSignature(config))}
        )

    def elaborate(self, platform):
        """Memory by memory."""
        m = Module()
        for p in range(self._n):
            words = memory.Memory(shape=16, depth=self._depth, init=[], attrs=NO_RW_CHECK)
            m.submodules[f"partition_{p}"] = words
            read, enable = words.read_port(), self.write.en[p]
            if self._packed:
                write = words.write_port(granularity=8)
                enable = enable.replicate(2) & ~self.write.keep
            else:
                write = words.write_port()
            m.d.comb += [
                read.addr.eq(self.read.addr),
                read.en.eq(1),
                self.read.data[p].eq(read.data),
                write.addr.eq(self.write.addr),
                write.en.eq(enable),
                write.data.eq(self.write.data[p]),
            ]
        return m


class BankPorts(wiring.Component):
    """Base of what stands between ports of the scratchpad and its banks: row a is in bank a mod B.

    B is `bus_words`.

    Parameters
    ----------
    config
        The tile.
    ports
        Ports of the scratchpad.
    bank
        Signature of the port to a bank.

    Members
    -------
    banks : Out(bank) x bus_words
    """

    def __init__(self, config: TileConfig, ports: dict[str, wiring.Member], bank: wiring.Signature):
        self.config = config
        self._bank_bits = (config.bus_words - 1).bit_length()
        super().__init__({**ports, "banks": Out(bank).array(config.bus_words)})

    def _bank(self, addr: Value) -> Value:
        """Bank of the row at `addr`."""
        return addr[: self._bank_bits]

    def _line(self, addr: Value) -> Value:
        """Address of that row in its bank."""
        return addr[self._bank_bits :]

    def _one_hot(self, addr: Value) -> Value:
        """Mask of the bank of the row at `addr`."""
        return Cat(self._bank(addr) == b for b in range(self.config.bus_words))
