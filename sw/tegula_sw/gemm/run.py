"""C = A @ B on a device: operands in, codes and a report out."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from tegula.config import TileConfig
from tegula.formats import FP32, MX_BLOCK, FloatFormat
from tegula.isa.instructions import GRANULE_BYTES
from tegula_golden.array_types import Bytes, Codes
from tegula_golden.numerics.block_scales import check_scales
from tegula_golden.numerics.codes import code_dtype
from tegula_sw.devices.base import Device, device_name, run_well, total_cycles
from tegula_sw.gemm.addresses import GemmAddresses
from tegula_sw.gemm.kernel import build_gemm
from tegula_sw.gemm.plan import plan_gemm
from tegula_sw.gemm.shape import GemmShape
from tegula_sw.gemm.steps import peak_macs
from tegula_sw.program.program import MAX_GRANULES, MemoryImage
from tegula_sw.program.span import Span
from tegula_sw.program.timing.model import predict

__all__ = ["GemmReport", "gemm", "split_jobs"]


@dataclass(frozen=True, kw_only=True)
class GemmReport:
    """Cycles and beats of a GEMM.

    Attributes
    ----------
    shape
        (M, N, K).
    transpose_a, transpose_b
        Whether memory held A^T and B^T.
    cycles
        Doorbell to interrupt, summed over programs; None on a device without a clock.
    cycles_predicted
        The same as `program.timing` predicts it, or None if that was not wanted.
    seconds
        Time that the device took to run the programs, in seconds of this machine.
    cycles_per_second
        Speed of the simulation, ``cycles / seconds``; None on a device without a clock.
    macs, peak_macs_per_cycle
        Multiply-accumulates of the job, and those that the array can do in a cycle, twice as many
        of operands that it takes packed.
    utilisation
        ``macs / (cycles * peak_macs_per_cycle)``, or None.
    read_beats, write_beats
        AXI beats, program fetch included.
    preset, device
        Name of the tile's configuration; "golden" or "rtl".
    programs, program_bytes
        How many programs ran, and their size.
    counters
        Busy, wait and stall cycles of the engines, summed.
    """

    shape: tuple[int, int, int]
    transpose_a: bool
    transpose_b: bool
    cycles: int | None
    cycles_predicted: int | None
    seconds: float
    cycles_per_second: float | None
    macs: int
    peak_macs_per_cycle: int
    utilisation: float | None
    read_beats: int
    write_beats: int
    preset: str
    device: str
    programs: int
    program_bytes: int
    counters: dict[str, int]


def split_jobs(config: TileConfig, shape: GemmShape) -> list[GemmShape]:
    """Cut a job into jobs whose programs fit the tile's program counter: by rows, else by columns.

    Raises
    ------
    ValueError
        If K alone makes the program too long.
    """
    plan = plan_gemm(config, shape)
    if plan.granules() <= MAX_GRANULES:
        return [shape]
    for name in ("rows", "columns"):
        span = getattr(shape, name)
        quantum = max(config.n * plan.psum_slots // 2, plan.psum_slot_words)
        if len(span) > quantum:
            middle = span.start + -(-len(span) // (2 * quantum)) * quantum
            halves = (Span(span.start, middle), Span(middle, span.stop))
            jobs = [_with_span(shape, name, half) for half in halves]
            return [part for job in jobs for part in split_jobs(config, job)]
    raise ValueError(f"K = {shape.k} is too long for one program of {MAX_GRANULES} granules")


def _with_span(shape: GemmShape, name: str, span: Span) -> GemmShape:
    """The part of a job in other rows, or in other columns."""
    return replace(shape, rows=span) if name == "rows" else replace(shape, columns=span)


def _check_codes(name: str, codes: Codes, fmt: FloatFormat) -> None:
    if codes.ndim != 2:
        raise ValueError(f"{name} must be two-dimensional, not of shape {codes.shape}")
    if codes.dtype != code_dtype(fmt):
        raise ValueError(
            f"{name} must hold {fmt.name} codes as {code_dtype(fmt)}, not {codes.dtype}"
        )
    if 0 in codes.shape:
        raise ValueError(f"{name} must not be empty, but has shape {codes.shape}")


def _scales_by_block(
    config: TileConfig, m: int, n: int, k: int, *sides: tuple[Bytes | None, bool]
) -> dict[str, Bytes]:
    """Codes of the scales as they lie in memory: of A and of B, where there are any.

    Of each side, its codes, and whether they lie block by block already.
    """
    blocks, found = -(-k // MX_BLOCK), {}
    for name, size, (codes, by_block) in zip(("a", "b"), (m, n), sides, strict=True):
        if codes is None:
            continue
        if not config.mx:
            raise ValueError(
                f"{name.upper()} must not be of an MX format, or have scales: tile {config.name!r}"
                " has no block scaling (mx)"
            )
        check_scales(codes, (blocks, size) if by_block else (size, blocks), f"scales_{name}")
        found[f"scales_{name}"] = codes if by_block else np.ascontiguousarray(codes.T)
    return found


def _check_format(name: str, fmt: FloatFormat, config: TileConfig, *more: FloatFormat) -> None:
    known = (*config.operand_formats, *more)
    if fmt not in known:
        names = ", ".join(other.name for other in known)
        raise ValueError(f"{name} must be one of {names} on tile {config.name!r}, not {fmt.name}")


def _predicted(
    config: TileConfig, code: bytes, address: int, mem_latency: int | None
) -> int | None:
    """Predicted cycles of a program, or None if there is no latency."""
    if mem_latency is None:
        return None
    return predict(config, code, address=address, mem_latency=mem_latency).cycles


def gemm(
    device: Device,
    a_codes: Codes,
    b_codes: Codes,
    fmt_a: FloatFormat,
    fmt_b: FloatFormat,
    fmt_out: FloatFormat,
    *,
    saturate: bool = False,
    transpose_a: bool = False,
    transpose_b: bool = False,
    scales_a: Bytes | None = None,
    scales_b: Bytes | None = None,
    swapped: bool | None = None,
    base: int = 0,
    progress: Callable[[int, int], None] | None = None,
    predicted_latency: int | None = None,
) -> tuple[Codes, GemmReport]:
    """C = A @ B, bit for bit as docs/numerics.md defines it.

    Parameters
    ----------
    device
        The tile that runs it.
    a_codes, b_codes
        Codes of A, shape (M, K), and B, shape (K, N), or of their transposes; uint8 or uint16 by
        the format's width.
    fmt_a, fmt_b, fmt_out
        Operand formats of the tile; the result's may also be fp32.
    saturate
        Whether fp8 overflow and infinities become the largest finite number.
    transpose_a, transpose_b
        Whether `a_codes` is A^T, shape (K, M), and `b_codes` B^T, shape (N, K). The tile reads them
        as they lie; nothing is rearranged in memory.
    scales_a, scales_b
        E8M0 codes of an operand that is scaled by blocks of 32 terms of K (MX; docs/numerics.md,
        section 3.11): uint8, shaped as its codes, with ceil(K / 32) in the place of K. None: it is
        not scaled.
    swapped
        The orientation (see `tiling`); None: the cheaper one.
    base
        Address of the device's memory.
    progress
        Called before each program with its number and the number of programs.
    predicted_latency
        Read latency, in cycles, of the memory for which cycles are predicted; None: they are not.

    Returns
    -------
    codes
        Codes of C, shape (M, N): uint8, uint16, or uint32 for fp32.
    report
        Its cycles and beats.

    Raises
    ------
    ValueError
        If shapes, dtypes or formats do not fit each other or the tile.
    TileTrapError
        If the tile traps.
    """
    config = device.config
    _check_format("format_a", fmt_a, config)
    _check_format("format_b", fmt_b, config)
    _check_format("format_out", fmt_out, config, FP32)
    _check_codes("A", a_codes, fmt_a)
    _check_codes("B", b_codes, fmt_b)
    m, k = a_codes.shape[::-1] if transpose_a else a_codes.shape
    k_of_b, n = b_codes.shape[::-1] if transpose_b else b_codes.shape
    if k != k_of_b:
        names = f"A{'^T' * transpose_a}", f"B{'^T' * transpose_b}"
        raise ValueError(
            f"{names[0]} {a_codes.shape} and {names[1]} {b_codes.shape} disagree on K:"
            f" {k} and {k_of_b}"
        )
    image = MemoryImage(base)
    scales = _scales_by_block(config, m, n, k, (scales_a, transpose_a), (scales_b, not transpose_b))
    if scales and not fmt_a.width == fmt_b.width == 8:
        raise ValueError(
            f"scaled operands must be of 8-bit formats, both, not {fmt_a.name} x {fmt_b.name}"
        )
    addresses = GemmAddresses(
        a=image.add(a_codes),
        b=image.add(b_codes),
        c=image.reserve(m * n * fmt_out.width // 8),
        **{name: image.add(codes) for name, codes in scales.items()},
    )
    whole = GemmShape.whole(
        *(m, n, k, fmt_a, fmt_b, fmt_out),
        transpose_a=transpose_a,
        transpose_b=transpose_b,
        scaled_a=scales_a is not None,
        scaled_b=scales_b is not None,
    )
    jobs = split_jobs(config, whole)
    code = build_gemm(config, jobs[0], addresses, saturate=saturate, swapped=swapped)[0]
    room = len(code) if len(jobs) == 1 else MAX_GRANULES * GRANULE_BYTES
    program = image.reserve(room)
    memory = image.build()
    cycles: list[int | None] = []
    predicted: list[int | None] = []
    beats: Counter[str] = Counter()
    counters: Counter[str] = Counter()
    program_bytes = 0
    seconds = 0.0
    for number, job in enumerate(jobs):
        if progress is not None:
            progress(number, len(jobs))
        if number:
            code = build_gemm(config, job, addresses, saturate=saturate, swapped=swapped)[0]
        start = program - base
        memory[start : start + len(code)] = np.frombuffer(code, np.uint8)
        started = perf_counter()
        result = run_well(device, memory, program, len(code), base=base)
        seconds += perf_counter() - started
        cycles.append(result.cycles)
        predicted.append(_predicted(config, code, program, predicted_latency))
        beats.update(read=result.read_beats, write=result.write_beats)
        counters.update(result.counters)
        program_bytes += len(code)
    total = total_cycles(cycles)
    peak = peak_macs(config, fmt_a, fmt_b)
    report = GemmReport(
        shape=(m, n, k),
        transpose_a=transpose_a,
        transpose_b=transpose_b,
        cycles=total,
        cycles_predicted=total_cycles(predicted),
        seconds=seconds,
        cycles_per_second=None if total is None else total / seconds,
        macs=m * n * k,
        peak_macs_per_cycle=peak,
        utilisation=None if total is None else m * n * k / (total * peak),
        read_beats=beats["read"],
        write_beats=beats["write"],
        preset=config.name,
        device=device_name(device),
        programs=len(jobs),
        program_bytes=program_bytes,
        counters=dict(counters),
    )
    return image.read(memory, addresses.c, code_dtype(fmt_out), (m, n)), report
