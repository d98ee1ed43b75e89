"""GEMMs on the tile of a bench, compared with the exact product."""

import numpy as np

from tegula.formats import FloatFormat
from tegula_golden.numerics.codes import code_dtype
from tegula_golden.numerics.gemm import gemm
from tegula_sw.gemm.addresses import GemmAddresses
from tegula_sw.gemm.kernel import build_gemm
from tegula_sw.gemm.shape import GemmShape
from tegula_sw.program.program import MemoryImage
from verif.benches.memory_map import BASE
from verif.benches.tile_bench import TileBench
from verif.stimuli.operands import pair

__all__ = ["run_gemm"]


async def run_gemm(
    bench: TileBench,
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    formats: tuple[FloatFormat, FloatFormat, FloatFormat],
    *,
    kind: str,
    saturate: bool,
    swapped: bool | None = None,
) -> None:
    """One GEMM of M x N x K with noise around every buffer; the result, and all else, compared."""
    (m, n, k), (fmt_a, fmt_b, fmt_out) = shape, formats
    a, b = pair(rng, (k, m, n), fmt_a, fmt_b, kind)
    a = np.ascontiguousarray(a.T)
    image = MemoryImage(BASE)
    guards = [image.reserve(64)]
    places = {}
    for name, size_bytes in (
        ("a", a.nbytes),
        ("b", b.nbytes),
        ("c", m * n * fmt_out.width // 8),
    ):
        places[name] = image.reserve(size_bytes)
        guards.append(image.reserve(64))
    program, _ = build_gemm(
        bench.config,
        GemmShape.whole(m, n, k, fmt_a, fmt_b, fmt_out),
        GemmAddresses(**places),
        saturate=saturate,
        swapped=swapped,
    )
    start = image.reserve(len(program))
    memory = bench.noise(image.size_bytes)
    for address, content in (
        (places["a"], a.tobytes()),
        (places["b"], b.tobytes()),
        (start, program),
    ):
        memory[address - BASE :][: len(content)] = np.frombuffer(content, np.uint8)
    after, _ = await bench.run(memory, start, len(program))
    result = image.read(after, places["c"], code_dtype(fmt_out), (m, n))
    want = gemm(a, b, fmt_a, fmt_b, fmt_out, saturate=saturate, rows=bench.config.n)
    assert (result == want).all()
    c_first = places["c"] - BASE
    c_last = c_first + result.nbytes
    assert (after[:c_first] == memory[:c_first]).all()
    assert (after[c_last:] == memory[c_last:]).all()
