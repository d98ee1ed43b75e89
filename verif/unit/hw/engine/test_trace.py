"""Trace ports of a traced tile, and their absence from other tiles."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

import tegula_sw.devices.rtl
from tegula.backend.verilog import tile_verilog
from tegula.config import preset
from tegula.engine.trace import ACTIVITY_DOCS, CONTROL_FIELDS, ENGINE_FIELDS, PORTS, Activity

TINY = preset("tiny")
TRACED = replace(TINY, trace=True)


def outputs(config):
    """The tile's own outputs, without those of its buses."""
    text = tile_verilog(config).read_text()
    tile = text[text.index(f"module tegula_{config.name}(") :]
    found = re.findall(r"^  output (?:\[\S+\] )?(\w+);", tile[: tile.index("endmodule")], re.M)
    return {name for name in found if "axi" not in name}


def test_only_a_traced_tile_has_trace_ports():
    assert outputs(TINY) == {"irq"}
    assert outputs(TRACED) == {"irq", *(f"trace_{port}" for port in PORTS)}


def test_the_verilog_of_an_untraced_tile_says_nothing_of_traces():
    text = tile_verilog(TINY).read_text()
    assert text.count("endmodule") > 10
    assert not re.search("trace|retired", text)


def test_tracing_is_no_part_of_a_configurations_name():
    assert repr(TRACED) == repr(TINY)
    assert TRACED != TINY


def test_tracing_is_yes_or_no():
    with pytest.raises(ValueError, match="trace must be a bool, not 1"):
        replace(TINY, trace=1)


@pytest.mark.parametrize("fields", [CONTROL_FIELDS, ENGINE_FIELDS], ids=["control", "engine"])
def test_a_word_fits_what_the_harness_keeps_it_in(fields):
    assert sum(fields.values()) <= 64


def test_every_activity_has_its_words_and_fits_its_field():
    assert set(ACTIVITY_DOCS) == set(Activity)
    assert max(Activity) < 1 << ENGINE_FIELDS["activity"]


def test_the_harness_samples_the_ports_in_their_order():
    header = Path(tegula_sw.devices.rtl.__file__).with_name("trace_log.h").read_text()
    sampled = re.findall(r"keep\((\d), cycle, tile\.trace_(\w+)\)", header)
    assert sampled == [(str(number), port) for number, port in enumerate(PORTS)]
