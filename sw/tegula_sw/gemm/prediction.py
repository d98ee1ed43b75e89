"""Cycles of a GEMM that nothing runs: its programs on the model of time."""

from collections.abc import Sequence
from dataclasses import dataclass

from tegula.config import TileConfig
from tegula_sw.gemm.addresses import GemmAddresses
from tegula_sw.gemm.kernel import build_gemm
from tegula_sw.gemm.run import split_jobs
from tegula_sw.gemm.shape import GemmShape
from tegula_sw.gemm.steps import peak_macs
from tegula_sw.program.program import MAX_GRANULES, MemoryImage
from tegula_sw.program.timing.model import predict

__all__ = ["GemmPrediction", "predict_gemm"]


@dataclass(frozen=True, kw_only=True)
class GemmPrediction:
    """Predicted cycles and beats of a GEMM.

    Attributes
    ----------
    preset, n, axi_data_width
        Name of the tile's configuration, rows and columns of its array, bits of its bus.
    mem_latency
        Read latency of the memory in cycles.
    shape
        (M, N, K).
    cycles_predicted
        Doorbell to interrupt, summed over programs.
    macs, peak_macs_per_cycle
        Multiply-accumulates of the job, and those that the array can do in a cycle, twice as many
        of operands that it takes packed.
    utilisation
        ``macs / (cycles_predicted * peak_macs_per_cycle)``.
    read_beats, write_beats
        AXI beats, program fetch included.
    programs, program_bytes
        How many programs, and their size.
    """

    preset: str
    n: int
    axi_data_width: int
    mem_latency: int
    shape: tuple[int, int, int]
    cycles_predicted: int
    macs: int
    peak_macs_per_cycle: int
    utilisation: float
    read_beats: int
    write_beats: int
    programs: int
    program_bytes: int


def predict_gemm(
    config: TileConfig, shape: GemmShape, mem_latencies: Sequence[int]
) -> list[GemmPrediction]:
    """Predictions for memories of several latencies; operands lie as `gemm` puts them.

    Parameters
    ----------
    config
        The tile.
    shape
        The whole product.
    mem_latencies
        Read latencies in cycles, each at least 1.

    Raises
    ------
    ValueError
        If the tile is too small for the product, lacks a format, or a latency is out of range.
    """
    m, n, k = len(shape.rows), len(shape.columns), shape.k
    image = MemoryImage()
    addresses = GemmAddresses(
        a=image.reserve(m * k * shape.fmt_a.width // 8),
        b=image.reserve(k * n * shape.fmt_b.width // 8),
        c=image.reserve(m * n * shape.fmt_out.width // 8),
    )
    program = image.reserve(MAX_GRANULES)
    codes = [build_gemm(config, job, addresses)[0] for job in split_jobs(config, shape)]
    predictions = []
    for latency in mem_latencies:
        found = [predict(config, code, address=program, mem_latency=latency) for code in codes]
        cycles = sum(each.cycles for each in found)
        peak = peak_macs(config, shape.fmt_a, shape.fmt_b)
        predictions.append(
            GemmPrediction(
                preset=config.name,
                n=config.n,
                axi_data_width=config.axi_data_width,
                mem_latency=latency,
                shape=(m, n, k),
                cycles_predicted=cycles,
                macs=m * n * k,
                peak_macs_per_cycle=peak,
                utilisation=m * n * k / (cycles * peak),
                read_beats=sum(each.read_beats for each in found),
                write_beats=sum(each.write_beats for each in found),
                programs=len(codes),
                program_bytes=sum(map(len, codes)),
            )
        )
    return predictions
