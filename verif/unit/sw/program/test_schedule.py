"""The merge of engine streams into one program order."""

import pytest

from tegula.config import preset
from tegula.isa.instructions import Engine
from tegula_sw.program.program import Program
from tegula_sw.program.schedule import Op, dma_op, merge


def names(streams):
    """Labels of the merged instructions, kept in their fields."""
    return [op.fields["label"] for op in merge(streams)]


def test_instructions_come_in_the_order_in_which_they_would_start():
    tensor = [Op("tensor.sync", {"label": f"t{i}"}, cycles=10) for i in range(3)]
    load = [Op("load.sync", {"label": f"l{i}"}, cycles=4) for i in range(5)]
    merged = names({Engine.LOAD: load, Engine.TENSOR: tensor})
    assert merged == ["l0", "t0", "l1", "l2", "t1", "l3", "l4", "t2"]


def test_a_wait_follows_the_signals_that_end_it():
    semaphore = Program(preset("small")).semaphore("s")
    signal, wait = semaphore.add(), semaphore.at_least(2, consume=True)
    load = [Op("load.sync", {"label": f"l{i}"}, 5, 7, signal=signal) for i in range(4)]
    tensor = [Op("tensor.sync", {"label": f"t{i}"}, wait=wait) for i in range(2)]
    merged = names({Engine.TENSOR: tensor, Engine.LOAD: load})
    assert merged == ["l0", "l1", "l2", "l3", "t0", "t1"]


def test_streams_that_wait_for_each_other_are_refused():
    program = Program(preset("small"))
    a, b = program.semaphore("a"), program.semaphore("b")
    load = [Op("load.sync", wait=a.at_least(1, consume=True), signal=b.add())]
    tensor = [Op("tensor.sync", wait=b.at_least(1, consume=True), signal=a.add())]
    with pytest.raises(ValueError, match=r"load.sync on 'a', tensor.sync on 'b'"):
        list(merge({Engine.LOAD: load, Engine.TENSOR: tensor}))


def test_a_transfer_costs_its_runs_and_leaves_out_axes_of_one():
    op = dma_op(preset("small"), Engine.LOAD, 3, [(4, 100, 1, 0), (1, 7, 7, 7)], run=9)
    assert op.mnemonic == "load.dma"
    assert op.fields == {
        "run": 9,
        "count1": 4,
        "mem_stride1": 100,
        "sbuf_stride1": 1,
        "partition_stride1": 0,
    }
    assert op.cycles == 4 * 3 + 4
