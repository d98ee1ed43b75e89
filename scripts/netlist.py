"""A flattened netlist of Yosys: cells by block, and the nets with the largest fan-out."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from scripts.tile_flow import HARNESS

__all__ = ["CLOCK_PORT", "FanOut", "Netlist", "block_of"]

_BLOCK = re.compile(r"tile\\?\.\\?(\w+)\\?\.")

CLOCK_PORT = re.compile(r"(CLK|WCK|CK)[A-Z0-9]*")

_PINS = {"CE": "enable", "LSR": "reset"}

_LOGIC = "logic"
"""Kinds of inputs: of registers, and all others."""

OTHER = "other"
"""What tables call cells of no block: a few between blocks."""


def block_of(cell: str) -> str:
    """Block of a cell, by its name in a netlist of `scripts.tile_flow`; "": none."""
    if found := _BLOCK.search(cell):
        return found[1]
    return HARNESS if cell.startswith(HARNESS) else ""


class FanOut(TypedDict):
    """A net, how many inputs it drives, and these by block and by kind, most first."""

    net: str
    block: str
    fan_out: int
    sinks: dict[str, int]
    pins: dict[str, int]


@dataclass(frozen=True)
class Netlist:
    """Cells and names of nets of a flattened design.

    Attributes
    ----------
    cells
        Of the top module, as `write_json` of Yosys has them: type, directions and bits of ports.
    names
        Name of each bit of a net.
    """

    cells: Mapping[str, Mapping[str, Any]]
    names: Mapping[int, str]

    @classmethod
    def read(cls, text: str) -> "Netlist":
        """The netlist in JSON that Yosys wrote.

        Raises
        ------
        ValueError
            If it is none, or has no module called `tile_flow.HARNESS`.
        """
        module = json.loads(text).get("modules", {}).get(HARNESS)
        if module is None:
            raise ValueError(f"the netlist has no module {HARNESS!r}")
        names: dict[int, str] = {}
        for name, net in module["netnames"].items():
            bits = net["bits"]
            for index, bit in enumerate(bits):
                label = name if len(bits) == 1 else f"{name}[{index}]"
                if isinstance(bit, int) and len(label) < len(names.get(bit, label + " ")):
                    names[bit] = label
        return cls(module["cells"], names)

    def by_block(self) -> dict[str, Counter[str]]:
        """Cells by type of each block."""
        blocks: dict[str, Counter[str]] = {}
        for name, cell in self.cells.items():
            if not cell["type"].startswith("$"):  # no hardware: where a module was
                blocks.setdefault(block_of(name) or OTHER, Counter())[cell["type"]] += 1
        return blocks

    def largest_fan_out(self, count: int) -> list[FanOut]:
        """The nets that drive most inputs; clocks and what comes from outside are not among them.

        Parameters
        ----------
        count
            How many, at most.
        """
        drivers: dict[int, str] = {}
        sinks: dict[int, Counter[str]] = {}
        pins: dict[int, Counter[str]] = {}
        for name, cell in self.cells.items():
            for port, bits in cell["connections"].items():
                output = cell["port_directions"][port] == "output"
                if not output and CLOCK_PORT.fullmatch(port):
                    continue
                for bit in bits:
                    if output:
                        drivers[bit] = name
                    elif isinstance(bit, int):
                        sinks.setdefault(bit, Counter())[block_of(name) or OTHER] += 1
                        pins.setdefault(bit, Counter())[_PINS.get(port, _LOGIC)] += 1
        largest = sorted(
            (bit for bit in sinks if bit in drivers), key=lambda bit: -sinks[bit].total()
        )
        return [
            {
                "net": self.names.get(bit, drivers[bit]),
                "block": block_of(drivers[bit]) or OTHER,
                "fan_out": sinks[bit].total(),
                "sinks": dict(sinks[bit].most_common()),
                "pins": dict(pins[bit].most_common()),
            }
            for bit in largest[:count]
        ]
