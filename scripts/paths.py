"""Check that no combinational path enters a block of the tile and leaves it again.

Every signal between blocks is followed on the netlist, from where it starts, in a register or in
logic behind registers, to where it ends. `--write` puts the table into docs/architecture.md.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.dependence import Block, read_blocks
from scripts.readme import put_into
from tegula.backend.verilog import tile_verilog
from tegula.backend.yosys import run_yosys
from tegula.config import PRESETS, TileConfig, preset
from tegula_sw.cli.arguments import ScriptParser
from tegula_sw.cli.exits import exit_code

__all__ = ["BLOCKS", "Connection", "connections", "tile_blocks"]

BLOCKS = {
    "control": "control",
    "tensor": "tensor_engine",
    "vector": "vector_engine",
    "activation": "activation_engine",
    "load": "load_engine",
    "store": "store_engine",
    "scratchpad": "scratchpad",
    "bus": "axi_master",
}
"""Blocks of the tile, and the names of their modules."""

PORTS = "tile's ports"
"""Name of what is outside of the tile."""

BEGIN, END = "<!-- signals: written by `make paths` -->", "<!-- end of signals -->"
ARCHITECTURE = Path(__file__).resolve().parents[1] / "docs" / "architecture.md"

_FLOW = (
    "read_verilog in.v; hierarchy -check -top {top}; proc; opt_clean; {keep}"
    " flatten -noscopeinfo; opt_expr; opt_clean; memory_collect; write_json out.json"
)
_NOT_SIGNALS = {"clk", "rst"}


@dataclass(frozen=True)
class Connection:
    """Signals of one port, in one direction, between two blocks.

    Attributes
    ----------
    source, destination
        Names of the blocks.
    port
        Name of the port at the source, without its last part.
    bits
        Number of signals.
    before, after
        Most levels of logic between a register of the source and the signal, and between the signal
        and a register of the destination. 0: the register itself.
    """

    source: str
    destination: str
    port: str
    bits: int
    before: int
    after: int


def tile_blocks(config: TileConfig) -> dict[str, Block]:
    """Netlist of a tile: a `Block` for each of `BLOCKS`, and the tile itself as `PORTS`."""
    top = f"tegula_{config.name}"
    modules = {name: f"{top}_{module}" for name, module in BLOCKS.items()}
    keep = " ".join(f"setattr -mod -set keep_hierarchy 1 {name};" for name in modules.values())
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "in.v").write_text(tile_verilog(config).read_text())
        run_yosys(_FLOW.format(top=top, keep=keep), Path(folder))
        netlist = read_blocks(Path(folder, "out.json"))
    return {PORTS: netlist[top], **{name: netlist[module] for name, module in modules.items()}}


def connections(blocks: dict[str, Block]) -> list[Connection]:
    """Connections between the blocks, grouped by port, in the order of `BLOCKS`."""
    grouped: dict[tuple[str, str, str], list[tuple[int, int]]] = {}
    for source, port, bit, destination, end in _signals(blocks):
        grouped.setdefault((source, destination, _group(port)), []).append((bit, end))
    result = []
    for (source, destination, port), signals in grouped.items():
        starts, ends = {bit for bit, _ in signals}, {end for _, end in signals}
        before = 0 if source == PORTS else blocks[source].levels_before(starts)
        after = 0 if destination == PORTS else blocks[destination].levels_after(ends)
        result.append(Connection(source, destination, port, len(starts), before, after))
    return result


def _signals(blocks: dict[str, Block]) -> Iterator[tuple[str, str, int, str, int]]:
    """(source, its port, its bit, destination, its bit) of each signal between blocks.

    Constants are none.

    Raises
    ------
    ValueError
        If the tile has logic of its own: a block's input, or a port, that is no block's output.
    """
    tile = blocks[PORTS]
    drivers: dict[object, tuple[str, str, object]] = {}
    for port, bits in tile.inputs.items():
        drivers |= {bit: (PORTS, port, bit) for bit in bits}
    for name, nets, own, port in _block_ports(blocks):
        if port in blocks[name].outputs:
            drivers |= {net: (name, port, bit) for net, bit in zip(nets, own, strict=True)}
    ends = [
        (net, name, bit)
        for name, nets, own, port in _block_ports(blocks)
        if port in blocks[name].inputs and port not in _NOT_SIGNALS
        for net, bit in zip(nets, own, strict=True)
    ]
    ends += [(bit, PORTS, bit) for bits in tile.outputs.values() for bit in bits]
    for net, destination, end in ends:
        if isinstance(net, int):
            if net not in drivers:
                raise ValueError(f"a signal to {destination} comes from no block and no port")
            source, port, bit = drivers[net]
            if isinstance(bit, int) and isinstance(end, int):
                yield source, port, bit, destination, end


def _block_ports(blocks: dict[str, Block]) -> Iterator[tuple[str, list[object], list[object], str]]:
    """(block, nets of the tile, bits of the block, name) of each port of each block."""
    for name in BLOCKS:
        block = blocks[name]
        for port, nets in blocks[PORTS].instances[block.name].items():
            yield name, nets, (block.inputs | block.outputs)[port], port


def _group(port: str) -> str:
    """Name of a port without its last parts: `engine__instr__valid` is one of `engine.instr`."""
    parts = port.split("__")
    if parts[-1] in ("valid", "ready", "payload") and len(parts) > 1:
        return ".".join(parts[:-1]) + (" (ready)" if parts[-1] == "ready" else "")
    return ".".join(parts)


def table(rows: Sequence[Connection]) -> str:
    """The connections as a Markdown table."""
    lines = [
        "| from | to | signals | bits | starts at | ends at |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.source} | {row.destination} | `{row.port}` | {row.bits} | {_end(row.before)} |"
        f" {_end(row.after)} |"
        for row in rows
    ]
    return "\n".join(lines)


def _end(levels: int) -> str:
    return "register" if levels == 0 else f"register, {levels} levels"


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; 1 if a path enters a block and leaves it again."""
    parser = ScriptParser("paths", __doc__)
    parser.add_argument("--preset", choices=PRESETS, default="tiny", help="default: tiny")
    parser.add_argument(
        "--write", action="store_true", help="put the table into docs/architecture.md"
    )
    options = parser.parse_args(arguments)
    print(f"paths: elaborating preset {options.preset}", file=sys.stderr)
    blocks = tile_blocks(preset(options.preset))
    faults = 0
    for name in BLOCKS:
        for output, sources in blocks[name].feedthroughs():
            print(f"paths: {name}: {output} follows {', '.join(sources)} in the same cycle")
            faults += 1
    text = table(connections(blocks))
    if options.write:
        put_into(ARCHITECTURE, BEGIN, END, text)
        print(f"paths: table written to {ARCHITECTURE.name}")
    else:
        print(text)
    print(f"paths: {faults} outputs of blocks follow an input combinationally")
    return min(faults, 1)


if __name__ == "__main__":
    sys.exit(exit_code("paths", main))
