"""The device itself: its memory, its judgement of the bus, its limits; the tile is a stand-in."""

import resource

import numpy as np
import pytest

from tegula.backend.cache import cache_root
from tegula.backend.verilog import emit_verilog
from tegula.config import TileConfig
from tegula_golden.tile.job import Job
from tegula_sw.devices.rtl.coupling import AddressCoupling, Coupling, OrderCoupling
from tegula_sw.devices.rtl.device import HangError, ProtocolError, RtlDevice
from verif.support.rogue_tile import BEATS, RogueTile, Rule

CONFIG = TileConfig(name="rogue")
BYTES = BEATS * CONFIG.bus_bytes
SOURCE, TARGET, BASE = 0x1000, 0x2000, 0x800
STALL, SEED = 0.9, 2
"""With these, no channel is ready when the stand-in first speaks on it."""


@pytest.fixture(scope="module")
def verilog():
    path = cache_root() / "verilog" / "rogue.v"
    return emit_verilog(RogueTile(CONFIG), path, name="tegula_rogue")


@pytest.fixture
def make_device(verilog):
    made = []

    def make(**options):
        made.append(RtlDevice(CONFIG, verilog=verilog, **{"max_cycles": 20_000, **options}))
        return made[-1]

    yield make
    for device in made:
        device.close()


def fresh_memory():
    return np.random.default_rng(7).integers(0, 256, 0x4000, np.uint8)


def copy(device, memory, rule=Rule.NONE, target=TARGET, source=SOURCE):
    return device.run(
        memory, program=source, program_bytes=16 * rule, base=BASE, window=(target, 2**40 - 1)
    )


@pytest.mark.parametrize("stall", [0.0, 0.5, STALL])
def test_memory_is_read_and_written_where_addressed_and_nowhere_else(make_device, stall):
    device, memory = make_device(stall=stall), fresh_memory()
    expected = memory.copy()
    expected[TARGET - BASE :][:BYTES] = expected[SOURCE - BASE :][:BYTES]
    result = copy(device, memory)
    assert np.array_equal(memory, expected)
    assert (result.trap, result.read_beats, result.write_beats) == (None, BEATS, BEATS)
    assert not device.irq


def test_latency_is_counted_on_reads_and_on_writes(make_device):
    cycles = {
        latency: copy(make_device(mem_latency=latency), fresh_memory()).cycles
        for latency in (1, 2, 51)
    }
    assert cycles[2] - cycles[1] == 2
    assert cycles[51] - cycles[1] == 100


def test_stalls_take_time_and_are_replayed_from_the_seed(make_device):
    def cycles(seed, stall):
        device = make_device(seed=seed, stall=stall)
        return [copy(device, fresh_memory()).cycles for _ in range(3)]

    assert cycles(1, 0.5) == cycles(1, 0.5)
    assert cycles(1, 0.5) != cycles(2, 0.5)
    assert sum(cycles(1, 0.5)) > sum(cycles(1, 0.0))


@pytest.mark.parametrize(
    "coupling",
    [
        *(Coupling(order=order) for order in OrderCoupling),
        Coupling(address=AddressCoupling.BEFORE_DATA),
        Coupling(interleave=True),
        Coupling(spells=True),
    ],
    ids=str,
)
def test_a_coupled_memory_is_read_and_written_as_any_other(make_device, coupling):
    device, memory = make_device(coupling=coupling, stall=0.3), fresh_memory()
    expected = memory.copy()
    expected[TARGET - BASE :][:BYTES] = expected[SOURCE - BASE :][:BYTES]
    for _ in range(3):
        copy(device, memory)
    assert np.array_equal(memory, expected)


@pytest.mark.parametrize("address", [AddressCoupling.WITH_DATA, AddressCoupling.AFTER_DATA])
def test_a_tile_whose_data_wait_for_the_address_hangs_where_the_address_waits(make_device, address):
    device = make_device(coupling=Coupling(address=address), max_cycles=2000)
    with pytest.raises(HangError):
        copy(device, fresh_memory())
    assert device.coupled > 1500


