"""Compile a toplevel once with Verilator and cocotb, and run bench modules on it."""

import hashlib
import inspect
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

from amaranth.lib import wiring
from cocotb_tools.runner import Verilator

import tegula
from tegula.backend.verilog import emit_verilog, tile_verilog
from tegula.config import TileConfig
from verif import ROOT
from verif.benches import tops
from verif.benches.testbench import CLOCK_NS

__all__ = ["OUTPUT", "BuildError", "Simulation", "TestOutcome", "prepare_environment"]

OUTPUT = ROOT / "build" / "benches"
"""Folder of compiled toplevels, logs, waves and results."""

_VERILATOR_ARGS = (
    *("--no-public-flat-rw", "-O3", "--x-assign", "fast", "--x-initial", "fast"),
    *("--no-timing", "--timescale", "1ns/1ps", "-Wno-fatal", "-Wno-lint", "-Wno-style"),
)
"""Benches see ports only, for the runner's `--public-flat-rw` triples the code. Lint has its own
target."""

_RUNTIME_OBJECTS = ("verilated", "verilated_dpi", "verilated_threads", "verilated_vpi")
"""Verilator's own objects, which are the same in every build."""

_locks: dict[str, threading.Lock] = {}
_locks_lock = threading.Lock()


class BuildError(RuntimeError):
    """A toplevel could not be compiled; the message names the log."""


@dataclass(frozen=True, kw_only=True)
class TestOutcome:
    """Result of one test: `cycles` of the clock, `message` empty where it passed."""

    test: str
    cycles: int
    seconds: float
    message: str


def prepare_environment() -> None:
    """Let the runner find Verilator, and let its makefiles compile (see scripts/shims/verilator).

    The value of MAKEFLAGS also cuts the ties with the job server of a surrounding `make`.
    """
    shims = ROOT / "scripts" / "shims"
    os.environ["PATH"] = os.pathsep.join([str(shims), os.environ["PATH"]])
    os.environ["MAKEFLAGS"] = "CFG_CXXFLAGS_PCH_I=-include"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _lock(name: str) -> threading.Lock:
    with _locks_lock:
        return _locks.setdefault(name, threading.Lock())


class Simulation:
    """A toplevel with a configuration, compiled at first use and cached by content.

    Parameters
    ----------
    top
        Name of a component class of `tops`, or "Tile".
    config
        Its parameter; `config.name` is the name of a preset.
    waves
        Whether runs write `dump.vcd`.
    """

    def __init__(self, top: str, config: TileConfig, *, waves: bool = False):
        self._top, self._config, self._waves = top, config, waves
        self.name = f"{top}_{config.name}"

    def _verilog(self) -> tuple[Path, str]:
        """The Verilog and its top module, emitted where the sources have changed."""
        if self._top == "Tile":
            return tile_verilog(self._config), f"tegula_{self._config.name}"
        package = Path(tegula.__file__).parent
        sources = [file.read_text() for file in sorted(package.rglob("*.py"))]
        key = _digest(repr(self._config), inspect.getsource(tops), version("amaranth"), *sources)
        path = OUTPUT / "verilog" / f"{self.name}_{key}.v"
        if not path.exists():
            component: Callable[[TileConfig], wiring.Component] = getattr(tops, self._top)
            emit_verilog(component(self._config), path, name=self.name)
        return path, self.name

    def build(self) -> Path:
        """The directory of the compiled simulation.

        Raises
        ------
        BuildError
            If Verilator or the C++ compiler fails.
        """
        with _lock(self.name):
            verilog, module = self._verilog()
            versions = (version("verilator"), version("cocotb"))
            key = _digest(verilog.read_text(), *versions, *_VERILATOR_ARGS, str(self._waves))
            folder = OUTPUT / "sim" / f"{self.name}_{key}"
            if not (folder / ".complete").exists():
                self._compile(verilog, module, folder)
                (folder / ".complete").touch()
            return folder

    def _compile(self, verilog: Path, module: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        ports = folder / "ports.vlt"
        ports.write_text(f'`verilator_config\npublic_flat_rw -module "{module}" -port "*"\n')
        runtime = OUTPUT / "sim" / f"runtime_{version('verilator')}_{int(self._waves)}"
        with _lock("runtime"):
            for objects in _runtime_files(runtime):
                shutil.copy(objects, folder)
        try:
            Verilator().build(
                sources=[verilog, ports],
                hdl_toplevel=module,
                build_dir=folder,
                build_args=_VERILATOR_ARGS,
                waves=self._waves,
                log_file=folder / "build.log",
            )
        except RuntimeError as error:
            raise BuildError(f"{self.name} does not compile: see {folder / 'build.log'}") from error
        with _lock("runtime"):
            runtime.mkdir(exist_ok=True)
            for objects in _runtime_files(folder):
                if not (runtime / objects.name).exists():
                    shutil.copy(objects, runtime)

    def run(self, module: str, tests: list[str], seed: int) -> tuple[list[TestOutcome], Path]:
        """Run tests of a bench module; the outcomes, and the log.

        Tests that did not come to an end are missing in the outcomes.
        """
        folder = self.build()
        test_dir = OUTPUT / "run" / f"{module}_{self._config.name}"
        test_dir.mkdir(parents=True, exist_ok=True)
        log, results = test_dir / "run.log", test_dir / "results.xml"
        results.unlink(missing_ok=True)
        names = "|".join(tests)
        try:
            Verilator().test(
                test_module=module,
                hdl_toplevel=self._verilog()[1],
                hdl_toplevel_lang="verilog",
                build_dir=folder,
                test_dir=test_dir,
                results_xml=str(results),
                test_filter=rf"\.({names})$",
                seed=seed,
                waves=self._waves,
                log_file=log,
                extra_env={"TEGULA_PRESET": self._config.name, "COCOTB_ANSI_OUTPUT": "0"},
            )
        except RuntimeError:  # a failed test or a crash: the results say which
            pass
        return _read_results(results), log


def _runtime_files(folder: Path) -> list[Path]:
    return [path for name in _RUNTIME_OBJECTS if (path := folder / f"{name}.o").exists()]


def _read_results(path: Path) -> list[TestOutcome]:
    if not path.exists():
        return []
    outcomes = []
    for case in ElementTree.parse(path).iter("testcase"):
        bad = case.find("failure")
        bad = case.find("error") if bad is None else bad
        skipped = case.find("skipped") is not None
        message = "" if bad is None else bad.get("message") or "failed"
        properties = {p.get("name"): p.get("value") for p in case.iter("property")}
        outcomes.append(
            TestOutcome(
                test=case.get("name", ""),
                cycles=round(float(properties.get("sim_time_duration", 0)) / CLOCK_NS),
                seconds=float(case.get("time", 0)),
                message="skipped" if skipped else message,
            )
        )
    return outcomes
