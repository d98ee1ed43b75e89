"""Tile programs and memory images.

A `Program` keeps one rule: **only instructions earlier in the program ever satisfy a wait.**
Dispatch is in order and queues are bounded, so a program that breaks the rule can hold the
instruction that would end a wait behind the instruction that waits; one that keeps it cannot
deadlock, whatever the depth of the queues. (Proof: take the first instruction, in program order,
that never starts. All before it have completed, so its queue drains up to it and its semaphore has
received all signals of earlier instructions, which the rule says are enough.) The rule is ours.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tegula.config import TileConfig, check_config
from tegula.isa.codec import FieldValue, encode
from tegula.isa.instructions import GRANULE_BYTES, INSTRUCTIONS, PC_BITS, Engine, by_mnemonic
from tegula_golden.arguments import check_integer
from tegula_golden.array_types import Bytes
from tegula_sw.program.loops import LoopBuilder, Register, relative_slots

_Scalar = TypeVar("_Scalar", bound=np.generic)

__all__ = [
    "ALIGNMENT_BYTES",
    "MAX_GRANULES",
    "MemoryImage",
    "Program",
    "Semaphore",
    "Signal",
    "Wait",
]

ALIGNMENT_BYTES = 64
"""Programs begin at multiples of this (register PROGRAM_LOW); buffers do too."""

MAX_GRANULES = 1 << PC_BITS
"""Longest program."""


@dataclass(frozen=True)
class Wait:
    """Wait until `semaphore` is at least `value`; then subtract `value` if `consume`."""

    semaphore: "Semaphore"
    value: int
    consume: bool = False


@dataclass(frozen=True)
class Signal:
    """Add `value` to `semaphore` at completion."""

    semaphore: "Semaphore"
    value: int


@dataclass(frozen=True)
class Semaphore:
    """A counting semaphore of a `Program`; zero when the program starts."""

    name: str
    index: int

    def at_least(self, value: int, *, consume: bool = False) -> Wait:
        """A wait for this semaphore."""
        return Wait(self, value, consume)

    def add(self, value: int = 1) -> Signal:
        """A signal to this semaphore."""
        return Signal(self, value)


@dataclass
class _Account:
    """Totals of a semaphore from earlier instructions, and the engines that wait on it."""

    signalled: int = 0
    consumed: int = 0
    waiters: frozenset[Engine] = frozenset()


@lru_cache(maxsize=1 << 16)
def _encode(mnemonic: str, config: TileConfig, fields: tuple[tuple[str, FieldValue], ...]) -> bytes:
    return encode(mnemonic, config, **dict(fields))


class Program:
    """Instructions in program order.

    The method for instruction `a.b` is `a_b`; all take `wait=`, `signal=`, the fields of the
    instruction by name (docs/isa.md), and `relative=`, registers by the names of the fields that
    they are added to. `control` has those of control: ``with program.control.loop(8): ...``.

    Parameters
    ----------
    config
        The tile that the program is for.

    Raises
    ------
    ValueError
        From `semaphore` when the tile has no more; from an instruction's method when a field is
        missing, unknown or out of the tile's limits, or when its wait breaks the rule above; from
        `assemble` when the program is longer than the tile can address.
    """

    def __init__(self, config: TileConfig):
        self.config = check_config(config)
        self._code: list[bytes] = []
        self._granules = 0
        self._semaphores: dict[str, Semaphore] = {}
        self._accounts: dict[Semaphore, _Account] = {}
        self.control = LoopBuilder(self)

    def __len__(self) -> int:
        """Number of instructions."""
        return len(self._code)

    @property
    def size_bytes(self) -> int:
        """Size of the program so far."""
        return self._granules * GRANULE_BYTES

    @property
    def free_semaphores(self) -> int:
        """Semaphores that are not yet allocated."""
        return self.config.semaphores - len(self._semaphores)

    def semaphore(self, name: str) -> Semaphore:
        """Allocate the next free semaphore under a name of its own."""
        if not isinstance(name, str):
            raise ValueError(f"a semaphore's name must be a str, not {name!r}")
        if name in self._semaphores:
            raise ValueError(f"semaphore {name!r} exists already")
        if not self.free_semaphores:
            raise ValueError(
                f"no semaphore is left for {name!r}: tile {self.config.name!r} has"
                f" {self.config.semaphores}"
            )
        semaphore = Semaphore(name, len(self._semaphores))
        self._semaphores[name] = semaphore
        self._accounts[semaphore] = _Account()
        return semaphore

    def emit(
        self,
        mnemonic: str,
        *,
        wait: Wait | None = None,
        signal: Signal | None = None,
        relative: Mapping[str, Register] | None = None,
        **fields: FieldValue,
    ) -> None:
        """Append an instruction, behind the `control.relative` that adds registers to fields."""
        instruction = by_mnemonic(mnemonic)
        if relative:
            self._append("control.relative", relative_slots(instruction, relative))
        if wait is not None:
            if not isinstance(wait, Wait):
                raise ValueError(f"{mnemonic}: wait must be a Wait (at_least()), not {wait!r}")
            self._account_wait(mnemonic, instruction.engine, wait)
            fields |= {
                "wait": 1,
                "consume": int(wait.consume),
                "wait_sem": wait.semaphore.index,
                "wait_value": wait.value,
            }
        if signal is not None:
            if not isinstance(signal, Signal):
                raise ValueError(f"{mnemonic}: signal must be a Signal (add()), not {signal!r}")
            if check_integer(f"{mnemonic}: signal's value", signal.value) < 1:
                raise ValueError(f"{mnemonic}: a signal must add at least 1, not {signal.value}")
            self._account(signal.semaphore).signalled += signal.value
            fields |= {
                "signal": 1,
                "signal_sem": signal.semaphore.index,
                "signal_value": signal.value,
            }
        self._append(mnemonic, fields)

    def _append(self, mnemonic: str, fields: Mapping[str, FieldValue]) -> None:
        self._code.append(_encode(mnemonic, self.config, tuple(sorted(fields.items()))))
        self._granules += by_mnemonic(mnemonic).granules

    def _account(self, semaphore: Semaphore) -> _Account:
        if semaphore not in self._accounts:
            known = ", ".join(self._semaphores) or "none"
            raise ValueError(f"semaphore must be one of the program's ({known}), not {semaphore!r}")
        return self._accounts[semaphore]

    def _account_wait(self, mnemonic: str, engine: Engine, wait: Wait) -> None:
        check_integer(f"{mnemonic}: wait's value", wait.value)
        account = self._account(wait.semaphore)
        available = account.signalled - account.consumed
        name = wait.semaphore.name
        if wait.value > available:
            raise ValueError(
                f"{mnemonic} waits for {wait.value} on semaphore {name!r}, but the instructions"
                f" before it leave only {available}: it could never start"
            )
        account.waiters |= {engine}
        account.consumed += wait.value if wait.consume else 0
        if account.consumed and len(account.waiters) > 1:
            raise ValueError(
                f"{mnemonic}: semaphore {name!r} is consumed, so only one engine may wait on it"
            )

    def totals(self) -> dict[Semaphore, tuple[int, int]]:
        """What the instructions so far signal and consume, by semaphore."""
        return {each: (sums.signalled, sums.consumed) for each, sums in self._accounts.items()}

    def repeat(self, before: Mapping[Semaphore, tuple[int, int]], times: int) -> None:
        """Account for a body, behind the instructions that had the totals `before`.

        Raises
        ------
        ValueError
            If it consumes more of a semaphore than it signals.
        """
        for semaphore, sums in self._accounts.items():
            signalled, consumed = before.get(semaphore, (0, 0))
            signalled, consumed = sums.signalled - signalled, sums.consumed - consumed
            if consumed > signalled:
                raise ValueError(
                    f"the body of a loop consumes {consumed} of semaphore {semaphore.name!r} and"
                    f" signals {signalled}: the next iteration could never start"
                )
            sums.signalled += (times - 1) * signalled
            sums.consumed += (times - 1) * consumed

    def halt(self) -> None:
        """Append `halt`, the last instruction."""
        self.emit("halt")

    def assemble(self) -> bytes:
        """The program as bytes, a multiple of 16."""
        if self._granules > MAX_GRANULES:
            raise ValueError(
                f"the program has {self._granules} granules: at most {MAX_GRANULES} fit"
            )
        return b"".join(self._code)


def _method(mnemonic: str) -> Callable[..., None]:
    """The method of `Program` that appends this instruction."""

    def append(
        self: Program,
        *,
        wait: Wait | None = None,
        signal: Signal | None = None,
        relative: Mapping[str, Register] | None = None,
        **fields: FieldValue,
    ) -> None:
        self.emit(mnemonic, wait=wait, signal=signal, relative=relative, **fields)

    append.__name__ = mnemonic.replace(".", "_")
    append.__doc__ = f"Append `{mnemonic}`."
    return append


for _instruction in INSTRUCTIONS:
    if _instruction.has_sync:
        _name = _instruction.mnemonic.replace(".", "_")
        setattr(Program, _name, _method(_instruction.mnemonic))


class MemoryImage:
    """Buffers laid out in a device's memory, each at a multiple of `ALIGNMENT_BYTES`.

    Reserve the operands and results first, build the program with their addresses, add it last,
    then `build` the memory.

    Parameters
    ----------
    base
        Address of the first byte, a multiple of `ALIGNMENT_BYTES`.

    Raises
    ------
    ValueError
        If `base` or a size is out of range, or a content is neither bytes nor numbers.
    """

    def __init__(self, base: int = 0):
        if check_integer("base", base) < 0 or base % ALIGNMENT_BYTES:
            raise ValueError(f"base must be a multiple of {ALIGNMENT_BYTES}, not {base}")
        self.base = int(base)
        self._end = self.base
        self._fill: list[Callable[[Bytes], None]] = []

    @property
    def size_bytes(self) -> int:
        """Bytes laid out so far."""
        return self._end - self.base

    def reserve(self, size_bytes: int) -> int:
        """Address of a new buffer of zeros."""
        size_bytes = check_integer("size_bytes", size_bytes, 0)
        address = self._end
        self._end += -(-size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
        return address

    def add(self, content: NDArray[np.generic] | bytes) -> int:
        """Address of a new buffer that holds `content`'s bytes in C order, little-endian."""
        if isinstance(content, bytes):
            content = np.frombuffer(content, np.uint8)
        content = np.ascontiguousarray(content)
        if content.dtype.hasobject or content.dtype.kind in "OSU":
            raise ValueError(f"content must be bytes or numbers, not of dtype {content.dtype}")
        address = self.reserve(content.nbytes)
        start = address - self.base

        def fill(memory: Bytes) -> None:
            memory[start : start + content.nbytes] = content.reshape(-1).view(np.uint8)

        self._fill.append(fill)
        return address

    def build(self) -> Bytes:
        """The memory: uint8, shape (`size_bytes`,); byte i is at address `base + i`."""
        memory = np.zeros(self.size_bytes, np.uint8)
        for fill in self._fill:
            fill(memory)
        return memory

    def read(
        self,
        memory: Bytes,
        address: int,
        dtype: type[_Scalar] | np.dtype[_Scalar],
        shape: tuple[int, ...],
    ) -> NDArray[_Scalar]:
        """A copy of the array of `dtype` and `shape` at `address` of a built memory."""
        start = check_integer("address", address, self.base) - self.base
        size_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return memory[start : start + size_bytes].view(dtype).reshape(shape).copy()