def test_spells_are_long(make_device):
    device = make_device(coupling=Coupling(spells=True))
    cycles = [copy(device, fresh_memory()).cycles for _ in range(20)]
    assert 200 < np.mean(cycles) < 2000
    assert 0.5 * sum(cycles) < device.coupled < sum(cycles)


def test_late_responses_are_late(make_device):
    late, usual = make_device(coupling=Coupling(late=3000)), make_device()
    assert copy(late, fresh_memory()).cycles - copy(usual, fresh_memory()).cycles == 3000


def test_a_write_lands_with_its_response_and_no_earlier(make_device):
    device, memory = make_device(mem_latency=500), fresh_memory()
    before = memory.copy()
    window = TARGET, 2**40 - 1
    device.start(Job(memory=memory, program=SOURCE, program_bytes=0, base=BASE, window=window))
    device.step(900)
    assert np.array_equal(memory, before)
    device.wait()
    assert not np.array_equal(memory, before)


BROKEN = {
    Rule.AR_VALID_FALLS: "ARVALID fell before ARREADY",
    Rule.AR_CHANGES: "AR changed while it waited",
    Rule.AR_CROSSES_4K: "AR burst crosses a 4 KiB",
    Rule.AR_UNALIGNED: "ARADDR is not aligned",
    Rule.AR_FIXED: "ARBURST is not INCR",
    Rule.AR_NARROW: "ARSIZE is not the bus width",
    Rule.AW_VALID_FALLS: "AWVALID fell before AWREADY",
    Rule.AW_CHANGES: "AW changed while it waited",
    Rule.AW_CROSSES_4K: "AW burst crosses a 4 KiB",
    Rule.W_VALID_FALLS: "WVALID fell before WREADY",
    Rule.W_CHANGES: "W changed while it waited",
    Rule.W_LAST_EARLY: "WLAST is wrong at beat 3 of 4",
    Rule.W_LAST_MISSING: "WLAST is wrong at beat 4 of 4",
    Rule.IRQ_BEFORE_RESPONSE: "the interrupt came with 1 bursts",
    Rule.BEATS_MISCOUNTED: r"the tile counts \(5, 4\) beats, its memory \(4, 4\)",
    Rule.NOT_DONE: "neither done nor trapped",
    Rule.IRQ_STUCK: "high after IRQ was cleared",
}


@pytest.mark.parametrize("rule", BROKEN, ids=lambda rule: rule.name)
def test_a_broken_rule_is_reported(make_device, rule):
    with pytest.raises(ProtocolError, match=BROKEN[rule]):
        copy(make_device(stall=STALL, seed=SEED), fresh_memory(), rule)


def test_a_missing_interrupt_ends_at_the_cycle_limit(make_device):
    with pytest.raises(HangError, match="no interrupt within 5000 cycles"):
        copy(make_device(max_cycles=5000), fresh_memory(), Rule.NO_IRQ)


def test_a_bus_without_transfers_ends_before_the_cycle_limit(make_device, monkeypatch):
    monkeypatch.setattr("tegula_sw.devices.rtl.device._IDLE_CYCLES", 1000)
    with pytest.raises(HangError, match="no AXI4 transfer for 11000 cycles"):
        copy(make_device(max_cycles=10**9), fresh_memory(), Rule.NO_IRQ)


