"""Write the Verilog of a tile, and lint it."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tegula.backend.cache import cache_root
from tegula.backend.verilog import tile_verilog
from tegula.config import PRESETS, preset
from tegula.files import write_text
from tegula_sw.cli.arguments import ScriptParser
from tegula_sw.cli.exits import exit_code
from tegula_sw.devices.rtl.build import verilator_command, verilator_environment

_WAIVERS = Path(__file__).resolve().parents[1] / "hw" / "lint.vlt"


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; 1 if the lint finds something."""
    parser = ScriptParser("verilog", __doc__)
    parser.add_argument("--preset", choices=PRESETS, default="small", help="default: small")
    parser.add_argument("--output", type=Path, help="default: build/verilog/tegula_PRESET.v")
    parser.add_argument("--lint", action="store_true", help="run Verilator's lint (-Wall) on it")
    options = parser.parse_args(arguments)

    top = f"tegula_{options.preset}"
    print(f"verilog: elaborating preset {options.preset}", file=sys.stderr)
    output = options.output or cache_root() / "verilog" / f"{top}.v"
    output.parent.mkdir(parents=True, exist_ok=True)
    text = tile_verilog(preset(options.preset)).read_text()
    write_text(output, text)
    modules = sum(line.startswith("module ") for line in text.splitlines())
    print(f"verilog: {output}: top module {top}, {modules} modules")
    if not options.lint:
        return 0
    print(f"lint: verilator --lint-only -Wall, waivers in {_WAIVERS.name}", file=sys.stderr)
    command = [*verilator_command(), "--lint-only", "-Wall", "--top-module", top]
    lint = subprocess.run([*command, str(_WAIVERS), str(output)], env=verilator_environment())
    print(f"lint: {'clean' if lint.returncode == 0 else 'NOT clean'}")
    return min(lint.returncode, 1)


if __name__ == "__main__":
    sys.exit(exit_code("verilog", main))
