"""Profiles of programs on the compiled tile: every cycle and every instruction is accounted for."""

import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from tegula.config import preset
from tegula.formats import BF16
from tegula.isa.assembly import assemble
from tegula.isa.codec import decode, instructions
from tegula.isa.instructions import ENGINES, Engine
from tegula.isa.traps import Trap
from tegula_sw.devices.rtl.device import RtlDevice
from tegula_sw.gemm.run import gemm
from tegula_sw.profile.chrome import chrome_trace, write_chrome_trace
from tegula_sw.profile.picture import draw
from tegula_sw.profile.recording import Recorder
from tegula_sw.profile.spans import Condition, State
from tegula_sw.profile.table import breakdown, profile_table
from tegula_sw.profile.timeline import timeline
from verif.stimuli.operands import operands

pytestmark = pytest.mark.slow  # the traced tile

TINY = preset("tiny")
DATA_BYTES = 0x2000

SYNC = "consume(2>=1) signal(3+=1)"
ALL_ENGINES = f"""
load.dma layout=free mem_addr=0 run=64 sbuf_addr=0 signal(0+=1)
tensor.load rows=4 format=bf16 columns=4 addr=0 consume(0>=1)
tensor.matmul rows=4 format=bf16 addr=4 columns=8 psum_addr=0 signal(1+=1)
vector.compute rows=4 format=bf16 columns=8 dst=32 consume(1>=1) signal(2+=1)
activation.apply rows=4 function=0 format=bf16 columns=8 x_addr=32 x_stride=2 dst=48 {SYNC}
store.dma layout=free mem_addr=0x400 run=8 sbuf_addr=48 consume(3>=1)
tensor.sync
halt
"""

LONG_WAIT = """
load.dma layout=free mem_addr=0 run=256 sbuf_addr=0 signal(5+=1)
load.sync signal(6+=1)
tensor.sync wait(6>=1)
vector.sync wait(5>=1)
halt
"""

SYNCS = "\n".join(["tensor.sync"] * (TINY.queue_depth + 3))
FULL_QUEUE = f"""
load.dma layout=free mem_addr=0 run=256 sbuf_addr=0 signal(5+=1)
tensor.sync wait(5>=1)
{SYNCS}
store.sync
halt
"""

TRAPPING = f"""
load.dma layout=free mem_addr=0 run=16 sbuf_addr=0 signal(0+=1)
tensor.load rows=4 format=bf16 columns=4 addr={TINY.sbuf_depth - 2} consume(0>=1)
tensor.matmul rows=4 format=bf16 addr=0 columns=4 psum_addr=0
store.sync
halt
"""


def loads(*addresses):
    """Loads of 64 elements, each from an address in memory to one in the scratchpad."""
    load = "load.dma layout=free mem_addr={} run=64 sbuf_addr={}"
    return "\n".join([*(load.format(*pair) for pair in addresses), "load.sync", "halt"])


BAD_LOAD = loads((0, 0), (0, 64), (0x100_0000, 0))
BUS_ERROR = loads((0, 0), (0x80_0000, 0), (0, 64))

WINDOW = (0, 0xFF_FFFF)
"""The memory is smaller."""

PROGRAMS = ("all", "wait", "full", "trap", "bad load", "bus error", "gemm")
TRAPPED = ("trap", "bad load", "bus error")


@pytest.fixture(scope="module")
def device():
    """A traced tile; its recorder is `device.recorder`."""
    recorder = Recorder()
    made = RtlDevice(TINY, recorder=recorder, max_cycles=100_000)
    yield SimpleNamespace(rtl=made, recorder=recorder)
    made.close()


def run(device, text):
    """(result, recording) of a program."""
    program = assemble(text)
    memory = np.zeros(DATA_BYTES + len(program), np.uint8)
    memory[DATA_BYTES:] = np.frombuffer(program, np.uint8)
    where = {"program": DATA_BYTES, "program_bytes": len(program), "window": WINDOW}
    result = device.rtl.run(memory, **where)
    return result, device.recorder.recordings[-1]


