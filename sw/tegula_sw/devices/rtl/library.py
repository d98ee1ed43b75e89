"""The compiled harness (`tile_harness.cpp`) as a Python object."""

import ctypes
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tegula.files import replacing
from tegula_golden.array_types import Bytes
from tegula_sw.devices.rtl.coupling import Coupling

__all__ = ["CHANGE", "FAULT_RESPONSES", "ProtocolError", "TileLibrary"]

CHANGE = np.dtype([("cycle", np.uint64), ("word", np.uint64)])
"""`Change` of `trace_log.h`: a word, and the cycle from which on it holds."""

FAULT_RESPONSES = {"slverr": 2, "decerr": 3}
"""Names of AXI error responses, and their codes (IHI 0022H, A3.4.4)."""

_CType = type["ctypes._CDataType"]
_U64 = ctypes.c_uint64
_SIGNATURES: dict[str, tuple[_CType | None, list[_CType]]] = {
    "tile_new": (ctypes.c_void_p, [_U64, _U64, _U64, ctypes.c_void_p, ctypes.c_int]),
    "tile_delete": (ctypes.c_int, []),
    "tile_memory": (None, [ctypes.c_void_p, _U64, _U64]),
    "tile_faults": (None, [ctypes.c_void_p, _U64]),
    "tile_write": (ctypes.c_int, [ctypes.c_uint32, ctypes.c_uint32]),
    "tile_read": (ctypes.c_int, [ctypes.c_uint32, ctypes.POINTER(ctypes.c_uint32)]),
    "tile_step": (ctypes.c_int, [_U64]),
    "tile_run": (ctypes.c_int, [_U64]),
    "tile_irq": (ctypes.c_int, []),
    "tile_take_moved": (ctypes.c_int, []),
    "tile_clear_counts": (None, []),
    "tile_cycle": (_U64, []),
    "tile_read_beats": (_U64, []),
    "tile_write_beats": (_U64, []),
    "tile_coupled": (_U64, []),
    "tile_trace_start": (None, []),
    "tile_trace_stop": (None, []),
    "tile_trace_size": (_U64, []),
    "tile_trace_changes": (_U64, [ctypes.c_uint32, ctypes.POINTER(ctypes.c_void_p)]),
    "tile_message": (ctypes.c_char_p, []),
}
"""Result and arguments after the handle, as `tile_harness.cpp` declares them."""


class ProtocolError(RuntimeError):
    """The tile broke a rule of AXI4 or of its register port: a bug of the tile."""


