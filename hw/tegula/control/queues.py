"""The in-order instruction queue of an engine, and the wait at its head."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.control.semaphores import wait_layout
from tegula.engine.interface import instruction_layout
from tegula.isa.instructions import PC_BITS, Engine

__all__ = ["QUEUE_CYCLES", "EngineQueue", "queue_layout"]

QUEUE_CYCLES = 1
"""Cycles from dispatch into an empty queue to `instr.valid`, where there is nothing to wait for."""


def queue_layout(config: TileConfig, engine: Engine) -> data.StructLayout:
    """A checked instruction for the queue of `engine`; it waits if `waits`."""
    return data.StructLayout(
        {"waits": 1, "wait": wait_layout(config), "instr": instruction_layout(engine)}
    )


class EngineQueue(wiring.Component):
    """FIFO of `queue_depth` instructions whose head is held back until its wait is over.

    An instruction counts from its dispatch until the engine takes it, also while it waits at the
    head; the wait of the head goes on while the engine works on earlier instructions.

    Latency: `QUEUE_CYCLES`; a wait adds one cycle after its handshake. Throughput: one a cycle.

    Parameters
    ----------
    config, engine
        Give the depth, and the layout of the instructions.

    Members
    -------
    dispatch : In(stream of `queue_layout`)
        Instructions in program order.
    wait : Out(stream of `wait_layout`)
        The wait of the head, to the semaphores; its handshake is the end of the wait.
    instr : Out(stream of `instruction_layout(engine)`)
        To the engine.
    clear : In(1)
        Drops all instructions; `instr.valid` is low at once, `wait.valid` in the next cycle.
    empty : Out(1)
        No instruction is held.
    waiting : Out(1)
        The head's wait is not over. Its `pc` and `sem` are `head_pc` and `head_sem`.
    head_pc : Out(PC_BITS), head_sem : Out(range(semaphores))
        Position of the head in granules, and the semaphore that it waits on.
    """

    def __init__(self, config: TileConfig, engine: Engine):
        self._config = config
        self._layout = queue_layout(config, engine)
        super().__init__(
            {
                "dispatch": In(stream.Signature(self._layout)),
                "wait": Out(stream.Signature(wait_layout(config))),
                "instr": Out(stream.Signature(instruction_layout(engine))),
                "clear": In(1),
                "empty": Out(1),
                "waiting": Out(1),
                "head_pc": Out(PC_BITS),
                "head_sem": Out(range(config.semaphores)),
            }
        )

    def elaborate(self, platform):
        """Storage behind the head, and the head, loaded at once where nothing is before it."""
        depth = self._config.queue_depth
        m = Module()
        m.submodules.storage = storage = memory.Memory(shape=self._layout, depth=depth, init=[])
        write = storage.write_port()
        read = storage.read_port(domain="comb")

        # Instructions behind the head, and in all; whether there is room is a register, since the
        # way from here through the decoder to the fetch FIFO is a long one.
        stored = Signal(range(depth + 1))
        total = Signal(range(depth + 1))
        total_next = Signal(range(depth + 1))
        has_room = Signal(init=1)
        head = Signal(self._layout)
        head_valid, wait_over = Signal(), Signal()
        push, pop, load, load_stored = Signal(), Signal(), Signal(), Signal()

        m.d.comb += [
            self.dispatch.ready.eq(has_room),
            push.eq(self.dispatch.valid & self.dispatch.ready),
            pop.eq(self.instr.valid & self.instr.ready),
            load_stored.eq((~head_valid | pop) & (stored != 0)),
            load.eq((~head_valid | pop) & ((stored != 0) | push)),
            write.data.eq(self.dispatch.payload),
            write.en.eq(push & ~(load & ~load_stored)),
        ]
        m.d.comb += total_next.eq(total + push - pop)
        m.d.sync += [
            stored.eq(stored + write.en - load_stored),
            total.eq(total_next),
            has_room.eq(total_next != depth),
        ]
        with m.If(write.en):
            m.d.sync += write.addr.eq(write.addr + 1)
        with m.If(load_stored):
            m.d.sync += read.addr.eq(read.addr + 1)
        with m.If(load):
            m.d.sync += [
                head.eq(Mux(load_stored, read.data, self.dispatch.payload)),
                head_valid.eq(1),
                wait_over.eq(~Mux(load_stored, read.data.waits, self.dispatch.payload.waits)),
            ]
        with m.Elif(pop):
            m.d.sync += head_valid.eq(0)
        with m.If(self.wait.valid & self.wait.ready):
            m.d.sync += wait_over.eq(1)
        with m.If(self.clear):
            m.d.sync += [stored.eq(0), head_valid.eq(0), read.addr.eq(0), write.addr.eq(0)]
            m.d.sync += [total.eq(0), has_room.eq(1)]

        m.d.comb += [
            self.instr.valid.eq(head_valid & wait_over & ~self.clear),
            self.instr.payload.eq(head.instr),
            self.wait.valid.eq(self.waiting),
            self.wait.payload.eq(head.wait),
            self.waiting.eq(head_valid & ~wait_over),
            self.empty.eq(total == 0),
            self.head_pc.eq(head.instr.pc),
            self.head_sem.eq(head.wait.sem),
        ]
        return m