def run_gemm(device, size=20):
    """(counters, recordings) of a GEMM."""
    rng = np.random.default_rng(0)
    a, b = (operands(rng, (size, size), BF16, "finite_codes") for _ in range(2))
    before = len(device.recorder.recordings)
    report = gemm(device.rtl, a, b, BF16, BF16, BF16)[1]
    return report, device.recorder.recordings[before:]


@pytest.fixture(scope="module")
def profiles(device):
    """Name -> (counters, cycles, recording)."""
    found = {}
    texts = {"all": ALL_ENGINES, "wait": LONG_WAIT, "full": FULL_QUEUE}
    texts |= {"trap": TRAPPING, "bad load": BAD_LOAD, "bus error": BUS_ERROR}
    for name, text in texts.items():
        result, recording = run(device, text)
        assert (result.trap is None) == (name not in TRAPPED), result.trap
        found[name] = (result.counters, result.cycles, recording)
    report, (recording,) = run_gemm(device)
    found["gemm"] = (report.counters, report.cycles, recording)
    return found


def program_order(recording):
    """(position, mnemonic) of every instruction of a program."""
    for offset, decoded in instructions(recording.program):
        yield offset, decoded.mnemonic


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("engine", ENGINES)
def test_busy_wait_and_stall_are_those_of_the_tiles_counters(profiles, name, engine):
    counters, _, recording = profiles[name]
    sums = Counter()
    for state, cycles in timeline(recording).tracks[engine].states.totals().items():
        sums[state.condition] += cycles
    for condition in (Condition.BUSY, Condition.WAIT, Condition.STALL):
        assert sums[condition] == counters[f"{engine.name}_{condition.name}"], condition


@pytest.mark.parametrize("name", PROGRAMS)
def test_states_fill_the_program_without_gaps(profiles, name):
    _, cycles, recording = profiles[name]
    for track in timeline(recording).tracks.values():
        spans = list(track.states)
        assert spans[0][0] == 0
        assert spans[-1][1] == cycles
        for (_, end, state), (start, _, following) in pairwise(spans):
            assert end == start
            assert state != following


@pytest.mark.parametrize("name", PROGRAMS)
def test_instructions_of_a_lane_do_not_overlap(profiles, name):
    checked = 0
    for track in timeline(profiles[name][2]).tracks.values():
        for lane in track.lanes.values():
            before = 0
            for span in lane:
                assert before <= span.start < span.end
                assert span.begin <= span.start
                before, checked = span.end, checked + 1
    assert checked > 3


@pytest.mark.parametrize("name", ["all", "wait", "full", "gemm"])
def test_every_instruction_appears_once_in_program_order(profiles, name):
    recording = profiles[name][2]
    lanes = {
        lane: [(span.pc_bytes, span.decoded.mnemonic) for span in spans]
        for track in timeline(recording).tracks.values()
        for lane, spans in track.lanes.items()
    }
    expected = {lane: [] for lane in lanes}
    for position, mnemonic in program_order(recording):
        if mnemonic == "tensor.load":
            lane = "tensor (stationary)"
        else:
            lane = "control" if mnemonic == "halt" else mnemonic.split(".")[0]
        expected[lane].append((position, mnemonic))
    assert lanes == expected


def test_instructions_behind_a_trap_do_not_appear(profiles):
    recording = profiles["trap"][2]
    assert recording.trap.cause is Trap.SBUF_RANGE
    tracks = timeline(recording).tracks
    mnemonics = [
        span.decoded.mnemonic
        for engine in (Engine.LOAD, Engine.TENSOR)
        for lane in tracks[engine].lanes.values()
        for span in lane
    ]
    assert mnemonics == ["load.dma", "tensor.load"]
    last = list(tracks[Engine.CONTROL].states)[-1][2]
    assert last == State(Condition.IDLE, "the program has trapped")