class TileLibrary:
    """One Verilated tile, out of reset, with its memory model.

    Parameters
    ----------
    path
        From `tegula_sw.devices.rtl.build.build_library`.
    mem_latency
        Cycles from an accepted read address to its first beat, and from the last write beat to its
        response; at least 1.
    stall
        Probability that a channel of the memory does nothing in a cycle, 0 to below 1.
    seed
        Of the stalls and of what is random in `coupling`.
    coupling
        Dependences between the memory's channels.
    waves
        VCD file to write, if the library was built for it; it is replaced by `close`.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    OSError
        If no waves can be written there.
    """

    def __init__(
        self,
        path: Path,
        *,
        mem_latency: int,
        stall: float,
        seed: int,
        coupling: Coupling,
        waves: Path | None,
    ):
        self._handle = None
        if not 1 <= mem_latency <= 1 << 20:
            raise ValueError(f"mem_latency must be 1 to {1 << 20} cycles, not {mem_latency}")
        if not 0 <= stall < 1:
            raise ValueError(f"stall must be 0 to below 1, not {stall}")
        if not 0 <= seed < 1 << 64:
            raise ValueError(f"seed must be 0 to 2**64 - 1, not {seed}")
        self._library = ctypes.CDLL(str(path))
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(self._library, name)
            function.restype = result
            function.argtypes = arguments if name == "tile_new" else [ctypes.c_void_p, *arguments]
        self._memory: Bytes | None = None
        self._waves = ExitStack()
        descriptor = -1
        if waves is not None:
            descriptor = self._waves.enter_context(replacing(waves)).fileno()
        words = np.array(coupling.words(), np.uint64)
        self._handle = self._library.tile_new(
            mem_latency, int(stall * 2**32), seed, words.ctypes.data, descriptor
        )

    def close(self) -> None:
        """Free the tile; a wave file is there only then.

        Raises
        ------
        OSError
            If the waves could not be written.
        """
        if self._handle is not None:
            error = self._library.tile_delete(self._handle)
            self._handle = None
            with self._waves:
                if error:
                    raise OSError(error, os.strerror(error))

    def __del__(self) -> None:
        self.close()

    def attach(self, memory: Bytes, base: int) -> None:
        """Answer the AXI4 port from `memory` (uint8, contiguous), first byte at address `base`."""
        self._memory = memory
        self._library.tile_memory(self._handle, memory.ctypes.data, memory.size, base)

    def set_faults(self, faults: Sequence[tuple[int, int, str]]) -> None:
        """Answer beats that touch bytes first..last of a (first, last, response) with it."""
        rows = np.array(
            [(first, last, FAULT_RESPONSES[name]) for first, last, name in faults], dtype=np.uint64
        ).reshape(-1, 3)
        self._library.tile_faults(self._handle, rows.ctypes.data, len(rows))

    def write(self, offset: int, value: int) -> bool:
        """Write a register through the AXI4-Lite port; False: it was answered with SLVERR."""
        return self._checked(self._library.tile_write(self._handle, offset, value)) == 0

    def read(self, offset: int) -> int:
        """Read a register through the AXI4-Lite port."""
        value = ctypes.c_uint32()
        self._checked(self._library.tile_read(self._handle, offset, ctypes.byref(value)))
        return value.value

    def step(self, cycles: int) -> None:
        """Let `cycles` clock cycles pass."""
        self._checked(self._library.tile_step(self._handle, cycles))

    def run(self, cycles: int) -> bool:
        """Let at most `cycles` clock cycles pass; True if the interrupt came."""
        return self._checked(self._library.tile_run(self._handle, cycles)) == 1

    @property
    def irq(self) -> bool:
        """The interrupt pin."""
        return bool(self._library.tile_irq(self._handle))

    @property
    def cycle(self) -> int:
        """Clock cycles since power-up."""
        return int(self._library.tile_cycle(self._handle))

    def take_moved(self) -> bool:
        """True if a beat was transferred on the AXI4 port since the last call."""
        return bool(self._library.tile_take_moved(self._handle))

    def clear_counts(self) -> None:
        """Count beats from here on."""
        self._library.tile_clear_counts(self._handle)

    @property
    def beats(self) -> tuple[int, int]:
        """Read and write beats transferred since `clear_counts`."""
        library, handle = self._library, self._handle
        return library.tile_read_beats(handle), library.tile_write_beats(handle)

    @property
    def coupled(self) -> int:
        """Cycles in which something waited for the coupling, and beats that overtook others."""
        return int(self._library.tile_coupled(self._handle))

    def start_trace(self) -> None:
        """Forget the changes that were kept; keep them from here on, if the library can."""
        self._library.tile_trace_start(self._handle)

    def stop_trace(self) -> None:
        """Keep no more changes."""
        self._library.tile_trace_stop(self._handle)

    @property
    def trace_size(self) -> int:
        """Changes kept, of all ports."""
        return int(self._library.tile_trace_size(self._handle))

    def trace_changes(self, port: int) -> NDArray[np.void]:
        """Changes of a port (`tegula.engine.trace.PORTS`), as `CHANGE`; counted as `cycle`."""
        start = ctypes.c_void_p()
        count = self._library.tile_trace_changes(self._handle, port, ctypes.byref(start))
        if not count:
            return np.empty(0, CHANGE)
        buffer = (ctypes.c_char * (count * CHANGE.itemsize)).from_address(start.value)
        return np.frombuffer(buffer, CHANGE).copy()

    def _checked(self, status: int) -> int:
        if status < 0:
            raise ProtocolError(self._library.tile_message(self._handle).decode())
        return status
