"""The static check of programs finds what it promises to find."""

import pytest

from tegula.config import preset
from tegula.isa.codec import decode, encode
from tegula_sw.program.footprint import accesses
from tegula_sw.program.program import Program
from tegula_sw.program.race_check import check_program

CONFIG = preset("small")
LOAD = {"mem_addr": 0, "run": 8, "sbuf_addr": 0, "layout": "free"}
STORE = {"mem_addr": 64, "run": 8, "sbuf_addr": 0, "layout": "free"}


def sync_pair(**fields):
    """A load and a store that a semaphore may or may not order."""
    program = Program(CONFIG)
    ready = program.semaphore("ready")
    program.load_dma(**LOAD, signal=ready.add())
    program.store_dma(**STORE | fields, wait=ready.at_least(1) if not fields else None)
    program.halt()
    return program.assemble()


def test_ordered_accesses_pass():
    assert check_program(CONFIG, sync_pair()) == 3


def test_a_read_that_no_signal_orders_after_the_write_is_found():
    with pytest.raises(ValueError, match=r"store.dma at byte 64: reads scratchpad.*engine load"):
        check_program(CONFIG, sync_pair(mem_addr=128))


def test_a_load_that_accumulates_also_reads():
    for accumulate, kinds in (("none", [True]), ("bf16", [False, True])):
        decoded = decode(encode("load.dma", CONFIG, **LOAD, accumulate=accumulate))
        assert [access.writes for access in accesses(decoded, CONFIG)] == kinds


@pytest.mark.parametrize(
    ("mnemonic", "fields", "reached"),
    [
        ("tensor.load", {"rows": 1, "addr": 16383, "columns": 4}, "scratchpad word 16386"),
        ("tensor.load", {"addr": 2, "columns": 4, "stride": -1}, "scratchpad word -1"),
        ("tensor.matmul", {"rows": 1, "addr": 0, "columns": 1, "psum_addr": 512}, "PSUM word 512"),
        ("tensor.matmul", {"rows": 1, "addr": 0, "columns": 4, "psum_addr": 510}, "PSUM word 513"),
        (
            "vector.compute",
            {
                "x_source": "sbuf",
                "x_format": "bf16",
                "x_addr": 16383,
                "x_stride": 1,
                "columns": 2,
                "dst": 0,
            },
            "scratchpad word 16384",
        ),
        (
            "vector.compute",
            {"x_source": "psum", "columns": 2, "dst": 16383, "dst_stride": 1},
            "scratchpad word 16384",
        ),
    ],
)
def test_what_reaches_beyond_a_storage_is_found(mnemonic, fields, reached):
    assert (CONFIG.sbuf_depth, CONFIG.psum_depth) == (16384, 512)
    rows = {"rows": 1, "format": "bf16"} if mnemonic != "tensor.matmul" else {"format": "bf16"}
    code = encode(mnemonic, **{**rows, **fields}) + encode("halt")
    with pytest.raises(ValueError, match=rf"{mnemonic} at byte 0: reaches {reached}, which must"):
        check_program(CONFIG, code)


def test_accesses_to_other_partitions_or_addresses_need_no_order():
    assert check_program(CONFIG, sync_pair(partition=1)) == 3
    assert check_program(CONFIG, sync_pair(sbuf_addr=8)) == 3


def test_a_write_that_no_signal_orders_after_the_read_is_found():
    program = Program(CONFIG)
    program.store_dma(**STORE)
    program.load_dma(**LOAD)
    program.halt()
    with pytest.raises(ValueError, match=r"load.dma at byte 64: writes scratchpad.*engine store"):
        check_program(CONFIG, program.assemble())


def test_order_passes_through_a_third_engine():
    program = Program(CONFIG)
    first, second = program.semaphore("first"), program.semaphore("second")
    program.load_dma(**LOAD, signal=first.add())
    program.vector_sync(wait=first.at_least(1, consume=True), signal=second.add())
    program.store_dma(**STORE, wait=second.at_least(1, consume=True))
    program.halt()
    assert check_program(CONFIG, program.assemble()) == 4


def test_psum_is_compared_between_tensor_and_vector():
    program = Program(CONFIG)
    program.tensor_load(rows=8, format=0, columns=8, addr=0)
    program.tensor_matmul(rows=8, format=0, addr=8, columns=4, psum_addr=6)
    program.vector_compute(rows=1, format=0, x_addr=9, dst=64, columns=1)
    program.halt()
    with pytest.raises(ValueError, match=r"vector.compute.*reads PSUM.*engine tensor"):
        check_program(CONFIG, program.assemble())


def matmul_and_load(signaller, *, psum):
    """The signal of a matmul, or of the load behind it, orders who reads or writes next."""
    program = Program(CONFIG)
    done = program.semaphore("done")
    program.tensor_load(rows=8, format=0, columns=8, addr=0)
    program.tensor_matmul(
        rows=8,
        format=0,
        addr=8,
        columns=4,
        psum_addr=0,
        signal=done.add() if "matmul" in signaller else None,
    )
    program.tensor_load(
        rows=8, format=0, columns=8, addr=16, signal=done.add() if "load" in signaller else None
    )
    if psum:
        program.vector_compute(rows=1, format=0, dst=64, columns=1, wait=done.at_least(1))
    else:
        program.load_dma(
            **LOAD | {"sbuf_addr": 16 if signaller == "load" else 0}, wait=done.at_least(1)
        )
    program.halt()
    return program.assemble()


def test_the_signal_of_a_stationary_load_says_nothing_of_matmuls_before_it():
    assert check_program(CONFIG, matmul_and_load("matmul", psum=True)) == 5
    with pytest.raises(ValueError, match=r"vector.compute.*reads PSUM.* 2 of engine tensor"):
        check_program(CONFIG, matmul_and_load("load", psum=True))


def test_the_signal_of_a_matmul_or_of_a_stationary_load_means_that_loads_are_complete():
    for signaller in ("matmul", "load"):
        assert check_program(CONFIG, matmul_and_load(signaller, psum=False)) == 5


def test_stationary_loads_and_matmuls_that_share_a_semaphore_are_found():
    with pytest.raises(ValueError, match=r"tensor.load.*semaphore 0 has two senders"):
        check_program(CONFIG, matmul_and_load("matmul, load", psum=True))


def test_layout_partition_spreads_over_all_partitions():
    program = Program(CONFIG)
    program.load_dma(mem_addr=0, run=9, sbuf_addr=0, sbuf_stride0=16, layout="partition")
    program.store_dma(mem_addr=0, run=1, sbuf_addr=16, layout="partition")
    program.halt()
    with pytest.raises(ValueError, match="reads scratchpad"):
        check_program(CONFIG, program.assemble())


def test_a_wait_before_its_signal_is_found(monkeypatch):
    monkeypatch.setattr(Program, "_account_wait", lambda *_: None)
    program = Program(CONFIG)
    program.store_sync(wait=program.semaphore("never").at_least(1))
    program.halt()
    with pytest.raises(ValueError, match=r"waits for 1 on semaphore 0.*leave only 0"):
        check_program(CONFIG, program.assemble())


def test_a_program_without_halt_is_found():
    with pytest.raises(ValueError, match="does not end with halt"):
        check_program(CONFIG, b"")
