"""Dependence of the bits of a netlist, before it is mapped to gates, within a clock cycle."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

__all__ = ["Block", "read_blocks"]

_REGISTERS = {"$dff", "$dffe", "$sdff", "$sdffe", "$sdffce"}
_BITWISE = {"$and", "$or", "$xor", "$xnor", "$not", "$mux", "$pos", "$bwmux"}
_RIPPLE = {"$add", "$sub", "$neg"}
"""Bit i of the result depends on bits 0 .. i of the operands."""

_FREE = {"$not", "$pos"}
"""Cells that cost no level: an inverter becomes part of a LUT."""

Json = dict[str, Any]
Fan = dict[int, tuple[tuple[int, ...], int]]
"""The bits that a bit depends on in the same cycle, and the levels of logic between."""

Edges = dict[int, list[tuple[int, int]]]
"""The bits next to a bit, in one direction, and the levels of logic between."""


@dataclass
class Block:
    """A module of the netlist, flat.

    Attributes
    ----------
    name
        Of the module.
    inputs, outputs
        Bits of each port: numbers of nets, and constants as strings.
    instances
        Of the instances of other modules, by the name of their module: what each port connects to.
    """

    name: str
    inputs: dict[str, list[object]] = field(default_factory=dict)
    outputs: dict[str, list[object]] = field(default_factory=dict)
    instances: dict[str, dict[str, list[object]]] = field(default_factory=dict)
    _fan: Fan = field(default_factory=dict)
    _before: dict[int, int] = field(default_factory=dict)
    _after: dict[int, int] = field(default_factory=dict)

    def reachable(self, bits: Iterable[object]) -> set[int]:
        """All bits on which `bits` depend in the same cycle, themselves included."""
        seen: set[int] = set()
        waiting = _bits(bits)
        while waiting:
            bit = waiting.pop()
            if bit not in seen:
                seen.add(bit)
                waiting.extend(self._fan.get(bit, ((), 0))[0])
        return seen

    def inputs_behind(self, bits: Iterable[object]) -> set[str]:
        """Names of the inputs on which `bits` depend in the same cycle."""
        port_of = {bit: name for name, port in self.inputs.items() for bit in port}
        return {port_of[bit] for bit in self.reachable(bits) if bit in port_of}

    def feedthroughs(self) -> Iterator[tuple[str, list[str]]]:
        """Each output that depends on inputs in the same cycle, and those inputs."""
        for name, bits in sorted(self.outputs.items()):
            sources = self.inputs_behind(bits)
            if sources:
                yield name, sorted(sources)

    def levels_before(self, bits: Iterable[object]) -> int:
        """Levels of logic from registers, or inputs, to the latest of `bits`."""
        return _longest(self._sources, _bits(bits), self._before)

    def levels_after(self, bits: Iterable[object]) -> int:
        """Levels of logic from any of `bits` to the farthest register, or output."""
        return _longest(self._users, _bits(bits), self._after)

    @cached_property
    def _sources(self) -> Edges:
        return {
            bit: [(source, cost) for source in sources]
            for bit, (sources, cost) in self._fan.items()
        }

    @cached_property
    def _users(self) -> Edges:
        edges: Edges = {}
        for bit, (sources, cost) in self._fan.items():
            for source in sources:
                edges.setdefault(source, []).append((bit, cost))
        return edges


def _longest(edges: Edges, starts: list[int], known: dict[int, int]) -> int:
    """Longest of the paths that begin at `starts`; `known` keeps those of bits met on the way.

    Word-wide cells may seem to depend on themselves, bit by bit: no path goes around twice.
    """
    pending, entered = list(starts), set[int]()
    while pending:
        bit = pending[-1]
        missing = [to for to, _ in edges.get(bit, ()) if to not in known]
        if missing and bit not in entered:
            entered.add(bit)
            pending.extend(missing)
            continue
        pending.pop()
        known[bit] = max((known.get(to, 0) + cost for to, cost in edges.get(bit, ())), default=0)
    return max((known[bit] for bit in starts), default=0)


def read_blocks(path: Path) -> dict[str, Block]:
    """Modules of a netlist that `write_json` of Yosys wrote, by name.

    Registers and clocked memory ports end paths; an instance of another module starts them.

    Raises
    ------
    ValueError
        If the file holds no modules.
    """
    modules = json.loads(path.read_text()).get("modules")
    if not modules:
        raise ValueError(f"{path} holds no netlist")
    return {name: _read_module(name, module) for name, module in modules.items()}


def _read_module(name: str, module: Json) -> Block:
    block = Block(sys.intern(name))
    for port, description in module["ports"].items():
        side = block.inputs if description["direction"] == "input" else block.outputs
        side[port] = list(description["bits"])
    for cell in module["cells"].values():
        kind = cell["type"]
        if kind in _REGISTERS:
            continue
        if kind == "$mem_v2":
            _read_memory(block, cell)
        elif kind.startswith("$"):
            _read_cell(block, kind, cell)
        else:
            block.instances[kind] = cell["connections"]
    return block


def _bits(bits: Iterable[object]) -> list[int]:
    """Bits that are nets; constants are strings."""
    return [bit for bit in bits if isinstance(bit, int)]


def _read_memory(block: Block, cell: Json) -> None:
    ports, parameters = cell["connections"], cell["parameters"]
    width, address_bits = int(parameters["WIDTH"], 2), int(parameters["ABITS"], 2)
    clocked = parameters["RD_CLK_ENABLE"][::-1]
    for index in range(int(parameters["RD_PORTS"], 2)):
        address = _bits(ports["RD_ADDR"][index * address_bits : (index + 1) * address_bits])
        if clocked[index] == "1":
            continue
        for bit in _bits(ports["RD_DATA"][index * width : (index + 1) * width]):
            block._fan[bit] = (tuple(address), 1)


def _read_cell(block: Block, kind: str, cell: Json) -> None:
    connections, directions = cell["connections"], cell["port_directions"]
    inputs = {port: bits for port, bits in connections.items() if directions[port] == "input"}
    sources_of = _dependence(kind, inputs, cell["parameters"])
    cost = 0 if kind in _FREE else 1
    for port, bits in connections.items():
        if directions[port] == "output":
            for index, bit in enumerate(bits):
                if isinstance(bit, int):
                    block._fan[bit] = (tuple(dict.fromkeys(_bits(sources_of(index)))), cost)


def _dependence(
    kind: str, inputs: dict[str, list[object]], parameters: dict[str, str]
) -> Callable[[int], Iterable[object]]:
    """Input bits that bit `index` of the output depends on."""
    if kind in _BITWISE:
        select = inputs.get("S", []) if kind == "$mux" else []
        words = [
            (bits, parameters.get(f"{port}_SIGNED", "0").endswith("1"))
            for port, bits in inputs.items()
            if bits and (port != "S" or kind != "$mux")
        ]
        return lambda index: [
            *select,
            *(
                bits[min(index, len(bits) - 1)]
                for bits, signed in words
                if index < len(bits) or signed
            ),
        ]
    if kind in _RIPPLE:
        return lambda index: [bit for bits in inputs.values() for bit in bits[: index + 1]]
    if kind == "$pmux":
        width = len(inputs["A"])
        return lambda index: [inputs["A"][index], *inputs["S"], *inputs["B"][index::width]]
    every = [bit for bits in inputs.values() for bit in bits]
    return lambda index: every
