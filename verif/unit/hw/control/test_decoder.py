"""The decoder against the checks of the instruction codec, field by field."""

import random

import pytest
from amaranth.sim import Simulator

from tegula.config import preset
from tegula.control.decoder import DECODE_CYCLES, Decoder
from tegula.control.queues import INSTRUCTION_GRANULES
from tegula.formats import E3M4
from tegula.isa.codec import check
from tegula.isa.instructions import ENGINES, GRANULE_BITS, Engine, available, by_opcode
from tegula.isa.traps import Trap

CONFIGS = [preset("tiny", semaphores=8, semaphore_width=7), preset("medium", fp8_formats=(E3M4,))]
MASK = (1 << GRANULE_BITS) - 1
ADDRESS = 0xABC_DE00


def random_word(rng, instruction, config):
    """A legal word of `instruction`: values anywhere between their limits, often at them."""
    while True:
        values = {}
        for field in instruction.fields:
            allowed = field.allowed(config)
            values[field.name] = rng.choice((allowed[0], allowed[-1], rng.choice(allowed)))
        if instruction.broken_rule(values) is None:
            break
    word = instruction.opcode
    for field in instruction.fields:
        word |= (values[field.name] & ((1 << field.width) - 1)) << field.offset
    return word


def granules_of(word, count):
    return [word >> GRANULE_BITS * i & MASK for i in range(count)]


class Bench:
    """A decoder, fed with programs; `run` returns what it dispatched and how it ended."""

    def __init__(self, config, programs, check_results, stall=0.0, seed=0):
        self.dut = Decoder(config)
        self.rng, self.stall = random.Random(seed), stall
        self.programs, self.check_results = programs, check_results
        self.checked = 0
        simulator = Simulator(self.dut)
        simulator.add_clock(1e-8)
        simulator.add_testbench(self.testbench)
        simulator.run()

    async def testbench(self, ctx):
        for program in self.programs:
            self.check_results(program, *await self.run(ctx, *program[:2]))
            self.checked += 1

    async def run(self, ctx, granules, size):
        """Feed (bits, resp) granules of a program of `size`: (dispatched, end, cycles)."""
        dut, queues = self.dut, [getattr(self.dut, e.name.lower()) for e in ENGINES]
        ctx.set(dut.granules, size)
        ctx.set(dut.clear, 1)
        ctx.set(dut.granule.valid, 0)
        await ctx.tick()
        ctx.set(dut.clear, 0)
        ctx.set(dut.failed_burst, ADDRESS)
        ctx.set(dut.control.ready, 1)
        dispatched, position, cycles, last_dispatch = [], 0, 0, 0
        slot = {}
        while True:
            available = position < len(granules) and self.rng.random() >= self.stall
            ctx.set(dut.granule.valid, available)
            if available:
                ctx.set(dut.granule.payload.bits, granules[position][0])
                ctx.set(dut.granule.payload.resp, granules[position][1])
            for queue in queues:
                ctx.set(queue.ready, self.rng.random() >= self.stall)
            # All outputs are functions of registers and of these inputs: read before the edge.
            ready, halted, fault = map(ctx.get, (dut.granule.ready, dut.halted, dut.fault))
            valid = [ctx.get(queue.valid) for queue in queues]
            accepted = [ctx.get(queue.ready) for queue in queues]
            assert sum(valid) + halted + fault <= 1
            blocked = any(v and not a for v, a in zip(valid, accepted, strict=True))
            assert ctx.get(dut.stuck) == (blocked or halted)
            for index, engine in enumerate(ENGINES):
                if valid[index] and accepted[index]:
                    dispatched.append((engine, dict(slot)))
                    last_dispatch = cycles
            part = ctx.get(dut.part)
            for index in range(INSTRUCTION_GRANULES):
                if part.store >> index & 1:
                    slot[index] = part.bits
                    if index == 0:
                        slot["pc"] = part.pc
            end = "halted"
            if fault:
                outputs = (dut.fault_cause, dut.fault_pc, dut.fault_address)
                cause, pc, address = map(ctx.get, outputs)
                end = (Trap(cause), pc, address)
            await ctx.tick()
            position += available and ready
            if fault or halted:
                return dispatched, end, last_dispatch
            cycles += 1
            assert cycles < 100 + 20 * len(granules), "the decoder did not end"


def assert_carries(slot, engine, word, instruction, pc):
    """Check what was stored before the dispatch against the bits of the word."""
    assert [slot[i] for i in range(instruction.granules)] == granules_of(word, instruction.granules)
    assert slot["pc"] == pc
    assert engine == word >> 4 & 15


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.name)
@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_legal_programs_are_dispatched_in_order_with_all_their_bits(config, stall):
    rng = random.Random(7)
    engines = [i for i in available(config) if i.has_sync]
    programs = []
    for _ in range(10):
        words = [
            (i, random_word(rng, i, config)) for i in rng.choices(engines, k=rng.randrange(20))
        ]
        granules = [(g, 0) for i, w in words for g in granules_of(w, i.granules)]
        programs.append(([*granules, (0x01, 0)], len(granules) + 1, words))

    def compare(program, dispatched, end, _cycles):
        assert end == "halted"
        assert len(dispatched) == len(program[2])
        pc = 0
        for (engine, item), (instruction, word) in zip(dispatched, program[2], strict=True):
            assert_carries(item, engine, word, instruction, pc)
            pc += instruction.granules

    assert Bench(config, programs, compare, stall).checked == 10


