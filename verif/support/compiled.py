"""Compiled simulation of a component, where Amaranth's simulator takes minutes.

A testbench is the coroutine that Amaranth's simulator would run, with two limits: it sets and reads
ports only, and it is the only one. Each runs from reset, with random content in those registers
that have none.
"""

import ctypes
from collections.abc import Callable, Generator
from functools import cache
from importlib.metadata import version

from amaranth.hdl import Const, Shape, ShapeCastable, Signal, Value, ValueCastable
from amaranth.hdl._ast import Concat, Slice
from amaranth.lib import wiring

from tegula.backend.cache import digest, sources_digest
from tegula.config import TileConfig
from verif.support.model_build import build_model
from verif.support.scrambled import MARK, marked

__all__ = ["ONES", "ZEROS", "CompiledModel", "Context", "compiled_model"]

ZEROS, ONES = 0, -1
"""Contents of registers without reset that are not random."""


class CompiledModel:
    """Compiled component that runs one testbench after the other, each from reset.

    Parameters
    ----------
    component
        Single-clocked. Its ports are what testbenches can access.
    key
        Changes whenever the component's Verilog does.
    """

    def __init__(self, component: wiring.Component, key: str):
        self.component = component
        self.signals = dict(_ports(component))
        self._library = ctypes.CDLL(str(build_model(component, tuple(self.signals), key)))
        self._library.model_new.restype = self._library.model_port.restype = ctypes.c_void_p
        self._library.model_new.argtypes = [ctypes.c_int]
        for name in ("model_delete", "model_eval", "model_tick"):
            function = getattr(self._library, name)
            function.argtypes, function.restype = [ctypes.c_void_p], None
        self._library.model_port.argtypes = [ctypes.c_void_p, ctypes.c_int]

    def run(self, testbench: Callable, *, fill: int = 1) -> None:
        """Run the coroutine `testbench(ctx)` to its end.

        Registers without reset begin with random content of the seed `fill`, or `ZEROS` or `ONES`.
        """
        top = self._library.model_new(fill)
        try:
            ports = {
                id(signal): _memory(self._library.model_port(top, index), len(signal))
                for index, signal in enumerate(self.signals.values())
            }
            context = Context(self._library, top, ports)
            try:
                testbench(context).send(None)
            except StopIteration:
                return
            raise RuntimeError("the testbench awaits something else than a cycle of its context")
        finally:
            self._library.model_delete(top)


class Context:
    """Ports and cycles as Amaranth's testbench contexts offer them."""

    def __init__(self, library: ctypes.CDLL, top: int, ports: dict[int, tuple]):
        self._library, self._top, self._ports = library, top, ports
        self._stale = True

    def get(self, expression):
        """Value of a port, of a part of one, or of several joined, in the type of its shape."""
        if self._stale:
            self._library.model_eval(self._top)
            self._stale = False
        return _typed(expression, self._read(Value.cast(expression)))

    def set(self, expression, value) -> None:
        """Assignment to an input or a part of one, which holds until the next."""
        shape = expression.shape()
        if isinstance(shape, ShapeCastable):
            value = shape.const(value)
        bits = Value.cast(value) if isinstance(value, ValueCastable) else value
        target = Value.cast(expression)
        self._write(target, bits.value if isinstance(bits, Const) else int(bits))
        self._stale = True

    def tick(self) -> "_Ticks":
        """Awaitable next rising edge of the clock."""
        return _Ticks(self)

    def advance(self, cycles: int, sampled: tuple) -> list:
        """Run `cycles` cycles; values of `sampled` before the last edge."""
        for _ in range(cycles):
            if self._stale:
                self._library.model_eval(self._top)
            self._stale = False
            values = [_typed(item, self._read(Value.cast(item))) for item in sampled]
            self._library.model_tick(self._top)
        return values

    def _read(self, value: Value) -> int:
        if isinstance(value, Signal):
            memory, is_wide = self._ports[id(value)]
            return int.from_bytes(memory, "little") if is_wide else memory.value
        if isinstance(value, Slice):
            return self._read(value.value) >> value.start & (1 << len(value)) - 1
        if isinstance(value, Concat):
            total = offset = 0
            for part in value.parts:
                total |= self._read(part) << offset
                offset += len(part)
            return total
        raise TypeError(f"only ports and their parts can be read, not {value!r}")

    def _write(self, value: Value, bits: int) -> None:
        bits &= (1 << len(value)) - 1
        if isinstance(value, Slice):
            mask = (1 << len(value)) - 1 << value.start
            bits = self._read(value.value) & ~mask | bits << value.start
            self._write(value.value, bits)
        elif isinstance(value, Signal):
            memory, is_wide = self._ports[id(value)]
            if is_wide:
                ctypes.memmove(memory, bits.to_bytes(len(memory), "little"), len(memory))
            else:
                memory.value = bits
        else:
            raise TypeError(f"only inputs and their parts can be set, not {value!r}")


class _Ticks:
    """Awaitable number of cycles, and the values to sample before the last of their edges."""

    def __init__(self, context: Context):
        self._context, self._sampled, self._cycles = context, (), 1

    def sample(self, *expressions) -> "_Ticks":
        self._sampled += expressions
        return self

    def repeat(self, cycles: int) -> "_Ticks":
        self._cycles = cycles
        return self

    def __await__(self) -> Generator:
        yield from ()  # nothing is awaited: the clock ticks here
        return (True, False, *self._context.advance(self._cycles, self._sampled))


def _typed(expression, bits: int):
    shape = expression.shape()
    if isinstance(shape, ShapeCastable):
        return shape.from_bits(bits)
    shape = Shape.cast(shape)
    if shape.signed and bits >> shape.width - 1:
        bits -= 1 << shape.width
    return bits


def _ports(component: wiring.Component) -> list[tuple[str, Signal]]:
    """Names, as in Verilog, and signals of all ports of at least one bit."""
    ports = []
    for path, _, port in component.signature.flatten(component):
        signal = Value.cast(port)
        if len(signal):
            ports.append(("__".join(map(str, path)), signal))
    return ports


def _memory(address: int, width: int) -> tuple:
    """Variable of a port in the compiled model, and whether it is an array of words."""
    for limit, kind in ((8, "uint8"), (16, "uint16"), (32, "uint32"), (64, "uint64")):
        if width <= limit:
            return getattr(ctypes, f"c_{kind}").from_address(address), False
    return (ctypes.c_uint8 * (-(-width // 32) * 4)).from_address(address), True


@cache
def compiled_model(component: Callable[[TileConfig], wiring.Component], config: TileConfig):
    """Model of ``component(config)``, a class of the package `tegula`; one per process."""
    parts = (component.__qualname__, repr(config), str(config.trace), version("amaranth"))
    key = digest(*parts, MARK, sources_digest())
    return CompiledModel(marked(component)(config), key)
