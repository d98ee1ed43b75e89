"""`order` puts as many semaphores into a program as its meaning needs, and no more.

What happens before what is found out anew, from the program's bytes: events are the starts and the
ends of instructions, edges what docs/isa.md promises.
"""

from dataclasses import dataclass

import numpy as np
import pytest

from tegula.config import preset
from tegula.isa.codec import Decoded, instructions
from tegula.isa.instructions import ENGINES, Engine, by_mnemonic
from tegula_sw.program.footprint import Storage, accesses, memory_span
from tegula_sw.program.ordering import order
from tegula_sw.program.program import Program
from tegula_sw.program.race_check import check_program
from tegula_sw.program.schedule import Op, emit_merged
from verif.benches.random_ops import random_ops

TINY = preset("tiny", sbuf_depth=1024)
FEW = preset("tiny", sbuf_depth=1024, semaphores=4)


def assemble(config, ops):
    program = Program(config)
    emit_merged(program, order(program, ops))
    program.halt()
    return program.assemble()


def decode_all(code):
    return [decoded for _, decoded in instructions(code)][:-1]


@dataclass
class Events:
    """A program as a graph.

    Attributes
    ----------
    program
        Its instructions.
    signals
        (signaller, waiter): positions in the program, for each token that is consumed.
    """

    program: list[Decoded]
    signals: list[tuple[int, int]]

    @classmethod
    def of(cls, code: bytes) -> "Events":
        program = decode_all(code)
        sent: dict[int, list[int]] = {}
        consumed: dict[int, int] = {}
        senders: dict[int, set] = {}
        signals = []
        for position, decoded in enumerate(program):
            fields = decoded.fields
            if fields["wait"]:
                semaphore = fields["wait_sem"]
                assert fields["consume"] and fields["wait_value"] == 1
                at = consumed.get(semaphore, 0)
                signals.append((sent[semaphore][at], position))
                consumed[semaphore] = at + 1
            if fields["signal"]:
                assert fields["signal_value"] == 1 and decoded.mnemonic != "tensor.load"
                sent.setdefault(fields["signal_sem"], []).append(position)
                senders.setdefault(fields["signal_sem"], set()).add(decoded.instruction.engine)
        assert all(len(engines) == 1 for engines in senders.values())
        assert {s: len(positions) for s, positions in sent.items()} == consumed
        return cls(program, signals)

    def reads_scratchpad(self, position: int) -> bool:
        return any(
            access.storage is Storage.SCRATCHPAD and not access.writes
            for access in accesses(self.program[position], TINY)
        )

    def ended(self, *, without: int | None = None, undrained: int | None = None) -> list[int]:
        """By instruction: those that have ended when it starts, as a set of bits.

        Parameters
        ----------
        without
            A signal that does not count.
        undrained
            An instruction that does not wait for those before it in its engine.
        """
        incoming: dict[int, list[int]] = {}
        for number, (signaller, waiter) in enumerate(self.signals):
            if number != without:
                incoming.setdefault(waiter, []).append(signaller)
        at_start, at_end = [0] * len(self.program), [0] * len(self.program)
        before: dict[Engine, list[int]] = {engine: [] for engine in ENGINES}
        for position, decoded in enumerate(self.program):
            engine = decoded.instruction.engine
            started = at_start[before[engine][-1]] if before[engine] else 0
            for signaller in incoming.get(position, ()):
                started |= at_end[signaller]
            if engine != Engine.TENSOR and position != undrained:
                overlaps = decoded.fields.get("overlap")
                if not overlaps and self.reads_scratchpad(position):
                    for earlier in before[engine]:
                        started |= at_end[earlier]
            at_start[position] = started
            ended = started | 1 << position
            for earlier in before[engine]:
                loads_first = self.program[earlier].mnemonic == "tensor.load"
                if loads_first or decoded.mnemonic != "tensor.load":
                    ended |= at_end[earlier]
            at_end[position] = ended
            before[engine].append(position)
        return at_start


def touched_words(config, decoded):
    """Words that an instruction reads, and writes: masks by storage."""
    depths = {Storage.SCRATCHPAD: config.sbuf_depth, Storage.PSUM: config.psum_depth}
    masks = {storage: np.zeros((2, config.n, depth), bool) for storage, depth in depths.items()}
    for access in accesses(decoded, config):
        masks[access.storage][int(access.writes)][access.where] = True
    return masks


