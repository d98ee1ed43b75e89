"""Readers of users' files: whatever the bytes are, a result or a ValueError that names the file."""

import io
import os
import struct
import threading
import tracemalloc

import numpy as np
import pytest

from tegula.config import preset
from tegula.formats import BF16, E4M3FN
from tegula.isa.assembly import assemble, disassemble
from tegula_sw.arrays import codes_from_array, fp32_bits, load_array
from tegula_sw.elementwise.cast import CastAddresses, build_cast
from tegula_sw.files.inputs import read_bytes, read_text
from verif.support.mutated_files import mutations, outcome

COUNT = 1500
"""Mutations of each file."""


def npy(header, data=b"", version=(1, 0)):
    """An .npy file with any header."""
    text = header.encode("latin1") + b"\n"
    size = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + size + text + data


def header(descr="'<f4'", order="False", shape="(2, 3)"):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


def saved(array, **more):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **more)
    return file.getvalue()


DATA = np.arange(6, dtype=np.float32).reshape(2, 3)
NO_ARRAYS = {
    "unbalanced brace": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), "),
    "unbalanced quote": npy(header(descr="'<f4")),
    "indentation": npy("  {\n 1:\n\t2}"),
    "a dictionary of others": npy("{1: 2, 'a': 3}"),
    "no dictionary": npy("[1, 2]"),
    "an expression": npy("__import__('os').abort()"),
    "deep brackets": npy("(" * 5000),
    "long header": npy(" " * 20_000 + header()),
    "no type": npy(header(descr="'nonsense'")),
    "empty type": npy(header(descr="()")),
    "empty list": npy(header(descr="[]")),
    "odd fields": npy(header(descr="[1]")),
    "type of bytes": npy(header(descr="b'<f4'")),
    "shape of bools": npy(header(shape="(True, 7)"), bytes(28)),
    "shape of floats": npy(header(shape="(2.0, 3)"), bytes(24)),
    "shape that is a number": npy(header(shape="6"), bytes(24)),
    "negative shape": npy(header(shape="(-2, -3)"), bytes(24)),
    "negative and zero": npy(header(shape="(0, -3)")),
    "order that is a number": npy(header(order="0"), bytes(24)),
    "too many axes": npy(header(shape="(1, " + "1, " * 99 + ")"), bytes(4)),
    "nothing of a lot": npy(header(shape="(0, 99999999999999999999)")),
    "nothing of nearly a lot": npy(header(shape=f"(0, {2**62}, {2**62})")),
    "elements of no size": npy(header(descr="'<U0'", shape=f"({10**15},)")),
    "void of no size": npy(header(descr="'|V0'", shape="(3,)")),
    "subarrays": npy(header(descr="('<f4', (2,))"), bytes(48)),
    "fields": saved(np.zeros(3, [("a", "f4"), ("b", "u1")])),
    "objects": saved(np.array([{}], object), allow_pickle=True),
    "objects without a pickle": npy(header(descr="'|O'"), bytes(48)),
    "version 3": saved(DATA, version=(3, 0)),
    "version 255": npy(header(), bytes(24), version=(255, 255)),
    "header of 4 GiB": b"\x93NUMPY\x02\x00\xff\xff\xff\xff{",
    "cut short": saved(DATA)[:-1],
    "10**15 elements": npy(header(shape=f"({10**15},)"), bytes(24)),
    "10**30 elements": npy(header(shape=f"({10**15}, {10**15})"), bytes(24)),
}


@pytest.mark.parametrize("case", NO_ARRAYS)
def test_damaged_arrays_are_refused_with_their_name_before_anything_is_allocated(tmp_path, case):
    path = tmp_path / "in.npy"
    path.write_bytes(NO_ARRAYS[case])
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"in\.npy") as caught:
            load_array(path)
        assert len(str(caught.value)) < 400
        if case != "header of 4 GiB":  # Python reserves, and does not fill, what a read may give
            assert tracemalloc.get_traced_memory()[1] < 1 << 25
    finally:
        tracemalloc.stop()


ARRAYS = {
    "plain": DATA,
    "Fortran's order": np.asfortranarray(DATA),
    "big-endian": DATA.astype(">f4"),
    "scalar": np.array(2.5, np.float32),
    "empty": np.zeros((3, 0, 2), np.float32),
    "empty and large": np.zeros((0, 10**12), np.uint8),
    "many axes": np.ones((1,) * 32, np.float32),
    "raw words": np.array([[1, 2]], np.uint16).view("V2"),
}


