"""Placement of semaphores: instructions in sequential order become concurrent streams.

A kernel writes instructions one after the other, as if each were complete before the next begins.
`order` finds out which of them really depend on each other: they access the same word of the
scratchpad or of PSUM, or the same bytes of memory, and at least one of them writes. Where two
engines are involved, and nothing that has been waited for before implies the order (vector clocks:
Fidge 1988, Mattern 1989), the earlier instruction signals and the later one waits. An instruction
carries one wait and one signal; what more there is goes into `sync` instructions beside it.

Each pair of engines has a semaphore of its own, so that counts are unambiguous. A pair that gets
none, because the tile has no more, is relayed by an engine that has pairs with both.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from tegula.config import TileConfig
from tegula.isa.codec import Decoded, decode, encode
from tegula.isa.instructions import ENGINES, Engine, by_mnemonic
from tegula.isa.tensor import STATIONARY_LOADS
from tegula_golden.array_types import Integers
from tegula_sw.program.footprint import (
    Access,
    Storage,
    WordIndex,
    accesses,
    memory_span,
    overwrites_operand,
)
from tegula_sw.program.program import Program, Semaphore
from tegula_sw.program.schedule import Op, emit_merged

__all__ = ["assemble_ordered", "order"]

Pair = tuple[Engine, Engine]
"""Engine that signals, engine that waits."""


@dataclass(eq=False)
class _Node:
    """An instruction in its engine's stream.

    Attributes
    ----------
    op
        The instruction.
    index
        Its number in the stream, from 1 on.
    clock
        By engine: instructions that are complete when this one is, its own index among them.
    waits, signals
        Pairs for whose semaphore it waits, once each, and that it signals.
    """

    op: Op
    index: int
    clock: Integers
    waits: list[Pair] = field(default_factory=list)
    signals: list[Pair] = field(default_factory=list)

    @property
    def signals_in_order(self) -> bool:
        """True if its signal comes after those of all before it in its engine."""
        return self.op.mnemonic not in STATIONARY_LOADS


class _Words:
    """Last read and last write of each word of a storage, by engine, as indices of nodes."""

    def __init__(self, shape: tuple[int, int]):
        self.reads = np.zeros((len(ENGINES), *shape), np.int32)
        self.writes = np.zeros((len(ENGINES), *shape), np.int32)

    def needs(self, where: WordIndex, writes: bool) -> list[int]:
        """By engine, the last node that must be complete before the words are accessed."""
        rows, words = where
        latest = self.writes[:, rows, words].reshape(len(ENGINES), -1).max(1)
        if writes:
            read = self.reads[:, rows, words].reshape(len(ENGINES), -1).max(1)
            latest = np.maximum(latest, read)
        last: list[int] = latest.tolist()
        return last


class _Orderer:
    """State of `order` between instructions."""

    def __init__(self, program: Program):
        self._program, self._config = program, program.config
        config = program.config
        depths = {Storage.SCRATCHPAD: config.sbuf_depth, Storage.PSUM: config.psum_depth}
        self._words = {s: _Words((config.n, depth)) for s, depth in depths.items()}
        self._memory: dict[Engine, list[tuple[range, int]]] = {Engine.LOAD: [], Engine.STORE: []}
        self.streams: dict[Engine, list[_Node]] = {engine: [] for engine in ENGINES}
        self._known = {engine: np.zeros(len(ENGINES), np.int64) for engine in ENGINES}
        self._drained = dict.fromkeys(ENGINES, 0)
        """By engine: its instructions up to this one have written when its next begins."""
        self.semaphores: dict[Pair, Semaphore] = {}

    def add(self, op: Op) -> None:
        """Take the next instruction."""
        code = encode(op.mnemonic, self._config, **op.fields)
        decoded = decode(code)
        word = overwrites_operand(decoded, self._config)
        if word is not None:
            raise ValueError(
                f"{op.mnemonic}: an element writes scratchpad word {word}, which a later element of"
                " the instruction reads"
            )
        engine = by_mnemonic(op.mnemonic).engine
        found = list(accesses(decoded, self._config))
        needs = np.zeros(len(ENGINES), np.int64)
        for access in found:
            needs = np.maximum(
                needs, self._words[access.storage].needs(access.where, access.writes)
            )
        span = memory_span(decoded.fields) if engine in self._memory else range(0)
        if span:
            other = Engine.STORE if engine == Engine.LOAD else Engine.LOAD
            needs[ENGINES.index(other)] = max(
                needs[ENGINES.index(other)], self._memory_need(other, span)
            )
        node = self._place(op, engine, needs)
        node.op = self._overlapped(node, engine, decoded, found)
        for access in found:
            words = self._words[access.storage]
            last = words.writes if access.writes else words.reads
            last[ENGINES.index(engine)][access.where] = node.index
        if span:
            self._memory[engine].append((span, node.index))

    def _memory_need(self, engine: Engine, span: range) -> int:
        """The last transfer of `engine` that touches these bytes."""
        for before, index in reversed(self._memory[engine]):
            if before.start < span.stop and span.start < before.stop:
                return index
        return 0

    def _place(self, op: Op, engine: Engine, needs: Integers) -> _Node:
        """Append to the engine's stream, behind what it needs of the others."""
        known = self._known[engine]
        open_needs = {
            other: self._signaller(other, int(needs[at]))
            for at, other in enumerate(ENGINES)
            if other != engine and needs[at] > known[at]
        }
        # What another of them implies need not be waited for.
        implied = {
            other
            for other, node in open_needs.items()
            for third, after in open_needs.items()
            if third != other and after.clock[ENGINES.index(other)] >= node.index
        }
        chosen = [node for other, node in open_needs.items() if other not in implied]
        links = [self._link(engine, node) for node in chosen]
        node = self._append(op, engine)
        for pair, signaller in links:
            signaller.signals.append(pair)
            node.waits.append(pair)
            np.maximum(known, signaller.clock, out=known)
        node.clock = np.maximum(node.clock, known)
        return node

    def _append(self, op: Op, engine: Engine) -> _Node:
        stream, known = self.streams[engine], self._known[engine]
        clock = known.copy()
        clock[ENGINES.index(engine)] = len(stream) + 1
        node = _Node(op, len(stream) + 1, clock)
        stream.append(node)
        return node

    def _signaller(self, engine: Engine, index: int) -> _Node:
        """The first instruction from `index` on whose signal means that all up to it is done.

        The signal of `STATIONARY_LOADS` may come before that of a matmul before it.
        """
        stream = self.streams[engine]
        for node in stream[index - 1 :]:
            if node.signals_in_order:
                return node
        return self._append(Op(f"{engine.name.lower()}.sync"), engine)

    def _link(self, waiter: Engine, signaller: _Node) -> tuple[Pair, _Node]:
        """A pair with a semaphore that ends at `waiter`, and the node that signals it."""
        source = by_mnemonic(signaller.op.mnemonic).engine
        if self._reserve((source, waiter)):
            return (source, waiter), signaller
        for relay in ENGINES:
            if (source, relay) in self.semaphores and (relay, waiter) in self.semaphores:
                needs = np.zeros(len(ENGINES), np.int64)
                needs[ENGINES.index(source)] = signaller.index
                sync = Op(f"{relay.name.lower()}.sync")
                return (relay, waiter), self._place(sync, relay, needs)
        raise ValueError(
            f"no semaphore is left to order {waiter.name.lower()} after {source.name.lower()}: tile"
            f" {self._config.name!r} has {self._config.semaphores}"
        )

    def _reserve(self, pair: Pair) -> bool:
        """True if the pair has a semaphore; a new one is allocated if there is one left."""
        if pair not in self.semaphores:
            if not self._program.free_semaphores:
                return False
            name = f"{pair[0].name.lower()} to {pair[1].name.lower()}"
            self.semaphores[pair] = self._program.semaphore(name)
        return True

    def _overlapped(self, node: _Node, engine: Engine, decoded: Decoded, found: list[Access]) -> Op:
        """The instruction, with `overlap` set if it reads nothing that is still written."""
        at = ENGINES.index(engine)
        reads = [a for a in found if a.storage is Storage.SCRATCHPAD and not a.writes]
        if not reads:
            return node.op
        words = self._words[Storage.SCRATCHPAD]
        latest = max(words.writes[at][access.where].max() for access in reads)
        if "overlap" in decoded.fields and latest <= self._drained[engine]:
            return replace(node.op, fields={**node.op.fields, "overlap": 1})
        self._drained[engine] = node.index - 1
        return node.op