def conflicts(config, program, original):
    """Positions (a, b): a comes first in `original` and b must not start before a has ended.

    Of different engines: within one, instructions see each other's effects.
    """
    touched = []
    for position in original:
        decoded = program[position]
        span = memory_span(decoded.fields) if decoded.mnemonic.endswith(".dma") else range(0)
        touched.append((decoded.instruction.engine, touched_words(config, decoded), span))
    for b, (engine, words, span) in enumerate(touched):
        for a, (other, earlier, earlier_span) in enumerate(touched[:b]):
            if other == engine:
                continue
            meets = bool(span and earlier_span) and (
                max(span[0], earlier_span[0]) <= min(span[-1], earlier_span[-1])
            )
            for storage in Storage:
                (reads, writes), (read, written) = words[storage], earlier[storage]
                meets |= bool((writes & (read | written) | reads & written).any())
            if meets:
                yield original[a], original[b]


def places(program, ops):
    """Position in the program of each op: an engine has them in their order, and syncs between."""
    queues = {engine: [] for engine in ENGINES}
    for position, decoded in enumerate(program):
        if not decoded.mnemonic.endswith(".sync"):
            queues[decoded.instruction.engine].append(position)
    found = [queues[by_mnemonic(op.mnemonic).engine].pop(0) for op in ops]
    assert not any(queues.values())
    assert [program[position].mnemonic for position in found] == [op.mnemonic for op in ops]
    return found


def random_case(config, seed, count=50):
    ops = random_ops(np.random.default_rng(seed), config, count)
    events = Events.of(assemble(config, ops))
    return events, places(events.program, ops)


def test_all_that_depends_on_each_other_is_ordered():
    pairs = 0
    for seed in range(40):
        events, original = random_case(TINY, seed)
        at_start = events.ended()
        for a, b in conflicts(TINY, events.program, original):
            assert at_start[b] >> a & 1, (seed, a, b)
            pairs += 1
    assert pairs > 1000


def test_an_engine_in_between_passes_on_what_has_no_semaphore():
    """Three engines have six pairs, and four semaphores."""
    engines = (Engine.VECTOR, Engine.ACTIVATION, Engine.LOAD)
    pairs = relayed = 0
    for seed in range(40):
        ops = random_ops(np.random.default_rng(seed), FEW, 50)
        ops = [op for op in ops if by_mnemonic(op.mnemonic).engine in engines]
        try:
            events = Events.of(assemble(FEW, ops))
        except ValueError as error:
            assert "no semaphore is left" in str(error)
            continue
        at_start = events.ended()
        for a, b in conflicts(FEW, events.program, places(events.program, ops)):
            assert at_start[b] >> a & 1, (seed, a, b)
            pairs += 1
        relayed += sum(
            decoded.mnemonic.endswith(".sync") and decoded.fields["wait"] & decoded.fields["signal"]
            for decoded in events.program
        )
    assert pairs > 200 and relayed > 10


def test_no_signal_could_be_left_out():
    """Without any one of them, something that depends on another is not ordered behind it."""
    signals = 0
    for seed in range(6):
        events, original = random_case(TINY, seed, 40)
        needed = list(conflicts(TINY, events.program, original))
        for number in range(len(events.signals)):
            at_start = events.ended(without=number)
            assert any(not at_start[b] >> a & 1 for a, b in needed), (seed, number)
            signals += 1
    assert signals > 50


def test_instructions_overlap_where_nothing_they_read_is_still_written():
    overlapping = waiting = 0
    for seed in range(40):
        events, _ = random_case(TINY, seed)
        for b, decoded in enumerate(events.program):
            if "overlap" not in decoded.fields or not events.reads_scratchpad(b):
                continue
            read, _ = touched_words(TINY, decoded)[Storage.SCRATCHPAD]
            at_start = events.ended(undrained=b)[b]
            engine = decoded.instruction.engine
            may = not any(
                (read & touched_words(TINY, events.program[a])[Storage.SCRATCHPAD][1]).any()
                for a in range(b)
                if events.program[a].instruction.engine == engine and not at_start >> a & 1
            )
            assert may or not decoded.fields["overlap"], (seed, b)
            overlapping += decoded.fields["overlap"]
            waiting += not may
    assert overlapping > 50 and waiting > 20


