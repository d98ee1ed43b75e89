"""Delays of a netlist before placement: those of ECP5 cells, and of nets by their fan-out.

An estimate in seconds of where paths are long, for the analysis of `scripts.sdf`: cells have the
delays that nextpnr gives them at speed grade 6; a net has the mean that a processing element's nets
of its fan-out have once routed, more for every doubling beyond. In a whole tile nets are longer, so
the order of the paths means more than their delays.
"""

import math
import re
from collections import Counter

from scripts.netlist import CLOCK_PORT, Netlist
from scripts.sdf import Pin, TimingGraph

__all__ = ["estimated", "net_ps"]

_NET_PS = ((4, 870), (8, 930), (16, 1050), (32, 1480), (64, 2780))
"""Mean delay, in ps, of nets of at most so many inputs; routed processing element, seed 1."""

_DOUBLING_PS = 600
"""Per doubling of the fan-out beyond the largest of these. Ours: a guess."""

_DIRECT = re.compile(r"CIN|ALUT|BLUT|D[01]|DI")
"""Inputs that a LUT or a carry chain beside them drives through a wire of its own."""

_DIRECT_PS = 130

_CARRY = ((r"[A-D]0", "S0", 236), (r"[A-D]0", "S1", 890), (r"[A-D]0", "COUT", 518))

_ARCS: dict[str, tuple[tuple[str, str, int], ...]] = {
    "LUT4": (("[A-D]", "Z", 236),),
    "PFUMX": (("ALUT|BLUT", "Z", 165), ("C0", "Z", 256)),
    "L6MUX21": (("D0|D1", "Z", 165), ("SD", "Z", 256)),
    "CCU2C": (
        *_CARRY,
        (r"[A-D]1", "S1", 236),
        (r"[A-D]1", "COUT", 447),
        ("CIN", "S0|S1", 443),
        ("CIN", "COUT", 71),
    ),
    "MULT18X18D": ((r"[AB]\d+", r"P\d+", 3927),),
    "TRELLIS_DPR16X4": ((r"RAD\[\d\]", r"DO\[\d\]", 236),),
}
"""Inputs, outputs and delay in ps, by type of cell."""

_STARTS = {
    "TRELLIS_FF": ("Q", 525),
    "DP16KD": (r"DO[AB]\d+", 5830),
    "PDPW16KD": (r"DO\d+", 5830),
}
"""Outputs of registers and memories, and their delay behind the clock."""

_ENDS = {
    "TRELLIS_FF": (("DI|M|CE", 0), ("LSR", 424)),
    "DP16KD": ((r"(AD|DI|WE|CE|CS|OCE|RST)[AB]\d*", 251),),
    "PDPW16KD": ((r"(AD|DI|BE|CE|CS|OCE|RST)[RW]?\d*", 251),),
    "TRELLIS_DPR16X4": ((r"(WD|WAD)\[\d\]|WRE", 392),),
}
"""Inputs of registers and memories, and their setup time."""


def net_ps(fan_out: int) -> int:
    """Estimated delay of a net with `fan_out` inputs."""
    for most, delay in _NET_PS:
        if fan_out <= most:
            return delay
    most, delay = _NET_PS[-1]
    return round(delay + _DOUBLING_PS * math.log2(fan_out / most))


def estimated(netlist: Netlist) -> TimingGraph:
    """The timing graph of a netlist."""
    graph = TimingGraph()
    drivers: dict[int, Pin] = {}
    fan_out: Counter[int] = Counter()
    sinks: list[tuple[Pin, int]] = []
    for name, cell in netlist.cells.items():
        inputs, outputs = [], []
        for port, bits in cell["connections"].items():
            if CLOCK_PORT.fullmatch(port):
                continue
            is_output = cell["port_directions"][port] == "output"
            for index, bit in enumerate(bits):
                label = port if len(bits) == 1 else f"{port}[{index}]"
                if not isinstance(bit, int):
                    continue
                if is_output:
                    outputs.append(label)
                    drivers[bit] = (name, label)
                else:
                    inputs.append(label)
                    sinks.append(((name, label), bit))
                    fan_out[bit] += 1
        _add_cell(graph, name, cell["type"], inputs, outputs)
    for sink, bit in sinks:
        if bit in drivers:
            direct = fan_out[bit] == 1 and _DIRECT.fullmatch(sink[1])
            delay = _DIRECT_PS if direct else net_ps(fan_out[bit])
            graph.arcs.setdefault(sink, []).append((drivers[bit], delay))
    return graph


def _add_cell(
    graph: TimingGraph, name: str, kind: str, inputs: list[str], outputs: list[str]
) -> None:
    """Arcs, starts and ends of one cell."""
    for sources, targets, delay in _ARCS.get(kind, ()):
        begins = [port for port in inputs if re.fullmatch(sources, port)]
        for target in outputs:
            # Without an input an output is constant: a pin that no arc leads to.
            if begins and re.fullmatch(targets, target):
                arcs = graph.arcs.setdefault((name, target), [])
                arcs += [((name, source), delay) for source in begins]
    if kind in _STARTS:
        pattern, delay = _STARTS[kind]
        graph.starts |= {(name, port): delay for port in outputs if re.fullmatch(pattern, port)}
    for pattern, delay in _ENDS.get(kind, ()):
        graph.ends |= {(name, port): delay for port in inputs if re.fullmatch(pattern, port)}
