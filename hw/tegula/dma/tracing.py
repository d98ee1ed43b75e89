"""What a traced tile shows of a DMA engine."""

from amaranth.hdl import Module, Value

from tegula.dma.retire import TrapHold
from tegula.dma.runs import RunGenerator
from tegula.engine.interface import EngineInterface
from tegula.engine.trace import Activity

__all__ = ["trace_dma"]


def trace_dma(
    m: Module,
    engine: EngineInterface,
    generator: RunGenerator,
    retirement: TrapHold,
    reasons: tuple[tuple[Value, Activity], ...],
) -> None:
    """Drive `engine.trace`.

    An instruction begins with its ticket; the queue's head goes on with the last of its runs.

    Parameters
    ----------
    reasons
        Of `reasons` (condition, activity) the first whose condition holds stands; if none does,
        the engine drains. Registered, as `busy` and `stall` are.
    """
    tickets, trace = generator.tickets, engine.trace
    m.d.comb += [
        trace.begin.eq(tickets.valid & tickets.ready),
        trace.complete.eq(retirement.retired),
    ]
    m.d.sync += trace.activity.eq(Activity.DRAINING)
    for index, (holds, activity) in enumerate(reasons):
        with m.If(holds) if index == 0 else m.Elif(holds):
            m.d.sync += trace.activity.eq(activity)
