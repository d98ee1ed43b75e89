"""Shared library of a component: Yosys, Verilator and one run of the C++ compiler.

A model begins as after a reset: registers without one (`scrambled.marked`) hold what a seed says.

Libraries are kept in `cache_root() / "units"`, by key and by content: the key saves elaboration,
the content saves compilation where the sources have changed elsewhere.
"""

import fcntl
import inspect
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from amaranth.lib import wiring

from tegula.backend.cache import cache_root, digest
from tegula.backend.verilog import emit_verilog
from tegula.files import install
from tegula_sw.devices.rtl.build import verilator_command, verilator_environment
from verif.support.scrambled import MARK

__all__ = ["build_model"]

_VERILATOR_FLAGS = (
    *("--cc", "--prefix", "Vtop", "--top-module", "top", "-O3", "--no-timing"),
    *("--x-assign", "fast", "--x-initial", "unique", "-Wno-fatal", "-Wno-lint", "-Wno-style"),
)
_COMPILER_FLAGS = ("-std=c++17", "-fPIC", "-O0", "-DVERILATOR=1", "-DVM_TRACE=0", "-DVM_COVERAGE=0")
"""Few cycles are run, so that compilation is what takes time."""

_RUNTIME = ("verilated.cpp", "verilated_threads.cpp")

_HARNESS = """
#include <cstring>
#include "Vtop.h"
extern "C" {{
void* model_new(int fill) {{
    Verilated::randReset(fill > 0 ? 2 : -fill);
    if (fill > 0) Verilated::randSeed(fill);
    Vtop* top = new Vtop;
    top->clk = top->rst = 0;
    {idle}
    return top;
}}
void model_delete(Vtop* top) {{ top->final(); delete top; }}
void model_eval(Vtop* top) {{ top->eval(); }}
void model_tick(Vtop* top) {{ top->clk = 1; top->eval(); top->clk = 0; top->eval(); }}
void* model_port(Vtop* top, int index) {{
    void* ports[] = {{ {ports} }};
    return ports[index];
}}
}}
"""


def build_model(component: wiring.Component, names: Sequence[str], key: str) -> Path:
    """Shared library of `component`, whose ports have these names, made where `key` is new.

    Raises
    ------
    RuntimeError
        If Verilator or the compiler fails, with the end of its messages.
    """
    members = ["top->" + name.replace("__", "___05F") for name in names]
    harness = _HARNESS.format(
        ports=", ".join("&" + member for member in members),
        idle=" ".join(f"std::memset(&{member}, 0, sizeof {member});" for member in members),
    )
    flags = (*_VERILATOR_FLAGS, *_COMPILER_FLAGS, version("verilator"))
    flags += (inspect.getsource(_without_initial_values),)
    name = type(component).__name__

    def make(folder: Path) -> Path:
        verilog = emit_verilog(component, folder / "top.v", name="top")
        content = digest(verilog.read_text(), harness, *flags)
        library = _made_once(
            _folder() / f"{name}_{content}.so", lambda made: _compile(verilog, harness, made)
        )
        os.link(library, folder / "model.so")
        return folder / "model.so"

    return _made_once(_folder() / f"{name}_{digest(key, harness, *flags)}.so", make)


def _folder() -> Path:
    folder = cache_root() / "units"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _made_once(path: Path, make: Callable[[Path], Path]) -> Path:
    """`path`, the file that `make` returns in an empty folder; processes take turns."""
    if not path.exists():
        with open(path.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                    install(make(Path(folder)), path)
    return path


def _compile(verilog: Path, harness: str, folder: Path) -> Path:
    """Library of model and harness, one unit: Verilator's headers are long and parsed once."""
    verilog.write_text(_without_initial_values(verilog.read_text()))
    command = [*verilator_command(), *_VERILATOR_FLAGS, "--Mdir", str(folder), str(verilog)]
    _run(command)
    parts = "".join(f'#include "{part.name}"\n' for part in sorted(folder.glob("Vtop*.cpp")))
    source = folder / "model.cpp"
    source.write_text(parts + harness)
    runtime = [
        _made_once(
            _folder() / f"{Path(part).stem}_{version('verilator')}.o",
            lambda made, part=part: _object(_include() / part, made),
        )
        for part in _RUNTIME
    ]
    library = folder / "model.so"
    _run([*_compiler(), "-shared", str(source), *map(str, runtime), "-o", str(library)])
    return library


def _without_initial_values(verilog: str) -> str:
    """`verilog` (as `emit_verilog` writes it) whose registers without reset begin as anything."""
    text, count = re.subn(rf"^(  reg [^=;]*{MARK}[^=;]*) = .*;$", r"\1;", verilog, flags=re.M)
    assert count or MARK not in verilog
    return text


def _object(source: Path, folder: Path) -> Path:
    result = folder / "part.o"
    _run([*_compiler(), "-c", str(source), "-o", str(result)])
    return result


def _include() -> Path:
    return Path(verilator_environment()["VERILATOR_ROOT"]) / "include"


def _compiler() -> list[str]:
    include = _include()
    return [os.environ.get("CXX", "g++"), *_COMPILER_FLAGS, f"-I{include}", f"-I{include}/vltstd"]


def _run(command: list[str]) -> None:
    environment = verilator_environment()
    run = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace")
    if run.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{run.stderr[-2000:]}")
