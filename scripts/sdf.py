"""Worst paths between blocks, from the delays (SDF) of a design that nextpnr has routed.

nextpnr reports one critical path a clock. Here all paths from register to register are analysed, so
that the worst of each pair of blocks is known: latest arrivals by block of origin, in topological
order. Delays are the largest of each arc, as in nextpnr's own analysis; with one clock on a global
net, whose skew nextpnr takes as zero, the worst path of all is the same.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypedDict

import numpy as np

__all__ = ["RoutedPath", "TimingGraph", "read_sdf", "worst_paths"]

_GLOBAL_BUFFER = "$gbuf$"
"""How nextpnr begins the name of the buffer of a global net."""

_NEVER = -(1 << 40)
"""Arrival, in ps, of what no register of a block reaches."""

_LARGEST = r"\([-\d]*:[-\d]*:(-?\d+)\)"
_INTERCONNECT = re.compile(rf"\(INTERCONNECT (\S+) (\S+) {_LARGEST} {_LARGEST}\)")
_IOPATH = re.compile(rf"\(IOPATH (?:\(\w+ (\w+)\)|(\w+)) (\w+) {_LARGEST} {_LARGEST}\)")
_SETUP = re.compile(rf"\(SETUPHOLD \(\w+ (\w+)\) \(\w+ \w+\) {_LARGEST} {_LARGEST}\)")
_INSTANCE = re.compile(r"\(INSTANCE (\S+)\)")

_CARRY_OUTPUTS = ("FCO", "COUT")
"""Of a bit of a carry chain, as nextpnr calls it, and of two, as Yosys does."""

Pin = tuple[str, str]
"""Cell and port."""


@dataclass
class TimingGraph:
    """Delays of a routed design, in ps.

    Attributes
    ----------
    arcs
        To each pin, from which pins, and how long it takes: of cells and of nets.
    starts
        Outputs of registers and memories, and the delay behind the clock's edge.
    ends
        Inputs of registers and memories, and their setup time.
    """

    arcs: dict[Pin, list[tuple[Pin, int]]] = field(default_factory=dict)
    starts: dict[Pin, int] = field(default_factory=dict)
    ends: dict[Pin, int] = field(default_factory=dict)


class RoutedPath(TypedDict):
    """A path from register to register.

    `logic_ns` has clock-to-output and setup time in it; `elements` counts LUTs, multiplexers and
    multipliers passed, `carries` bits of carry chains.
    """

    from_block: str
    to_block: str
    blocks: list[str]
    delay_ns: float
    logic_ns: float
    routing_ns: float
    elements: int
    carries: int
    from_cell: str
    to_cell: str


def read_sdf(lines: Iterable[str]) -> TimingGraph:
    """The timing graph of an SDF file as nextpnr writes it (IEEE 1497, one statement a line).

    Raises
    ------
    ValueError
        If there is no register in it.
    """
    graph = TimingGraph()
    clocked: set[Pin] = set()
    cell = ""
    launches: dict[Pin, list[tuple[Pin, int]]] = {}
    for line in lines:
        text = line.replace("\\", "")
        if found := _INTERCONNECT.search(text):
            source, sink = _pin(found[1]), _pin(found[2])
            if source[0].startswith(_GLOBAL_BUFFER):
                clocked.add(sink)
            graph.arcs.setdefault(sink, []).append((source, max(int(found[3]), int(found[4]))))
        elif found := _IOPATH.search(text):
            source, sink = (cell, found[1] or found[2]), (cell, found[3])
            delay = max(int(found[4]), int(found[5]))
            launches.setdefault(source, []).append((sink, delay))
        elif found := _SETUP.search(text):
            end = (cell, found[1])
            graph.ends[end] = max(graph.ends.get(end, 0), int(found[2]))
        elif found := _INSTANCE.search(text):
            cell = found[1]
    for source, sinks in launches.items():
        for sink, delay in sinks:
            if source in clocked:
                graph.starts[sink] = max(graph.starts.get(sink, 0), delay)
            else:
                graph.arcs.setdefault(sink, []).append((source, delay))
    if not graph.starts or not graph.ends:
        raise ValueError("the SDF has no registers on a global clock")
    return graph


def _pin(text: str) -> Pin:
    cell, _, port = text.rpartition("/")
    return cell, port


def worst_paths(graph: TimingGraph, block_of: Callable[[str], str], count: int) -> list[RoutedPath]:
    """The slowest paths, one for each pair of first and last block, slowest first.

    Parameters
    ----------
    graph
        Of `read_sdf`.
    block_of
        Block of a cell, by name; "": none, as of cells that nextpnr has added.
    count
        How many, at most.
    """
    order = _topological(graph)
    number = {pin: index for index, pin in enumerate(order)}
    blocks = sorted({block_of(cell) for cell, _ in graph.starts})
    column = {block: index for index, block in enumerate(blocks)}
    arrival = np.full((len(order), len(blocks)), _NEVER, dtype=np.int64)
    for pin in order:
        row = arrival[number[pin]]
        if pin in graph.starts:
            row[column[block_of(pin[0])]] = graph.starts[pin]
        for source, delay in graph.arcs.get(pin, ()):
            if source in number:
                np.maximum(row, arrival[number[source]] + delay, out=row)
    worst: dict[tuple[str, str], tuple[int, Pin]] = {}
    for end, setup in graph.ends.items():
        if end not in number:
            continue
        for block, time in zip(blocks, arrival[number[end]].tolist(), strict=True):
            pair = block, block_of(end[0])
            if time > 0 and time + setup > worst.get(pair, (0, end))[0]:
                worst[pair] = time + setup, end

    def trace(block: str, end: Pin) -> list[tuple[Pin, int]]:
        """Pins from register to register, with the delay up to each from the one before."""
        here, path = end, []
        while True:
            time = arrival[number[here], column[block]]
            for source, delay in graph.arcs.get(here, ()):
                if source in number and arrival[number[source], column[block]] + delay == time:
                    path.append((here, delay))
                    here = source
                    break
            else:
                return [(here, int(time)), *reversed(path)]

    slowest = sorted(worst.items(), key=lambda item: -item[1][0])[:count]
    return [
        _described(trace(block, end), graph.ends[end], block_of) for (block, _), (_, end) in slowest
    ]


def _topological(graph: TimingGraph) -> list[Pin]:
    """Pins behind registers, each behind all before it; what lies in a loop is left out."""
    sinks: dict[Pin, list[Pin]] = {}
    waiting: dict[Pin, int] = {}
    for sink, arcs in graph.arcs.items():
        if sink not in graph.starts:
            waiting[sink] = len(arcs)
            for source, _ in arcs:
                sinks.setdefault(source, []).append(sink)
    sources = sinks.keys() - waiting.keys() | graph.starts.keys()
    ready = sorted(sources)
    order = []
    while ready:
        pin = ready.pop()
        order.append(pin)
        for sink in sinks.get(pin, ()):
            waiting[sink] -= 1
            if waiting[sink] == 0:
                ready.append(sink)
    return order


def _described(
    path: list[tuple[Pin, int]], setup: int, block_of: Callable[[str], str]
) -> RoutedPath:
    routing = carries = elements = 0
    blocks = [block_of(path[0][0][0])]
    for ((before, _), _), ((cell, port), delay) in pairwise(path):
        if cell != before:
            routing += delay
        elif port in _CARRY_OUTPUTS:
            carries += 1
        else:
            elements += 1
        block = block_of(cell)
        if block and block != blocks[-1]:
            blocks.append(block)
    total = sum(delay for _, delay in path) + setup
    return {
        "from_block": blocks[0],
        "to_block": blocks[-1],
        "blocks": blocks,
        "delay_ns": round(total / 1000, 2),
        "logic_ns": round((total - routing) / 1000, 2),
        "routing_ns": round(routing / 1000, 2),
        "elements": elements,
        "carries": carries,
        "from_cell": path[0][0][0],
        "to_cell": path[-1][0][0],
    }