def test_instructions_that_a_trap_cuts_short_end_with_the_program(profiles):
    _, cycles, recording = profiles["bus error"]
    assert recording.trap.cause is Trap.BUS_DECERR
    lane = timeline(recording).tracks[Engine.LOAD].lanes["load"]
    assert [span.pc_bytes for span in lane] == [0, 64, 128, 192]
    assert lane[-1].end == cycles
    assert all(span.end < cycles for span in lane[:-1])


def test_a_long_wait_names_its_semaphore_and_who_signals_it(profiles):
    _, cycles, recording = profiles["wait"]
    tracks = timeline(recording).tracks
    load = tracks[Engine.LOAD].lanes["load"]
    for engine, semaphore in ((Engine.TENSOR, 6), (Engine.VECTOR, 5)):
        waits = [
            (start, end, state)
            for start, end, state in tracks[engine].states
            if state.condition is Condition.WAIT
        ]
        ((start, end, state),) = waits
        assert state.cause == f"semaphore {semaphore}, signalled by load"
        assert end - start > cycles // 2
        assert 0 < end - load[6 - semaphore - 1].end < 12  # -1: load.sync; 0: load.dma


def test_a_full_queue_holds_up_the_others(profiles):
    tracks = timeline(profiles["full"][2]).tracks
    stall = State(Condition.STALL, "the tensor queue is full")
    idle = State(Condition.IDLE, "queue empty, dispatch held up by the full tensor queue")
    held = tracks[Engine.CONTROL].states.totals()[stall]
    assert held > 50
    assert tracks[Engine.STORE].states.totals()[idle] == held
    assert idle not in tracks[Engine.ACTIVATION].states.totals()


def stalls(engine, cause, text=LONG_WAIT, **options):
    """Cycles for which `engine` stalls for `cause` on a tile of its own."""
    recorder = Recorder()
    tile = RtlDevice(TINY, recorder=recorder, **options)
    _, recording = run(SimpleNamespace(rtl=tile, recorder=recorder), text)
    tile.close()
    totals = timeline(recording).tracks[engine].states.totals()
    return totals.get(State(Condition.STALL, cause), 0)


def test_slow_memory_is_what_load_stalls_for():
    cause = "memory has not answered yet"
    slow, fast = (stalls(Engine.LOAD, cause, mem_latency=latency) for latency in (150, 50))
    assert slow - fast >= 100


def test_a_bus_that_pauses_is_what_store_stalls_for():
    cause = "the bus does not take an address or a beat of data"
    text = "store.dma layout=free mem_addr=0 run=256 sbuf_addr=0\nhalt"
    pausing, ready = (stalls(Engine.STORE, cause, text, stall=stall) for stall in (0.8, 0.0))
    assert ready < 5
    assert pausing > 100


def test_an_engine_without_instructions_has_none_left_from_the_start(profiles):
    states = list(timeline(profiles["wait"][2]).tracks[Engine.STORE].states)
    assert [state.cause for _, _, state in states][-1] == "no instructions left"
    assert states[-1][1] - states[-1][0] >= profiles["wait"][1] - 3


def test_the_recorder_can_rest_and_label(device):
    recorder = device.recorder
    before = len(recorder.recordings)
    recorder.active = False
    run(device, "halt")
    assert len(recorder.recordings) == before
    recorder.active, recorder.label = True, "rest"
    assert run(device, "halt")[1].label == "rest"
    recorder.label = ""
    assert len(recorder.recordings) == before + 1


def test_a_trace_that_grows_too_long_is_an_error():
    recorder = Recorder(max_changes=10)
    with pytest.raises(ValueError, match="more than 10 changes"):
        recorder.check_size(11)
    recorder.check_size(10)


def test_tracing_changes_no_cycle(device):
    plain = RtlDevice(TINY, max_cycles=100_000)
    program = assemble(ALL_ENGINES)
    memory = np.zeros(DATA_BYTES + len(program), np.uint8)
    memory[DATA_BYTES:] = np.frombuffer(program, np.uint8)
    where = {"program": DATA_BYTES, "program_bytes": len(program), "window": WINDOW}
    result = plain.run(memory, **where)
    plain.close()
    assert result == run(device, ALL_ENGINES)[0]