def test_writes_into_an_error_range_do_not_land(make_device):
    hole = (TARGET + BYTES // 2, TARGET + BYTES // 2, "slverr")
    device, memory = make_device(errors=[hole]), fresh_memory()
    expected = memory.copy()
    source = expected[SOURCE - BASE :][:BYTES].copy()
    expected[TARGET - BASE :][: BYTES // 2] = source[: BYTES // 2]
    beat = BYTES // 2 + CONFIG.bus_bytes
    expected[TARGET - BASE + beat :][: BYTES - beat] = source[beat:]
    copy(device, memory)
    assert np.array_equal(memory, expected)


def test_registers_can_be_read_and_written(make_device):
    device = make_device()
    assert device.read_register("IDENTITY") == 0x5445_4741
    device.write_register("PROGRAM_LOW", 0xDEAD_BEC0)
    assert device.read_register("PROGRAM_LOW") == 0xDEAD_BEC0
    with pytest.raises(ValueError, match="'NOTHING' is unknown"):
        device.read_register("NOTHING")


def test_waves_are_written(make_device, tmp_path):
    device = make_device(waves=tmp_path / "rogue.vcd")
    copy(device, fresh_memory())
    device.close()
    text = (tmp_path / "rogue.vcd").read_text()
    assert "m_axi__arvalid" in text
    assert text.count("\n#") > 50


def test_waves_that_the_disk_does_not_take_end_no_run(make_device, tmp_path):
    """Verilator would abort the process."""
    path = tmp_path / "rogue.vcd"
    path.write_text("old")
    device, memory = make_device(waves=path), fresh_memory()
    expected = memory.copy()
    expected[TARGET - BASE :][:BYTES] = expected[SOURCE - BASE :][:BYTES]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        device.step(5000)
        copy(device, memory)
        with pytest.raises(OSError, match=r"File too large: '.*rogue.vcd'"):
            device.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert np.array_equal(memory, expected)
    assert [file.name for file in tmp_path.iterdir()] == ["rogue.vcd"]
    assert path.read_text() == "old"


def test_waves_into_no_folder_are_refused_with_the_name(make_device, tmp_path):
    with pytest.raises(OSError, match=r"No such file or directory: '.*none/rogue.vcd'"):
        make_device(waves=tmp_path / "none" / "rogue.vcd")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"mem_latency": 0}, "mem_latency must be 1 to 1048576 cycles, not 0"),
        ({"stall": 1.0}, "stall must be 0 to below 1, not 1.0"),
        ({"stall": -0.1}, "stall must be 0 to below 1, not -0.1"),
        ({"seed": -1}, "seed must be 0 to"),
        ({"errors": [(8, 4, "slverr")]}, "errors must be .* not .8, 4, 'slverr'"),
        ({"errors": [(4, 8, "oops")]}, "errors must be .* not .4, 8, 'oops'"),
    ],
)
def test_options_out_of_range_are_quoted(make_device, option, message):
    with pytest.raises(ValueError, match=message):
        make_device(**option)


@pytest.mark.parametrize("late", [-1, (1 << 20) + 1])
def test_a_delay_out_of_range_is_quoted(late):
    with pytest.raises(ValueError, match=f"late must be 0 to 1048576 cycles, not {late}"):
        Coupling(late=late)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"memory": np.zeros(64, np.uint16)}, "one-dimensional uint8"),
        ({"memory": np.zeros(64, np.uint8)[::2]}, "contiguous"),
        ({"base": 2**40}, "base must be 0 to .* not 1099511627776"),
        ({"program": 32}, "program must be a multiple of 64 .* not 32"),
        ({"program_bytes": 8}, "program_bytes must be a multiple of 16, not 8"),
        ({"window": (9, 8)}, r"window must be first <= last, of 48 bits, not \(9, 8\)"),
        (
            {"memory": np.zeros(1000, np.uint8), "window": (0, 1000)},
            "an edge of memory that is a multiple of 16, not 0x3e8",
        ),
        ({"watchdog": 0}, "watchdog must be 1 to .* not 0"),
    ],
)
def test_arguments_out_of_range_are_quoted(make_device, changes, message):
    arguments = {"memory": fresh_memory(), "program": 0, "program_bytes": 16, **changes}
    with pytest.raises(ValueError, match=message):
        make_device().run(**arguments)
