"""What runs on a Tegula tile: the public interface.

A name is imported when it is first used, so that `import tegula_sw` costs nothing. The examples
below, and those of each function, run in the tests.

Configurations and formats
    `TileConfig`, `PRESETS`, `preset`; `FloatFormat`, `format_by_name`, `BF16`, `E4M3FN`, `E5M2`,
    `FP32`; `tile_verilog` writes the hardware.

>>> import tegula_sw as tsw
>>> sorted(tsw.PRESETS)
['ecp5', 'medium', 'small', 'tiny']
>>> tsw.preset("tiny", sbuf_depth=4096).sbuf_bytes
32768
>>> tsw.TileConfig(n=16).peak_macs_per_cycle
256
>>> tsw.format_by_name("bf16") == tsw.BF16
True

Devices
    `open_device`, or the classes `GoldenDevice` and `RtlDevice`: both are a `Device`, whose `run`
    gives a `RunResult`. `TileTrapError` is what jobs raise where a program traps.

Jobs on arrays
    `matmul` (with a `GemmReport`), `evaluate`, `to_codes`, `to_floats`.

>>> import numpy as np
>>> device = tsw.open_device("golden", "tiny")
>>> c, report = tsw.matmul(device, np.eye(3), np.full((3, 2), 0.1), format_out="bf16")
>>> tsw.to_floats(c, "bf16")[0]
array([0.10009766, 0.10009766], dtype=float32)

Programs from text
    `assemble` and `disassemble` (docs/isa.md); a `MemoryImage` lays out operands and program.

>>> image = tsw.MemoryImage()
>>> result = image.reserve(16)
>>> text = f'''
... vector.compute rows=4 columns=8 x_source=index op0=sub s0=0x4b000000 format=bf16 dst=0
... vector.sync signal(0+=1)
... store.dma layout=free mem_addr={result} run=8 sbuf_addr=0 wait(0>=1)
... halt
... '''
>>> code = tsw.assemble(text)
>>> tsw.assemble(tsw.disassemble(code)) == code
True
>>> program = image.add(code)
>>> memory = image.build()
>>> device.run(memory, program=program, program_bytes=len(code)).trap is None
True
>>> tsw.to_floats(image.read(memory, result, np.uint16, (8,)), tsw.BF16)
array([0., 1., 2., 3., 4., 5., 6., 7.], dtype=float32)

Programs from Python
    `Program` has a method for each instruction and takes care of semaphores; `KernelBuilder` places
    matrices and orders instructions by what depends on what. `Step`, `PerPartition` and `SELF` are
    operands of its vector instructions, `TableRecords` are the functions of its table.

>>> image = tsw.MemoryImage()
>>> b = tsw.KernelBuilder(device.config)
>>> x = b.scratchpad.matrix("x", 4, 3, tsw.FP32)
>>> b.load(x, image.add(np.arange(12, dtype=np.float32)))
>>> b.compute(x.strip(), x.strip(), tsw.Step("mul", 2.0), tsw.Step("add", 1.0))
>>> b.store(x, result := image.reserve(48))
>>> code = b.assemble()
>>> program = image.add(code)
>>> memory = image.build()
>>> device.run(memory, program=program, program_bytes=len(code)).trap is None
True
>>> image.read(memory, result, np.float32, (4, 3))[3]
array([19., 21., 23.], dtype=float32)

Training
    `train` with `TrainingSettings`, on a data set that the extra `training` brings.
"""

from importlib import import_module

TYPE_CHECKING = False  # type checkers know the name; `typing` takes time before `tegula` can start
if TYPE_CHECKING:
    from tegula.backend.verilog import tile_verilog
    from tegula.config import PRESETS, TileConfig, preset
    from tegula.formats import BF16, E4M3FN, E5M2, FP32, FloatFormat, format_by_name
    from tegula.isa.assembly import assemble, disassemble
    from tegula_sw.api import evaluate, matmul, open_device, to_codes, to_floats
    from tegula_sw.devices.base import Device, RunResult, TileTrapError
    from tegula_sw.devices.golden import GoldenDevice
    from tegula_sw.devices.rtl.device import RtlDevice
    from tegula_sw.functions.loading import TableRecords
    from tegula_sw.gemm.run import GemmReport
    from tegula_sw.kernels.builder import KernelBuilder
    from tegula_sw.kernels.operands import SELF, PerPartition, Step
    from tegula_sw.program.program import MemoryImage, Program
    from tegula_sw.training.parameters import TrainingSettings
    from tegula_sw.training.run import train

__all__ = [
    "BF16",
    "E4M3FN",
    "E5M2",
    "FP32",
    "PRESETS",
    "SELF",
    "Device",
    "FloatFormat",
    "GemmReport",
    "GoldenDevice",
    "KernelBuilder",
    "MemoryImage",
    "PerPartition",
    "Program",
    "RtlDevice",
    "RunResult",
    "Step",
    "TableRecords",
    "TileConfig",
    "TileTrapError",
    "TrainingSettings",
    "assemble",
    "disassemble",
    "evaluate",
    "format_by_name",
    "matmul",
    "open_device",
    "preset",
    "tile_verilog",
    "to_codes",
    "to_floats",
    "train",
]

_NAMES = {
    "tegula.backend.verilog": "tile_verilog",
    "tegula.config": "PRESETS TileConfig preset",
    "tegula.formats": "BF16 E4M3FN E5M2 FP32 FloatFormat format_by_name",
    "tegula.isa.assembly": "assemble disassemble",
    "tegula_sw.api": "evaluate matmul open_device to_codes to_floats",
    "tegula_sw.devices.base": "Device RunResult TileTrapError",
    "tegula_sw.devices.golden": "GoldenDevice",
    "tegula_sw.devices.rtl.device": "RtlDevice",
    "tegula_sw.functions.loading": "TableRecords",
    "tegula_sw.gemm.run": "GemmReport",
    "tegula_sw.kernels.builder": "KernelBuilder",
    "tegula_sw.kernels.operands": "SELF PerPartition Step",
    "tegula_sw.program.program": "MemoryImage Program",
    "tegula_sw.training.parameters": "TrainingSettings",
    "tegula_sw.training.run": "train",
}
"""Public names by the module that defines them."""

_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    """A public name, at its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
