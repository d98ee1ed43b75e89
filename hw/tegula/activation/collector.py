"""Writeback of the activation engine: results of the lanes become rows of the scratchpad."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.activation.layouts import output_layout
from tegula.config import TileConfig
from tegula.formats import FP32
from tegula.memory.ports import row_write_layout

__all__ = ["ResultCollector"]


class ResultCollector(wiring.Component):
    """Columns of beats side by side, written as a row, or as two of fp32.

    A column is written while the next is collected; where that is not fast enough, `advance` holds
    the lanes back.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    output : In(output_layout), results : In(ArrayLayout(32, activation_lanes))
        What leaves the lanes in this cycle, if they advance.
    advance : Out(1)
        There is room for what leaves.
    write : Out(stream of `row_write_layout`)
        Rows.
    done : Out(1)
        An instruction has had its last effect in this cycle.
    stop : In(1)
        Drop everything.
    empty : Out(1)
        Nothing is held.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "output": In(output_layout(config)),
                "results": In(data.ArrayLayout(32, config.activation_lanes)),
                "advance": Out(1),
                "write": Out(stream.Signature(row_write_layout(config))),
                "done": Out(1),
                "stop": In(1),
                "empty": Out(1),
            }
        )

    def elaborate(self, platform):
        """Shift beats in; move whole columns on; write their rows."""
        m = Module()
        n, lanes = self._config.n, self._config.activation_lanes
        output = self.output.exit
        held = data.StructLayout(
            {
                "addr": output.addr.shape(),
                "rows": output.rows.shape(),
                "wide": 1,
                "last": 1,
                "words": 32 * n,
            }
        )
        collected, writing = Signal(held), Signal(held)
        complete, busy, second, moves, ends = Signal(), Signal(), Signal(), Signal(), Signal()
        arrives = self.output.valid & self.advance
        m.d.comb += [
            ends.eq(busy & self.write.ready & (second | ~writing.wide)),
            moves.eq(complete & (~busy | ends)),
            self.advance.eq(~complete | moves),
            self.empty.eq(~complete & ~busy),
            self.done.eq(ends & writing.last & ~self.stop),
        ]
        with m.If(moves):
            m.d.sync += complete.eq(0)
        with m.If(arrives):
            words = Cat(collected.words[32 * lanes :], self.results.as_value())
            m.d.sync += [
                collected.words.eq(words),
                collected.addr.eq(output.addr),
                collected.rows.eq(output.rows),
                collected.wide.eq(output.format == FP32.code),
                collected.last.eq(output.last),
                complete.eq(self.output.end),
            ]
        with m.If(ends):
            m.d.sync += [busy.eq(0), second.eq(0)]
        with m.Elif(busy & self.write.ready):
            m.d.sync += second.eq(1)
        with m.If(moves):
            m.d.sync += [writing.eq(collected), busy.eq(1)]
        with m.If(self.stop):
            m.d.sync += [complete.eq(0), busy.eq(0), second.eq(0)]

        row = self.write.payload
        m.d.comb += [
            self.write.valid.eq(busy & ~self.stop),
            row.addr.eq(writing.addr | second),
        ]
        for p in range(n):
            word = writing.words.word_select(p, 32)
            m.d.comb += [
                row.enable[p].eq(p < writing.rows),
                row.words[p].eq(Mux(second, word[16:], word[:16])),
            ]
        return m