def _split(nodes: list[_Node], engine: Engine, semaphores: dict[Pair, Semaphore]) -> list[Op]:
    """The stream with all its waits and signals, one of each an instruction."""
    sync = Op(f"{engine.name.lower()}.sync")
    ops = []
    for node in nodes:
        waits = [semaphores[pair].at_least(1, consume=True) for pair in node.waits]
        signals = [semaphores[pair].add(1) for pair in node.signals]
        ops += [sync.synchronised(wait, None) for wait in waits[:-1]]
        ops.append(
            node.op.synchronised(waits[-1] if waits else None, signals[0] if signals else None)
        )
        ops += [sync.synchronised(None, signal) for signal in signals[1:]]
    return ops


def order(program: Program, ops: Iterable[Op]) -> dict[Engine, list[Op]]:
    """Streams of all engines, ordered by semaphores as `ops` are ordered by position.

    Parameters
    ----------
    program
        The program that they are for; its free semaphores are used.
    ops
        Instructions without waits and signals, in the order of their meaning.

    Returns
    -------
    dict
        For each engine its instructions, `sync` instructions among them; as `schedule.merge` and
        `schedule.emit_merged` take them.

    Raises
    ------
    ValueError
        If a field is out of range, an instruction overwrites its own operands, or the program's
        semaphores are too few.
    """
    orderer = _Orderer(program)
    for op in ops:
        orderer.add(op)
    return {
        engine: _split(nodes, engine, orderer.semaphores)
        for engine, nodes in orderer.streams.items()
    }


def assemble_ordered(config: TileConfig, ops: Iterable[Op]) -> bytes:
    """The program that does what `ops` do one after the other, but as much at once as it may.

    Raises
    ------
    ValueError
        As `order`, or if the program is longer than the tile can address.
    """
    program = Program(config)
    emit_merged(program, order(program, ops))
    program.halt()
    return program.assemble()