def test_a_recorder_and_another_tile_exclude_each_other(tmp_path):
    with pytest.raises(ValueError, match="traced tile"):
        RtlDevice(TINY, recorder=Recorder(), verilog=tmp_path / "other.v")


def test_half_a_recording_is_refused(profiles):
    recording = profiles["all"][2]
    control = recording.changes["control"][:-1]
    cut = replace(recording, changes=recording.changes | {"control": control[control["word"] != 0]})
    with pytest.raises(ValueError, match="whole program"):
        timeline(cut)


def test_the_trace_is_valid_json_of_complete_and_metadata_events(profiles, tmp_path):
    recordings = [profiles["all"][2], profiles["gemm"][2]]
    write_chrome_trace(recordings, tmp_path / "t.json")
    content = json.loads((tmp_path / "t.json").read_text())
    assert content == chrome_trace(recordings)
    events = content["traceEvents"]
    names = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert {"programs", "control", "tensor", "tensor (stationary)", "load: state"} <= {
        *names.values()
    }
    assert len(set(names.values())) == len(names)
    spans = {tid: [] for tid in names}
    for event in events:
        assert event["ph"] in "XM"
        assert isinstance(event["pid"], int)
        if event["ph"] == "X":
            assert event["name"]
            assert all(isinstance(event[key], int) for key in ("ts", "dur", "tid"))
            assert event["dur"] > 0
            spans[event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    total = sum(recording.cycles for recording in recordings)
    for tid, found in spans.items():
        assert all(a[1] <= b[0] for a, b in pairwise(found)), names[tid]
        if names[tid].endswith("state") or names[tid] == "programs":
            assert sum(end - start for start, end in found) == total


def test_an_instruction_of_the_trace_says_where_and_what_it_is(profiles):
    events = chrome_trace([profiles["all"][2]])["traceEvents"]
    (matmul,) = [event for event in events if event["name"] == "tensor.matmul"]
    assert matmul["args"]["assembly"].startswith("tensor.matmul rows=4")
    position = int(matmul["args"]["pc"], 16)
    assert decode(profiles["all"][2].program, position).mnemonic == "tensor.matmul"
    assert matmul["args"]["granule"] * 16 == position
    assert matmul["args"]["latency"] >= matmul["dur"]


def test_the_table_adds_up(profiles):
    recordings = [profiles[name][2] for name in PROGRAMS]
    sums = breakdown(recordings)
    assert sums.cycles == sum(profiles[name][1] for name in PROGRAMS)
    for engine in (Engine.CONTROL, *ENGINES):
        assert sum(sums.states[engine].values()) == sums.cycles
    text = profile_table(recordings)
    for engine in ENGINES:
        busy = sum(profiles[name][0][f"{engine.name}_BUSY"] for name in PROGRAMS)
        (row,) = [line for line in text.splitlines() if line.startswith(engine.name.lower())]
        assert row.split()[-2:] == [f"{busy:,}", f"{busy / sums.cycles:.1%}"]
    assert f"{len(PROGRAMS)} programs" in text
    assert profile_table(recordings[0]) == profile_table(recordings[:1])


@pytest.mark.parametrize("window", [None, (100, 200)])
def test_a_picture_is_drawn(profiles, tmp_path, window):
    draw(profiles["gemm"][2], tmp_path / "p.png", window)
    data = (tmp_path / "p.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) > 10_000


@pytest.mark.parametrize(
    ("name", "window", "words"),
    [("p.gif", None, "must end in"), ("p.png", (0, 10**9), "window"), ("p.png", (5, 5), "window")],
)
def test_what_cannot_be_drawn_is_said(profiles, tmp_path, name, window, words):
    with pytest.raises(ValueError, match=words):
        draw(profiles["gemm"][2], tmp_path / name, window)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("show", [profile_table, chrome_trace])
def test_nothing_recorded_is_an_error(show):
    with pytest.raises(ValueError, match="no program ran"):
        show([])