def load(addr=0, mem_addr=0, run=8):
    return Op("load.dma", {"mem_addr": mem_addr, "run": run, "sbuf_addr": addr, "layout": "free"})


def store(addr=0, mem_addr=0, run=8, **more):
    fields = {"mem_addr": mem_addr, "run": run, "sbuf_addr": addr, "layout": "free"}
    return Op("store.dma", fields | more)


def copy(src, dst, engine="vector"):
    fields = {"rows": 4, "columns": 4, "x_addr": src, "x_format": 0, "dst": dst, "format": 0}
    if engine == "vector":
        return Op("vector.compute", fields | {"x_source": "sbuf"})
    return Op("activation.apply", fields | {"function": 0})


def stationary(addr):
    return Op("tensor.load", {"rows": 4, "format": 0, "columns": 4, "addr": addr})


def matmul(addr):
    fields = {"rows": 4, "format": 0, "columns": 4, "addr": addr, "psum_addr": 0}
    return Op("tensor.matmul", fields)


def listing(config, ops):
    """The program's mnemonics, with ? for those that wait and ! for those that signal."""
    return [
        decoded.mnemonic + "?" * decoded.fields["wait"] + "!" * decoded.fields["signal"]
        for decoded in decode_all(assemble(config, ops))
    ]


def test_what_touches_other_words_is_not_ordered():
    assert sorted(listing(TINY, [load(0), copy(8, 16), store(32, 64)])) == [
        "load.dma",
        "store.dma",
        "vector.compute",
    ]


def test_what_an_earlier_wait_implies_is_not_waited_for():
    ops = [load(0), load(8, 64), copy(8, 16), copy(0, 20), store(0, 128, run=24)]
    assert listing(TINY, ops) == [
        "load.dma",
        "load.dma!",
        "vector.compute?",
        "vector.compute!",
        "store.dma?",
    ]


def test_a_stationary_load_leaves_the_signal_to_what_follows_it():
    """Its own may come before that of the matmul before it."""
    assert listing(TINY, [stationary(0), load(0)]) == ["tensor.load", "tensor.sync!", "load.dma?"]
    assert listing(TINY, [stationary(0), matmul(8), load(0)]) == [
        "tensor.load",
        "tensor.matmul!",
        "load.dma?",
    ]


@pytest.mark.parametrize(
    ("ops", "waits"),
    [
        ([load(0, 64), store(32, 72)], True),
        ([store(32, 72), load(0, 64)], True),
        ([load(0, 64), store(32, 80)], False),
        ([store(32, 80), load(0, 64)], False),
        ([load(0, 64), store(32, 80, count1=2, mem_stride1=-8)], True),
        ([store(0, 64), store(32, 64)], False),
    ],
)
def test_a_load_and_a_store_of_the_same_bytes_are_ordered(ops, waits):
    assert any("?" in text for text in listing(TINY, ops)) == waits


def test_an_instruction_waits_for_several_engines_one_after_the_other():
    ops = [load(0), copy(16, 8), copy(24, 12, "activation"), store(0, 64, run=16)]
    found = listing(TINY, ops)
    assert [text for text in found if "store" in text] == [
        "store.sync?",
        "store.sync?",
        "store.dma?",
    ]


def test_an_instruction_signals_several_engines_one_after_the_other():
    found = listing(TINY, [load(0), copy(0, 16), copy(0, 24, "activation"), store(0, 64)])
    assert [text for text in found if "load" in text] == ["load.dma!", "load.sync!", "load.sync!"]


def test_too_few_semaphores_are_said_in_a_sentence():
    """All four are for those that wait for the load engine."""
    ops = [load(0), stationary(0), copy(0, 16), copy(0, 24, "activation"), store(0, 64)]
    assert check_program(FEW, assemble(FEW, ops)) > len(ops)
    message = "no semaphore is left to order store after vector: tile 'tiny' has 4"
    with pytest.raises(ValueError, match=message):
        assemble(FEW, [*ops, store(16, 128)])


def test_an_instruction_that_overwrites_its_operands_is_refused():
    with pytest.raises(ValueError, match=r"vector.compute: an element writes scratchpad word 10"):
        assemble(TINY, [copy(8, 10)])