@pytest.mark.parametrize("version", [(1, 0), (2, 0)], ids=str)
@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_of_any_order_are_read(tmp_path, case, version):
    path = tmp_path / "in.npy"
    path.write_bytes(saved(ARRAYS[case], version=version))
    array = load_array(path)
    assert (array.shape, array.dtype) == (ARRAYS[case].shape, ARRAYS[case].dtype)
    assert np.array_equal(array, ARRAYS[case])
    assert array.size == 0 or array.flags.writeable


def test_headers_of_python_2_are_read_without_a_warning(tmp_path):
    path = tmp_path / "in.npy"
    path.write_bytes(npy(header(shape="(2L, 3L)"), DATA.tobytes()))
    assert np.array_equal(load_array(path), DATA)


def test_arrays_come_through_pipes(tmp_path):
    path, large = tmp_path / "pipe", np.arange(100_000, dtype=np.float32)
    os.mkfifo(path)
    for content in (saved(large), saved(large)[:-1]):
        writer = threading.Thread(target=path.write_bytes, args=(content,))
        writer.start()
        if len(content) % 2:
            with pytest.raises(ValueError, match="ends after 399999 of the 400000 bytes"):
                load_array(path)
        else:
            assert np.array_equal(load_array(path), large)
        writer.join()


TEXTUAL = np.frombuffer(b"(){}[],:'\"0123456789- \n#ax<>|fuiVOTrueL", np.uint8)


def change(rng, data):
    """Change, cut, double or put in bytes."""
    place = int(rng.integers(min(len(data), 160) + 1))
    length = int(rng.integers(1, 5))
    new = rng.integers(0, 256, length, np.uint8).tobytes()
    if rng.integers(2):
        new = rng.choice(TEXTUAL, length).tobytes()
    match rng.integers(4):
        case 0:
            data[place : place + length] = new
        case 1:
            data[place:place] = new
        case 2:
            del data[place : place + length]
        case 3:
            data[place:place] = data[place : place + 16]


@pytest.mark.parametrize("case", ["plain", "big-endian", "Fortran's order", "raw words"])
def test_mutated_arrays_are_read_or_refused_by_name(tmp_path, case):
    path, outcomes = tmp_path / "in.npy", set()
    for content in mutations(1, saved(ARRAYS[case]), change, count=COUNT, most=3):
        path.write_bytes(content)
        for use in (
            lambda array: array,
            lambda array: fp32_bits("in.npy", array),
            lambda array: codes_from_array("in.npy", array, BF16),
            lambda array: codes_from_array("in.npy", array, E4M3FN),
        ):
            outcomes.add(outcome(lambda use=use: use(load_array(path)), "in.npy"))
    assert outcomes == {"read", "refused"}


PROGRAM = build_cast(preset("tiny"), 100, E4M3FN, CastAddresses(source=0, random=4096, result=8192))
TEXT = "# a comment\n.word 0x0123456789abcdef\n" + disassemble(PROGRAM)


def test_mutated_programs_are_assembled_or_refused(tmp_path):
    path, outcomes = tmp_path / "p.s", set()
    for content in mutations(2, TEXT.encode(), change, count=COUNT, most=3):
        path.write_bytes(content)
        try:
            text = read_text(path)
        except ValueError as error:
            assert "p.s is not text" in str(error)
            continue
        try:
            program = assemble(text)
            outcomes.add("assembled")
            assert assemble(disassemble(program)) == program
        except ValueError as error:
            assert str(error).startswith("line ")
            outcomes.add("refused")
    assert outcomes == {"assembled", "refused"}


def test_any_bytes_are_disassembled(tmp_path):
    rng = np.random.default_rng(3)
    for _ in range(300):
        program = rng.integers(0, 256, 16 * int(rng.integers(20)), np.uint8)
        program[::16] = rng.integers(0, 40, program[::16].size)  # opcodes are small numbers
        (tmp_path / "p").write_bytes(program.tobytes())
        content = read_bytes(tmp_path / "p")
        assert assemble(disassemble(content)) == content
