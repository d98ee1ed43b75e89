"""Memories in LUTs."""

from collections.abc import Mapping

from amaranth.hdl import Module, ShapeLike, Value
from amaranth.lib import memory

__all__ = ["add_lut_memory"]


def add_lut_memory(
    m: Module,
    name: str,
    shape: ShapeLike,
    depth: int,
    *,
    write: tuple[Value, Value, Value],
    read: Value,
    init: Mapping[int, int] | None = None,
) -> Value:
    """Word at the address `read` of a memory of `depth` words, in the same cycle.

    Parameters
    ----------
    name
        Name of the submodule.
    write
        Enable, address and data of a write, which takes effect at the end of the cycle.
    init
        Words before the first write, by address; the others are zero. A reset leaves the memory as
        it is.
    """
    words_before = [(init or {}).get(addr, 0) for addr in range(depth)]
    m.submodules[name] = words = memory.Memory(shape=shape, depth=depth, init=words_before)
    write_port, read_port = words.write_port(), words.read_port(domain="comb")
    enable, address, data = write
    m.d.comb += [
        write_port.en.eq(enable),
        write_port.addr.eq(address),
        write_port.data.eq(data),
        read_port.addr.eq(read),
    ]
    return read_port.data
