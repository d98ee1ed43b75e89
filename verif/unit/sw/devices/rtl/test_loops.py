"""The compiled tile against the functional simulator on programs with loops."""

import random

import pytest

from tegula.config import preset
from tegula.isa.assembly import assemble
from tegula.isa.instructions import INSTRUCTIONS, by_mnemonic
from tegula.isa.traps import Trap
from tegula_golden.tile.simulator import GoldenTile
from tegula_sw.devices.rtl.device import RtlDevice
from verif.support.loop_programs import LOOPED, PROGRAM, TRAPPING, image

TINY = preset("tiny")


PREPARATION = assemble(
    "load.dma layout=free mem_addr=0x200 run=64 count1=4 mem_stride1=128 sbuf_addr=0"
    " partition_stride1=1\nhalt"
)


@pytest.fixture(scope="module", params=[(0.0, 2), (0.3, 25)], ids=["quick", "slow"])
def tiles(request):
    """Device and simulator for the whole module: they must survive all of it alike."""
    stall, latency = request.param
    device = RtlDevice(TINY, stall=stall, mem_latency=latency, seed=3, max_cycles=200_000)
    both = device, GoldenTile(TINY)
    for tile in both:
        assert run(tile, PREPARATION)[0].trap is None
    yield both
    device.close()


def run(tile, code):
    """The outcome, and memory afterwards."""
    memory = image(code)
    arguments = {"program": PROGRAM, "program_bytes": len(code)}
    return tile.run(memory, watchdog=300, **arguments), memory


def run_alike(tiles, code):
    """The outcome of both, which is the same."""
    (result, memory), (expected, expected_memory) = (run(tile, code) for tile in tiles)
    assert result.trap == expected.trap
    assert (memory == expected_memory).all()
    if result.trap is None:
        assert result.read_beats == expected.read_beats
        assert result.write_beats == expected.write_beats
    return result


@pytest.mark.parametrize("name", LOOPED)
def test_a_program_with_loops_does_what_golden_does(tiles, name):
    assert run_alike(tiles, assemble(LOOPED[name])).trap is None


@pytest.mark.parametrize("name", TRAPPING)
def test_a_trap_is_recorded_and_the_next_program_runs(tiles, name):
    text, record = TRAPPING[name]
    trap = run_alike(tiles, assemble(text)).trap
    assert (trap.cause, trap.engine, trap.pc, trap.address) == record
    good = assemble("control.loop count=3\nload.sync\ncontrol.end\nhalt")
    assert run_alike(tiles, good).trap is None


@pytest.mark.parametrize("mnemonic", [r.mnemonic for r in INSTRUCTIONS if r.relative_fields])
def test_each_sum_fits_its_field_or_traps_as_in_golden(tiles, mnemonic):
    """Every slot of every instruction, with sums at the ends of its field and beyond them."""
    row, rng = by_mnemonic(mnemonic), random.Random(mnemonic)
    causes = set()
    for slot, field in enumerate(row.relative_fields):
        top = field.high
        for value, total in ((0, -1), (top, top + 1), (top - 3, top), (7, 0)):
            fields = {f.name: f.default or f.allowed(TINY)[0] for f in row.payload}
            others = {f.name: rng.choice((0, f.high)) for f in row.relative_fields}
            fields |= others | {field.name: value}
            words = " ".join(f"{name}={number}" for name, number in fields.items())
            result = run_alike(
                tiles,
                assemble(
                    f"control.add register=7 zero=1 value={total - value}\n"
                    f"control.relative enable{slot}=1 register{slot}=7\n{mnemonic} {words}\n"
                    "load.sync\n.word 0"
                ),
            )
            causes.add(result.trap.cause)
    assert Trap.RELATIVE_RANGE in causes and len(causes) > 1


def test_a_body_in_the_ring_takes_no_beats_and_its_overhead_is_as_stated():
    cycles, beats = {}, set()
    for count in (1, 101):
        device = RtlDevice(TINY)
        code = assemble(f"control.loop count={count}\nload.sync\ncontrol.end\nhalt")
        result, _ = run(device, code)
        device.close()
        cycles[count] = result.cycles
        beats.add(result.read_beats)
    assert beats == {8}
    # A bus of 64 bits: two cycles of each granule, and four of the jump.
    assert cycles[101] - cycles[1] == 100 * 8