def wrong_words(config):
    """Words around every limit: each value at it and just outside, each stray bit once."""
    rng = random.Random(3)
    words = set()
    for instruction in available(config):
        legal = random_word(rng, instruction, config)
        claimed = 0xFF
        for field in instruction.fields:
            mask = ((1 << field.width) - 1) << field.offset
            claimed |= mask
            allowed = field.allowed(config)
            values = {0, (1 << field.width) - 1}
            for value in (allowed[0], allowed[-1]):
                values |= {value - 1, value, value + 1}
            if field.formats:
                values |= set(range(1 << field.width))
            for value in values:
                words.add((legal & ~mask) | (value << field.offset & mask))
        # Which bits are claimed does not depend on the configuration.
        strays = [bit for bit in range(instruction.bits) if not claimed >> bit & 1]
        words |= {legal | 1 << bit for bit in strays if config is CONFIGS[0]}
    return sorted(words)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.name)
def test_every_limit_and_stray_bit_is_judged_as_the_codec_does(config):
    verdicts = {Trap.NONE: 0, Trap.ILLEGAL_FIELD: 0}
    sync = (0x20, 0)
    programs = []
    for word in wrong_words(config):
        count = by_opcode(word & 0xFF).granules
        programs.append(
            ([sync, *[(g, 0) for g in granules_of(word, count)], (1, 0)], count + 2, word)
        )

    def compare(program, dispatched, end, _cycles):
        verdict = check(program[2], config)
        verdicts[verdict] += 1
        assert dispatched[0][0] == Engine.VECTOR
        if verdict == Trap.NONE:
            assert end == "halted"
        else:
            assert end == (Trap.ILLEGAL_FIELD, 1, 0), hex(program[2])
            assert len(dispatched) == 1

    assert Bench(config, programs, compare).checked == len(programs)
    assert verdicts[Trap.NONE] > 50 and verdicts[Trap.ILLEGAL_FIELD] > 50


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.name)
def test_every_opcode_that_the_tile_does_not_have_is_illegal_at_once(config):
    known = {i.opcode for i in available(config)}
    opcodes = [code for code in range(256) if code not in known]
    programs = [([(0x20, 0), (0x5A00 | code, 0)], 9, code) for code in opcodes]

    def compare(program, dispatched, end, _cycles):
        assert len(dispatched) == 1
        assert end == (Trap.ILLEGAL_OPCODE, 1, program[2])

    assert Bench(config, programs, compare).checked == 256 - len(known)


@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_a_program_that_ends_without_halt_traps_at_its_end(stall):
    config = CONFIGS[0]
    dma = granules_of(random_word(random.Random(1), by_opcode(0x41), config), 4)
    sync = [0x20, 0x10]
    programs = [
        ([(g, 0) for g in sync + dma[:partial_granules]], 2 + partial_granules, partial_granules)
        for partial_granules in range(5)
    ]

    def compare(program, dispatched, end, _cycles):
        assert end == (Trap.PROGRAM_END, program[1], 0)
        assert len(dispatched) == 2 + (program[2] == 4)

    assert Bench(config, programs, compare, stall).checked == 5


@pytest.mark.parametrize("resp", [2, 3])
def test_a_failed_fetch_traps_at_its_granule_after_earlier_instructions(resp):
    config = CONFIGS[0]
    dma = granules_of(random_word(random.Random(1), by_opcode(0x51), config), 4)
    programs = []
    for bad in range(6):
        granules = [(g, 0) for g in [0x20, *dma, 0x01]]
        granules[bad] = (0, resp)
        programs.append((granules, 6, bad))

    def compare(program, dispatched, end, _cycles):
        cause = Trap.BUS_DECERR if resp == 3 else Trap.BUS_SLVERR
        assert end == (cause, program[2], ADDRESS)
        assert len(dispatched) == (program[2] > 0) + (program[2] > 4)

    assert Bench(config, programs, compare).checked == 6


def test_it_dispatches_a_granule_a_cycle_after_its_latency():
    config = CONFIGS[0]
    rng = random.Random(5)
    instructions = rng.choices([i for i in available(CONFIGS[0]) if i.has_sync], k=40)
    granules = [
        (g, 0) for i in instructions for g in granules_of(random_word(rng, i, config), i.granules)
    ]
    programs = [([*granules, (1, 0)], len(granules) + 1)]
    measured = []

    def compare(_program, dispatched, _end, last_dispatch):
        assert len(dispatched) == 40
        measured.append(last_dispatch)

    Bench(config, programs, compare)
    assert measured == [len(granules) - 1 + DECODE_CYCLES]
